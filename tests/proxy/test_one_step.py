"""Known answers for the quadratic toy: L_V = |t - (1, 0)|^2 / 2, a row a has l = |t - a|^2 / 2, start t = (0, 0)."""

import numpy as np
import pytest
import torch

from hf_datasel.errors import NoStep
from hf_datasel.proxy.one_step import (
    curvature,
    directional_derivatives,
    dot,
    exact_utility,
    gradient,
    one_step,
    second_order_utility,
)


ROWS = torch.tensor([[3.0, 0.0], [3.0, 4.0], [1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]], dtype=torch.float64)
DOT = [3.0, 3.0, 1.0, 0.0, -1.0]
EXACT = {0.1: [0.255, 0.175, 0.095, -0.005, -0.105], 0.2: [0.42, 0.10, 0.18, -0.02, -0.22]}


def start():
    return {"t": torch.zeros(2, dtype=torch.float64)}


def anchor_loss(parameters):
    return 0.5 * ((parameters["t"] - torch.tensor([1.0, 0.0], dtype=torch.float64)) ** 2).sum()


def row_losses(parameters):
    return 0.5 * ((parameters["t"] - ROWS) ** 2).sum(1)


def test_first_order_gives_the_dot_products_whatever_the_step():
    direction, _ = gradient(anchor_loss, start())
    losses, derivatives = directional_derivatives(row_losses, start(), direction)
    assert derivatives.tolist() == pytest.approx(DOT, abs=1e-15)
    assert losses.tolist() == pytest.approx(row_losses(start()).tolist())


def test_a_gradient_is_zero_where_the_loss_does_not_look_and_leaves_nothing_behind():
    """An expert that no token of the row is sent to, say."""
    parameters = {**start(), "unused": torch.ones(3)}
    own, value = gradient(lambda p: row_losses(p)[1], parameters)
    assert own["t"].tolist() == [-3.0, -4.0] and own["unused"].tolist() == [0.0, 0.0, 0.0]
    assert float(value) == 12.5 and not value.requires_grad
    assert not any(p.requires_grad or p.grad is not None for p in parameters.values())
    with torch.no_grad():
        assert gradient(lambda p: row_losses(p)[1], parameters)[0]["t"].tolist() == [-3.0, -4.0]


@pytest.mark.parametrize("learning_rate", EXACT)
def test_exact_is_the_fall_in_anchor_loss(learning_rate):
    for index, expected in enumerate(EXACT[learning_rate]):
        parameters = start()
        utility, changed = exact_utility(
            lambda p, i=index: row_losses(p)[i], anchor_loss, parameters, learning_rate, anchor_loss(parameters)
        )
        assert float(utility) == pytest.approx(expected, abs=1e-15)
        assert changed == np.count_nonzero(ROWS[index]) / 2
        assert parameters["t"].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("learning_rate", EXACT)
def test_second_order_is_exact_on_a_quadratic(learning_rate):
    direction, _ = gradient(anchor_loss, start())
    for index, expected in enumerate(EXACT[learning_rate]):
        own, _ = gradient(lambda p, i=index: row_losses(p)[i], start())
        found = second_order_utility(dot(direction, own), curvature(anchor_loss, start(), own), learning_rate)
        assert found == pytest.approx(expected, abs=1e-15)


def test_the_order_flips_between_the_steps_as_theorem_3_1_permits():
    best = {eta: np.argsort(-np.array(values), kind="stable")[:2].tolist() for eta, values in EXACT.items()}
    assert best == {0.1: [0, 1], 0.2: [0, 2]}


def test_a_step_is_undone_bit_for_bit_even_after_an_error():
    weights = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    parameters = {"w": weights.clone()}
    direction = {"w": torch.randn(1000, generator=torch.Generator().manual_seed(1))}
    with pytest.raises(ZeroDivisionError), one_step(parameters, direction, 0.3):
        assert not torch.equal(parameters["w"], weights)
        raise ZeroDivisionError
    assert torch.equal(parameters["w"], weights)


def test_a_step_too_small_for_the_dtype_is_refused():
    parameters = {"w": torch.full((10,), 0.02, dtype=torch.bfloat16)}
    direction = {"w": torch.ones(10, dtype=torch.bfloat16)}
    with (
        pytest.raises(NoStep, match="`learning_rate` is 1e-07 and the step changed none"),
        one_step(parameters, direction, 1e-7),
    ):
        pass


def test_a_zero_gradient_is_no_error():
    with one_step(start(), {"t": torch.zeros(2, dtype=torch.float64)}, 0.1) as changed:
        assert changed == 0
