"""`TopFraction`: the best share of a pool."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hf_datasel.contracts import Indices
from hf_datasel.selectors.budgets import check_fraction, rows_in
from hf_datasel.selectors.columns import read_numbers
from hf_datasel.selectors.ordering import best_first


if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class TopFraction:
    """Keeps the K = floor(fraction * N) rows with the highest score, at least 1.

    N counts all rows of the pool, the unscored ones too: 0.2 means the same budget whatever a scorer could read.
    Unscored rows are never kept, so fewer than K rows come back where fewer have a score. A smaller fraction is a
    prefix of a larger one.

    Args:
        column: score to rank by, higher is better.
        fraction: share of the pool to keep, above 0 and up to 1.
        drop_nonpositive: also leave out rows of the top K whose score is 0 or less ("toxic" where the score is a
            utility). K stays the same share of the pool.

    Raises:
        BadBudget: the fraction is out of range; or, when ranking, the column is missing, not numeric or all NaN.

    Source:
        Hard top-p% selection of OST, Algorithm 1: https://huggingface.co/papers/2605.07488. Floor and "at least 1"
        are ours, its counts do not decide them. It speaks both of the top p% and of purging negative utility, hence
        `drop_nonpositive` is off by default.

    Example:
        >>> from datasets import Dataset
        >>> scored = Dataset.from_dict({"text": list("abcd"), "utility": [0.1, -0.2, 0.3, None]})
        >>> TopFraction("utility", 0.5).rank(scored)
        array([2, 0])
        >>> TopFraction("utility", 0.75, drop_nonpositive=True).rank(scored)
        array([2, 0])
    """

    column: str
    fraction: float
    drop_nonpositive: bool = False

    def __post_init__(self) -> None:
        check_fraction("fraction", self.fraction)

    def rank(self, scored: Dataset) -> Indices:
        """Row numbers of the kept rows, best first, shape (K,) or shorter."""
        best = best_first(scored, self.column)[: rows_in(self.fraction, len(scored))]
        if self.drop_nonpositive:
            best = best[read_numbers(scored, self.column)[best] > 0]
        return best
