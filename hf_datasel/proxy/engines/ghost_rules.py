"""What one layer adds to <G, g_i>: from its input, the gradient at its output, and its part of the directions."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

import torch
from torch.nn.modules.conv import _ConvNd
from transformers.pytorch_utils import Conv1D

from hf_datasel.proxy.label_forward import with_parameters


if TYPE_CHECKING:
    from hf_datasel.proxy.proxy import Parameters

Spans = Sequence[tuple[int, int]]  # of each row's tokens: first, last + 1
BLOCK = 2**20  # numbers in one piece of the rows' gradients


def contribution(
    module: torch.nn.Module, own: Parameters, x: torch.Tensor, d: torch.Tensor, spans: Spans
) -> torch.Tensor:
    """(B, G) float64: the inner products of each row's gradient of this layer's parameters with G directions.

    Args:
        module: the layer.
        own: the directions (G, ...) of each of its trainable parameters.
        x: its input.
        d: the gradient at its output, of the same leading dimensions.
        spans: B places among the flattened leading dimensions.
    """
    forward = type(module).forward
    if "Norm" in type(module).__name__ and all(value.shape[1:] == d.shape[-1:] for value in own.values()):
        return _by_features(module, own, x, d, spans)
    if forward not in (torch.nn.Linear.forward, Conv1D.forward):
        return _by_tangents(module, own, x, d, spans)
    wide = torch.promote_types(d.dtype, torch.float32)
    x, d = x.reshape(-1, x.shape[-1]).to(wide), d.reshape(-1, d.shape[-1]).to(wide)
    found = torch.zeros(len(spans), next(iter(own.values())).shape[0], dtype=torch.float64, device=d.device)
    if "weight" in own:
        left, right = (d, x) if forward is torch.nn.Linear.forward else (x, d)
        found += _outer(left, right, own["weight"].to(wide), spans)
    if "bias" in own:
        sums = torch.stack([d[start:stop].sum(0) for start, stop in spans])
        found += (sums @ own["bias"].to(wide).T).double()
    return found


def _outer(left: torch.Tensor, right: torch.Tensor, directions: torch.Tensor, spans: Spans) -> torch.Tensor:
    """<direction, left_i' right_i>, (B, G): for left (M, a), right (M, b) and directions (G, a, b)."""
    if directions.shape[0] == 1:  # one product with the direction is cheaper than the rows' gradients
        each = ((left @ directions[0]) * right).sum(1).double()
        return torch.stack([each[start:stop].sum(0, keepdim=True) for start, stop in spans])
    found = torch.zeros(len(spans), directions.shape[0], dtype=torch.float64, device=left.device)
    rows, columns = left.shape[1], right.shape[1]
    step = max(1, BLOCK // (len(spans) * columns))
    for first in range(0, rows, step):
        block = slice(first, min(first + step, rows))
        gradients = left.new_empty(len(spans), block.stop - first, columns)
        for row, (start, stop) in enumerate(spans):
            torch.mm(left[start:stop, block].T, right[start:stop], out=gradients[row])
        # Line by line, and these added in float64: one sum of a million numbers in float32 is off by 1e-4.
        found += torch.bmm(gradients.transpose(0, 1), directions[:, block].permute(1, 2, 0)).sum(
            0, dtype=torch.float64
        )
    return found


def _by_features(
    module: torch.nn.Module, own: Parameters, x: torch.Tensor, d: torch.Tensor, spans: Spans
) -> torch.Tensor:
    """For norms, whose weight and bias act on each feature alone: one tangent, along ones, serves every direction."""
    found = torch.zeros(len(spans), next(iter(own.values())).shape[0], dtype=torch.float64, device=d.device)
    for name, directions in own.items():
        parameter = module.get_parameter(name).detach()
        product = (_tangent(module, {name: parameter}, {name: torch.ones_like(parameter)}, x) * d).flatten(0, -2)
        sums = torch.stack([product[start:stop].sum(0, dtype=directions.dtype) for start, stop in spans])
        found += (sums @ directions.T).double()
    return found


def _by_tangents(
    module: torch.nn.Module, own: Parameters, x: torch.Tensor, d: torch.Tensor, spans: Spans
) -> torch.Tensor:
    """For any layer: the tangent of its output along a direction of its parameters, times the gradient there."""
    held = {name: module.get_parameter(name).detach() for name in own}
    found = []
    for group in range(next(iter(own.values())).shape[0]):
        direction = {name: own[name][group].to(held[name].dtype) for name in held}
        product = _tangent(module, held, direction, x).to(torch.promote_types(d.dtype, torch.float32)) * d
        if isinstance(module, _ConvNd):
            each = product.flatten(1).sum(1).double()
            if len(each) != len(spans):  # of images or patches, several a row
                each = torch.stack([each[start:stop].sum() for start, stop in spans])
            found.append(each)
            continue
        each = product.flatten(0, -2).sum(1).double()
        found.append(torch.stack([each[start:stop].sum() for start, stop in spans]))
    return torch.stack(found, 1)


def _tangent(module: torch.nn.Module, held: Parameters, direction: Parameters, x: torch.Tensor) -> torch.Tensor:
    """Of a layer's output, along a direction of its parameters."""
    # Its `forward`, not itself: hooks are for the pass that is being recorded.
    _, tangent, *_ = torch.func.jvp(
        lambda moved: with_parameters(module, moved, lambda: module.forward(x)), (held,), (direction,)
    )
    found: torch.Tensor = tangent
    return found


def image_spans(module: torch.nn.Module, d: torch.Tensor, pieces: Sequence[int]) -> Spans | None:
    """The rows' places in the output of a layer that reads images, or `None` where they cannot be told apart.

    Every image or patch takes up as much of an output as any other, and those of a row lie together.

    Args:
        module: the layer.
        d: of its output's shape.
        pieces: images or patches of each row.
    """
    count, total = d.shape[0] if isinstance(module, _ConvNd) else d.shape[:-1].numel(), sum(pieces)
    if total == 0 or any(count * own % total for own in pieces):
        return None
    ends = [count * end // total for end in accumulate(pieces)]
    return list(zip([0, *ends], ends, strict=False))


def tells_rows_apart(module: torch.nn.Module, d: torch.Tensor, spans: dict[int, Spans]) -> Spans | None:
    """The rows' places in a layer's output, or `None` where they cannot be told apart.

    Args:
        module: the layer.
        d: of its output's shape: (..., features), of a convolution (B, channels, ...).
        spans: the rows' places by how many tokens there are in all.
    """
    if isinstance(module, _ConvNd):
        return next((places for places in spans.values() if len(places) == d.shape[0]), None)
    inner = d.shape[2:-1].numel()  # heads, in norms of queries and keys
    places = spans.get(d.shape[:2].numel() if d.dim() > 2 else d.shape[0])
    return None if places is None else [(start * inner, stop * inner) for start, stop in places]
