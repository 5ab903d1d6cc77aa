"""`ClusterRarity`: rows of small clusters are rare."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import ceil, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from hf_datasel.learners.semantic_diversity import NO_EMBEDDING
from hf_datasel.rows import content_only, row_digest
from hf_datasel.scorers.known_rows import KnownRows
from hf_datasel.selectors.clusters import check_clusters, cluster
from hf_datasel.selectors.embeddings import read_embeddings


if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class ClusterRarity:
    """Minus the logarithm of the share of the pool in a row's cluster, 0 or more; higher means keep. Cost: no forward pass.

    Args:
        embedding: column of lists of D numbers; clusters are of directions.
        clusters: how many; None for the square root of half the rows, rounded up.
        seed: of the start.

    Raises:
        BadBudget: `clusters` is no whole number of at least 1 or more than there are rows, or there is no such column.

    Source: an indicator of our own beside those of https://huggingface.co/papers/2605.09665.

    Example:
        >>> from datasets import Dataset
        >>> pool = Dataset.from_dict({"text": list("abcd"), "embedding": [[1, 0], [1, 0.1], [1, -0.1], [0, 1]]})
        >>> pool.map(ClusterRarity(clusters=2).fit(pool), batched=True)["cluster_rarity"][:]
        [0.2876..., 0.2876..., 0.2876..., 1.3862...]
    """

    embedding: str = "embedding"
    clusters: int | None = None
    seed: int = 42

    columns = ("cluster_rarity", "cluster_rarity_status")
    algo_version = 1

    def __post_init__(self) -> None:
        check_clusters(self.clusters)

    @property
    def reads(self) -> tuple[str, ...]:
        """Columns beside a row's content that decide the numbers."""
        return (self.embedding,)

    needs = reads

    @property
    def spec(self) -> dict[str, Any]:
        """JSON-like account of what decides the numbers, beside the rows it is fitted on."""
        return {"scorer": "ClusterRarity", "algo_version": self.algo_version, **asdict(self)}

    def fit(self, pool: Dataset) -> KnownRows:
        """Cluster the N rows of `pool`; return the scorer that knows them."""
        digests = [row_digest(row) for row in content_only(pool)]
        rows, vectors = read_embeddings(pool, self.embedding)
        labels, _ = cluster(vectors, self.clusters or ceil(sqrt(len(rows) / 2)), self.seed)
        rarity = -np.log(np.bincount(labels) / len(rows))
        scores = dict.fromkeys(digests, float("nan"))
        scores |= {digests[row]: score for row, score in zip(rows, rarity[labels].tolist(), strict=True)}
        reasons = {digest: NO_EMBEDDING for digest, score in scores.items() if np.isnan(score)}
        return KnownRows(self.columns[0], scores, reasons, self.spec)
