"""What every engine is asked and what it answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from hf_datasel.proxy.losses import Reduction, TokenBatch


if TYPE_CHECKING:
    from hf_datasel.proxy.proxy import LoadedProxy, Parameters


@dataclass(frozen=True)
class Task:
    """Inner products of rows' gradients with G directions.

    Args:
        proxy: the model.
        directions: g_V of each of G anchor groups, every tensor with G in front.
        reduction: of a row's loss over its targets.
        token_level: slopes of single targets are wanted.
        also: figures wanted besides the loss: see `figures`.
    """

    proxy: LoadedProxy
    directions: Parameters = field(repr=False)
    reduction: Reduction = "mean"
    token_level: bool = False
    also: tuple[str, ...] = ()

    @property
    def num_directions(self) -> int:
        """G."""
        return next(iter(self.directions.values())).shape[0]


@dataclass(frozen=True)
class Measured:
    """What an engine found about B rows with N targets in all.

    Args:
        dots: (B, G) <g_V, g_i>, float64.
        figures: (N,) each, row by row: the `loss` and what else was asked for.
        slopes: (N, G) derivative of each target's loss along the directions; `None` from engines that have only rows.
    """

    dots: torch.Tensor
    figures: dict[str, torch.Tensor]
    slopes: torch.Tensor | None = None


Engine = Callable[[TokenBatch], Measured]
