"""`Coincide`: more rows of clusters that transfer and are spread out, and rows that stand for their cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hf_datasel.contracts import Indices, Scores
from hf_datasel.errors import BadBudget, shown
from hf_datasel.selectors.budgets import check_fraction, check_seed, is_number, rows_in
from hf_datasel.selectors.clusters import check_clusters, cluster
from hf_datasel.selectors.embeddings import Vectors, read_embeddings


if TYPE_CHECKING:
    from datasets import Dataset

TWINS = 0.9  # centroids more alike than this say nothing about transfer


@dataclass(frozen=True)
class Coincide:
    """Shares the budget out over clusters by exp(T / (temperature x D)), and keeps of each the rows most like all of it.

    T, transferability, is a centroid's mean cosine to the centroids that it has a cosine of at most 0.9 with (0 without
    any). D, density, is the mean Gaussian kernel exp(-d^2 / 2) over all pairs of a cluster's unit embeddings, a row with
    itself included. Clusters take their part of what is left, rounded, largest share first; one that is due more than it
    has gives all of it. Fewer rows than the budget may come back where the last clusters are small. Within a cluster rows
    are picked one by one so that the maximum mean discrepancy between picks and cluster is least, ties by row id.

    The ranking interleaves the clusters by (place - 0.5) / part. Budgets need not be nested. The largest cluster's square
    is held in memory.

    Args:
        embedding: column of lists of D numbers. Rows without one, or with zeros, are never kept.
        fraction: share of the pool to keep, above 0 and up to 1.
        temperature: above 0; small gives nearly all to the first clusters.
        clusters: of the embeddings; None for the square root of the rows. The paper: 10,000 of 665 thousand.
        seed: of the clustering.

    Raises:
        BadBudget: a number is out of range; or, when ranking, more clusters than rows, or no column of embeddings.

    Source: https://huggingface.co/papers/2406.10995 and its code. There, transferability looks at the text half of the
        embedding alone; here at all of it.

    Example:
        >>> from datasets import Dataset
        >>> scored = Dataset.from_dict({"text": list("abc"), "e": [[1.0, 0.0], [0.8, 0.6], [0.6, 0.8]]})
        >>> Coincide("e", 0.4, clusters=1).rank(scored)
        array([1])
    """

    embedding: str
    fraction: float
    temperature: float = 0.1
    clusters: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check_seed(self.seed)
        check_fraction("fraction", self.fraction)
        check_clusters(self.clusters)
        if not is_number(self.temperature) or not 0 < self.temperature < float("inf"):
            raise BadBudget(f"`temperature` is {shown(self.temperature)}, expected a number above 0, such as 0.1.")

    def rank(self, scored: Dataset) -> Indices:
        """Row numbers of the kept rows, clusters interleaved."""
        rows, vectors = read_embeddings(scored, self.embedding)
        labels, centroids = cluster(vectors, self.clusters, self.seed)
        order = np.argsort(labels, kind="stable")
        groups = np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)
        density = np.array([kernel(vectors[members]).mean() for members in groups])
        shares = cluster_shares(transferability(centroids), density, self.temperature)
        sizes = np.array([len(members) for members in groups])
        quotas = cluster_quotas(shares, sizes, rows_in(self.fraction, len(scored)))
        picks = [
            members[least_discrepancy(kernel(vectors[members]), quota)]
            for members, quota in zip(groups, quotas, strict=True)
        ]
        kept = np.concatenate(picks)
        quantiles = np.concatenate([(np.arange(quota) + 0.5) / max(1, quota) for quota in quotas])
        return rows[kept[np.argsort(quantiles, kind="stable")]]


def kernel(vectors: Vectors) -> Scores:
    """exp(-d^2 / 2) of n rows, (n, n) float64, rounded to 9 digits so that copies tie.

    Example:
        >>> kernel(np.array([[0.0], [1.0], [2.0]], dtype=np.float32)).mean(axis=0).round(3)
        array([0.581, 0.738, 0.581])
    """
    wide = vectors.astype(np.float64)
    squares = np.einsum("nd,nd->n", wide, wide)
    gaps = np.maximum(squares[:, None] + squares - 2 * wide @ wide.T, 0.0)
    values: Scores = np.round(np.exp(-gaps / 2), 9)
    return values


def transferability(centroids: Vectors) -> Scores:
    """Mean cosine of each of k unit centroids to those it is not a twin of, (k,); 0 where all are twins."""
    cosines = centroids.astype(np.float64) @ centroids.T
    counts = cosines <= TWINS
    np.fill_diagonal(counts, False)
    means: Scores = (cosines * counts).sum(axis=1) / np.maximum(counts.sum(axis=1), 1)
    return means


def cluster_shares(transfer: Scores, density: Scores, temperature: float) -> Scores:
    """Share of each cluster, summing to 1.

    Example:
        >>> cluster_shares(np.array([0.4, 0.2, 0.3]), np.array([0.5, 0.5, 1.0]), 1.0).round(3)
        array([0.439, 0.294, 0.266])
    """
    logits = transfer / (temperature * density)
    weights = np.exp(logits - logits.max())
    shares: Scores = weights / weights.sum()
    return shares


def cluster_quotas(shares: Scores, sizes: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int64]:
    """Rows of each cluster, (k,).

    Example:
        >>> cluster_quotas(np.array([0.439, 0.294, 0.266]), np.array([9, 9, 9]), 10)
        array([4, 3, 3])
    """
    quotas = np.zeros(len(shares), dtype=np.int64)
    order = np.argsort(-shares, kind="stable")
    # What is shared by a cluster and those after it, summed smallest first: differences would lose the small ones.
    rest = np.cumsum(shares[order][::-1])[::-1]
    for place, which in enumerate(order):
        part = shares[which] / rest[place] if rest[place] > 0 else 1 / (len(order) - place)
        quotas[which] = min(int(count * part + 0.5), sizes[which], count)
        count -= int(quotas[which])
    return quotas


def least_discrepancy(kernels: Scores, count: int) -> npt.NDArray[np.int64]:
    """Rows of a cluster in the order they are picked, (count,).

    Args:
        kernels: (n, n).
        count: rows to pick, at most n.
    """
    mean = kernels.mean(axis=0)
    to_picks = np.zeros(len(kernels))
    picked: list[int] = []
    for number in range(1, count + 1):
        # What a row adds to MMD^2 = mean kernel among picks - 2 x mean kernel of picks and cluster, but for constants.
        cost = np.round(to_picks / number - mean, 9)
        cost[picked] = np.inf
        picked.append(int(cost.argmin()))
        to_picks += kernels[picked[-1]]
    return np.array(picked, dtype=np.int64)
