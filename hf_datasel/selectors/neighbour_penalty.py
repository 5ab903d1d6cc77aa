"""`NeighbourPenalty`: the best rows, each taking from the score of the rows most like it."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hf_datasel.contracts import Indices, Scores
from hf_datasel.errors import BadBudget, shown
from hf_datasel.selectors.budgets import check_count, check_fraction, is_number, rows_in
from hf_datasel.selectors.columns import read_numbers
from hf_datasel.selectors.embeddings import Vectors, read_embeddings
from hf_datasel.selectors.ordering import best_first


if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class NeighbourPenalty:
    """Keeps the row with the highest score, lowers the scores of the nearest that are left, and goes on.

    Each of the `neighbours` nearest rows that are not kept yet loses `penalty` x cosine^2 x the kept row's score, which has
    its own losses behind it. Scores are counted from the lowest of the pool, so that none is below 0 and a penalty never
    adds. A smaller fraction is a prefix of a larger one. Ties break by row id. Cost: K x N x D multiplications for K kept rows.

    Args:
        column: score to rank by, higher is better.
        embedding: column of lists of D numbers. Rows without one, or with zeros, are never kept.
        fraction: share of the pool to keep, above 0 and up to 1.
        penalty: gamma, at least 0; with 0 it is `TopFraction`.
        neighbours: rows that each kept row takes from.

    Raises:
        BadBudget: a number is out of range; or, when ranking, a column is missing, holds something else, or infinite scores.

    Source: Self-Filter, https://huggingface.co/papers/2402.12501 (gamma 1, 10 nearest of those left). A design after it:
        that the score is the kept row's, and counts from the lowest, is our reading.

    Example:
        >>> from datasets import Dataset
        >>> scored = Dataset.from_dict({"text": list("abc"), "s": [3, 2, 1], "e": [[1, 0], [1, 0], [0, 1]]})
        >>> NeighbourPenalty("s", "e", 1.0, neighbours=1).rank(scored)
        array([0, 2, 1])
    """

    column: str
    embedding: str
    fraction: float
    penalty: float = 1.0
    neighbours: int = 10

    def __post_init__(self) -> None:
        check_fraction("fraction", self.fraction)
        check_count("neighbours", self.neighbours, unit="neighbours")
        if not is_number(self.penalty) or not 0 <= self.penalty < float("inf"):
            raise BadBudget(f"`penalty` is {shown(self.penalty)}, expected a number of at least 0, such as 1.0.")

    def rank(self, scored: Dataset) -> Indices:
        """Row numbers of the kept rows, in the order they were picked."""
        rows, vectors = read_embeddings(scored, self.embedding, best_first(scored, self.column))
        scores = read_numbers(scored, self.column)[rows]
        if not np.isfinite(scores).all():
            raise BadBudget(
                f"`column` is {shown(self.column)}, which holds infinite scores, expected finite ones. Clip them."
            )
        count = min(rows_in(self.fraction, len(scored)), len(rows))
        return rows[pick(scores - scores.min(), vectors, count, self.penalty, self.neighbours)]


def pick(scores: Scores, vectors: Vectors, count: int, penalty: float, neighbours: int) -> npt.NDArray[np.int64]:
    """Rows in the order they are picked, (count,); see the class.

    Args:
        scores: (n,) of at least 0.
        vectors: (n, D) of length 1.
        count: rows to pick.
        penalty, neighbours: see the class.
    """
    scores = scores.copy()
    heap = [(-value, row) for row, value in enumerate(scores.tolist())]
    heapq.heapify(heap)
    left = np.ones(len(scores), dtype=np.bool_)
    order: list[int] = []
    while len(order) < count:
        value, row = heapq.heappop(heap)
        if not left[row] or -value != scores[row]:  # an entry from before something was taken
            continue
        left[row] = False
        order.append(row)
        if not penalty or len(order) == count:
            continue
        cosines = np.where(left, vectors @ vectors[row], -np.inf)
        near = (
            np.argsort(-cosines, kind="stable")[:neighbours]
            if len(scores) <= neighbours
            else _largest(cosines, neighbours)
        )
        near = near[left[near]]
        scores[near] -= penalty * cosines[near].astype(np.float64) ** 2 * max(0.0, -value)
        for other in near.tolist():
            heapq.heappush(heap, (-float(scores[other]), other))
    return np.array(order, dtype=np.int64)


def _largest(values: npt.NDArray[np.float32], count: int) -> npt.NDArray[np.int64]:
    """Places of the `count` largest values; equal ones by place."""
    bound = np.partition(values, len(values) - count)[len(values) - count]
    found = np.flatnonzero(values >= bound)
    return found[np.argsort(-values[found], kind="stable")][:count]
