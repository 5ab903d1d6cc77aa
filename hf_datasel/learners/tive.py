"""`TIVE`: sums of a pool's gradients by task, so that a row can be compared with its task in one product."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from hf_datasel.errors import BadRow
from hf_datasel.proxy import Proxy
from hf_datasel.proxy.gradient_store import GradientReader, GradientStore
from hf_datasel.rows import Labels
from hf_datasel.rows.batches import rows_of
from hf_datasel.rows.identity import content_only
from hf_datasel.scorers.task_influence import TaskInfluence
from hf_datasel.scorers.with_gradients import ROWS_AT_ONCE, gradient_spec


if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class TIVE:
    """Learns what the gradients of each task of the pool add up to. Cost: 1 F + 1 B a row, 0 for rows in the store.

    With `SoftQuotas("tive_influence", task, "tive_self_influence", fraction)` harder tasks get more rows, and rows that
    agree with their task are likelier.

    Args:
        proxy: the model, warmed up on a slice of the pool (the paper: 8 %).
        store: where projected gradients lie.
        task: column that names a row's task.
        reduction: of a row's loss over its target tokens.
        labels: how rows become tokens and labels; give training the same.

    Raises:
        BadRow: the pool has no column `task`, or no row with a task and a gradient.

    Source: after TIVE (https://huggingface.co/papers/2403.09559), not a reproduction: that a row's influence on its task and
        the task's difficulty decide is from the abstract, the formulas are from memory.

    Example:
        >>> TIVE(Proxy("HuggingFaceTB/SmolLM2-135M"), GradientStore("runs/gradients"), task="source").task
        'source'
    """

    proxy: Proxy
    store: GradientStore
    task: str = "task"
    reduction: Literal["mean", "sum"] = "mean"
    labels: Labels = Labels()  # noqa: RUF009 (frozen)

    columns = TaskInfluence.columns
    algo_version = 1

    @property
    def reads(self) -> tuple[str, ...]:
        """Columns beside a row's content that decide the numbers."""
        return (self.task,)

    @property
    def needs(self) -> tuple[str, ...]:
        """Those it cannot do without."""
        return self.reads

    @property
    def spec(self) -> dict[str, Any]:
        """JSON-like account of what decides the numbers, before the fit."""
        return gradient_spec(self)

    def fit(self, pool: Dataset) -> TaskInfluence:
        """Add up the directions of the N rows of `pool` by task; return the scorer that compares with them."""
        if self.task not in pool.column_names:
            raise BadRow(f"`task` is {self.task!r}, expected a column of the pool, which has {pool.column_names}.")
        reader = GradientReader(self.store, self.proxy, self.labels, "sgd", self.reduction)
        rows = content_only(pool.with_format(None), self.labels.dataset_text_field)
        names = pool[self.task][:]
        sums: dict[str, npt.NDArray[np.float64]] = {}
        counts: dict[str, int] = {}
        for start in range(0, len(rows), ROWS_AT_ONCE):
            found = reader(rows_of(rows[start : start + ROWS_AT_ONCE])[0])
            for place in np.flatnonzero(found.scored):
                task = names[start + int(place)]
                if task is not None:
                    sums.setdefault(str(task), np.zeros(self.store.dimensions))
                    sums[str(task)] += found.directions[place]
                    counts[str(task)] = counts.get(str(task), 0) + 1
        if not counts:
            raise BadRow(f"`pool` has {len(pool)} rows and none with a task and a gradient, expected at least one.")
        return TaskInfluence(self.proxy, self.store, self.task, self.reduction, self.labels, sums, counts)
