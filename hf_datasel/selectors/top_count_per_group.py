"""`TopCountPerGroup`: the best rows of every group of a pool, so many in all, and at least one of each."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hf_datasel.contracts import Indices
from hf_datasel.selectors.budgets import check_count
from hf_datasel.selectors.columns import read_groups
from hf_datasel.selectors.ordering import best_first, interleaved, place_within


if TYPE_CHECKING:
    from datasets import Dataset

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TopCountPerGroup:
    """Keeps the highest-scored rows of every group by its quota, `count` in all.

    A group of n of the N rows is due floor(count * n / N), and at least 1. What is left over goes to the largest group; what
    the groups are due beyond `count` is taken from it, down to 0, and then from the smallest groups (ties by group name). A
    group with too few scored rows gives what it has, and nobody inherits the rest. Rows without a group are a group. Budgets
    are not nested. `TopFractionPerGroup` keeps closer to the proportions, and may leave a small group out.

    The ranking interleaves the groups as `TopFractionPerGroup` does.

    Args:
        column: score to rank by, higher is better. Compared within groups.
        group: column that names each row's group: texts, whole numbers or booleans.
        count: rows to keep.

    Raises:
        BadBudget: the count is not a whole number of at least 1; or, when ranking, a column is missing, the score is not
            numeric or all NaN, or the group column holds lists or records.

    Source: quotas of the release of CoIDO (NeurIPS 2025). It does not say what becomes of groups beyond `count`: taking the
        smallest away is ours.

    Example:
        >>> from datasets import Dataset
        >>> scored = Dataset.from_dict({"text": list("abcdef"), "s": [9, 8, 7, 6, 2, 1], "source": ["web"] * 5 + ["book"]})
        >>> TopCountPerGroup("s", "source", 3).rank(scored)
        array([0, 1, 5])
    """

    column: str
    group: str
    count: int

    def __post_init__(self) -> None:
        check_count("count", self.count)

    def rank(self, scored: Dataset) -> Indices:
        """Row numbers of the kept rows, groups interleaved, shape (count,) or shorter."""
        best = best_first(scored, self.column)
        groups = read_groups(scored, self.group, "group")
        sizes = np.bincount(groups)
        due = quotas(sizes, min(self.count, len(scored)))
        place = place_within(groups[best])
        taken = place < due[groups[best]]
        kept = best[taken]
        if len(kept) < due.sum():
            logger.warning(
                "TopCountPerGroup falls short: %d of %d rows. Groups with too few scored rows give what they have.",
                len(kept), due.sum(),
            )  # fmt: skip
        return interleaved(kept, place[taken], sizes[groups[kept]])


def quotas(sizes: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int64]:
    """How many rows each group gives, as the class says.

    Args:
        sizes: rows of each group, in the order of their names.
        count: rows in all.

    Example:
        >>> quotas(np.array([6, 3, 1]), 5).tolist(), quotas(np.array([6, 3, 1]), 2).tolist()
        ([3, 1, 1], [0, 1, 1])
    """
    due = np.maximum(1, sizes * count // sizes.sum())
    due[sizes == 0] = 0
    largest = int(np.argmax(sizes))
    due[largest] = max(0, due[largest] + count - due.sum())
    smallest_first = np.argsort(sizes, kind="stable")
    excess = int(due.sum()) - count
    for group in smallest_first[due[smallest_first] > 0][: max(0, excess)]:
        due[group] = 0  # each of them is due one
    return np.asarray(due, dtype=np.int64)
