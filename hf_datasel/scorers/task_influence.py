"""How well a row's gradient agrees with those of its own task in the pool: what `TIVE` learns to measure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from hf_datasel.contracts import Batch, Columns, Scores
from hf_datasel.proxy import Proxy
from hf_datasel.proxy.gradient_store import GradientReader, GradientStore
from hf_datasel.rows import Labels
from hf_datasel.rows.batches import rows_of, warn_unbatched
from hf_datasel.scorers.with_gradients import ROWS_AT_ONCE, gradient_spec
from hf_datasel.scorers.with_proxy import restore, state_of


NO_TASK = "no_task"


@dataclass(frozen=True)
class TaskInfluence:
    """Mean cosine of a row's projected gradient with those of the other rows of its task; -1 to 1. Higher means keep.

    Made by `TIVE.fit`, for the rows it saw: a row's own part is taken out of its task's sum. Cost: 1 F + 1 B a row, 0 for
    rows that the store has.

    Args:
        proxy, store, reduction, labels: as the learner had them.
        task: column that names a row's task.
        sums: by task: (K,) sum of the directions of its rows.
        counts: by task: how many rows are in the sum.

    Writes:
        `tive_influence` (the score), `tive_influence_status`, `tive_self_influence` (|g|^2, exact, not projected): its
        mean over a task is the task's difficulty.

    Example:
        >>> scorer = TaskInfluence(Proxy("m"), GradientStore("s"), "task", sums={}, counts={})
        >>> scorer.columns
        ('tive_influence', 'tive_influence_status', 'tive_self_influence')
    """

    proxy: Proxy
    store: GradientStore
    task: str
    reduction: Literal["mean", "sum"] = "mean"
    labels: Labels = Labels()  # noqa: RUF009 (frozen)
    sums: Mapping[str, npt.NDArray[np.float64]] = field(default_factory=dict, repr=False)
    counts: Mapping[str, int] = field(default_factory=dict, repr=False)

    columns = ("tive_influence", "tive_influence_status", "tive_self_influence")
    algo_version = 1

    @property
    def reads(self) -> tuple[str, ...]:
        """Columns beside a row's content that decide its numbers."""
        return (self.task,)

    @property
    def spec(self) -> dict[str, Any]:
        """JSON-like account of what decides the numbers, for provenance and for keys."""
        digest = blake2b(digest_size=16)
        for name in sorted(self.sums):
            digest.update(name.encode() + self.sums[name].tobytes())
        return {**gradient_spec(self), "sums": digest.hexdigest(), "counts": dict(sorted(self.counts.items()))}

    def __getstate__(self) -> dict[str, Any]:
        return state_of(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        restore(self, state)

    def __call__(self, batch: Batch, rank: int | None = None) -> Columns:
        """Score B rows (or one): see the class."""
        rows, single = rows_of(batch)
        if single:
            warn_unbatched(type(self).__name__)
        if "_loaded" not in self.__dict__:
            reader = GradientReader(self.store, self.proxy, self.labels, "sgd", self.reduction, rank)
            self.__dict__["_loaded"] = reader
        parts = [self._part(rows[at : at + ROWS_AT_ONCE]) for at in range(0, len(rows), ROWS_AT_ONCE)]
        influence, self_influence = (np.concatenate([part[place] for part in parts]) for place in (0, 2))
        values: tuple[Any, ...] = (influence, [status for part in parts for status in part[1]], self_influence)
        columns = dict(zip(self.columns, values, strict=True))
        return {name: its[0] for name, its in columns.items()} if single else columns

    def _part(self, rows: Sequence[Mapping[str, Any]]) -> tuple[Scores, list[str], Scores]:
        found, status = self.__dict__["_loaded"](rows), []
        influence = np.full(len(rows), np.nan)
        for place, row in enumerate(rows):
            name = str(row.get(self.task))
            known = row.get(self.task) is not None and name in self.sums
            status.append(found.status[place] if known or not found.scored[place] else NO_TASK)
            if known and found.scored[place]:
                own = found.directions[place].astype(np.float64)
                influence[place] = influence_on_task(own, self.sums[name], self.counts[name])
        return influence, status, np.where(np.isnan(influence), np.nan, found.gradient_norms**2)


def influence_on_task(own: npt.NDArray[np.float64], total: npt.NDArray[np.float64], count: int) -> float:
    """Mean inner product of a direction with the other directions of its task; 0 for a row that is alone in it.

    Args:
        own: (K,).
        total: (K,) sum over the task, `own` with it.
        count: rows of the task.

    Example:
        >>> own = np.array([1.0, 0.0])
        >>> round(influence_on_task(own, own + [0.8, 0.6] + [0.6, 0.8], 3), 6)
        0.7
    """
    return float(own @ (total - own)) / (count - 1) if count > 1 else 0.0
