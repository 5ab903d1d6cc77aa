"""The verb `score`: every scorer over every row, resumable, with a bar that says how long it will take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm.auto import tqdm

from hf_datasel.contracts import Batch, Columns, Learner, Scorer
from hf_datasel.errors import BadRow
from hf_datasel.rows import Labels, refuse_overlap, with_row_ids
from hf_datasel.rows.batches import rows_of
from hf_datasel.rows.identity import content_only, with_encoded_media
from hf_datasel.rows.journal import resumed, using_journal
from hf_datasel.rows.places import refuse_urls
from hf_datasel.runs.runners import RUNNERS, Runner, spread


if TYPE_CHECKING:
    from datasets import Dataset

# Rows that are batched together by length. Fixed, so that a run in one piece, a resumed one, and one spread over
# processes form the same batches and give the same numbers to the last bit.
CHUNK = 512


def score(
    pool: Dataset,
    *scorers: Scorer | Learner,
    journal: str | Path | None = None,
    runner: Runner = "local",
    processes: int = 1,
) -> Dataset:
    """The pool with each scorer's columns added, and a `row_id` column if it had none.

    The same numbers as `pool.map(scorer, batched=True, batch_size=512)`. With a journal, a stopped run goes on where it
    stopped: every finished batch is on disk. Memory does not grow with N beyond the row ids: columns go to disk as they
    come, as `Dataset.map` writes them.

    Args:
        pool: N rows, no column of which a scorer writes.
        scorers: called in turn, on the rows' training content, and on the columns that a scorer names in `reads`, where
            the pool or a scorer before it has them. A learner is fitted first, on the pool as scored so far.
        journal: file that keeps finished rows, keyed by scorer and row content (a scorer that `reads` more than content is not
            kept there: it is called anew). Without one, scorers with a proxy keep
            theirs where `HF_DATASEL_JOURNAL` says, or in the cache of Hugging Face.
        runner: `"local"` is this process. `"torchrun"` starts `processes` of them on this machine, `"ray"` as many actors
            on the cluster that Ray is connected to (or starts here). Both need `journal`: its folder, which all must see,
            holds their work. The numbers are the same to the last bit, however many there are.
        processes: how many workers; one per GPU where there are GPUs.

    Raises:
        BadRow: the pool is no `Dataset` or empty, or a column that a scorer writes is in it already, or another scorer's, or it
            names media on the network.
        OverlapError: a scorer's anchors occur in the pool.
        ValueError: an unknown runner, or one that is given no journal.
        DataselError: a worker failed; what is finished is kept.

    Example:
        >>> from datasets import Dataset
        >>> from hf_datasel import ResponseLength
        >>> pool = Dataset.from_dict({"prompt": ["1 + 1 =", "Why?"], "completion": ["2", "Because."]})
        >>> score(pool, ResponseLength())["response_length"][:]
        [1.0, 8.0]
    """
    return score_and_fit(pool, *scorers, journal=journal, runner=runner, processes=processes)[0]


def score_and_fit(
    pool: Dataset,
    *scorers: Scorer | Learner,
    journal: str | Path | None = None,
    runner: Runner = "local",
    processes: int = 1,
) -> tuple[Dataset, list[Scorer]]:
    """What `score` returns, and the scorers that it called: for a learner, the one it returned. Arguments as `score`'s."""
    from datasets import concatenate_datasets

    if runner not in RUNNERS or processes < 1:
        raise ValueError(
            f"`runner` is {runner!r} with {processes} processes, expected one of {RUNNERS} and at least one."
        )
    if runner != "local" and journal is None:
        raise ValueError(f"`journal` is missing, expected a file whose folder holds the work of runner={runner!r}.")
    check_pool(pool, [scorer for scorer in scorers if hasattr(scorer, "columns")])
    scored = with_row_ids(pool)
    content = content_only(pool.with_format(None), *text_fields(scorers))
    fitted = []
    for given in scorers:
        with using_journal(journal):  # what a learner measures is kept too
            scorer = given.fit(scored) if isinstance(given, Learner) else given
        fitted.append(scorer)
        # Again: what a learner writes is known now, and what those before it wrote.
        _check_columns(scored.column_names, scorer)
        rows = _with_columns(content, scored, getattr(scorer, "reads", ()))
        if runner == "local" or journal is None or not getattr(scorer, "keeps_journal", False):
            columns = columns_of(rows, scorer, journal)  # no model: not worth a process
        else:
            columns = spread(rows, scorer, Path(journal).parent, CHUNK, runner, processes)
        scored = concatenate_datasets([scored, columns], axis=1)
    return scored, fitted


