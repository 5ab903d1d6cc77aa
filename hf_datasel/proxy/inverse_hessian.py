"""(H + damping I)^-1 g, three ways: by the whole matrix, by conjugate gradients, by LiSSA's series.

Works on plain functions of a dictionary of parameters, so that it can be checked by hand. H is the Hessian of the
training loss; v a vector of the parameters' shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from hf_datasel.errors import DataselError
from hf_datasel.proxy.one_step import Loss, dot


if TYPE_CHECKING:
    from hf_datasel.proxy.proxy import Parameters

Product = Callable[["Parameters"], "Parameters"]  # v to H v
MOST_EXACT = 10_000  # parameters whose Hessian is written out: 0.8 GB in float64


@dataclass(frozen=True)
class Solution:
    """What a solver found.

    Args:
        vector: (H + damping I)^-1 g, of the parameters' shapes.
        iterations: products with H.
        residual: |(H + damping I) vector - g| / |g|.
    """

    vector: Parameters
    iterations: int
    residual: float


def hessian_product(losses: Sequence[Loss], parameters: Parameters) -> Product:
    """v to H v, for the sum of some losses. Cost: about 3 (F + B) of all their rows."""

    def product(vector: Parameters) -> Parameters:
        total = {name: torch.zeros_like(value) for name, value in vector.items()}
        for loss in losses:
            _, part, *_ = torch.func.jvp(torch.func.grad(loss), (parameters,), (vector,))
            for name, value in part.items():
                total[name] += value
        return total

    return product


def solve_exactly(product: Product, right: Parameters, damping: float = 0.0) -> Solution:
    """By the whole Hessian, in float64. Cost: P products, P^2 numbers, P^3 / 3 multiplications.

    Raises:
        DataselError: there are more than 10,000 parameters, or H + damping I is singular.
    """
    count = sum(value.numel() for value in right.values())
    if count > MOST_EXACT:
        raise DataselError(
            f"`solver` is 'exact' and the proxy has {count} parameters, expected at most {MOST_EXACT}: its Hessian is "
            f"written out. Use 'cg', or name fewer parameters in `proxy.trainable`."
        )
    flat = _flat(right)
    unit = torch.eye(count, dtype=flat.dtype, device=flat.device)
    matrix = torch.stack([_flat(product(_shaped(unit[row], right))) for row in range(count)]).double()
    matrix = (matrix + matrix.T) / 2 + damping * torch.eye(count, dtype=torch.float64, device=flat.device)
    try:
        found = torch.linalg.solve(matrix, flat.double())
    except RuntimeError as error:
        raise DataselError(
            f"`damping` is {damping:g} and the Hessian is singular ({error}), expected one that can be inverted. Raise it."
        ) from error
    residual = float((matrix @ found - flat.double()).norm() / flat.double().norm().clamp_min(1e-300))
    return Solution(_shaped(found.to(flat.dtype), right), count, residual)


def conjugate_gradients(
    product: Product, right: Parameters, damping: float = 0.0, iterations: int = 100, tolerance: float = 1e-5
) -> Solution:
    """By conjugate gradients, until the residual is `tolerance` of |g|. Cost: a product an iteration.

    Raises:
        DataselError: the loss curves downwards along some direction, by more than `damping`.

    Example:
        >>> twice = lambda v: {"t": 2 * v["t"]}
        >>> conjugate_gradients(twice, {"t": torch.tensor([4.0])}).vector["t"].tolist()
        [2.0]
    """
    found = {name: torch.zeros_like(value) for name, value in right.items()}
    rest = {name: value.clone() for name, value in right.items()}
    along, square, goal = dict(rest), dot(rest, rest), tolerance**2 * dot(right, right)
    taken = 0
    while taken < iterations and square > goal:
        curved = _plus(product(along), along, damping)
        bend = dot(along, curved)
        if bend <= 0:
            raise DataselError(
                f"`damping` is {damping:g} and the training loss curves downwards after {taken} iterations (by "
                f"{bend / dot(along, along):.2g}), expected upwards: the proxy is not at a minimum. Raise `damping` above "
                f"that, or train the proxy to its end."
            )
        step = square / bend
        found, rest = _plus(found, along, step), _plus(rest, curved, -step)
        before, square = square, dot(rest, rest)
        along = _plus(rest, along, square / before)
        taken += 1
    return Solution(found, taken, (square / max(dot(right, right), 1e-300)) ** 0.5)


def lissa(
    products: Callable[[int], Product], right: Parameters, damping: float = 0.0, iterations: int = 1000,
    scale: float = 10.0,
) -> Solution:  # fmt: skip
    """By the series h <- g + h - (H + damping I) h / scale, which ends at scale (H + damping I)^-1 g.

    Cost: a product an iteration, each with a batch of its own. `residual` is that of the last step's batch.

    Args:
        products: the product of a step: of the whole training set, or of a batch drawn for it.
        right: g.
        damping: added to H.
        iterations: steps.
        scale: above half of the largest eigenvalue of H + damping I, or the series grows without end.

    Raises:
        DataselError: the series grows.

    Source: https://huggingface.co/papers/1703.04730, 3 (after Agarwal et al. 2016).

    Example:
        >>> twice = lambda step: lambda v: {"t": 2 * v["t"]}
        >>> round(float(lissa(twice, {"t": torch.tensor([4.0], dtype=torch.float64)}).vector["t"]), 6)
        2.0
    """
    found = {name: value.clone() for name, value in right.items()}
    bound = 1e6 * dot(right, right) ** 0.5 * max(1.0, scale / max(damping, 1e-6))
    left = 1.0
    for step in range(iterations):
        curved = _plus(products(step)(found), found, damping)
        change = _plus(right, curved, -1 / scale)
        left = (dot(change, change) / max(dot(right, right), 1e-300)) ** 0.5
        found = _plus(found, change, 1.0)
        if not dot(found, found) ** 0.5 <= bound:
            raise DataselError(
                f"`scale` is {scale:g} and LiSSA's series grows without end after {step + 1} steps, expected a scale above "
                f"half of the Hessian's largest eigenvalue. Raise `scale` (ten times), or use solver='cg'."
            )
    return Solution({name: value / scale for name, value in found.items()}, iterations, left)


def _plus(left: Parameters, right: Parameters, factor: float) -> Parameters:
    return {name: value + factor * right[name] for name, value in left.items()}


def _flat(vector: Parameters) -> torch.Tensor:
    return torch.cat([value.flatten() for value in vector.values()])


def _shaped(flat: torch.Tensor, like: Parameters) -> Parameters:
    parts = flat.split([value.numel() for value in like.values()])
    return {name: part.view_as(value) for (name, value), part in zip(like.items(), parts, strict=True)}
