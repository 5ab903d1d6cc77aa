"""`TokenBudget`: the best rows that fit a number of tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hf_datasel.contracts import Indices
from hf_datasel.errors import BadBudget, shown
from hf_datasel.selectors.budgets import check_count
from hf_datasel.selectors.columns import read_numbers
from hf_datasel.selectors.ordering import best_first


if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class TokenBudget:
    """Keeps rows from the highest score down until the next row would exceed the budget.

    It stops at the first row that does not fit, even where a shorter row further down would: so a smaller budget is a
    prefix of a larger one, and long rows are not passed over for short ones.

    Args:
        column: score to rank by, higher is better.
        tokens: number of tokens the kept rows may have together.
        length_column: tokens of each row, 0 or more.

    Raises:
        BadBudget: `tokens` is not a whole number of at least 1; or, when ranking, a column is missing, not numeric or
            all NaN, a scored row has no length, or not even the best row fits.

    Example:
        >>> from datasets import Dataset
        >>> scored = Dataset.from_dict({"text": list("abc"), "s": [0.9, 0.5, 0.7], "num_tokens": [40, 10, 70]})
        >>> TokenBudget("s", 120).rank(scored), TokenBudget("s", 100).rank(scored)
        (array([0, 2, 1]), array([0]))
    """

    column: str
    tokens: int
    length_column: str = "num_tokens"

    def __post_init__(self) -> None:
        check_count("tokens", self.tokens, unit="tokens")

    def rank(self, scored: Dataset) -> Indices:
        """Row numbers of the kept rows, best first."""
        best = best_first(scored, self.column)
        lengths = read_numbers(scored, self.length_column, "length_column")[best]
        num_unknown = int(np.sum(~(lengths >= 0)))
        if num_unknown:
            raise BadBudget(
                f"`length_column` is {shown(self.length_column)}, which is missing or negative in {num_unknown} of "
                f"{len(best)} scored rows, expected a token count in each. Fill it in, or drop those rows first."
            )
        num_fitting = int(np.searchsorted(np.cumsum(lengths), self.tokens, side="right"))
        if not num_fitting:
            raise BadBudget(
                f"`tokens` is {self.tokens}, expected at least {lengths[0]:.0f}, the length of the best row. "
                f"Raise the budget, or drop rows that are too long first."
            )
        return best[:num_fitting]
