"""`KCenter`: rows such that none of the pool is far from all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hf_datasel.contracts import Indices
from hf_datasel.selectors.budgets import check_fraction, rows_in
from hf_datasel.selectors.embeddings import read_embeddings


if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class KCenter:
    """Keeps, one after another, the row farthest from all rows kept so far, starting with the one nearest to the mean.

    The largest Euclidean distance of a row to its nearest kept row is at most twice the least possible. Outliers come
    first. Ties, to 5 digits of the largest distance, break by row id. A smaller fraction is a prefix of a larger one.
    Cost: N x K x D multiplications for K kept rows.

    Args:
        embedding: column of lists of D numbers, compared as they are. Rows without one are never kept.
        fraction: share of the pool to keep, above 0 and up to 1.

    Raises:
        BadBudget: the fraction is out of range; or, when ranking, there is no column of embeddings.

    Source: core-set selection, https://huggingface.co/papers/1708.00489, Algorithm 1 (without labelled rows to start from).

    Example:
        >>> from datasets import Dataset
        >>> scored = Dataset.from_dict({"text": list("abcd"), "e": [[0.0], [1.0], [2.0], [9.0]]})
        >>> KCenter("e", 0.75).rank(scored)
        array([2, 3, 0])
    """

    embedding: str
    fraction: float

    def __post_init__(self) -> None:
        check_fraction("fraction", self.fraction)

    def rank(self, scored: Dataset) -> Indices:
        """Row numbers of the kept rows, in the order they were picked."""
        rows, vectors = read_embeddings(scored, self.embedding, unit=False)
        vectors = vectors - vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
        squares = np.einsum("nd,nd->n", vectors, vectors)
        unit = max(float(squares.max()), 1e-30) * 1e-5
        count = min(rows_in(self.fraction, len(scored)), len(rows))
        picked = [int(np.round(squares / unit).argmin())]
        gaps = np.full(len(rows), np.inf)
        while len(picked) < count:
            last = picked[-1]
            gaps = np.minimum(gaps, np.round((squares - 2 * vectors @ vectors[last] + squares[last]) / unit))
            gaps[last] = -np.inf
            picked.append(int(gaps.argmax()))
        return rows[picked]
