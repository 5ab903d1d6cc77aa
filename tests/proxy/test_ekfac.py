"""Factors of a layer, solved, against the whole matrix written out."""

import pytest
import torch

from hf_datasel.errors import DataselError
from hf_datasel.proxy.ekfac import Factors, solve


@pytest.fixture
def factors():
    draw = torch.Generator().manual_seed(0)
    left, right = (torch.linalg.qr(torch.randn(size, size, generator=draw, dtype=torch.float64))[0] for size in (3, 4))
    return Factors(left, right, torch.rand(3, 4, generator=draw, dtype=torch.float64))


def test_a_layer_with_a_bias_is_solved_and_the_rest_is_zero(factors):
    basis = torch.kron(factors.left, factors.right)  # of the matrix [weight, bias], row by row
    whole = basis @ torch.diag(factors.curvature.flatten()) @ basis.T + 0.5 * torch.eye(12, dtype=torch.float64)
    gradient = torch.arange(12, dtype=torch.float64).view(3, 4)
    right = {"a.weight": gradient[:, :3], "a.bias": gradient[:, 3], "norm.weight": torch.ones(3)}
    found, covered = solve({"a": factors}, right, 0.5)
    expected = torch.linalg.solve(whole, gradient.flatten()).view(3, 4)
    assert found["a.weight"].flatten().tolist() == pytest.approx(expected[:, :3].flatten().tolist())
    assert found["a.bias"].tolist() == pytest.approx(expected[:, 3].tolist())
    assert found["norm.weight"].tolist() == [0, 0, 0] and covered == 0.8


def test_a_direction_without_curvature_needs_damping(factors):
    flat = Factors(factors.left, factors.right, torch.zeros(3, 4, dtype=torch.float64))
    with pytest.raises(DataselError, match="`damping` is 0 and the rows leave directions"):
        flat.solve(torch.ones(3, 4, dtype=torch.float64), 0.0)
