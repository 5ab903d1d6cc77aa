"""Inner products survive a random projection: their mean and their variance over seeds, by the published formulas."""

import numpy as np
import pytest
import torch

from hf_datasel.proxy.projection import Projection


SEEDS, K = 4000, 8


def vectors():
    """Two gradients in two parameters, with a few large coordinates, as gradients have."""
    draw = np.random.default_rng(3)
    parts = [{"a": draw.normal(size=(3, 4)), "b": draw.normal(size=5)} for _ in range(2)]
    parts[0]["b"][2] = parts[1]["b"][2] = 4.0
    return [{name: torch.tensor(value) for name, value in part.items()} for part in parts]


@pytest.mark.parametrize("kind", ["sparse", "rademacher", "gaussian"])
def test_mean_and_variance_of_a_projected_inner_product(kind):
    x, y = vectors()
    flat = [torch.cat([value.flatten() for value in one.values()]).numpy() for one in (x, y)]
    product, square = flat[0] @ flat[1], (flat[0] @ flat[0]) * (flat[1] @ flat[1])
    shared = 0 if kind == "gaussian" else (flat[0] ** 2 * flat[1] ** 2).sum()
    variance = (square + product**2 - 2 * shared) / K
    found = []
    for seed in range(SEEDS):
        left, right = Projection(K, kind, seed)([x, y]).numpy()
        found.append(left @ right)
    # Four standard errors of a mean, and of a variance of values with heavy tails.
    assert np.mean(found) == pytest.approx(product, abs=4 * (variance / SEEDS) ** 0.5)
    assert np.var(found) == pytest.approx(variance, rel=0.15)


@pytest.mark.parametrize("kind", ["sparse", "rademacher", "gaussian"])
def test_it_is_linear_and_the_same_in_any_company(kind):
    x, y = vectors()
    project = Projection(K, kind, seed=5)
    both = {name: 2 * x[name] - y[name] for name in x}
    together = project([x, y, both])
    assert together[2].numpy() == pytest.approx((2 * together[0] - together[1]).numpy(), abs=1e-5)
    assert Projection(K, kind, seed=5)([y])[0].numpy() == pytest.approx(together[1].numpy(), abs=1e-6)
    assert not torch.equal(Projection(K, kind, seed=6)([y])[0], together[1])


def test_the_order_of_parameters_changes_nothing_and_their_names_do():
    x, _ = vectors()
    project = Projection(64)
    turned = dict(reversed(x.items()))
    assert torch.equal(project([x]), project([turned]))
    assert not torch.equal(project([x]), project([{"a": x["a"], "c": x["b"]}]))


def test_a_sparse_projection_adds_each_coordinate_to_one_number():
    project = Projection(512)
    x = {"w": torch.zeros(100_000)}
    x["w"][70_001] = -3.0  # beyond the first piece
    found = project([x])[0]
    assert found.abs().sum() == 3.0 and (found != 0).sum() == 1
    whole = project([{"w": torch.ones(100_000)}])[0]
    assert abs(float(whole.sum())) < 4 * 100_000**0.5  # signs are fair: four standard deviations


def test_places_and_signs_are_what_they_always_were():
    """A store written yesterday is read today: the draw must not change with versions of numpy or torch."""
    found = Projection(16)([{"w": torch.arange(1.0, 9.0)}])[0]
    raw = np.random.PCG64(Projection(16)._seed("w", torch.zeros(8))).random_raw(5)
    expected = np.zeros(16)
    for value, word in zip(
        range(1, 9), [half for whole in raw for half in (whole & 0xFFFFFFFF, whole >> 32)], strict=False
    ):
        place = int(word) % 32
        expected[place % 16] += value if place < 16 else -value
    assert found.tolist() == expected.tolist()
