"""RMS norms and rotary positions that carry tangents: rules for forward mode, in fewer passes over memory than torch's.

For r = 1 / sqrt(mean(x^2) + eps) and y = w x r: dy = w r (dx - x r^2 mean(x dx)) + dw x r. A rotation is linear: its
tangent is the rotated tangent. A layer gets a rule only where the rule computes what the layer computes, on numbers drawn
for the purpose; torch derives the others.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from inspect import signature
from typing import TYPE_CHECKING, Any

import torch
from torch.autograd import forward_ad

from hf_datasel.proxy.label_forward import inner_model


if TYPE_CHECKING:
    from hf_datasel.proxy.proxy import LoadedProxy

ROTARY = "apply_rotary_pos_emb"
Replaced = list[tuple[Any, str, Callable[..., Any]]]  # owner, attribute, what stands in its place


def dual_layers(proxy: LoadedProxy) -> Replaced:
    """The rules that fit this model."""
    modules = list(inner_model(proxy).modules())
    norms = [(module, "forward", rule) for module in modules if (rule := norm_rule(module)) is not None]
    files = {sys.modules[type(module).__module__] for module in modules}
    own = [(file, vars(file)[ROTARY]) for file in files if ROTARY in vars(file)]
    return [*norms, *((file, ROTARY, partial(rotary, turn)) for file, turn in own if is_rotation(turn))]


@contextmanager
def replaced(rules: Replaced) -> Iterator[None]:
    """The rules in place for a while."""
    before = [(owner, name, vars(owner).get(name)) for owner, name, _ in rules]
    for owner, name, rule in rules:
        setattr(owner, name, rule)
    try:
        yield
    finally:
        for owner, name, its in before:
            if its is None:
                delattr(owner, name)  # a method of its class again
            else:
                setattr(owner, name, its)


def norm_rule(module: torch.nn.Module) -> Callable[[torch.Tensor], torch.Tensor] | None:
    """The module's forward with a rule for tangents; None unless it is an RMS norm with a weight, or one plus a weight."""
    eps = getattr(module, "variance_epsilon", getattr(module, "eps", None))
    weight = getattr(module, "weight", None)
    if (
        not isinstance(eps, float)
        or not isinstance(weight, torch.Tensor)
        or len(signature(module.forward).parameters) != 1
    ):
        return None
    with torch.no_grad():
        # Small numbers, so that another epsilon shows.
        draw = torch.Generator().manual_seed(0)
        states = torch.randn((4, *weight.shape), generator=draw).to(weight.device, weight.dtype) * eps**0.5
        expected = module(states)
        for offset in (0.0, 1.0):
            if _close(rms_norm(states, None, weight, None, eps, offset)[0], expected):
                return partial(_norm, module, module.forward, eps, offset)
    return None


def _norm(
    module: torch.nn.Module, forward: Callable[..., torch.Tensor], eps: float, offset: float, states: torch.Tensor
) -> torch.Tensor:
    x, dx = forward_ad.unpack_dual(states)
    if dx is None:
        return forward(states)
    weight, slope = forward_ad.unpack_dual(module.weight)
    primal, tangent = rms_norm(x, dx, weight, slope, eps, offset)
    dual: torch.Tensor = forward_ad.make_dual(primal, tangent)
    return dual


def rms_norm(
    x: torch.Tensor,
    dx: torch.Tensor | None,
    weight: torch.Tensor,
    slope: torch.Tensor | None,
    eps: float,
    offset: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """(offset + weight) x / sqrt(mean(x^2) + eps) in float32, as transformers have it, and its tangent.

    Args:
        x, dx: (..., H) and its tangent; None stands for zero.
        weight, slope: (H,) and its tangent; None stands for zero.
        eps, offset: of the norm.
    """
    wide = x.float()
    r = (torch.linalg.vecdot(wide, wide) / wide.shape[-1]).add_(eps).rsqrt_().unsqueeze(-1)
    unit = wide * r
    scale = weight + offset if offset else weight
    primal = scale * unit.to(x.dtype)
    if dx is None:
        return primal, torch.zeros_like(primal)
    along = torch.linalg.vecdot(unit, dx.float()).div_(wide.shape[-1]).unsqueeze(-1)
    tangent = torch.addcmul(dx.float(), unit, along, value=-1).mul_(r).to(x.dtype).mul_(scale)
    return primal, tangent if slope is None else tangent.addcmul_(slope, unit.to(x.dtype))


def is_rotation(turn: Callable[..., Any]) -> bool:
    """Whether a model turns queries and keys by halves."""
    if list(signature(turn).parameters) != ["q", "k", "cos", "sin", "unsqueeze_dim"]:
        return False
    draw = torch.Generator().manual_seed(0)
    q, k, (cos, sin) = (torch.randn(shape, generator=draw) for shape in ((2, 3, 5, 8), (2, 1, 5, 8), (2, 2, 5, 8)))
    return all(
        map(
            _close,
            (rotate(q, cos[:, None], sin[:, None]), rotate(k, cos[:, None], sin[:, None])),
            turn(q, k, cos, sin),
        )
    )


def rotary(
    turn: Callable[..., Any],
    q: torch.Tensor,
    k: torch.Tensor,
    cos: torch.Tensor,
    sin: torch.Tensor,
    unsqueeze_dim: int = 1,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Queries and keys (B, heads, T, D) turned by the angles of their places (B, T, D), tangents likewise."""
    if cos.shape[-1] != q.shape[-1] or q.dtype != cos.dtype:  # a part of each head is turned, or in another precision
        turned: tuple[torch.Tensor, torch.Tensor] = turn(q, k, cos, sin, unsqueeze_dim=unsqueeze_dim)
        return turned
    cos, sin = cos.unsqueeze(unsqueeze_dim), sin.unsqueeze(unsqueeze_dim)
    return _rotated(q, cos, sin), _rotated(k, cos, sin)


def _rotated(states: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    primal, tangent = forward_ad.unpack_dual(states)
    turned = rotate(primal, cos, sin)
    if tangent is not None:
        turned = forward_ad.make_dual(turned, rotate(tangent, cos, sin))
    return turned


def rotate(states: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """(a, b) cos + (-b, a) sin for the halves a and b of the last dimension."""
    half = states.shape[-1] // 2
    a, b = states[..., :half], states[..., half:]
    turned = states * cos
    turned[..., :half].addcmul_(b, sin[..., :half], value=-1)
    turned[..., half:].addcmul_(a, sin[..., half:])
    return turned


def _close(found: torch.Tensor, expected: torch.Tensor) -> bool:
    tolerance = (
        8 * torch.finfo(expected.dtype).eps if expected.dtype != torch.float64 else 1e-6
    )  # norms are in float32
    return found.dtype == expected.dtype and torch.allclose(found, expected, rtol=tolerance, atol=tolerance)
