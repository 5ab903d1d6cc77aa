"""`SemanticDiversity`: how far a row lies from the rows of its pool that are most like it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hf_datasel.errors import BadRow
from hf_datasel.rows import content_only, row_digest
from hf_datasel.scorers.known_rows import KnownRows
from hf_datasel.selectors.budgets import check_count
from hf_datasel.selectors.embeddings import read_embeddings
from hf_datasel.selectors.neighbours import nearest


if TYPE_CHECKING:
    from datasets import Dataset

NO_EMBEDDING = "no_embedding"


@dataclass(frozen=True)
class SemanticDiversity:
    """One minus the mean cosine to a row's nearest other rows of the pool, 0 (copies) to 2; higher means keep.

    Cost: no forward pass; N^2 x D / 2 multiplications at most.

    Args:
        embedding: column of lists of D numbers.
        neighbours: how many; all others where the pool has fewer.

    Raises:
        BadBudget: `neighbours` is no whole number of at least 1, or there is no such column, or no embedding in it.
        BadRow: fewer than two rows have an embedding.

    Source: an indicator that https://huggingface.co/papers/2605.09665 names and whose definition is not known here: a design
        after its abstract, not a reproduction. 10 neighbours are our choice.

    Example:
        >>> from datasets import Dataset
        >>> pool = Dataset.from_dict({"text": ["a", "b", "c"], "embedding": [[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]]})
        >>> pool.map(SemanticDiversity(neighbours=1).fit(pool), batched=True)["semantic_diversity"][:]
        [0.4000..., 0.2000..., 0.2000...]
    """

    embedding: str = "embedding"
    neighbours: int = 10

    columns = ("semantic_diversity", "semantic_diversity_status")
    algo_version = 1

    def __post_init__(self) -> None:
        check_count("neighbours", self.neighbours, unit="rows")

    @property
    def reads(self) -> tuple[str, ...]:
        """Columns beside a row's content that decide the numbers."""
        return (self.embedding,)

    needs = reads

    @property
    def spec(self) -> dict[str, Any]:
        """JSON-like account of what decides the numbers, beside the rows it is fitted on."""
        return {"scorer": "SemanticDiversity", "algo_version": self.algo_version, **asdict(self)}

    def fit(self, pool: Dataset) -> KnownRows:
        """Compare the N rows of `pool`; return the scorer that knows them."""
        digests = [row_digest(row) for row in content_only(pool)]
        rows, vectors = read_embeddings(pool, self.embedding)
        if len(rows) < 2:
            raise BadRow(f"`pool` has {len(rows)} row with an embedding, expected two to compare.")
        _, gaps = nearest(vectors, self.neighbours)
        scores = dict.fromkeys(digests, float("nan"))
        # Of unit vectors, half the squared distance is 1 minus the cosine.
        scores |= {digests[row]: gap for row, gap in zip(rows, (gaps / 2).mean(1).tolist(), strict=True)}
        reasons = {digest: NO_EMBEDDING for digest, score in scores.items() if np.isnan(score)}
        return KnownRows(self.columns[0], scores, reasons, self.spec)
