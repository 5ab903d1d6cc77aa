"""`S2L`: rows whose losses fell alike stand for each other; every kind gets its turn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hf_datasel.contracts import Indices
from hf_datasel.selectors.budgets import check_count, check_fraction, check_seed, rows_in
from hf_datasel.selectors.embeddings import Vectors, read_embeddings
from hf_datasel.selectors.ordering import hash_order, place_within


if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class S2L:
    """Clusters loss trajectories by k-means and draws as evenly from the clusters as their sizes allow.

    Clusters are visited from small to large; each is due an equal part of what is left to take, and gives all it has where
    that is less. Rows of a cluster are drawn by a keyed hash of their ids. The ranking takes turns over the clusters. A
    smaller fraction need not be a prefix of a larger one. Cost: N x clusters x checkpoints multiplications an iteration.

    Args:
        trajectory: column of lists of losses, one a checkpoint (see `LossTrajectoryCallback`). Rows without one, or with a
            loss that is not a number, are never kept.
        fraction: share of the pool to keep, above 0 and up to 1.
        clusters: how many at most; fewer where fewer trajectories differ.
        seed: of clustering and draw.

    Raises:
        BadBudget: an option is out of range; or, when ranking, no row has a trajectory.

    Source: after S2L (https://huggingface.co/papers/2403.07384): k-means with 100 clusters on the losses as they are; the
        order of visits and the even shares are from memory of the paper, whose sampler was not at hand: not a
        reproduction.

    Example:
        >>> from datasets import Dataset
        >>> losses = [[3.0, 1.0], [3.0, 3.0], [3.1, 3.0], [2.9, 3.0]]
        >>> sorted(S2L("losses", 0.5, clusters=2).rank(Dataset.from_dict({"text": list("abcd"), "losses": losses})))[0]
        np.int64(0)
    """

    trajectory: str
    fraction: float
    clusters: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        check_seed(self.seed)
        check_fraction("fraction", self.fraction)
        check_count("clusters", self.clusters, unit="clusters")

    def rank(self, scored: Dataset) -> Indices:
        """Row numbers of the kept rows, clusters taking turns, shape (K,) or shorter."""
        rows, vectors = read_embeddings(scored, self.trajectory, unit=False, argument="trajectory")
        labels = np.full(len(scored), -1, dtype=np.int64)
        labels[rows] = trajectory_clusters(vectors, self.clusters, self.seed)
        order = hash_order(scored, self.seed)
        order = order[labels[order] >= 0]
        groups = labels[order]
        quotas = balanced_quotas(np.bincount(groups), rows_in(self.fraction, len(scored)))
        place = place_within(groups)
        due = place < quotas[groups]
        return order[due][np.argsort(place[due], kind="stable")]


def balanced_quotas(sizes: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int64]:
    """Rows that each cluster gives, `count` in all where there are as many.

    Example:
        >>> balanced_quotas(np.array([10, 1, 4]), 9)
        array([4, 1, 4])
    """
    quotas = np.zeros(len(sizes), dtype=np.int64)
    for visited, group in enumerate(np.argsort(sizes, kind="stable")):
        quotas[group] = min(int(sizes[group]), (count - int(quotas.sum())) // (len(sizes) - visited))
    return quotas


def trajectory_clusters(vectors: Vectors, clusters: int, seed: int, iterations: int = 50) -> npt.NDArray[np.int64]:
    """Each row's cluster (n,), counted from 0 without gaps: Lloyd's algorithm from a k-means++ start.

    Args:
        vectors: (n, checkpoints), in an order that does not depend on the pool's.
        clusters: how many at most.
        seed: of the start.
        iterations: at most; it ends when no row changes its cluster.

    Example:
        >>> labels = trajectory_clusters(np.array([[0.0], [9.0], [0.1], [9.1]], np.float32), 2, seed=0)
        >>> bool(labels[0] == labels[2] != labels[1] == labels[3])
        True
    """
    points = vectors.astype(np.float64)
    centres = _start(points, clusters, np.random.default_rng(seed))
    labels = _nearest(points, centres)
    for _ in range(iterations):
        counts = np.bincount(labels, minlength=len(centres))
        sums = np.stack([np.bincount(labels, column, len(centres)) for column in points.T], axis=1)
        centres = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], centres)
        before, labels = labels, _nearest(points, centres)
        if (labels == before).all():
            break
    return np.unique(labels, return_inverse=True)[1].astype(np.int64)


def _start(points: npt.NDArray[np.float64], clusters: int, draw: np.random.Generator) -> npt.NDArray[np.float64]:
    chosen = [int(draw.integers(len(points)))]
    gaps = np.full(len(points), np.inf)
    while len(chosen) < clusters:
        gaps = np.minimum(gaps, ((points - points[chosen[-1]]) ** 2).sum(axis=1))
        if not gaps.any():  # as many as there are different trajectories
            break
        chosen.append(int(draw.choice(len(points), p=gaps / gaps.sum())))
    return points[chosen]


def _nearest(points: npt.NDArray[np.float64], centres: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    half = (centres**2).sum(axis=1) / 2
    found = [(points[at : at + 16_384] @ centres.T - half).argmax(axis=1) for at in range(0, len(points), 16_384)]
    return np.concatenate(found)
