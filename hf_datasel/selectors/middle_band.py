"""`MiddleBand`: rows that are neither among the best nor among the worst."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import floor
from typing import TYPE_CHECKING

import numpy as np

from hf_datasel.contracts import Indices
from hf_datasel.errors import BadBudget, shown
from hf_datasel.selectors.budgets import exact, is_number
from hf_datasel.selectors.ordering import best_first


if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class MiddleBand:
    """Keeps a band of score quantiles, the rows closest to the band's middle first.

    Of n scored rows the worst has quantile 0.5/n, the next 1.5/n, the best 1 - 0.5/n; ties have neighbouring
    quantiles in order of row id. Kept is every row with low < quantile <= high, so bands that meet share no row and
    miss none. Of two rows equally close to the middle the higher score comes first. Of two bands around the same
    middle the narrower is a prefix of the wider.

    Args:
        column: score to rank by.
        low: lower end of the band as a quantile of the scored rows, 0 to 1. 0 includes the worst row.
        high: upper end, above `low` and up to 1. 1 includes the best row.

    Raises:
        BadBudget: the ends are out of range or not in order; or, when ranking, the band holds no row, or the column
            is missing, not numeric or all NaN.

    Source:
        The "mid" draw of perplexity selection, as in https://github.com/hamishivi/automated-instruction-selection.

    Example:
        >>> from datasets import Dataset
        >>> scored = Dataset.from_dict({"text": list("abcd"), "perplexity": [40, 30, 20, 10]})
        >>> MiddleBand("perplexity", 0.25, 0.75).rank(scored)
        array([1, 2])
    """

    column: str
    low: float
    high: float

    def __post_init__(self) -> None:
        for argument in ("low", "high"):
            value = getattr(self, argument)
            if not is_number(value) or not 0 <= value <= 1:
                raise BadBudget(
                    f"`{argument}` is {shown(value)}, expected a quantile from 0 to 1. Give 0.25 for the point that a "
                    f"quarter of the scored rows lie below."
                )
        if not self.low < self.high:
            raise BadBudget(
                f"`low` is {shown(self.low)}, expected less than `high`, {shown(self.high)}. Swap or widen them."
            )

    def rank(self, scored: Dataset) -> Indices:
        """Row numbers of the kept rows, closest to the band's middle first."""
        worst_first = best_first(scored, self.column)[::-1]
        num_scored = len(worst_first)
        low, high = exact(self.low) * num_scored, exact(self.high) * num_scored
        half = Fraction(1, 2)
        places = np.arange(floor(low - half) + 1, floor(high - half) + 1)[::-1]
        if not len(places):
            raise BadBudget(
                f"`low` is {shown(self.low)} and `high` {shown(self.high)}, a band that holds none of {num_scored} scored rows, "
                f"expected at least one. Widen the band."
            )
        # Twice the distance to the middle, in rows. Where two rows are equally far, low + high is a whole number, and
        # the float exact.
        distance = np.abs(2 * places + 1 - float(low + high))
        return worst_first[places[np.argsort(distance, kind="stable")]]
