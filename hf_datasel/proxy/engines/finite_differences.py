"""Symmetric finite differences: two plain forwards with moved weights, no derivative rules at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from hf_datasel.proxy.engines.refusals import refuse_where_numbers_jump
from hf_datasel.proxy.engines.task import Engine, Measured, Task
from hf_datasel.proxy.figures import read_figures
from hf_datasel.proxy.label_forward import (
    attention,
    fast_attention,
    padding_as_in_training,
    read_targets,
    with_parameters,
)
from hf_datasel.proxy.losses import TokenBatch, row_values


if TYPE_CHECKING:
    from hf_datasel.proxy.proxy import Parameters

LENGTHS = tuple(10 ** (-power / 2) for power in range(2, 11))  # of the move in parameter space, 1e-1 to 1e-5


@dataclass(frozen=True)
class Move:
    """Weights moved both ways along one direction.

    Args:
        forth, back: theta + epsilon g_V and theta - epsilon g_V. Copies, so that the proxy itself is never touched.
        epsilon: of the move.
    """

    forth: Parameters
    back: Parameters
    epsilon: float


def finite_differences(task: Task, lengths: tuple[float, ...]) -> Engine:
    """(l(theta + epsilon g_V) - l(theta - epsilon g_V)) / 2 epsilon of every target. Cost per direction: 1.8 F.

    Memory: two copies of the trainable weights per direction; of activations, a plain forward's.

    Args:
        task: G directions.
        lengths: epsilon |g_V| of each direction.

    Raises:
        ValueError, DataselError: see `refuse_where_numbers_jump`.
    """
    refuse_where_numbers_jump(task, "finite_differences")
    moves = [move(task, group, length) for group, length in enumerate(lengths)]

    def read(logits: torch.Tensor, targets: torch.Tensor) -> dict[str, torch.Tensor]:
        return read_figures(logits, targets, task.also)[0]

    def measure(batch: TokenBatch) -> Measured:
        slopes, figures = [], {}
        with torch.no_grad(), padding_as_in_training(task.proxy), attention(task.proxy, fast_attention(task.proxy)):
            for moved in moves:
                forth, back = (
                    with_parameters(task.proxy.model, parameters, lambda: read_targets(task.proxy, batch, read))
                    for parameters in (moved.forth, moved.back)
                )
                slopes.append((forth["loss"] - back["loss"]) / (2 * moved.epsilon))
                figures = {name: (forth[name] + back[name]) / 2 for name in forth}
        dots = [row_values(batch.spread(slope), batch, task.reduction) for slope in slopes]
        return Measured(torch.stack(dots, 1), figures, torch.stack(slopes, 1))

    return measure


def move(task: Task, group: int, length: float) -> Move:
    """Move the weights by `length` each way along direction `group`."""
    direction = {name: value[group] for name, value in task.directions.items()}
    norm = sum(float(part.double().square().sum()) for part in direction.values()) ** 0.5
    epsilon = length / norm if norm > 0 else length
    parameters = task.proxy.parameters
    return Move(
        {name: value + epsilon * direction[name].to(value.dtype) for name, value in parameters.items()},
        {name: value - epsilon * direction[name].to(value.dtype) for name, value in parameters.items()},
        epsilon,
    )
