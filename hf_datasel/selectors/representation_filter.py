"""`RepresentationFilter`: the best rows that are not too like a better one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hf_datasel.contracts import Indices
from hf_datasel.errors import BadBudget, shown
from hf_datasel.selectors.budgets import check_fraction, is_number, rows_in
from hf_datasel.selectors.embeddings import read_embeddings
from hf_datasel.selectors.ordering import best_first


if TYPE_CHECKING:
    from datasets import Dataset

BLOCK = 1024


@dataclass(frozen=True)
class RepresentationFilter:
    """Goes through the rows best first and keeps each that is unlike all kept so far, until the budget is spent.

    Kept is a row whose largest cosine to the rows kept before it is at most `threshold`; fewer rows than the budget come
    back where no others are unlike enough. A smaller fraction is a prefix of a larger one. Ties break by row id.
    Cost: up to N x K x D multiplications for K kept rows.

    Args:
        column: score to rank by, higher is better.
        embedding: column of lists of D numbers. Rows without one, or with zeros, are never kept.
        fraction: share of the pool to keep at most, above 0 and up to 1.
        threshold: largest cosine to a kept row, from -1 to 1.

    Raises:
        BadBudget: a number is out of range; or, when ranking, a column is missing or holds something else.

    Source: DEITA, https://huggingface.co/papers/2312.15685 (Repr Filter, threshold 0.9); its code rejects above it.

    Example:
        >>> from datasets import Dataset
        >>> scored = Dataset.from_dict({"text": list("abc"), "s": [3, 2, 1], "e": [[1, 0], [0.99, 0.141], [0, 1]]})
        >>> RepresentationFilter("s", "e", 1.0).rank(scored)
        array([0, 2])
    """

    column: str
    embedding: str
    fraction: float
    threshold: float = 0.9

    def __post_init__(self) -> None:
        check_fraction("fraction", self.fraction)
        if not is_number(self.threshold) or not -1 <= self.threshold <= 1:
            raise BadBudget(f"`threshold` is {shown(self.threshold)}, expected a cosine from -1 to 1, such as 0.9.")

    def rank(self, scored: Dataset) -> Indices:
        """Row numbers of the kept rows, best first."""
        best = best_first(scored, self.column)
        rows, vectors = read_embeddings(scored, self.embedding, best)
        place = np.empty(len(scored), dtype=np.int64)
        place[best] = np.arange(len(best))
        order = np.argsort(place[rows])
        count = min(rows_in(self.fraction, len(scored)), len(rows))
        accepted = np.empty((count, vectors.shape[1]), dtype=np.float32)
        kept: list[int] = []
        for start in range(0, len(order), BLOCK):
            block = order[start : start + BLOCK]
            if kept:
                unlike = (vectors[block] @ accepted[: len(kept)].T).max(axis=1) <= self.threshold
                block = block[unlike]
            # Within a block each row meets the rows kept just before it.
            cosines = vectors[block] @ vectors[block].T
            alive = np.ones(len(block), dtype=np.bool_)
            for at in range(len(block)):
                if alive[at]:
                    accepted[len(kept)] = vectors[block[at]]
                    kept.append(block[at])
                    if len(kept) == count:
                        return rows[kept]
                    alive &= cosines[at] <= self.threshold
        return rows[kept]
