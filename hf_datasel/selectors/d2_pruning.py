"""`D2Pruning`: rows that score high and stand for neighbours that do, spread out."""

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
from hf_datasel.selectors.embeddings import read_embeddings
from hf_datasel.selectors.neighbours import nearest
from hf_datasel.selectors.ordering import best_first


if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class D2Pruning:
    """Keeps rows picked from a graph of neighbours that pass their scores on, then take them from each other.

    Each row's score x first gains exp(-forward d) x_j from each of its k nearest rows j, at squared Euclidean distance d.
    Then the row with the largest sum is picked, ties by row id, and takes exp(-reverse d) times its sum from each of its k
    nearest rows; and so on. A smaller fraction is a prefix of a larger one. Cost: N^2 x D / 2 multiplications.

    Where the lowest score is negative all are raised by it, since a negative sum would give where it should take.

    Args:
        column: score to start from, higher is better: a difficulty such as `high_el2n`.
        embedding: column of lists of D numbers, compared as they are. Rows without one are never kept.
        fraction: share of the pool to keep, above 0 and up to 1.
        neighbours: k.
        forward: decay of what is passed on, per squared distance; at least 0.
        reverse: decay of what is taken; at least 0. Small spreads the picks out.

    Raises:
        BadBudget: a number is out of range; or, when ranking, a column is missing or holds something else.

    Source: https://huggingface.co/papers/2310.07931; defaults of COINCIDE's code. Neighbours here are exact.

    Example:
        >>> from datasets import Dataset
        >>> scored = Dataset.from_dict({"text": list("abc"), "s": [1, 0.9, 0.5], "e": [[0.0], [1.0], [10.0]]})
        >>> D2Pruning("s", "e", 1.0, neighbours=1, reverse=0.0).rank(scored)
        array([0, 2, 1])
    """

    column: str
    embedding: str
    fraction: float
    neighbours: int = 5
    forward: float = 1.0
    reverse: float = 0.4

    def __post_init__(self) -> None:
        check_fraction("fraction", self.fraction)
        check_count("neighbours", self.neighbours, unit="neighbours")
        for argument in ("forward", "reverse"):
            value = getattr(self, argument)
            if not is_number(value) or not 0 <= value < float("inf"):
                raise BadBudget(f"`{argument}` is {shown(value)}, expected a decay of at least 0, such as 0.4.")

    def rank(self, scored: Dataset) -> Indices:
        """Row numbers of the kept rows, in the order they were picked."""
        rows, vectors = read_embeddings(scored, self.embedding, best_first(scored, self.column), unit=False)
        scores = read_numbers(scored, self.column)[rows]
        if not np.isfinite(scores).all():
            raise BadBudget(
                f"`column` is {shown(self.column)}, which holds infinite scores, expected finite ones. Clip them."
            )
        scores = scores - min(0.0, float(scores.min()))
        ids, distances = nearest(vectors, self.neighbours)
        sums = passed_on(scores, ids, distances, self.forward)
        return rows[pick(sums, ids, np.exp(-self.reverse * distances), rows_in(self.fraction, len(scored)))]


def passed_on(scores: Scores, ids: npt.NDArray[np.int64], distances: Scores, decay: float) -> Scores:
    """Each row's score with what its nearest rows add to it, (n,).

    Args:
        scores: (n,) of at least 0.
        ids, distances: (n, k) nearest rows and their squared distances.
        decay: of what is passed on, over the squared distance.

    Example:
        >>> ids, distances = np.array([[1], [0], [1]]), np.array([[1.0], [1.0], [81.0]])
        >>> passed_on(np.array([1.0, 0.9, 0.5]), ids, distances, 1.0).round(4)
        array([1.3311, 1.2679, 0.5   ])
    """
    sums: Scores = scores + (np.exp(-decay * distances) * scores[ids]).sum(axis=1)
    return sums


def pick(sums: Scores, ids: npt.NDArray[np.int64], weights: Scores, count: int) -> npt.NDArray[np.int64]:
    """Rows in the order they are picked, (min(n, count),); see the class.

    Args:
        sums: (n,) what each row has after passing on.
        ids: (n, k) nearest rows.
        weights: (n, k) share of its sum that a picked row takes from each.
        count: rows to pick at most.
    """
    sums = sums.copy()
    heap = [(-value, row) for row, value in enumerate(sums.tolist())]
    heapq.heapify(heap)
    picked = np.zeros(len(sums), dtype=np.bool_)
    order: list[int] = []
    while heap and len(order) < count:
        value, row = heapq.heappop(heap)
        if picked[row] or -value != sums[row]:  # an entry from before something was taken
            continue
        picked[row] = True
        order.append(row)
        for other, weight in zip(ids[row].tolist(), weights[row].tolist(), strict=True):
            if not picked[other]:
                sums[other] -= weight * -value
                heapq.heappush(heap, (-float(sums[other]), other))
    return np.array(order, dtype=np.int64)
