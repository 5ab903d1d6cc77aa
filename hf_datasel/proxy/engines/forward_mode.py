"""Forward mode: the derivative of every target's loss along a direction, exactly, in one pass without a backward."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.autograd import forward_ad

from hf_datasel.proxy.engines.dual_attention import NAME
from hf_datasel.proxy.engines.dual_layers import dual_layers, replaced
from hf_datasel.proxy.engines.task import Engine, Measured, Task
from hf_datasel.proxy.figures import plain_figures, read_figures
from hf_datasel.proxy.label_forward import attention, padding_as_in_training, read_targets, with_parameters
from hf_datasel.proxy.losses import TokenBatch, row_values, token_losses
from hf_datasel.proxy.one_step import directional_derivatives


if TYPE_CHECKING:
    from hf_datasel.proxy.proxy import Parameters


def forward_mode(task: Task) -> Engine:
    """With rules for attention, norms and rotary positions, and tangents only where targets need them.

    Cost per direction: 2.5 to 2.6 F.

    Every product x W of the forward becomes three (x W, dx W, x dW); what is left out beside it makes up for the rest.
    """

    rules = dual_layers(task.proxy)

    def measure(batch: TokenBatch) -> Measured:
        with torch.no_grad(), padding_as_in_training(task.proxy), attention(task.proxy, NAME), replaced(rules):
            parts = [_along(task, direction, batch) for direction in _split(task)]
        return _measured(task, batch, parts)

    return measure


def plain_forward_mode(task: Task) -> Engine:
    """`torch.func.jvp` of the model as it is, for models that the rules do not fit. Cost per direction: 3 to 4 F."""

    def measure(batch: TokenBatch) -> Measured:
        with padding_as_in_training(task.proxy):
            derivatives = [
                directional_derivatives(
                    lambda parameters: token_losses(task.proxy, parameters, batch), task.proxy.parameters, direction
                )
                for direction in _split(task)
            ]
        figures = (
            plain_figures(task.proxy, batch, task.also) if task.also else {"loss": derivatives[0][0][batch.is_target]}
        )
        return _measured(task, batch, [{**figures, "slope": slope[batch.is_target]} for _, slope in derivatives])

    return measure


def _split(task: Task) -> list[Parameters]:
    return [
        {name: value[group].to(task.proxy.parameters[name].dtype) for name, value in task.directions.items()}
        for group in range(task.num_directions)
    ]


def _along(task: Task, direction: Parameters, batch: TokenBatch) -> dict[str, torch.Tensor]:
    def read(logits: torch.Tensor, targets: torch.Tensor) -> dict[str, torch.Tensor]:
        primal, tangent = forward_ad.unpack_dual(logits)
        figures, weights, total = read_figures(primal, targets, task.also)
        if tangent is None:
            return {**figures, "slope": torch.zeros_like(figures["loss"])}
        tangent = tangent.to(weights.dtype)
        own = tangent.gather(-1, targets.unsqueeze(-1)).squeeze(-1)
        return {**figures, "slope": weights.mul_(tangent).sum(-1).double() / total - own}

    with forward_ad.dual_level():
        dual = {name: forward_ad.make_dual(value, direction[name]) for name, value in task.proxy.parameters.items()}
        return with_parameters(task.proxy.model, dual, lambda: read_targets(task.proxy, batch, read))


def _measured(task: Task, batch: TokenBatch, parts: list[dict[str, torch.Tensor]]) -> Measured:
    slopes = torch.stack([part["slope"] for part in parts], 1)
    dots = [row_values(batch.spread(part["slope"]), batch, task.reduction) for part in parts]
    figures = {name: values for name, values in parts[0].items() if name != "slope"}
    return Measured(torch.stack(dots, 1), figures, slopes)
