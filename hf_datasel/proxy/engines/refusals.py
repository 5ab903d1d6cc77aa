"""Proxies on which an engine that is not exact would be silently wrong for some rows."""

from __future__ import annotations

import torch

from hf_datasel.errors import DataselError
from hf_datasel.proxy.engines.task import Task


def refuse_where_numbers_jump(task: Task, engine: str) -> None:
    """Refuse weights of 16 bits and models with experts.

    A few tokens go to other experts when weights move or are rounded: their loss jumps, and a handful of anchors need
    not show it. Divided by a small step that is a large error.

    Raises:
        ValueError: the weights have 16 bits.
        DataselError: the model sends tokens to experts.
    """
    for name, parameter in task.proxy.parameters.items():
        if parameter.dtype not in (torch.float32, torch.float64):
            raise ValueError(
                f"`engine` is {engine!r} and {name!r} is {parameter.dtype}, expected float32 or float64: in 16 bits the "
                f"difference of two losses is rounding noise, and forward mode is rounded anyway. Use 'forward_mode' or "
                f"'ghost'."
            )
    for name, _ in task.proxy.model.named_modules():
        if name.endswith((".experts", ".router")):
            raise DataselError(
                f"`engine` is {engine!r} and {name!r} sends tokens to experts, expected a model without: some tokens go "
                f"elsewhere when the weights move, and their loss jumps. Use 'forward_mode' or 'auto'."
            )
