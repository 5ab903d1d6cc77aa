"""`FacilityLocation`: rows that together stand for all others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hf_datasel.contracts import Indices, Scores
from hf_datasel.selectors.budgets import check_fraction, check_seed, rows_in
from hf_datasel.selectors.clusters import check_clusters, cluster
from hf_datasel.selectors.embeddings import Vectors, read_embeddings


if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class FacilityLocation:
    """Keeps the rows that raise most the sum, over all rows, of the largest cosine to a kept row of their own cluster.

    Picked greedily: at each pick the row with the largest gain, ties by row id, within 1 - 1/e of the best set. Negative
    cosines count as 0. With `clusters=1` every row can stand for every other, at N x N numbers in memory; with more, a row
    stands for its cluster alone, at the largest cluster's square. A smaller fraction is a prefix of a larger one.

    Args:
        embedding: column of lists of D numbers. Rows without one, or with zeros, are never kept.
        fraction: share of the pool to keep, above 0 and up to 1.
        clusters: of the embeddings; None for the square root of the rows.
        seed: of the clustering.

    Raises:
        BadBudget: the fraction or `clusters` is out of range; or, when ranking, more clusters than rows, or no column of
            embeddings.

    Source: greedy guarantee of Nemhauser, Wolsey and Fisher (1978). Parting the rows by cluster is ours, for size.

    Example:
        >>> from datasets import Dataset
        >>> scored = Dataset.from_dict({"text": list("abc"), "e": [[1.0, 0.0], [0.8, 0.6], [0.6, 0.8]]})
        >>> FacilityLocation("e", 1.0, clusters=1).rank(scored)
        array([1, 0, 2])
    """

    embedding: str
    fraction: float
    clusters: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check_seed(self.seed)
        check_fraction("fraction", self.fraction)
        check_clusters(self.clusters)

    def rank(self, scored: Dataset) -> Indices:
        """Row numbers of the kept rows, in the order they were picked."""
        rows, vectors = read_embeddings(scored, self.embedding)
        labels, _ = cluster(vectors, self.clusters, self.seed)
        count = rows_in(self.fraction, len(scored))
        order = np.argsort(labels, kind="stable")
        picks, gains = [], []
        for members in np.split(order, np.flatnonzero(np.diff(labels[order])) + 1):
            picked, gain = greedy(vectors[members], count)
            picks.append(members[picked])
            gains.append(gain)
        # Clusters do not share gains and a cluster's gains fall: merged by gain, this is the greedy order of all rows.
        pick, gain = np.concatenate(picks), np.concatenate(gains)
        return rows[pick[np.argsort(-gain, kind="stable")[:count]]]


def greedy(vectors: Vectors, count: int) -> tuple[npt.NDArray[np.int64], Scores]:
    """Rows of a cluster in the order they are picked, and the gain of each, both (min(n, count),).

    Args:
        vectors: n unit vectors.
        count: rows to pick at most.
    """
    # Rounded, so that copies are equal whatever the rounding of their products, and the first by id wins.
    cosines = np.round(np.maximum(vectors @ vectors.T, 0.0).astype(np.float64), 6)
    best = np.zeros(len(vectors))
    gains = cosines.sum(axis=0)
    picked, gained = [], []
    for _ in range(min(count, len(vectors))):
        pick = int(np.round(gains, 6).argmax())
        picked.append(pick)
        gained.append(max(round(float(gains[pick]), 6), 0.0))
        nearer = np.flatnonzero(cosines[:, pick] > best)
        own = cosines[nearer]
        before, after = best[nearer, None], cosines[nearer, pick, None]
        gains -= (np.maximum(own, before) - before - np.maximum(own - after, 0.0)).sum(axis=0)
        best[nearer] = after[:, 0]
        gains[pick] = -np.inf
    return np.array(picked, dtype=np.int64), np.minimum.accumulate(np.array(gained))
