"""`AboveThreshold`: every row whose score passes a bar."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hf_datasel.contracts import Indices
from hf_datasel.errors import BadBudget, shown
from hf_datasel.selectors.budgets import is_number
from hf_datasel.selectors.columns import read_numbers
from hf_datasel.selectors.ordering import best_first


if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class AboveThreshold:
    """Keeps every row whose score is strictly greater than the threshold; possibly none.

    A higher threshold is a prefix of a lower one.

    Args:
        column: score to compare, higher is better.
        threshold: in the score's own unit. 0 keeps what a utility calls helpful.

    Raises:
        BadBudget: the threshold is not a number; or, when ranking, the column is missing, not numeric or all NaN.

    Example:
        >>> from datasets import Dataset
        >>> scored = Dataset.from_dict({"text": list("abc"), "utility": [0.0, 0.2, 0.4]})
        >>> AboveThreshold("utility", 0.0).rank(scored)
        array([2, 1])
    """

    column: str
    threshold: float

    def __post_init__(self) -> None:
        if not is_number(self.threshold) or math.isnan(self.threshold):
            raise BadBudget(
                f"`threshold` is {shown(self.threshold)}, expected a number. Give a value in the unit of the score, e.g. 0.0."
            )

    def rank(self, scored: Dataset) -> Indices:
        """Row numbers of the kept rows, best first."""
        best = best_first(scored, self.column)
        return best[read_numbers(scored, self.column)[best] > self.threshold]
