"""One simulated step, three ways: taken and undone, to first order, to second order.

Everything here works on plain functions of a dictionary of parameters, so that it can be checked by hand.
Notation: theta the P parameters, eta the learning rate, l_i a row's loss, L_V the anchors' mean loss,
g_i and g_V their gradients, H the Hessian of L_V.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from hf_datasel.errors import NoStep


if TYPE_CHECKING:
    from hf_datasel.proxy.proxy import Parameters

Loss = Callable[["Parameters"], torch.Tensor]
Update = Callable[["Parameters", "Parameters"], "Parameters"]  # of a gradient, at parameters: what a step takes away


def gradient(loss: Loss, parameters: Parameters) -> tuple[Parameters, torch.Tensor]:
    """The gradient of a scalar loss, and the loss. Leaves no `.grad` behind. Cost: 1 F + 1 B.

    By plain autograd, so that whatever trains can be measured: `torch.func` refuses custom functions in the common style.
    """
    leaves = {name: parameter.detach().requires_grad_() for name, parameter in parameters.items()}
    with torch.enable_grad():
        value = loss(leaves)
    if not value.requires_grad:  # none of the parameters took part: a row of text, and a projector of images
        return {name: torch.zeros_like(parameter) for name, parameter in parameters.items()}, value
    gradients = torch.autograd.grad(value, tuple(leaves.values()), allow_unused=True, materialize_grads=True)
    return dict(zip(leaves, gradients, strict=True)), value.detach()


def dot(left: Parameters, right: Parameters) -> float:
    """Inner product over all parameters, products and sums in float64."""
    return sum(float(torch.dot(left[name].double().flatten(), right[name].double().flatten())) for name in left)


def directional_derivatives(losses: Loss, parameters: Parameters, direction: Parameters) -> tuple[torch.Tensor, ...]:
    """Losses of any shape, and the derivative of each along `direction`, exactly, in one forward-mode pass.

    For losses of rows and direction g_V this is <g_V, g_i> for the whole batch at once: the derivative of a row's
    loss along the anchor gradient is the first-order fall of the anchor loss along the row's. Cost: 3 F a batch.
    """
    value, derivative, *_ = torch.func.jvp(losses, (parameters,), (direction,))
    return value, derivative


def curvature(loss: Loss, parameters: Parameters, direction: Parameters) -> float:
    """direction' H direction through a Hessian-vector product (forward over reverse). Cost: about 3 (F + B)."""
    _, product, *_ = torch.func.jvp(torch.func.grad(loss), (parameters,), (direction,))
    return dot(product, direction)


@contextmanager
def one_step(parameters: Parameters, direction: Parameters, learning_rate: float) -> Iterator[float]:
    """Take theta - eta * direction in place; on leaving, restore every weight bit for bit.

    Yields:
        The share of the P weights that the step changed.

    Raises:
        NoStep: `direction` is not zero and yet no weight changed.
    """
    saved = {name: parameter.clone() for name, parameter in parameters.items()}
    try:
        for name, parameter in parameters.items():
            parameter.sub_(direction[name], alpha=learning_rate)
        changed = sum(int((parameters[name] != saved[name]).sum()) for name in saved)
        if changed == 0 and any(bool(part.any()) for part in direction.values()):
            dtype = next(iter(parameters.values())).dtype
            raise NoStep(
                f"`learning_rate` is {learning_rate:g} and the step changed none of the weights in {dtype}, expected at "
                f"least one. Use a larger step, a wider dtype, or estimator='first_order', which needs no step."
            )
        yield changed / sum(parameter.numel() for parameter in saved.values())
    finally:
        for name, parameter in parameters.items():
            parameter.copy_(saved[name])


def exact_utility(
    row_loss: Loss,
    anchor_loss: Loss,
    parameters: Parameters,
    learning_rate: float,
    base: torch.Tensor,
    update: Update | None = None,
) -> tuple[torch.Tensor, float]:
    """Eq. 2 as Algorithm 1 has it: step on the row, measure the anchors, undo.

    Args:
        row_loss, anchor_loss: of the parameters; `anchor_loss` may give several values (one per anchor group).
        parameters: stepped in place and restored bit for bit.
        learning_rate: eta.
        base: `anchor_loss` before the step.
        update: of another optimizer than SGD, such as `AdamState.direction`.

    Returns:
        base - anchor_loss(theta - eta * g_i), positive when the row helps; and the share of weights changed.
    """
    direction, _ = gradient(row_loss, parameters)
    if update is not None:
        direction = update(direction, parameters)
    with one_step(parameters, direction, learning_rate) as changed, torch.no_grad():
        return base - anchor_loss(parameters), changed


def second_order_utility(dot_product: float, curvature: float, learning_rate: float) -> float:
    """eta * <g_V, g_i> - eta^2 / 2 * g_i' H g_i: what Eq. 2 is up to third order (paper, A.1).

    Example:
        >>> round(second_order_utility(dot_product=3.0, curvature=25.0, learning_rate=0.2), 12)
        0.1
    """
    return learning_rate * dot_product - learning_rate**2 / 2 * curvature
