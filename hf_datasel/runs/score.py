"""The verb `score`: every scorer over every row, resumable, with a bar that says how long it will take."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm.auto import tqdm

from hf_datasel.contracts import Columns, Scorer
from hf_datasel.errors import BadRow
from hf_datasel.rows import refuse_overlap, row_digest, with_row_ids
from hf_datasel.rows.identity import content_only
from hf_datasel.runs.journal import Journal


if TYPE_CHECKING:
    from datasets import Dataset

# A batch grows until it takes about this long, so that the bar moves and little is lost when a run is stopped.
SECONDS_PER_BATCH = 2.0
LARGEST_BATCH = 512


def score(pool: Dataset, *scorers: Scorer, journal: str | Path | None = None) -> Dataset:
    """The pool with each scorer's columns added, and a `row_id` column if it had none.

    The same numbers as `pool.map(scorer, batched=True)`. With a journal, a stopped run goes on where it stopped:
    every finished batch is on disk.

    Args:
        pool: N rows, no column of which a scorer writes.
        scorers: called in turn.
        journal: file that keeps finished rows, keyed by scorer and row content.

    Raises:
        BadRow: the pool is empty, or already has a column that a scorer writes.
        OverlapError: a scorer's anchors occur in the pool.

    Example:
        >>> from datasets import Dataset
        >>> from hf_datasel import ResponseLength
        >>> pool = Dataset.from_dict({"prompt": ["1 + 1 =", "Why?"], "completion": ["2", "Because."]})
        >>> score(pool, ResponseLength())["response_length"][:]
        [1.0, 8.0]
    """
    from datasets import Dataset, concatenate_datasets

    if len(pool) == 0:
        raise BadRow("`pool` has no rows, expected at least one.")
    for scorer in scorers:
        taken = set(scorer.columns) & set(pool.column_names)
        if taken:
            raise BadRow(
                f"`pool` already has the columns {sorted(taken)} that {type(scorer).__name__} writes, expected none of "
                f"them. Remove or rename them: scores are added, never overwritten."
            )
        anchors = getattr(scorer, "anchors", None)
        if anchors is not None:
            refuse_overlap(anchors, pool=pool)
    scored = with_row_ids(pool)
    for scorer in scorers:
        columns = _score_rows(content_only(pool), scorer, Journal(journal) if journal else None)
        scored = concatenate_datasets([scored, Dataset.from_dict(columns)], axis=1)
    return scored


def _score_rows(rows: Dataset, scorer: Scorer, journal: Journal | None) -> Columns:
    """All columns of one scorer, in row order."""
    found: dict[int, dict[str, Any]] = {}
    key = getattr(scorer, "spec", None)
    if journal is not None and key is not None:
        digests = [row_digest(row) for row in rows]
        known = journal.get(key, digests)
        found = {i: known[digest] for i, digest in enumerate(digests) if digest in known}
    missing = [i for i in range(len(rows)) if i not in found]
    with tqdm(total=len(rows), initial=len(found), desc=type(scorer).__name__, unit="rows", smoothing=0.1) as bar:
        for indices in _growing_batches(missing):
            columns = scorer(rows[indices])
            fresh = [
                {name: _plain(values[place]) for name, values in columns.items()} for place in range(len(indices))
            ]
            found.update(zip(indices, fresh, strict=True))
            if journal is not None and key is not None:
                journal.put(key, {digests[i]: row for i, row in zip(indices, fresh, strict=True)})
            bar.update(len(indices))
    return {name: _column([found[i][name] for i in range(len(rows))]) for name in scorer.columns}


def _growing_batches(indices: list[int]) -> Iterator[list[int]]:
    """Consecutive batches, doubled while they are quick. What a row scores does not depend on them."""
    size, start = 8, 0
    while start < len(indices):
        began = time.monotonic()
        yield indices[start : start + size]
        start += size
        if time.monotonic() - began < SECONDS_PER_BATCH / 2:
            size = min(2 * size, LARGEST_BATCH)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _column(values: list[Any]) -> Any:
    return np.array(values, np.float64) if isinstance(values[0], float) else values
