"""How two selections agree: on the rows they keep and on the order of their scores."""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan, nan
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from hf_datasel.contracts import Scores


if TYPE_CHECKING:
    from hf_datasel.selectors.selection import Selection


@dataclass(frozen=True)
class SelectionDiff:
    """Agreement of two selections, rows matched by id.

    Args:
        num_common: rows kept by both.
        overlap: `num_common` as a share of the smaller selection, 0 to 1; NaN if one keeps nothing.
        jaccard: `num_common` as a share of the rows kept by either, 0 to 1; NaN if both keep nothing.
        rank_correlation: Spearman's rho of the scores over all rows scored in both, kept or not, -1 to 1; NaN where
            fewer than two rows are, or all their scores are equal.
        only_here: ids of the rows only this selection keeps, best first.
        only_there: ids of the rows only the other one keeps, best first.

    Example:
        >>> print(SelectionDiff(1, 0.5, 1 / 3, 0.8, ("a",), ("c",)))
        1 row in common (overlap 0.50, Jaccard 0.33), 1 only here, 1 only there, rank correlation of scores 0.80
    """

    num_common: int
    overlap: float
    jaccard: float
    rank_correlation: float
    only_here: tuple[str, ...]
    only_there: tuple[str, ...]

    def __str__(self) -> str:
        rows = "row" if self.num_common == 1 else "rows"
        correlation = "not defined" if isnan(self.rank_correlation) else f"{self.rank_correlation:.2f}"
        return (
            f"{self.num_common} {rows} in common (overlap {self.overlap:.2f}, Jaccard {self.jaccard:.2f}), "
            f"{len(self.only_here)} only here, {len(self.only_there)} only there, "
            f"rank correlation of scores {correlation}"
        )


def compare(here: Selection, there: Selection) -> SelectionDiff:
    """Match two selections by row id and say how they agree."""
    ids_here, ids_there = _kept_ids(here), _kept_ids(there)
    only_here = ids_here.filter(pc.invert(pc.is_in(ids_here, value_set=ids_there)))
    only_there = ids_there.filter(pc.invert(pc.is_in(ids_there, value_set=ids_here)))
    num_common = len(ids_here) - len(only_here)
    smaller, either = min(len(ids_here), len(ids_there)), len(ids_here) + len(only_there)

    found = pc.index_in(here.row_ids, value_set=there.row_ids)
    in_both = np.flatnonzero(found.is_valid().to_numpy(zero_copy_only=False))
    matches = found.drop_null().to_numpy()
    return SelectionDiff(
        num_common=num_common,
        overlap=num_common / smaller if smaller else nan,
        jaccard=num_common / either if either else nan,
        rank_correlation=rank_correlation(here.scores[in_both], there.scores[matches]),
        only_here=tuple(only_here.to_pylist()),
        only_there=tuple(only_there.to_pylist()),
    )


def rank_correlation(a: Scores, b: Scores) -> float:
    """Spearman's rho of two aligned score arrays, over the rows where neither is NaN; equal scores share a rank.

    Args:
        a: shape (N,).
        b: shape (N,).

    Returns:
        -1 to 1; NaN where fewer than two rows remain, or one side is constant.

    Example:
        >>> rank_correlation(np.array([1.0, 2.0, 3.0]), np.array([10.0, 1000.0, np.nan]))
        1.0
    """
    scored = ~(np.isnan(a) | np.isnan(b))
    # Ranks from 1 to n have this mean, tied or not.
    mean = (np.count_nonzero(scored) + 1) / 2
    ranks_a, ranks_b = _average_ranks(a[scored]) - mean, _average_ranks(b[scored]) - mean
    # The root of the product, not the product of roots: the square root of a square is exact, so equal orders give 1.
    spread = np.sqrt((ranks_a**2).sum() * (ranks_b**2).sum())
    return float((ranks_a * ranks_b).sum() / spread) if spread > 0 else nan


def _average_ranks(values: Scores) -> npt.NDArray[np.float64]:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: npt.NDArray[np.float64] = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return ranks


def _kept_ids(selection: Selection) -> Any:
    return selection.row_ids.take(pa.array(selection.indices))
