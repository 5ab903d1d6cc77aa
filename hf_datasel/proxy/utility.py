"""Utilities of tokenised rows under a loaded proxy: the three estimators behind One-Step-Train."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from hf_datasel.contracts import Scores
from hf_datasel.proxy.anchors import AnchorSet
from hf_datasel.proxy.batching import TokenBudget, in_batches
from hf_datasel.proxy.engines import EngineName, EngineReport, Task, choose
from hf_datasel.proxy.figures import measure_figures, row_figures
from hf_datasel.proxy.losses import Reduction, TokenBatch, collate, row_values, token_losses
from hf_datasel.proxy.one_step import (
    Update,
    dot,
    exact_utility,
    gradient,
    second_order_utility,
)
from hf_datasel.rows.labels import TokenRow


if TYPE_CHECKING:
    from hf_datasel.proxy.engines.task import Engine
    from hf_datasel.proxy.proxy import Parameters

Estimator = Literal["first_order", "second_order", "exact"]


@dataclass(frozen=True)
class Utilities:
    """What the estimators found about B rows against G anchor groups. NaN where an estimator does not measure it.

    Args:
        utility: (B, G) fall in anchor loss, nats per token (or cosine).
        dot: (B, G) <g_V, g_i>.
        curvature: (B, G) g_i' H g_i.
        row_loss: (B,) each row's own loss, nats.
        weights_changed: (B,) share of weights an exact step moved.
        token_utility: of each row's target tokens, or empty.
        figures: (B,) each: what `also` asks for, by name.
    """

    utility: Scores
    dot: Scores
    curvature: Scores
    row_loss: Scores
    weights_changed: Scores
    token_utility: tuple[Scores, ...]
    figures: dict[str, Scores]


_Measure = Callable[[TokenBatch, int, Utilities], None]


@dataclass(frozen=True)
class UtilityEngine:
    """Measures rows against anchors.

    Arguments as `OneStepTrain`'s; `budget` is of padded tokens a batch; `update` turns a row's gradient into the step
    of another optimizer than SGD.
    """

    anchors: AnchorSet
    estimator: Estimator
    learning_rate: float
    cosine: bool
    reduction: Reduction
    budget: TokenBudget
    update: Update | None = None
    engine: EngineName = "auto"
    token_level: bool = False
    also: tuple[str, ...] = ()

    @functools.cached_property
    def task(self) -> Task:
        """What the engines of `first_order` are asked; g_V of each group is computed here, once."""
        proxy = self.anchors.proxy
        return Task(proxy, self.anchors.gradients(), self.reduction, self.token_level, self.also)

    @functools.cached_property
    def directions(self) -> tuple[Parameters, ...]:
        """g_V of each group: views of what `task` holds."""
        found = self.task.directions
        return tuple({name: value[group] for name, value in found.items()} for group in range(self._groups))

    @functools.cached_property
    def chosen(self) -> tuple[Engine, EngineReport]:
        """The engine of `first_order`, chosen and checked once, on the anchors."""
        return choose(self.task, self.engine, self.anchors.rows, self.budget)

    @functools.cached_property
    def base(self) -> torch.Tensor:
        """(G,) anchor losses before any step."""
        with torch.no_grad():
            return self.anchors.losses(self.anchors.proxy.parameters)

    def __call__(self, rows: Sequence[TokenRow]) -> Utilities:
        """Measure B scorable rows."""
        if not rows:
            return _empty(0, self._groups, self.also)
        if self.estimator == "exact":
            found = self._row_by_row(rows, self._exact)
        elif self.estimator == "first_order" and not self.cosine and self.update is None:
            return self._by_engine(rows)
        else:  # a norm, a curvature or Adam's step, none of which is linear in the row's gradient
            found = self._row_by_row(rows, self._from_gradient)
        if self.also:
            found.figures.update(measure_figures(self.anchors.proxy, rows, self.also, self.budget))
        return found

    @property
    def _groups(self) -> int:
        return len(self.anchors.groups)

    def _by_engine(self, rows: Sequence[TokenRow]) -> Utilities:
        measure, report = self.chosen
        found = _empty(len(rows), self._groups, self.also)
        tokens: list[Scores] = [np.zeros(0)] * len(rows)
        budget = TokenBudget(1) if report.engine == "per_row" else self.budget
        for bucket, batch, measured in in_batches(rows, self.anchors.proxy, budget, measure):
            losses = batch.spread(measured.figures["loss"])
            found.row_loss[bucket] = row_values(losses, batch, self.reduction).cpu().numpy()
            found.dot[bucket] = measured.dots.cpu().numpy()
            for name, values in row_figures(measured.figures, batch, self.also).items():
                found.figures[name][bucket] = values
            if measured.slopes is not None and self.token_level:
                own = (self.learning_rate * measured.slopes[:, 0]).cpu().numpy()
                ends = np.cumsum(batch.is_target.sum(1).cpu().numpy())
                for index, values in zip(bucket, np.split(own, ends[:-1]), strict=True):
                    tokens[index] = values
        found.utility[:] = self.learning_rate * found.dot
        return replace(found, token_utility=tuple(tokens))

    def _row_by_row(self, rows: Sequence[TokenRow], measure: _Measure) -> Utilities:
        found = _empty(len(rows), self._groups, self.also)
        for index, row in enumerate(rows):
            measure(collate([row], self.anchors.proxy), index, found)
        return found

    def _row_loss(self, batch: TokenBatch, parameters: Parameters, precise: bool = False) -> torch.Tensor:
        losses = token_losses(self.anchors.proxy, parameters, batch, precise)
        return row_values(losses, batch, self.reduction).sum()

    def _from_gradient(self, batch: TokenBatch, index: int, found: Utilities) -> None:
        parameters = self.anchors.proxy.parameters
        own, loss = gradient(lambda p: self._row_loss(batch, p), parameters)
        found.row_loss[index] = float(loss)
        if self.update is not None:
            own = self.update(own, parameters)
        found.dot[index] = [dot(direction, own) for direction in self.directions]
        if self.cosine:
            lengths = self._direction_norms * np.sqrt(dot(own, own))
            found.utility[index] = np.divide(found.dot[index], lengths, out=np.zeros_like(lengths), where=lengths > 0)
        elif self.estimator == "second_order":
            found.curvature[index] = self.anchors.curvatures(own)
            found.utility[index] = [
                second_order_utility(slope, bend, self.learning_rate)
                for slope, bend in zip(found.dot[index], found.curvature[index], strict=True)
            ]
        else:
            found.utility[index] = self.learning_rate * found.dot[index]

    def _exact(self, batch: TokenBatch, index: int, found: Utilities) -> None:
        parameters = self.anchors.proxy.parameters
        with torch.no_grad():
            found.row_loss[index] = float(self._row_loss(batch, parameters, precise=True))
        utility, found.weights_changed[index] = exact_utility(
            lambda p: self._row_loss(batch, p, precise=True),
            self.anchors.losses,
            parameters,
            self.learning_rate,
            self.base,
            self.update,
        )
        found.utility[index] = utility.cpu().numpy()

    @functools.cached_property
    def _direction_norms(self) -> Scores:
        return np.sqrt([dot(direction, direction) for direction in self.directions])


def averaged(found: Sequence[Utilities]) -> Utilities:
    """The mean of what several checkpoints say about the same rows, number by number."""
    if len(found) == 1:
        return found[0]
    arrays = ("utility", "dot", "curvature", "row_loss", "weights_changed")
    means = {name: np.mean([getattr(its, name) for its in found], axis=0) for name in arrays}
    tokens = tuple(np.mean(values, axis=0) for values in zip(*(its.token_utility for its in found), strict=True))
    figures = {name: np.mean([its.figures[name] for its in found], axis=0) for name in found[0].figures}
    return Utilities(**means, token_utility=tokens, figures=figures)


def _empty(rows: int, groups: int, also: Sequence[str]) -> Utilities:
    def nan(*shape: int) -> Scores:
        return np.full(shape, np.nan)

    return Utilities(
        nan(rows, groups),
        nan(rows, groups),
        nan(rows, groups),
        nan(rows),
        nan(rows),
        (),
        {name: nan(rows) for name in also},
    )
