"""`Prototypes`: rows far from, or near to, the centre of their cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from hf_datasel.contracts import Indices
from hf_datasel.errors import BadBudget, shown
from hf_datasel.selectors.budgets import check_fraction, check_seed, rows_in
from hf_datasel.selectors.clusters import check_clusters, cluster
from hf_datasel.selectors.embeddings import read_embeddings


if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class Prototypes:
    """Keeps the rows whose cosine to their own centroid is smallest (hard, rare) or largest (easy, typical).

    Ties, to 6 digits, break by row id. A smaller fraction is a prefix of a larger one. Cost: clustering.

    Args:
        embedding: column of lists of D numbers. Rows without one, or with zeros, are never kept.
        fraction: share of the pool to keep, above 0 and up to 1.
        keep: `"far"` from the centroid, or `"near"`, which pays where the budget is a few rows per cluster.
        clusters: of the embeddings; None for the square root of the rows.
        seed: of the clustering.

    Raises:
        BadBudget: the fraction or an option is out of range; or, when ranking, more clusters than rows, or no column of
            embeddings.

    Source: after https://huggingface.co/papers/2206.14486 (self-supervised prototypes), which sets as many clusters as
        there are classes.

    Example:
        >>> from datasets import Dataset
        >>> scored = Dataset.from_dict({"text": list("abc"), "e": [[1.0, 0.0], [0.8, 0.6], [0.6, 0.8]]})
        >>> Prototypes("e", 1.0, clusters=1).rank(scored)
        array([0, 2, 1])
    """

    embedding: str
    fraction: float
    keep: Literal["far", "near"] = "far"
    clusters: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check_seed(self.seed)
        check_fraction("fraction", self.fraction)
        if self.keep not in ("far", "near"):
            raise BadBudget(f"`keep` is {shown(self.keep)}, expected 'far' or 'near'. Name one of them.")
        check_clusters(self.clusters)

    def rank(self, scored: Dataset) -> Indices:
        """Row numbers of the kept rows, farthest (or nearest) first."""
        rows, vectors = read_embeddings(scored, self.embedding)
        labels, centroids = cluster(vectors, self.clusters, self.seed)
        # Rounded, so that copies tie and their ids decide.
        closeness = np.round(np.einsum("nd,nd->n", vectors, centroids[labels]), 6)
        order = np.argsort(closeness if self.keep == "far" else -closeness, kind="stable")
        return rows[order[: rows_in(self.fraction, len(scored))]]
