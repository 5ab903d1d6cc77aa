"""Scores of rows that a learner has seen, by what the rows hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import numpy as np

from hf_datasel.contracts import Batch, Columns
from hf_datasel.rows import row_digest
from hf_datasel.rows.batches import rows_of


NOT_IN_POOL = "not_in_pool"


@dataclass(frozen=True)
class KnownRows:
    """Scores that mean something only beside the rest of a pool, looked up by a row's content. Higher means keep.

    Cost: no forward pass.

    Args:
        name: of the score.
        scores: of each row, by its digest (see `rows.row_digest`); NaN where it has none.
        reasons: why not, by digest.
        learner: what a learner says about how they were made, JSON-like.

    Writes:
        the score, and `<score>_status`: `"ok"`, the reason, or `"not_in_pool"`.

    Example:
        >>> from hf_datasel.rows import row_digest
        >>> scorer = KnownRows("rarity", {row_digest({"text": "a"}): 2.0})
        >>> scorer({"text": ["a", "b"]})["rarity_status"]
        ['ok', 'not_in_pool']
    """

    name: str
    scores: Mapping[str, float] = field(repr=False)
    reasons: Mapping[str, str] = field(default_factory=dict, repr=False)
    learner: Mapping[str, Any] = field(default_factory=dict)

    algo_version = 1

    @property
    def columns(self) -> tuple[str, ...]:
        """What a call writes, the score first."""
        return (self.name, f"{self.name}_status")

    @property
    def _digest(self) -> str:
        whole = repr(sorted(self.scores.items())) + repr(sorted(self.reasons.items()))
        return blake2b(whole.encode(), digest_size=16).hexdigest()

    @property
    def spec(self) -> dict[str, Any]:
        """JSON-like account of what decides the numbers."""
        return {"scorer": "KnownRows", "algo_version": self.algo_version, "name": self.name,
                "learner": dict(self.learner), "rows": len(self.scores), "digest": self._digest}  # fmt: skip

    def __call__(self, batch: Batch, rank: int | None = None) -> Columns:
        """Look B rows (or one) up."""
        rows, single = rows_of(batch)
        digests = [row_digest(row) for row in rows]
        scores = np.array([self.scores.get(digest, np.nan) for digest in digests], dtype=np.float64)
        status = [self._status(digest) for digest in digests]
        columns: Columns = dict(zip(self.columns, (scores, status), strict=True))
        return {name: values[0] for name, values in columns.items()} if single else columns

    def _status(self, digest: str) -> str:
        if digest not in self.scores:
            return NOT_IN_POOL
        return (
            "no_score"
            if np.isnan(self.scores[digest]) and digest not in self.reasons
            else self.reasons.get(digest, "ok")
        )
