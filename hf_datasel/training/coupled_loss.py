"""The two losses of CoIDO and the ways to couple them: importance, diversity, and what weighs the one against the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn


Coupling = Literal["uncertainty", "importance", "sum", "learned"]
COUPLINGS: tuple[Coupling, ...] = ("uncertainty", "importance", "sum", "learned")
Variance = Literal["population", "sample", "deviation"]
VARIANCES: tuple[Variance, ...] = ("population", "sample", "deviation")
Per = Literal["row", "token"]
LOG_SIGMA = 6.0  # how far the logarithm of a sigma may go
NO_CLUSTER = -1


@dataclass(frozen=True)
class Terms:
    """One batch's losses. Those but `total` are for the log.

    Args:
        total: what is minimised.
        importance: L_I, nats per token.
        diversity: L_D, of shares.
        log_sigmas: natural logarithms of sigma_I and sigma_D (2,); for `"learned"`, lambda in both places.
    """

    total: torch.Tensor
    importance: torch.Tensor
    diversity: torch.Tensor
    log_sigmas: torch.Tensor


def importance_loss(
    weights: torch.Tensor, losses: torch.Tensor, counts: torch.Tensor, per: Per = "row"
) -> torch.Tensor:
    """L_I: the rows' losses, each by its share of the batch.

    Args:
        weights: (s,) shares of the rows, 1 together.
        losses: (s,) mean loss of a row over its target tokens.
        counts: (s,) target tokens of each row.
        per: `"row"` as the paper; `"token"` lets a row count by its tokens, as the paper's later release.

    Source: CoIDO (NeurIPS 2025), Eq. 1.

    Example:
        >>> importance_loss(torch.tensor([0.25, 0.75]), torch.tensor([2.0, 1.0]), torch.tensor([4, 4]))
        tensor(1.2500)
    """
    if per == "row":
        return (weights * losses).sum()
    return len(weights) * (weights * losses * counts).sum() / counts.sum().clamp(min=1)


def diversity_loss(
    weights: torch.Tensor, clusters: torch.Tensor, variance: Variance = "population"
) -> torch.Tensor | None:
    """L_D: how unequal the clusters' mean shares are; None where fewer than two clusters are in the batch.

    Args:
        weights: (s,) shares of the rows.
        clusters: (s,) number of each row's cluster, `NO_CLUSTER` for none.
        variance: `"population"`, `"sample"` (the first release), or `"deviation"`, the square root of the former (the later
            release).

    Source: CoIDO (NeurIPS 2025), Eq. 2.

    Example:
        >>> diversity_loss(torch.tensor([0.1, 0.2, 0.3, 0.4]), torch.tensor([0, 0, 1, 1])).round(decimals=4)
        tensor(0.0100)
    """
    known = clusters != NO_CLUSTER
    present, place = clusters[known].unique(return_inverse=True)
    if len(present) < 2:
        return None
    sums = torch.zeros(len(present), dtype=weights.dtype, device=weights.device).index_add(0, place, weights[known])
    means = sums / place.bincount(minlength=len(present))
    found = means.var(correction=1 if variance == "sample" else 0)
    return torch.sqrt(found + 1e-8) if variance == "deviation" else found


class CoupledLoss(nn.Module):
    """A network, the features of the rows it is trained on, and the coupling of its two losses.

    Args:
        network: from (B, D) embeddings and (B, S) scores to (B,) weights.
        embedding, scores: (n, D) and (n, S), of the rows trained on.
        clusters: (n,) number of each row's cluster, `NO_CLUSTER` for none.
        coupling: `"uncertainty"`, L_I / sigma_I^2 + L_D / (2 sigma_D^2) + ln sigma_I + ln sigma_D, both sigmas learned and kept
            within e^-6 and e^6; `"importance"`, L_I alone; `"sum"`; `"learned"`, lambda L_I + (1 - lambda) L_D, lambda learned.
        variance, per: see `diversity_loss` and `importance_loss`.

    Source: CoIDO (NeurIPS 2025), Eq. 14 and Tab. 2. The sigmas start at 1. The bounds are ours: L_D can reach 0, and sigma_D
        with it.
    """

    def __init__(
        self,
        network: nn.Module,
        embedding: torch.Tensor,
        scores: torch.Tensor,
        clusters: torch.Tensor,
        coupling: Coupling = "uncertainty",
        variance: Variance = "population",
        per: Per = "row",
    ) -> None:
        super().__init__()
        self.network = network
        for name, values in (("embedding", embedding), ("scores", scores), ("clusters", clusters)):
            self.register_buffer(name, values, persistent=False)
        self.coupling, self.variance, self.per = coupling, variance, per
        if coupling == "uncertainty":
            self.log_sigmas = nn.Parameter(torch.zeros(2))
        elif coupling == "learned":
            self.odds = nn.Parameter(torch.zeros(()))

    def forward(self, rows: torch.Tensor, losses: torch.Tensor, counts: torch.Tensor) -> Terms:
        """The losses of a batch.

        Args:
            rows: (s,) places in the features.
            losses, counts: see `importance_loss`. Rows without targets take no part.
        """
        there = counts > 0
        rows, losses, counts = rows[there], losses[there], counts[there]
        embedding, scores, clusters = (self.get_buffer(name)[rows] for name in ("embedding", "scores", "clusters"))
        weights = self.network(embedding, scores).float().softmax(0)
        importance = importance_loss(weights, losses, counts, self.per)
        return self._coupled(importance, diversity_loss(weights, clusters, self.variance))

    def _coupled(self, importance: torch.Tensor, diversity: torch.Tensor | None) -> Terms:
        spread = importance.new_zeros(()) if diversity is None else diversity
        if self.coupling == "importance":
            return Terms(importance, importance, spread, importance.new_zeros(2))
        if self.coupling == "sum":
            return Terms(importance + spread, importance, spread, importance.new_zeros(2))
        if self.coupling == "learned":
            share = self.odds.sigmoid()
            return Terms(share * importance + (1 - share) * spread, importance, spread, torch.stack([share, share]))
        with torch.no_grad():
            self.log_sigmas.clamp_(-LOG_SIGMA, LOG_SIGMA)
        of_importance, of_diversity = self.log_sigmas
        total = importance * torch.exp(-2 * of_importance) + of_importance
        if diversity is None:
            # Its sigma stays out of this step; the zero keeps it in the graph, which processes training together expect.
            total = total + 0 * of_diversity
        else:
            total = total + diversity * torch.exp(-2 * of_diversity) / 2 + of_diversity
        return Terms(total, importance, spread, self.log_sigmas.detach().clone())