def text_fields(scorers: Sequence[Scorer | Learner]) -> list[str]:
    """Names under which scorers look for plain text."""
    labels = (getattr(scorer, "labels", None) for scorer in scorers)
    return [its.dataset_text_field for its in labels if isinstance(its, Labels)]


def _with_columns(content: Dataset, scored: Dataset, names: Sequence[str]) -> Dataset:
    """The rows' content, and the named columns of what is scored so far. What is missing is the scorer's to complain of."""
    from datasets import concatenate_datasets

    also = [name for name in names if name in scored.column_names and name not in content.column_names]
    return (
        concatenate_datasets([content, with_encoded_media(scored.with_format(None).select_columns(also))], axis=1)
        if also
        else content
    )


def check_pool(pool: Dataset, scorers: Sequence[Any]) -> None:
    """Refuse a pool that these scorers cannot score.

    Raises:
        BadRow: the pool is empty, or already has a column that a scorer writes.
        OverlapError: a scorer's anchors occur in the pool.
    """
    from datasets import Dataset

    if not isinstance(pool, Dataset):
        raise BadRow(
            f"`pool` is a {type(pool).__name__}, expected a `datasets.Dataset`. Of a list: `Dataset.from_list(rows)`; of a "
            f"`DatasetDict`: one of its splits, such as `pool['train']`; of an `IterableDataset`: `pool.map(scorer, "
            f"batched=True)`."
        )
    if len(pool) == 0:
        raise BadRow("`pool` has no rows, expected at least one.")
    refuse_urls(pool)
    there = list(pool.column_names)
    for scorer in scorers:
        _check_columns(there, scorer)
        there += scorer.columns
        anchors = getattr(scorer, "anchors", None)
        if anchors is not None:
            refuse_overlap(anchors, pool=pool)


def _check_columns(there: Sequence[str], scorer: Scorer) -> None:
    taken = set(scorer.columns) & set(there)
    if taken:
        raise BadRow(
            f"`pool`, or a scorer before it, already has the columns {sorted(taken)} that {type(scorer).__name__} writes, "
            f"expected none of them: scores are added, never overwritten. Rename the pool's, or score in another run."
        )


def columns_of(rows: Dataset, scorer: Scorer, journal: str | Path | None) -> Dataset:
    """All columns of one scorer, in row order."""
    spec = getattr(scorer, "spec", None)
    kept_for_it = journal is not None and spec is not None and not getattr(scorer, "keeps_journal", False)
    kept_for_it &= not getattr(scorer, "reads", ())  # the journal's key is a row's content alone
    call = _Journalled(scorer) if kept_for_it else scorer
    with (
        tqdm(total=len(rows), desc=type(scorer).__name__, unit="rows", smoothing=0.1) as bar,
        using_journal(journal, partial(_advance, bar)),
        _no_bars_of_datasets(),
    ):
        found = rows.map(
            call,
            batched=True,
            batch_size=CHUNK,
            remove_columns=rows.column_names,
            load_from_cache_file=journal is None,
        )
        bar.update(len(rows) - bar.n)
    return found


def _advance(bar: Any, count: int) -> None:
    bar.update(count)
    bar.refresh()  # what the journal knew is worth seeing before the first batch is done


@dataclass(frozen=True)
class _Journalled:
    """A scorer that keeps no journal itself, with one kept for it."""

    scorer: Any

    def __call__(self, batch: Batch) -> Columns:
        rows, _ = rows_of(batch)
        return resumed(self.scorer.spec, rows, self._score, self.scorer.columns)

    def _score(
        self, rows: Sequence[Mapping[str, Any]], missing: frozenset[int]
    ) -> Iterator[tuple[list[int], Columns]]:
        for start in range(0, len(rows), 64):
            places = [place for place in range(start, min(start + 64, len(rows))) if place in missing]
            if places:
                yield places, self.scorer({name: [rows[place][name] for place in places] for name in rows[0]})


@contextmanager
def _no_bars_of_datasets() -> Iterator[None]:
    """One bar, in rows, instead of one a scorer in chunks of 512."""
    from datasets.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    shown = not are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            enable_progress_bars()
