"""The vocabulary: what a scorer, a learner, a rule and a selection are.

Plain structural types: anything with these attributes takes part, no inheritance needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt


if TYPE_CHECKING:
    from datasets import Dataset


Batch: TypeAlias = Mapping[str, Sequence[Any]]
"""Columns of B rows, as `Dataset.map(batched=True)` hands them over."""

Columns: TypeAlias = dict[str, Any]
"""New columns of B rows. Scores are float64 arrays of shape (B,), NaN where a row was not scored."""

Scores: TypeAlias = npt.NDArray[np.float64]
"""Shape (B,) or (N,). Higher always means keep; NaN means not scored."""

Indices: TypeAlias = npt.NDArray[np.int64]
"""Row numbers of a dataset, best first, no repeats."""


@runtime_checkable
class Scorer(Protocol):
    """Gives each row a number that depends on the row alone, not on its neighbours in the batch.

    A frozen dataclass whose fields are its recipe. `columns[0]` is the score (of an embedding, a vector for the rules that
    compare rows); `<score>_status` says `"ok"` or why a row has none. One that reads columns beside a row's training
    content names them in a property `reads`, and those of them that it cannot do without in `needs`. Columns of lists of numbers
    are named in `vectors`.
    """

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns a call writes, the score first."""
        ...

    def __call__(self, batch: Batch, rank: int | None = None) -> Columns:
        """Score B rows. `rank` is what `Dataset.map(with_rank=True)` passes."""
        ...


@runtime_checkable
class Learner(Protocol):
    """Must see the whole pool before it can score; never changes itself.

    One that stands in a recipe knows before the fit what its scorer will write (`columns`) and read (`reads`, `needs`),
    and what decides its numbers (`spec`).
    """

    def fit(self, pool: Dataset) -> Scorer:
        """Learn from the N rows of `pool`; return the scorer learned."""
        ...


@runtime_checkable
class Rule(Protocol):
    """Picks rows from scored columns. A frozen dataclass without a model."""

    def rank(self, scored: Dataset) -> Indices:
        """Row numbers of the rows to keep, best first. Never a row whose score is NaN."""
        ...


@runtime_checkable
class Selection(Protocol):
    """What a rule kept of a pool, and everything needed to say so again (see `selectors.selection.Selection`)."""

    @property
    def kept(self) -> Dataset:
        """The K kept rows, best first."""
        ...

    @property
    def dropped(self) -> Dataset:
        """The N - K other rows, in pool order."""
        ...

    def __call__(self, batch: Batch, indices: Sequence[int]) -> list[bool]:
        """Which rows of a batch were kept; for `Dataset.filter(selection, with_indices=True, batched=True)`."""
        ...
