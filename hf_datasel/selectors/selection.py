"""`Selection`: what a rule kept of a pool, as something to train on, filter with, save and compare."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from hf_datasel.contracts import Batch, Indices, Rule, Scores
from hf_datasel.errors import BadBudget, DataselError
from hf_datasel.rows.identity import ROW_ID
from hf_datasel.selectors import storage
from hf_datasel.selectors.columns import identified, read_numbers, read_row_ids
from hf_datasel.selectors.comparison import SelectionDiff, compare
from hf_datasel.selectors.membership import Membership, checksums
from hf_datasel.selectors.ordering import as_ranking
from hf_datasel.selectors.provenance import data_identity, json_like, package_versions, rule_spec
from hf_datasel.selectors.streams import without_content


if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False, repr=False)
class Selection:
    """What a rule kept of a pool of N rows. Made by `select`, or by `Selection.load`.

    A pickled Selection carries only what `Dataset.filter` needs in its workers: which rows are kept. To keep one,
    use `save` and `load`.

    Args:
        pool: the scored rows, with a `row_id` column; None where a selection was loaded without them.
        indices: row numbers of the K kept rows, best first.
        row_ids: ids of all N rows as texts, in pool order.
        scores: the score the rule ranked by, shape (N,); NaN where a row has none or the rule looks at none.
        rule: the rule's name and fields, e.g. `{"rule": "TopFraction", "column": "s", "fraction": 0.2}`.
        scorers: specs of the scorers that wrote the scores.
        data: `fingerprint` of the pool, `row_ids_digest` of its ids in any order, `num_rows`.
        versions: of Python and the packages the selection was made with.

    Example:
        >>> from datasets import Dataset
        >>> from hf_datasel.selectors import TopCount
        >>> scored = Dataset.from_dict({"row_id": ["a", "b", "c"], "s": [0.1, 0.9, 0.5]})
        >>> selection = select(scored, TopCount("s", 2))
        >>> selection.ids, selection.threshold
        (['b', 'c'], 0.5)
        >>> selection.kept["row_id"][:], selection.dropped["row_id"][:]
        (['b', 'c'], ['a'])
        >>> scored.filter(selection, with_indices=True, batched=True)["row_id"][:]
        ['b', 'c']
    """

    pool: Dataset | None
    indices: Indices
    row_ids: Any
    scores: Scores
    rule: dict[str, Any]
    scorers: tuple[dict[str, Any], ...]
    data: dict[str, Any]
    versions: dict[str, str]

    @property
    def num_rows(self) -> int:
        """N, the rows of the pool."""
        return len(self.scores)

    @property
    def num_kept(self) -> int:
        """K, the rows kept."""
        return len(self.indices)

    @property
    def num_not_scored(self) -> int:
        """How many rows had no score, so that the rule could not keep them. 0 for a rule that looks at no score."""
        return int(np.isnan(self.scores).sum()) if "column" in self.rule else 0

    @property
    def threshold(self) -> float | None:
        """The lowest score among the kept rows; None if the rule looks at no score or kept nothing."""
        return float(self.scores[self.indices].min()) if "column" in self.rule and self.num_kept else None

    @property
    def ids(self) -> list[str]:
        """Ids of the kept rows as texts, best first."""
        return self._texts(self.indices)

    @property
    def kept(self) -> Dataset:
        """The K kept rows, best first."""
        return self._bound_pool("kept").select(self.indices)

    @property
    def dropped(self) -> Dataset:
        """The N - K other rows, in pool order."""
        return self._bound_pool("dropped").select(np.flatnonzero(~self.mask))

    @cached_property
    def mask(self) -> npt.NDArray[np.bool_]:
        """Which rows of the pool are kept, shape (N,)."""
        mask = np.zeros(self.num_rows, dtype=np.bool_)
        mask[self.indices] = True
        return mask

    @cached_property
    def membership(self) -> Membership:
        """Which rows of the pool are kept, and how to recognise the pool."""
        return Membership(self.mask, checksums(self.row_ids))

    @overload
    def __call__(self, batch: Batch, indices: Sequence[int]) -> list[bool]: ...
    @overload
    def __call__(self, batch: Batch, indices: int) -> bool: ...
    def __call__(self, batch: Batch, indices: Sequence[int] | int | None = None) -> list[bool] | bool:
        """Which rows of a batch are kept; for `scored.filter(selection, with_indices=True, batched=True)`.

        Args:
            batch: B rows of the pool. Where they have a `row_id`, it is checked.
            indices: their row numbers in the pool, shape (B,); one number where `batched=True` was left out.

        Raises:
            DataselError: `indices` is missing, or the rows are not those of the pool the selection was made from.
        """
        return self.membership(batch, indices)

    def save(self, folder: str | Path) -> Path:
        """Write `selection.json` (how it was made) and `rows.parquet` (`row_id`, `score`, `rank`) into a folder.

        `rank` is 1 for the best row and missing for a dropped one. A selection already there is replaced; a reader
        never sees a half-written file.

        Args:
            folder: made if need be.

        Returns:
            The folder.
        """
        return storage.save(self, Path(folder))

    @classmethod
    def load(cls, folder: str | Path, pool: Dataset | None = None) -> Selection:
        """Read a selection that `save` wrote.

        Args:
            folder: where it was saved.
            pool: rows to bind it to, as `apply` does. Without it, `kept` and `dropped` are not there.

        Raises:
            DataselError: the folder holds no complete selection, or `pool` lacks some of its rows.
        """
        loaded = cls(pool=None, **storage.load(Path(folder)))
        return loaded if pool is None else loaded.apply(pool)

    def apply(self, pool: Dataset) -> Selection:
        """The same selection bound to other rows, found by their ids: shuffled, with more columns, loaded again.

        Rows of `pool` the selection never saw count as dropped and not scored; a warning says how many.

        Args:
            pool: dataset with all N rows of this selection, in any order.

        Raises:
            DataselError: `pool` lacks some of the rows.
        """
        pool = identified(pool)
        pool_ids = read_row_ids(pool)
        found = pc.index_in(self.row_ids, value_set=pool_ids)
        if found.null_count:
            missing = self.row_ids.filter(found.is_null())
            raise DataselError(
                f"`pool` lacks {len(missing)} of the {self.num_rows} rows this selection was made from (first ids: "
                f"{missing[:5].to_pylist()}), expected all of them. Pass the dataset that was scored, with the same "
                f"`{ROW_ID}` column or the same training content."
            )
        num_new = len(pool_ids) - self.num_rows
        if num_new:
            logger.warning("`pool` has %d rows this selection never saw: they count as dropped, not scored.", num_new)
        rows = found.to_numpy(zero_copy_only=False).astype(np.int64)
        scores = np.full(len(pool_ids), np.nan)
        scores[rows] = self.scores
        return dataclasses.replace(self, pool=pool, indices=rows[self.indices], row_ids=pool_ids, scores=scores)

    def diff(self, other: Selection) -> SelectionDiff:
        """How this selection and another one agree; rows are matched by id."""
        return compare(self, other)

    def __repr__(self) -> str:
        if "row_ids" not in self.__dict__:
            return f"Selection({self.mask.sum()} of {len(self.mask)} rows, pickled: for filtering only)"
        fields = ", ".join(f"{name}={value!r}" for name, value in self.rule.items() if name != "rule")
        parts = [f"{self.num_kept} of {self.num_rows} rows by {self.rule['rule']}({fields})"]
        if self.threshold is not None:
            parts.append(f"lowest kept score {self.threshold:.6g}")
        if self.num_not_scored:
            parts.append(f"{self.num_not_scored} rows not scored")
        return f"Selection({', '.join(parts)})"

    def __getstate__(self) -> dict[str, Any]:
        # `Dataset.filter` hashes this for its fingerprint and sends it to every worker. The pool would make it huge,
        # and anything about the machine would make the fingerprint differ from one process to the next.
        return {"mask": self.membership.mask, "checksums": self.membership.checksums}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(mask=state["mask"], membership=Membership(**state))

    def __copy__(self) -> Selection:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Selection:
        return self

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name.startswith("__") or "row_ids" in self.__dict__:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            raise AttributeError(
                f"`{name}` is not there: this Selection was pickled, which carries only what `Dataset.filter` needs. "
                f"Hand it over with `save(folder)` and `Selection.load(folder, pool=...)`."
            )

    def _bound_pool(self, wanted: str) -> Dataset:
        if self.pool is None:
            raise DataselError(
                f"`{wanted}` needs the rows, and this selection was loaded without them. Call "
                f"`selection.apply(pool)`, or `Selection.load(folder, pool=pool)`."
            )
        return self.pool

    def _texts(self, rows: Indices) -> list[str]:
        texts: list[str] = self.row_ids.take(pa.array(rows)).to_pylist()
        return texts


def select(scored: Dataset | IterableDataset, rule: Rule, scorer_specs: Sequence[Mapping[str, Any]] = ()) -> Selection:
    """Apply a rule to a scored dataset.

    Rows get a `row_id` where they have none. How many rows had no score is logged, as a warning if there are any.

    A stream is read once for ids and scores alone; `kept` is then read in a second pass:
    `scored.filter(selection, with_indices=True, batched=True)`.

    Args:
        scored: N rows with the columns the rule reads.
        rule: one of this package's rules, or any frozen dataclass with `rank`.
        scorer_specs: JSON-like specs of the scorers that wrote the columns, kept with the selection.

    Raises:
        BadBudget: the rule asks for what the dataset cannot give, or returns what is no ranking of its rows.
        BadRow: the rows have neither a usable `row_id` nor training content to make one from.

    Example:
        >>> from datasets import Dataset
        >>> from hf_datasel.selectors import TopFraction
        >>> select(Dataset.from_dict({"text": list("abcde"), "s": [3, 1, 4, 1, 5]}), TopFraction("s", 0.4))
        Selection(2 of 5 rows by TopFraction(column='s', fraction=0.4, drop_nonpositive=False), lowest kept score 4)
    """
    from datasets import Dataset, IterableDataset

    spec = rule_spec(rule)
    is_stream = isinstance(scored, IterableDataset)
    if is_stream:
        pool = without_content(scored, rule)
    elif isinstance(scored, Dataset):
        pool = identified(scored)
    else:
        raise BadBudget(
            f"`scored` is a {type(scored).__name__}, expected one `datasets.Dataset` or `IterableDataset`. Pass one split, "
            f"e.g. `scored['train']`."
        )
    row_ids = read_row_ids(pool)
    scores = read_numbers(pool, spec["column"]) if "column" in spec else np.full(len(pool), np.nan)
    indices = as_ranking(rule.rank(pool), len(pool), spec["rule"])
    if "column" in spec and np.isnan(scores[indices]).any():
        row = indices[np.isnan(scores[indices])][0]
        raise BadBudget(f"`rule` {spec['rule']} kept row {row}, whose {spec['column']!r} is NaN. Correct its `rank`.")
    selection = Selection(
        pool=None if is_stream else pool,
        indices=indices,
        row_ids=row_ids,
        scores=scores,
        rule=spec,
        scorers=tuple(json_like(dict(scorer), "scorer_specs") for scorer in scorer_specs),
        data=data_identity(pool, row_ids),
        versions=package_versions(),
    )
    _log(selection)
    return selection


def _log(selection: Selection) -> None:
    if selection.num_not_scored:
        column = selection.rule["column"]
        logger.warning(
            "%d of %d rows have no %r score and cannot be kept. `%s_status`, where there is one, says why.",
            selection.num_not_scored, selection.num_rows, column, column,
        )  # fmt: skip
    if not selection.num_kept:
        logger.warning("%r keeps nothing: training on it will fail.", selection)
    logger.info("%r", selection)
