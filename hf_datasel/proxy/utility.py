"""Utilities of tokenised rows under a loaded proxy: the three estimators behind One-Step-Train."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from hf_datasel.contracts import Scores
from hf_datasel.proxy.anchors import AnchorSet
from hf_datasel.proxy.batch_size import length_buckets
from hf_datasel.proxy.losses import Reduction, TokenBatch, collate, row_values, token_losses
from hf_datasel.proxy.one_step import (
    Update,
    directional_derivatives,
    dot,
    exact_utility,
    gradient,
    second_order_utility,
)
from hf_datasel.rows.labels import TokenRow


if TYPE_CHECKING:
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
    """

    utility: Scores
    dot: Scores
    curvature: Scores
    row_loss: Scores
    weights_changed: Scores
    token_utility: tuple[Scores, ...]


_Measure = Callable[[TokenBatch, int, Utilities], None]


@dataclass(frozen=True)
class UtilityEngine:
    """Measures rows against anchors.

    Arguments as `OneStepTrain`'s; `max_tokens` is padded tokens a batch; `update` turns a row's gradient into the step
    of another optimizer than SGD.
    """

    anchors: AnchorSet
    estimator: Estimator
    learning_rate: float
    cosine: bool
    reduction: Reduction
    max_tokens: int
    update: Update | None = None

    @functools.cached_property
    def directions(self) -> tuple[Parameters, ...]:
        """g_V of each group, computed once."""
        return self.anchors.gradients()

    @functools.cached_property
    def base(self) -> torch.Tensor:
        """(G,) anchor losses before any step."""
        with torch.no_grad():
            return self.anchors.losses(self.anchors.proxy.parameters)

    @functools.cached_property
    def forward_mode_works(self) -> bool:
        """Whether every operation of this model has a forward-mode derivative; tried once, on the first anchor."""
        batch = self.anchors.batches[0][0]
        try:
            self._along_anchors(batch)
        except NotImplementedError as error:
            warnings.warn(
                f"`proxy` has an operation without a forward-mode derivative ({str(error).splitlines()[0]}). Each row "
                f"gets its own backward pass instead: the same numbers, one row at a time."
            )
            return False
        return True

    def __call__(self, rows: Sequence[TokenRow]) -> Utilities:
        """Measure B scorable rows."""
        if self.estimator == "exact":
            return self._row_by_row(rows, self._exact)
        one_pass = self.estimator == "first_order" and not self.cosine and len(self.anchors.groups) == 1
        one_pass = one_pass and self.update is None  # Adam's step is not linear in the row's gradient
        if one_pass and self.forward_mode_works:
            return self._forward_mode(rows)
        return self._row_by_row(rows, self._from_gradient)

    def _along_anchors(self, batch: TokenBatch) -> tuple[torch.Tensor, torch.Tensor]:
        proxy = self.anchors.proxy
        direction = {n: g.to(proxy.parameters[n].dtype) for n, g in self.directions[0].items()}
        losses, derivatives = directional_derivatives(
            lambda parameters: token_losses(proxy, parameters, batch), proxy.parameters, direction
        )
        return losses, derivatives

    def _forward_mode(self, rows: Sequence[TokenRow]) -> Utilities:
        found = _empty(len(rows), 1)
        tokens: list[Scores] = [np.zeros(0)] * len(rows)
        for bucket in length_buckets([len(row.input_ids) for row in rows], self.max_tokens):
            batch = collate([rows[i] for i in bucket], self.anchors.proxy)
            losses, derivatives = self._along_anchors(batch)
            found.row_loss[bucket] = row_values(losses, batch, self.reduction).cpu().numpy()
            found.dot[bucket, 0] = row_values(derivatives, batch, self.reduction).cpu().numpy()
            for place, index in enumerate(bucket):
                own = derivatives[place][batch.is_target[place]]
                tokens[index] = self.learning_rate * own.double().cpu().numpy()
        found.utility[:] = self.learning_rate * found.dot
        return Utilities(**{**vars(found), "token_utility": tuple(tokens)})

    def _row_by_row(self, rows: Sequence[TokenRow], measure: _Measure) -> Utilities:
        found = _empty(len(rows), len(self.anchors.groups))
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


def _empty(rows: int, groups: int) -> Utilities:
    def nan(*shape: int) -> Scores:
        return np.full(shape, np.nan)

    return Utilities(nan(rows, groups), nan(rows, groups), nan(rows, groups), nan(rows), nan(rows), ())
