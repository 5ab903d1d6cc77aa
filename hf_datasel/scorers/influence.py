"""The derivative of a row's loss along a direction that a learner found: influence, once the Hessian is inverted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from hf_datasel.contracts import Batch, Columns
from hf_datasel.proxy import Proxy
from hf_datasel.proxy.batch_size import max_tokens
from hf_datasel.rows import Labels
from hf_datasel.scorers.with_anchors import refuse_anchors
from hf_datasel.scorers.with_proxy import call, loaded_proxy, restore, spec_of, state_of, status_of, token_batches


if TYPE_CHECKING:
    from hf_datasel.proxy.engines.task import Engine


@dataclass(frozen=True)
class Influence:
    """Fall in anchor loss per unit of a row's weight in the training loss, in nats per token. Higher means keep.

    Made by `InfluenceFunction.fit`. Cost: as `first_order` of `OneStepTrain`, 2.5 to 2.6 F.

    Args:
        proxy, anchors, reduction, labels: as the learner had them.
        direction: (H + damping I)^-1 g_V, by parameter.
        solved: how it was found.

    Writes:
        `influence` (the score), `influence_status`, `influence_up_weighting` (minus the score: the I of Koh and Liang,
        negative where a row helps) and `influence_row_loss` (nats).

    Example:
        >>> Influence(Proxy("m"), [], direction={}).columns[2]
        'influence_up_weighting'
    """

    proxy: Proxy
    anchors: Sequence[Mapping[str, Any]]
    reduction: Literal["mean", "sum"] = "mean"
    labels: Labels = Labels()  # noqa: RUF009 (frozen)
    direction: Mapping[str, Any] = field(default_factory=dict, repr=False)
    solved: Mapping[str, Any] = field(default_factory=dict)

    columns = ("influence", "influence_status", "influence_up_weighting", "influence_row_loss")
    keeps_journal = True
    algo_version = 1

    @property
    def spec(self) -> dict[str, Any]:
        """JSON-like account of what decides the numbers."""
        digest = blake2b(digest_size=16)
        for name in sorted(self.direction):
            digest.update(name.encode() + self.direction[name].tobytes())
        return {**spec_of(self), "anchors": len(self.anchors), "direction": digest.hexdigest()}

    def __getstate__(self) -> dict[str, Any]:
        return state_of(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        restore(self, state)

    def __call__(self, batch: Batch, rank: int | None = None) -> Columns:
        """Score B rows (or one): see the class."""
        return call(self, batch, rank)

    def _score(
        self, rank: int | None, rows: Sequence[Mapping[str, Any]], missing: frozenset[int]
    ) -> Iterator[tuple[list[int], Columns]]:
        from hf_datasel.proxy.batching import TokenBudget, in_batches
        from hf_datasel.proxy.losses import row_values

        refuse_anchors(self, rows)
        engine, single = self._engine(rank)
        proxy = loaded_proxy(self, rank)
        for places, its in token_batches(self, rank, rows, missing):
            found, losses = np.full(len(its), np.nan), np.full(len(its), np.nan)
            scorable = [place for place, row in enumerate(its) if row.scorable]
            budget = TokenBudget(1 if single else max_tokens())
            for bucket, batch, measured in in_batches([its[place] for place in scorable], proxy, budget, engine):
                at = [scorable[place] for place in bucket]
                found[at] = measured.dots[:, 0].cpu().numpy()
                losses[at] = row_values(batch.spread(measured.figures["loss"]), batch, self.reduction).cpu().numpy()
            found[~np.isfinite(found)] = np.nan
            yield places, dict(zip(self.columns, (found, status_of(its, found), -found, losses), strict=True))

    def _engine(self, rank: int | None) -> tuple[Engine, bool]:
        """What measures, chosen and checked on the anchors; and whether it takes one row at a time."""
        if "_chosen" not in self.__dict__:
            import torch

            from hf_datasel.proxy.batching import TokenBudget
            from hf_datasel.proxy.engines import Task, choose
            from hf_datasel.proxy.proxy import encode

            proxy = loaded_proxy(self, rank)
            device = next(iter(proxy.parameters.values())).device
            along = {name: torch.from_numpy(self.direction[name]).unsqueeze(0).to(device) for name in proxy.parameters}
            checked = [encode(row, proxy, self.labels) for row in self.anchors]
            engine, report = choose(Task(proxy, along, self.reduction), "auto", checked, TokenBudget(max_tokens()))
            self.__dict__["_chosen"] = (engine, report.engine == "per_row")
        chosen: tuple[Engine, bool] = self.__dict__["_chosen"]
        return chosen
