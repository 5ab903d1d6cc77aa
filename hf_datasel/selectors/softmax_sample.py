"""`SoftmaxSample`: rows drawn with probabilities that grow with their score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hf_datasel.contracts import Indices, Scores
from hf_datasel.errors import BadBudget, shown
from hf_datasel.selectors.budgets import check_count, check_fraction, check_seed, is_number, rows_in
from hf_datasel.selectors.columns import read_numbers
from hf_datasel.selectors.ordering import best_first, hash_numbers


if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class SoftmaxSample:
    """Keeps rows drawn without replacement, each time with probabilities softmax(score / temperature) over those left.

    Scores are first brought to mean 0 and deviation 1. Drawn by the largest keys score / temperature + Gumbel noise, the
    noise made of a keyed hash of the row's id: neither row order nor processes change a draw. A small temperature keeps
    the best, a large one draws evenly. A smaller budget is a prefix of a larger one.

    Args:
        column: score to draw by, higher is better.
        fraction: share of the pool to keep, above 0 and up to 1.
        tokens: instead of `fraction`: number of tokens the kept rows may have together; it stops at the first row that
            does not fit.
        temperature: above 0.
        length_column: tokens of each row, for `tokens`.
        seed: another seed is another, independent draw.

    Raises:
        BadBudget: not just one of `fraction` and `tokens`, or out of range; or, when ranking, a column is missing or holds
            something else, a scored row has no length, or not even the first row fits.

    Source: https://huggingface.co/papers/2402.09739 (QuRating): temperature 2.0 gave the paper's mix, 1.0 was run too.

    Example:
        >>> from datasets import Dataset
        >>> scored = Dataset.from_dict({"row_id": list("abcd"), "s": [1.0, 0.0, 2.0, 3.0]})
        >>> SoftmaxSample("s", 0.5, temperature=0.01).rank(scored)
        array([3, 2])
    """

    column: str
    fraction: float | None = None
    tokens: int | None = None
    temperature: float = 2.0
    length_column: str = "qurating_tokens"
    seed: int = 42

    def __post_init__(self) -> None:
        if (self.fraction is None) == (self.tokens is None):
            raise BadBudget(
                f"`fraction` is {shown(self.fraction)} and `tokens` {shown(self.tokens)}, expected just one of them. Give a share of "
                f"the pool, or a number of tokens."
            )
        if self.fraction is not None:
            check_fraction("fraction", self.fraction)
        else:
            check_count("tokens", self.tokens, unit="tokens")
        if not is_number(self.temperature) or not 0 < self.temperature < float("inf"):
            raise BadBudget(f"`temperature` is {shown(self.temperature)}, expected a number above 0, such as 2.0.")
        check_seed(self.seed)

    def rank(self, scored: Dataset) -> Indices:
        """Row numbers of the kept rows, in the order they were drawn."""
        best = best_first(scored, self.column)
        scores = read_numbers(scored, self.column)[best]
        if not np.isfinite(scores).all():
            raise BadBudget(
                f"`column` is {shown(self.column)}, which holds infinite scores, expected finite ones. Clip them."
            )
        keys = sampling_keys(standard(scores), gumbel(hash_numbers(scored, self.seed)[best]), self.temperature)
        drawn = best[np.argsort(-keys, kind="stable")]
        if self.fraction is not None:
            return drawn[: rows_in(self.fraction, len(scored))]
        lengths = read_numbers(scored, self.length_column, "length_column")[drawn]
        if not (lengths >= 0).all():
            raise BadBudget(
                f"`length_column` is {shown(self.length_column)}, which is missing or negative in {int(np.sum(~(lengths >= 0)))} "
                f"scored rows, expected a token count in each. Fill it in, or drop those rows first."
            )
        count = int(np.searchsorted(np.cumsum(lengths), self.tokens or 0, side="right"))
        if not count:
            raise BadBudget(
                f"`tokens` is {self.tokens}, expected at least {lengths[0]:.0f}, the length of the first row drawn. Raise "
                f"the budget, or drop rows that are too long first."
            )
        return drawn[:count]


def gumbel(uniform: Scores) -> Scores:
    """Standard Gumbel noise from numbers between 0 and 1.

    Example:
        >>> gumbel(np.array([np.exp(-1.0)]))
        array([-0.])
    """
    noise: Scores = -np.log(-np.log(uniform))
    return noise


def sampling_keys(scores: Scores, noise: Scores, temperature: float) -> Scores:
    """(n,) keys whose order, largest first, is the draw.

    Example:
        >>> sampling_keys(np.array([1.0, 0.0, 2.0]), np.array([0.1, 2.0, -0.5]), 1.0)
        array([1.1, 2. , 1.5])
    """
    keys: Scores = scores / temperature + noise
    return keys


def standard(scores: Scores) -> Scores:
    """(n,) scores with mean 0 and deviation 1; zeros where all are equal.

    Example:
        >>> standard(np.array([1.0, 3.0])), standard(np.array([2.0, 2.0]))
        (array([-1.,  1.]), array([0., 0.]))
    """
    # Summed in the order of size, so that the order of the pool does not change the rounding.
    ordered = np.sort(scores)
    deviation = ordered.std()
    found: Scores = (scores - ordered.mean()) / (deviation if deviation > 0 else 1.0)
    return found
