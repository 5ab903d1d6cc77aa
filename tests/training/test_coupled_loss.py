"""The worked case of CoIDO's losses: four rows in two clusters, every number by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from hf_datasel.training.coupled_loss import LOG_SIGMA, NO_CLUSTER, CoupledLoss, diversity_loss, importance_loss


LOSSES = torch.tensor([2.0, 1.0, 1.0, 0.5])
COUNTS = torch.tensor([5, 5, 5, 5])
CLUSTERS = torch.tensor([0, 0, 1, 1])
ROWS = torch.arange(4)


class Free(nn.Module):
    """A network with a logit of its own for every row: the embedding says which row it is."""

    def __init__(self, logits: list[float]) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(logits))

    def forward(self, embedding: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        return embedding @ self.logits


def worked(coupling="uncertainty", variance="population", per="row", clusters=CLUSTERS, shift=0.0) -> CoupledLoss:
    logits = [math.log(n) + shift for n in (1, 2, 3, 4)]
    return CoupledLoss(Free(logits), torch.eye(4), torch.zeros(4, 0), clusters, coupling, variance, per)


def test_the_losses_of_four_rows():
    weights = torch.tensor([1.0, 2.0, 3.0, 4.0]).log().softmax(0)
    assert weights.tolist() == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert float(importance_loss(weights, LOSSES, COUNTS)) == pytest.approx(0.9)
    assert float(importance_loss(weights, LOSSES, COUNTS, per="token")) == pytest.approx(0.9)  # equally many tokens
    assert float(diversity_loss(weights, CLUSTERS)) == pytest.approx(0.01)
    assert float(diversity_loss(weights, CLUSTERS, "sample")) == pytest.approx(0.02)
    assert float(diversity_loss(weights, CLUSTERS, "deviation")) == pytest.approx(0.10000005, abs=1e-7)


def test_rows_count_by_their_tokens_where_asked():
    weights = torch.tensor([0.5, 0.5])
    found = importance_loss(weights, torch.tensor([2.0, 1.0]), torch.tensor([1, 3]), per="token")
    assert float(found) == pytest.approx((2 * 1 + 1 * 3) / 4)  # sum of the tokens' losses x 2 x 0.5, over 4 tokens


@pytest.mark.parametrize(
    ("coupling", "variance", "total"),
    [
        ("uncertainty", "population", 0.905), ("uncertainty", "sample", 0.910), ("uncertainty", "deviation", 0.950),
        ("importance", "population", 0.9), ("sum", "population", 0.91), ("learned", "population", 0.455),
    ],
)  # fmt: skip
def test_totals_at_the_start(coupling, variance, total):
    assert float(worked(coupling, variance)(ROWS, LOSSES, COUNTS).total.detach()) == pytest.approx(total, abs=1e-6)


def test_gradients():
    alone = worked("importance")
    alone(ROWS, LOSSES, COUNTS).total.backward()
    assert alone.network.logits.grad.tolist() == pytest.approx([0.11, 0.02, 0.03, -0.16], abs=1e-6)
    both = worked()
    both(ROWS, LOSSES, COUNTS).total.backward()
    assert both.log_sigmas.grad.tolist() == pytest.approx([-0.8, 0.99], abs=1e-6)


def test_a_shift_of_all_logits_changes_nothing():
    one, other = (worked(shift=shift)(ROWS, LOSSES, COUNTS) for shift in (0.0, 7.0))
    assert float(one.importance.detach()) == pytest.approx(float(other.importance.detach()), rel=1e-6)
    assert float(one.diversity.detach()) == pytest.approx(float(other.diversity.detach()), rel=1e-5)


def test_sigmas_settle_where_the_losses_say():
    loss = worked()
    optimizer = torch.optim.Adam([loss.log_sigmas], lr=0.05)
    for _ in range(600):
        optimizer.zero_grad()
        loss(ROWS, LOSSES, COUNTS).total.backward()
        optimizer.step()
    squares = (2 * loss.log_sigmas).exp().tolist()
    assert squares == pytest.approx([2 * 0.9, 0.01], rel=1e-2)


def test_sigmas_are_kept_within_bounds_and_can_come_back():
    loss = worked(clusters=torch.tensor([0, 1, 1, 0]))  # both clusters' mean is 0.25: nothing holds sigma_D up
    optimizer = torch.optim.SGD([loss.log_sigmas], lr=5.0)
    for _ in range(5):
        optimizer.zero_grad()
        terms = loss(ROWS, LOSSES, COUNTS)
        terms.total.backward()
        optimizer.step()
        assert torch.isfinite(terms.total) and abs(float(terms.log_sigmas[1])) <= LOG_SIGMA
    loss.clusters = CLUSTERS
    before = float(loss(ROWS, LOSSES, COUNTS).log_sigmas[1])
    optimizer.zero_grad()
    loss(ROWS, LOSSES, COUNTS).total.backward()
    optimizer.step()
    assert before == pytest.approx(-LOG_SIGMA) and float(loss.log_sigmas.detach()[1]) > before


@pytest.mark.parametrize("clusters", [torch.zeros(4, dtype=torch.long), torch.full((4,), NO_CLUSTER)])
def test_a_batch_of_one_cluster_has_no_diversity_loss_and_leaves_its_sigma(clusters):
    loss = worked(clusters=clusters)
    terms = loss(ROWS, LOSSES, COUNTS)
    terms.total.backward()
    assert float(terms.diversity) == 0 and float(terms.total) == pytest.approx(0.9)
    assert loss.log_sigmas.grad.tolist() == pytest.approx([-0.8, 0.0])


def test_a_row_without_a_cluster_counts_for_importance_alone():
    terms = worked(clusters=torch.tensor([0, NO_CLUSTER, 1, 1]))(ROWS, LOSSES, COUNTS)
    assert float(terms.importance) == pytest.approx(0.9)
    assert float(terms.diversity) == pytest.approx(((0.35 - 0.1) / 2) ** 2)


def test_a_row_without_targets_takes_no_part():
    found = worked()(ROWS, torch.tensor([2.0, 1.0, 1.0, float("nan")]), torch.tensor([5, 5, 5, 0]))
    assert float(found.importance) == pytest.approx((1 * 2 + 2 * 1 + 3 * 1) / 6)


@pytest.mark.parametrize("per", ["row", "token"])
def test_a_batch_without_any_targets_teaches_nothing(per):
    loss = worked("sum", per=per)
    terms = loss(ROWS, torch.full((4,), float("nan")), torch.zeros(4, dtype=torch.long))
    terms.total.backward()
    assert float(terms.total.detach()) == 0 and loss.network.logits.grad.tolist() == [0.0] * 4


@pytest.mark.parametrize("variance", ["population", "sample", "deviation"])
def test_equal_logits_weigh_all_rows_alike(variance):
    loss = CoupledLoss(Free([3.0] * 4), torch.eye(4), torch.zeros(4, 0), CLUSTERS, "sum", variance)
    terms = loss(ROWS, LOSSES, COUNTS)
    terms.total.backward()
    assert float(terms.importance.detach()) == pytest.approx(4.5 / 4)
    assert float(terms.diversity.detach()) == pytest.approx(1e-4 if variance == "deviation" else 0)
    expected = [0.25 * (row - 4.5 / 4) for row in LOSSES.tolist()]  # from importance alone
    assert loss.network.logits.grad.tolist() == pytest.approx(expected, abs=1e-6)


def test_a_row_alone_has_all_the_weight_and_no_gradient():
    loss = worked("importance")
    loss(torch.tensor([2]), torch.tensor([1.7]), torch.tensor([4])).total.backward()
    assert loss.network.logits.grad.abs().max() == pytest.approx(0)


def test_free_logits_learn_the_losses_order_upside_down():
    draw = np.random.default_rng(3)
    losses = torch.tensor(draw.permutation(np.linspace(0.2, 4.0, 16)), dtype=torch.float32)
    network = Free([0.0] * 16)
    loss = CoupledLoss(network, torch.eye(16), torch.zeros(16, 0), torch.zeros(16, dtype=torch.long), "importance")
    optimizer = torch.optim.SGD(network.parameters(), lr=1.0)
    for _ in range(100):
        optimizer.zero_grad()
        loss(torch.arange(16), losses, torch.ones(16)).total.backward()
        optimizer.step()
    ascending_weight = network.logits.detach().argsort().tolist()
    assert ascending_weight == losses.argsort(descending=True).tolist()
