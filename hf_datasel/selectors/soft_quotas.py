"""`SoftQuotas`: groups get rows by their weight, and draw them at random, likelier the better they score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hf_datasel.contracts import Indices, Scores
from hf_datasel.errors import BadBudget, shown
from hf_datasel.selectors.budgets import check_fraction, check_seed, is_number, rows_in
from hf_datasel.selectors.columns import read_groups, read_numbers
from hf_datasel.selectors.ordering import best_first, hash_order, place_within


if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class SoftQuotas:
    """Keeps, of every group, a number of rows in proportion to its weight, drawn by a softmax of their scores.

    A group's weight is the sum of a column over its scored rows: its mean times its size. A group that is due more than it
    has gives all, and the others share the rest by weight. Rows are drawn without replacement with probability
    proportional to exp(score / temperature), from a keyed hash of their ids: the order of the pool does not matter. The
    ranking interleaves the groups. A smaller fraction need not be a prefix of a larger one.

    Args:
        column: score, higher is likelier.
        group: column that names each row's group.
        weight: column of numbers of at least 0, such as `tive_self_influence`.
        fraction: share of the pool to keep, above 0 and up to 1.
        temperature: in units of the score; 0 takes each group's best.
        seed: of the draw.

    Raises:
        BadBudget: an option is out of range; or, when ranking, a column is missing, or weights are negative or all 0.

    Source: after TIVE (https://huggingface.co/papers/2403.09559), not a reproduction: the share rule and the temperature
        are ours.

    Example:
        >>> from datasets import Dataset
        >>> scored = Dataset.from_dict({"text": list("abcd"), "s": [1, 2, 3, 4], "g": list("xxyy"), "w": [4, 4, 1, 1]})
        >>> SoftQuotas("s", "g", "w", 0.5, temperature=0).rank(scored)
        array([1, 0])
    """

    column: str
    group: str
    weight: str
    fraction: float
    temperature: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        check_seed(self.seed)
        check_fraction("fraction", self.fraction)
        if not is_number(self.temperature) or not self.temperature >= 0:
            raise BadBudget(f"`temperature` is {shown(self.temperature)}, expected 0 (take the best) or more.")

    def rank(self, scored: Dataset) -> Indices:
        """Row numbers of the kept rows, groups interleaved, shape (K,) or shorter."""
        best = best_first(scored, self.column)
        groups = read_groups(scored, self.group, "group")[best]
        weights = read_numbers(scored, self.weight, "weight")[best]
        if not np.isfinite(weights).all() or (weights < 0).any() or not weights.any():
            raise BadBudget(
                f"`weight` is {shown(self.weight)}, which is missing, negative or 0 where rows have a score, expected finite "
                f"numbers of at least 0, and not 0 for all."
            )
        totals = np.bincount(groups, weights).astype(np.float64)
        quotas = quotas_by_weight(totals, np.bincount(groups), rows_in(self.fraction, len(scored)))
        if self.temperature > 0:
            order = np.argsort(-self._keys(scored)[best], kind="stable")
            best, groups = best[order], groups[order]
        place = place_within(groups)
        due = place < quotas[groups]
        turn = (2 * place[due] + 1) / (2 * quotas[groups[due]])
        return best[due][np.argsort(turn, kind="stable")]

    def _keys(self, scored: Dataset) -> Scores:
        """Score over temperature plus Gumbel noise: the largest k are a draw of k without replacement."""
        uniform = np.empty(len(scored))
        uniform[hash_order(scored, self.seed)] = (np.arange(len(scored)) + 0.5) / len(scored)
        return read_numbers(scored, self.column) / self.temperature - np.log(-np.log(uniform))


def quotas_by_weight(weights: Scores, sizes: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int64]:
    """Rows that each of G groups gives: by weight, at most its size, largest remainders first; ties by group.

    Example:
        >>> quotas_by_weight(np.array([8.0, 2.0]), np.array([10, 10]), 10)
        array([8, 2])
        >>> quotas_by_weight(np.array([8.0, 2.0]), np.array([3, 10]), 10)
        array([3, 7])
    """
    quotas = np.zeros(len(sizes), dtype=np.int64)
    open_groups = (weights > 0) & (sizes > 0)
    while open_groups.any():
        left = count - int(quotas.sum())
        due = np.where(open_groups, left * weights / weights[open_groups].sum(), 0.0)
        full = open_groups & (due >= sizes)
        if not full.any():
            quotas[open_groups] = np.floor(due[open_groups] + 1e-9)
            remainders = np.where(open_groups & (quotas < sizes), due - quotas, -1.0)
            order = np.argsort(-np.round(remainders, 9), kind="stable")[: max(0, count - int(quotas.sum()))]
            quotas[order[remainders[order] >= 0]] += 1
            break
        quotas[full] = sizes[full]
        open_groups &= ~full
    return quotas
