"""Scores that were found for the rows of one pool, and are looked up by a row's content."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hf_datasel.contracts import Batch, Columns
from hf_datasel.rows import row_digest
from hf_datasel.rows.batches import rows_of
from hf_datasel.rows.journal import spec_key


UNKNOWN = "not_in_the_pool"


@dataclass(frozen=True)
class LookedUp:
    """Numbers by a row's content. Made by learners that must compute all rows' at once. Cost: 0 F.

    Args:
        columns: the score, its status, and further numbers.
        values: by row digest: the score, the status, the further numbers.
        made_by: spec of the learner.
        text_field: see `row_digest`.
        dimensions: of a score that is a vector; None for a number.

    Example:
        >>> known = {row_digest({"text": "a"}): (1.5, "ok")}
        >>> LookedUp(("s", "s_status"), known)({"text": ["a", "b"]})
        {'s': array([1.5, nan]), 's_status': ['ok', 'not_in_the_pool']}
    """

    columns: tuple[str, ...]
    values: Mapping[str, tuple[Any, ...]] = field(default_factory=dict, repr=False)
    made_by: Mapping[str, Any] = field(default_factory=dict)
    text_field: str = "text"
    dimensions: int | None = None

    @property
    def spec(self) -> dict[str, Any]:
        """JSON-like account of what decides the numbers."""
        values = spec_key({name: list(value) for name, value in self.values.items()})
        return {"scorer": "LookedUp", "columns": list(self.columns), "made_by": dict(self.made_by), "values": values}

    def __call__(self, batch: Batch, rank: int | None = None) -> Columns:
        """Look B rows (or one) up."""
        rows, single = rows_of(batch)
        nothing = np.nan if self.dimensions is None else [np.nan] * self.dimensions
        none = (nothing, UNKNOWN, *[np.nan] * (len(self.columns) - 2))
        found = [self.values.get(row_digest(row, self.text_field), none) for row in rows]
        columns: Columns = {}
        for place, name in enumerate(self.columns):
            values = [its[place] for its in found]
            columns[name] = values if place == 1 else np.array(values, np.float64)
        return {name: its[0] for name, its in columns.items()} if single else columns
