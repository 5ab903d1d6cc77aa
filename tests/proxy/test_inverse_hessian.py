"""Three solvers against each other, and the influence of two rows on a slope, by hand."""

import pytest
import torch

from hf_datasel.errors import DataselError
from hf_datasel.proxy.inverse_hessian import conjugate_gradients, hessian_product, lissa, solve_exactly
from hf_datasel.proxy.one_step import dot, gradient


SOLVERS = {
    "exact": solve_exactly,
    "cg": lambda product, right, damping: conjugate_gradients(product, right, damping, tolerance=1e-12),
    "lissa": lambda product, right, damping: lissa(lambda step: product, right, damping, iterations=150, scale=1.2),
}


@pytest.mark.parametrize("solver", SOLVERS)
def test_two_rows_on_a_slope(solver):
    """y = theta x, half squared error, rows (1, 1) and (1, 3), anchor (1, 3): theta = 2, I = (+1, -1)."""
    theta = {"t": torch.tensor([2.0], dtype=torch.float64)}

    def loss_of(x, y):
        return lambda p: 0.5 * ((y - p["t"] * x) ** 2).sum()

    rows = [loss_of(1.0, 1.0), loss_of(1.0, 3.0)]
    training = [lambda p, own=own: own(p) / 2 for own in rows]
    right, anchor_loss = gradient(loss_of(1.0, 3.0), theta)
    assert float(anchor_loss) == 0.5
    vector = SOLVERS[solver](hessian_product(training, theta), right, 0.0).vector
    oriented = [dot(vector, gradient(own, theta)[0]) for own in rows]
    assert oriented == pytest.approx([-1.0, 1.0], abs=1e-9)  # minus Koh and Liang's I
    # Leaving a row out changes the anchor loss by oriented / N to first order: -.5 and +.5.
    assert [value / 2 for value in oriented] == pytest.approx([-0.5, 0.5], abs=1e-9)


def test_the_solvers_agree_on_a_bowl_in_several_parameters():
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(40, 5, generator=generator, dtype=torch.float64)
    parameters = {"a": torch.zeros(2, dtype=torch.float64), "b": torch.ones(3, dtype=torch.float64)}

    def loss(p):
        return torch.logaddexp(torch.zeros((), dtype=torch.float64), points @ torch.cat([p["a"], p["b"]])).mean()

    right = {
        name: torch.randn(value.shape, generator=generator, dtype=torch.float64) for name, value in parameters.items()
    }
    matrix = torch.autograd.functional.hessian(
        lambda v: loss({"a": v[:2], "b": v[2:]}), torch.cat([*parameters.values()])
    )
    expected = torch.linalg.solve(matrix + 0.1 * torch.eye(5), torch.cat([*right.values()]))
    found = {name: solver(hessian_product([loss], parameters), right, 0.1) for name, solver in SOLVERS.items()}
    for name, solution in found.items():
        vector = torch.cat([*solution.vector.values()])
        assert vector.tolist() == pytest.approx(expected.tolist(), rel=1e-6), name
        assert solution.residual < 1e-6
    assert found["cg"].iterations <= 5


def test_what_cannot_be_inverted_is_said():
    start, right = {"t": torch.ones(2, dtype=torch.float64)}, {"t": torch.tensor([1.0, 2.0], dtype=torch.float64)}
    hill = hessian_product([lambda p: -(p["t"] ** 2).sum()], start)
    with pytest.raises(DataselError, match=r"curves downwards after 0 iterations \(by -2\)"):
        conjugate_gradients(hill, right)
    assert conjugate_gradients(hill, right, damping=3.0).vector["t"].tolist() == pytest.approx([1.0, 2.0])
    flat = hessian_product([lambda p: p["t"].sum() ** 2], start)
    with pytest.raises(DataselError, match=r"`damping` is 0 and the Hessian is singular"):
        solve_exactly(flat, right)
    steep = hessian_product([lambda p: 50 * (p["t"] ** 2).sum()], start)
    with pytest.raises(DataselError, match="`scale` is 10 and LiSSA's series grows without end"):
        lissa(lambda step: steep, right)
    with pytest.raises(DataselError, match="the proxy has 10001 parameters, expected at most 10000"):
        solve_exactly(flat, {"t": torch.zeros(10_001)})
