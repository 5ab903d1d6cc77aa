"""`SemDeDup`: rows least like another of their cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from hf_datasel.contracts import Indices, Scores
from hf_datasel.errors import BadBudget, shown
from hf_datasel.selectors.budgets import check_fraction, check_seed, is_number, rows_in
from hf_datasel.selectors.clusters import check_clusters, cluster
from hf_datasel.selectors.embeddings import Vectors, read_embeddings


if TYPE_CHECKING:
    from datasets import Dataset

BLOCK = 2048


@dataclass(frozen=True)
class SemDeDup:
    """Keeps the rows least like any row before them in their cluster: of near-copies, one.

    Within a cluster rows are ordered by distance to its centroid. M is a row's largest cosine to a row before it (0 for
    the first, and where all are negative); earlier rows count even where they are not kept themselves. Rows are ranked by
    M, smallest first, ties by row id. Give a budget or a threshold. Smaller budgets are prefixes of larger ones.
    Cost: clustering, and the sum over clusters of size^2 x D multiplications.

    Args:
        embedding: column of lists of D numbers. Rows without one, or with zeros, are never kept.
        fraction: share of the pool to keep, above 0 and up to 1.
        epsilon: instead of `fraction`: keep every row with M of at most 1 - epsilon; from 0 to 1.
        order: which row of a group of near-copies stays: the `"hard"`, farthest from the centroid, or the `"easy"`.
        clusters: of the embeddings; None for the square root of the rows.
        seed: of the clustering.

    Raises:
        BadBudget: not just one of `fraction` and `epsilon`, or out of range; or, when ranking, more clusters than rows, or
            no column of embeddings.

    Source: https://huggingface.co/papers/2303.09540; its code compares with all earlier rows, and keeps the hard ones.

    Example:
        >>> from datasets import Dataset
        >>> scored = Dataset.from_dict({"text": list("abc"), "e": [[1.0, 0.0], [0.8, 0.6], [0.6, 0.8]]})
        >>> SemDeDup("e", epsilon=0.1, clusters=1).rank(scored)
        array([0, 2])
    """

    embedding: str
    fraction: float | None = None
    epsilon: float | None = None
    order: Literal["hard", "easy"] = "hard"
    clusters: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check_seed(self.seed)
        if (self.fraction is None) == (self.epsilon is None):
            raise BadBudget(
                f"`fraction` is {shown(self.fraction)} and `epsilon` {shown(self.epsilon)}, expected just one of them. Give a share "
                f"of the pool, or how far apart rows must be."
            )
        if self.fraction is not None:
            check_fraction("fraction", self.fraction)
        elif not is_number(self.epsilon) or not 0 <= self.epsilon <= 1:
            raise BadBudget(f"`epsilon` is {shown(self.epsilon)}, expected a number from 0 to 1, such as 0.05.")
        if self.order not in ("hard", "easy"):
            raise BadBudget(f"`order` is {shown(self.order)}, expected 'hard' or 'easy'. Name one of them.")
        check_clusters(self.clusters)

    def rank(self, scored: Dataset) -> Indices:
        """Row numbers of the kept rows, least like others first."""
        rows, vectors = read_embeddings(scored, self.embedding)
        labels, centroids = cluster(vectors, self.clusters, self.seed)
        closeness = np.einsum("nd,nd->n", vectors, centroids[labels])
        similarity = largest_before(vectors, labels, closeness if self.order == "hard" else -closeness)
        ranking = np.argsort(similarity, kind="stable")
        if self.epsilon is not None:
            return rows[ranking[similarity[ranking] <= 1 - self.epsilon]]
        return rows[ranking[: rows_in(self.fraction or 0.0, len(scored))]]


def largest_before(vectors: Vectors, labels: npt.NDArray[np.int64], keys: npt.NDArray[np.floating]) -> Scores:
    """Largest cosine of each row to the rows before it in its cluster, (n,), at least 0.

    Args:
        vectors: n unit vectors.
        labels: (n,) clusters.
        keys: (n,) what orders rows within a cluster, smallest first; ties in the order of the rows.
    """
    found = np.zeros(len(vectors))
    # Rounded, so that copies tie and their ids decide.
    order = np.lexsort((np.round(keys, 6), labels))
    for members in np.split(order, np.flatnonzero(np.diff(labels[order])) + 1):
        own = vectors[members]
        for start in range(0, len(members), BLOCK):
            cosines = own[start : start + BLOCK] @ own[: start + BLOCK].T
            place = np.arange(start, start + len(cosines))
            cosines[np.arange(cosines.shape[1]) >= place[:, None]] = 0.0
            found[members[place]] = cosines.max(axis=1)
    # Copies are exactly 1, whatever the rounding of their product.
    found[found > 1 - 1e-6] = 1.0
    return np.maximum(found, 0.0)
