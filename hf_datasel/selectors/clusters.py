"""Spherical k-means: clusters of directions, the same whatever the order of the pool."""

from __future__ import annotations

from math import isqrt

import numpy as np
import numpy.typing as npt

from hf_datasel.errors import BadBudget
from hf_datasel.selectors.budgets import check_count
from hf_datasel.selectors.embeddings import Vectors


BLOCK = 16_384  # rows compared with all centroids at a time
SAMPLE = 32  # rows per centroid that the start is drawn from
SAME = 1e-6  # 1 minus a cosine, below which two directions are one: float32 keeps no more


def check_clusters(clusters: int | None) -> None:
    """Refuse what is no number of clusters; None stands for the square root of the rows.

    Raises:
        BadBudget: it is no whole number of at least 1.
    """
    if clusters is not None:
        check_count("clusters", clusters, unit="clusters")


def cluster(
    vectors: Vectors, clusters: int | None, seed: int, iterations: int = 20
) -> tuple[npt.NDArray[np.int64], Vectors]:
    """Each row's cluster (n,), counted from 0 without gaps, and the clusters' unit centroids (k, D).

    Lloyd's algorithm on cosines from a k-means++ start. Cost: n x k x D multiplications an iteration. Where fewer than
    `clusters` directions differ, as among copies, there are fewer clusters.

    Args:
        vectors: n unit vectors, in an order that does not depend on the pool's.
        clusters: how many at most; None for the square root of n, rounded down.
        seed: of the start.
        iterations: at most; it ends when no row changes its cluster.

    Raises:
        BadBudget: `clusters` is more than n.

    Example:
        >>> cluster(np.eye(3, dtype=np.float32)[[0, 2, 0, 2]], 2, seed=0)[0].tolist() in ([0, 1, 0, 1], [1, 0, 1, 0])
        True
    """
    if clusters is not None and clusters > len(vectors):
        raise BadBudget(
            f"`clusters` is {clusters}, expected at most {len(vectors)}, the rows with an embedding. Lower it, or give "
            f"None for the square root of the rows."
        )
    centroids = _start(vectors, clusters or isqrt(len(vectors)), np.random.default_rng(seed))
    labels = _nearest(vectors, centroids)
    for _ in range(iterations):
        centroids = _centroids(vectors, labels, centroids)
        before, labels = labels, _nearest(vectors, centroids)
        if (labels == before).all():
            break
    used, labels = np.unique(labels, return_inverse=True)
    return labels.astype(np.int64), _centroids(vectors, labels, centroids[used])


def _start(vectors: Vectors, clusters: int, draw: np.random.Generator) -> Vectors:
    sample = vectors[draw.permutation(len(vectors))[: SAMPLE * clusters]]
    chosen = [0]
    gaps = np.ones(len(sample))
    while len(chosen) < clusters:
        gaps = np.minimum(gaps, 1.0 - sample @ sample[chosen[-1]])
        gaps[gaps < SAME] = 0.0
        if not gaps.any():
            break
        chosen.append(int(draw.choice(len(sample), p=gaps / gaps.sum())))
    centroids: Vectors = sample[chosen]
    return centroids


def _nearest(vectors: Vectors, centroids: Vectors) -> npt.NDArray[np.int64]:
    found = [(vectors[at : at + BLOCK] @ centroids.T).argmax(axis=1) for at in range(0, len(vectors), BLOCK)]
    return np.concatenate(found)


def _centroids(vectors: Vectors, labels: npt.NDArray[np.int64], old: Vectors) -> Vectors:
    """Mean directions; a cluster without rows, or without a direction, keeps its old one."""
    order = np.argsort(labels, kind="stable")
    used, starts = np.unique(labels[order], return_index=True)
    sums = np.add.reduceat(vectors[order], starts, axis=0)
    lengths = np.linalg.norm(sums, axis=1)
    has_direction = lengths > SAME
    centroids: Vectors = old.copy()
    centroids[used[has_direction]] = sums[has_direction] / lengths[has_direction, None]
    return centroids
