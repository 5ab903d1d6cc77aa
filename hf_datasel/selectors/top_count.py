"""`TopCount`: the best so-many rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hf_datasel.contracts import Indices
from hf_datasel.errors import BadBudget, shown
from hf_datasel.selectors.budgets import check_count
from hf_datasel.selectors.ordering import best_first


if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class TopCount:
    """Keeps the rows with the highest score, exactly `count` of them.

    A smaller count is a prefix of a larger one.

    Args:
        column: score to rank by, higher is better.
        count: number of rows to keep.

    Raises:
        BadBudget: the count is not a whole number of at least 1; or, when ranking, fewer rows are scored than that,
            or the column is missing or not numeric.

    Example:
        >>> from datasets import Dataset
        >>> scored = Dataset.from_dict({"text": list("abc"), "s": [0.1, 0.9, 0.5]})
        >>> TopCount("s", 2).rank(scored)
        array([1, 2])
    """

    column: str
    count: int

    def __post_init__(self) -> None:
        check_count("count", self.count)

    def rank(self, scored: Dataset) -> Indices:
        """Row numbers of the kept rows, best first, shape (count,)."""
        best = best_first(scored, self.column)
        if self.count > len(best):
            raise BadBudget(
                f"`count` is {self.count}, expected at most {len(best)}: of {len(scored)} rows {len(best)} have a "
                f"{shown(self.column)} score and {len(scored) - len(best)} are NaN. Lower the count, or score more rows."
            )
        return best[: self.count]
