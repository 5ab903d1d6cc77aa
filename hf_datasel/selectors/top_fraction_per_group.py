"""`TopFractionPerGroup`: the best share of every group of a pool."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hf_datasel.contracts import Indices
from hf_datasel.selectors.budgets import check_fraction, exact, rows_in
from hf_datasel.selectors.columns import read_groups
from hf_datasel.selectors.ordering import best_first, interleaved, place_within


if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class TopFractionPerGroup:
    """Keeps the highest-scored share within every group, so that the groups keep their proportions.

    K = floor(fraction * N) rows in all, at least 1, over all N rows of the pool. A group of size n is due
    fraction * n of them: the whole part for sure, then one more to the groups with the largest remainders (ties by
    group name). A group with too few scored rows gives what it has; nobody inherits the rest, which would bend the
    proportions. Rows without a group are a group.

    The ranking interleaves the groups: rows are ordered by their quantile within their group ((place - 0.5) / n,
    places counted from 1), ties by score, then row id. So any prefix keeps the proportions as well as whole rows can.

    Where fraction * n is whole in every group, a smaller fraction is a prefix of a larger one. Elsewhere a remainder
    can move a row from one group to another as the fraction grows, and budgets need not be nested.

    Args:
        column: score to rank by, higher is better. Compared within groups, so groups may score on different scales.
        group: column that names each row's group: texts, whole numbers or booleans.
        fraction: share of each group to keep, above 0 and up to 1.

    Raises:
        BadBudget: the fraction is out of range; or, when ranking, a column is missing, the score is not numeric or
            all NaN, or the group column holds lists or records.

    Example:
        >>> from datasets import Dataset
        >>> scored = Dataset.from_dict(
        ...     {"text": list("abcdef"), "s": [9, 8, 7, 6, 2, 1], "source": ["web"] * 4 + ["book"] * 2}
        ... )
        >>> TopFractionPerGroup("s", "source", 0.5).rank(scored)
        array([0, 4, 1])
    """

    column: str
    group: str
    fraction: float

    def __post_init__(self) -> None:
        check_fraction("fraction", self.fraction)

    def rank(self, scored: Dataset) -> Indices:
        """Row numbers of the kept rows, groups interleaved, shape (K,) or shorter."""
        best = best_first(scored, self.column)
        groups = read_groups(scored, self.group, "group")
        group_sizes = np.bincount(groups)
        num_scored = np.bincount(groups[best], minlength=len(group_sizes))
        shares = self._shares(group_sizes, num_scored)

        place = place_within(groups[best])
        due = place < shares[groups[best]]
        kept = best[due]
        return interleaved(kept, place[due], group_sizes[groups[kept]])

    def _shares(self, group_sizes: npt.NDArray[np.int64], num_scored: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        fraction = exact(self.fraction)
        shares, remainders = np.divmod(group_sizes * fraction.numerator, fraction.denominator)
        num_left = rows_in(self.fraction, int(group_sizes.sum())) - int(shares.sum())
        can_give = num_scored > shares
        largest_first = np.argsort(-remainders, kind="stable")
        shares[largest_first[can_give[largest_first]][:num_left]] += 1
        return np.asarray(shares, dtype=np.int64)
