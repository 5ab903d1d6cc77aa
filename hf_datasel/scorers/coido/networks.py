"""The networks that read a row's features and say one number, its weight. Low means hard, and worth keeping."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import nn


Kind = Literal["mlp", "attention", "transformer", "linear"]
KINDS: tuple[Kind, ...] = ("mlp", "attention", "transformer", "linear")


def make_network(kind: Kind, widths: Sequence[int], scores: int, width: int = 256, dropout: float = 0.1) -> nn.Module:
    """A network that takes (B, D) embeddings and (B, S) scores and gives (B,) weights.

    Args:
        kind: `"mlp"`, CoIDO's own; `"attention"` and `"transformer"`, its ablations, over a row's columns as tokens (designs
            after the paper, not reproductions: theirs also look across rows, so that a row's score would depend on its
            batch); `"linear"`, without a constant, Self-Filter's.
        widths: numbers in each embedding; they add up to D.
        scores: S.
        width: of the hidden layers.
        dropout: between layers, in training.

    Source: CoIDO (NeurIPS 2025), 4.2 and B.2 ("a four-layer MLP"); the blocks of its first release, whose 1536 numbers of
        CLIP and 3 scores make 1,497,473 parameters at width 256.

    Example:
        >>> sum(p.numel() for p in make_network("mlp", [768, 768], 3).parameters())
        1497473
    """
    if kind == "linear":
        return Linear(sum(widths) + scores)
    if kind == "mlp":
        return MLP(sum(widths), scores, width, dropout)
    return Tokens(kind, widths, scores, width, dropout)


def layers(*sizes: int, dropout: float) -> nn.Sequential:
    """Linear layers, with normalisation, GELU and dropout between them."""
    found: list[nn.Module] = []
    for place, (before, after) in enumerate(pairwise(sizes)):
        found.append(nn.Linear(before, after))
        if place < len(sizes) - 2:
            found += [nn.LayerNorm(after), nn.GELU(), nn.Dropout(dropout)]
    return nn.Sequential(*found)


class MLP(nn.Module):
    """A branch for the embeddings and one for the scores, fused, refined by a residual block, and read off."""

    def __init__(self, embedding: int, scores: int, width: int, dropout: float) -> None:
        super().__init__()
        self.embedding = layers(embedding, 2 * width, width, dropout=dropout) if embedding else None
        self.scores = layers(scores, width // 4, width, dropout=dropout) if scores else None
        branches = bool(embedding) + bool(scores)
        self.fusion = layers(branches * width, width, width, width, dropout=dropout)
        self.residual = layers(width, 2 * width, width, dropout=dropout)
        self.head = layers(width, width // 2, 1, dropout=dropout)

    def forward(self, embedding: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """(B,) weights."""
        parts = []
        if self.embedding is not None:
            parts.append(self.embedding(embedding))
        if self.scores is not None:
            parts.append(self.scores(scores))
        fused = self.fusion(torch.cat(parts, dim=-1))
        weights: torch.Tensor = self.head(fused + self.residual(fused)).squeeze(-1)
        return weights


class FoldedMLP(nn.Module):
    """What a trained `MLP` says, with linear layers that follow each other made one: a third less work for the same numbers."""

    def __init__(self, mlp: MLP) -> None:
        super().__init__()
        branches: list[Any] = [list(branch) for branch in (mlp.embedding, mlp.scores) if branch is not None]
        fusion, residual, head = (list[Any](part) for part in (mlp.fusion, mlp.residual, mlp.head))
        self.branches = nn.ModuleList(nn.Sequential(*branch[:3]) for branch in branches)
        lasts = [branch[-1] for branch in branches]
        side_by_side = linear(
            torch.block_diag(*(last.weight for last in lasts)), torch.cat([last.bias for last in lasts])
        )
        self.fusion = nn.Sequential(chained(side_by_side, fusion[0]), *fusion[1:7])
        fused, refined = fusion[8], residual[-1]
        self.residual = nn.Sequential(chained(fused, residual[0]), *residual[1:3])
        both = linear(torch.cat([fused.weight, refined.weight], dim=1), fused.bias + refined.bias)
        self.head = nn.Sequential(chained(both, head[0]), *head[1:])

    def forward(self, embedding: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """(B,) weights."""
        given = [part for part in (embedding, scores) if part.shape[1]]
        parts = [branch(part) for branch, part in zip(self.branches, given, strict=True)]
        fused = self.fusion(torch.cat(parts, dim=-1))
        weights: torch.Tensor = self.head(torch.cat([fused, self.residual(fused)], dim=-1)).squeeze(-1)
        return weights


def linear(weight: torch.Tensor, bias: torch.Tensor) -> nn.Linear:
    """A layer with these weights."""
    made = nn.Linear(weight.shape[1], weight.shape[0])
    made.load_state_dict({"weight": weight.detach().float(), "bias": bias.detach().float()})
    return made


def chained(first: nn.Linear, second: nn.Linear) -> nn.Linear:
    """One layer that does what two do after each other."""
    weight = second.weight.double()
    return linear(weight @ first.weight.double(), weight @ first.bias.double() + second.bias.double())


class Linear(nn.Module):
    """One factor for every number, and no constant."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.factors = nn.Linear(size, 1, bias=False)

    def forward(self, embedding: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """(B,) weights."""
        weights: torch.Tensor = self.factors(torch.cat([embedding, scores], dim=-1)).squeeze(-1)
        return weights


class Tokens(nn.Module):
    """Attention among the columns of a row: each embedding and each score is a token."""

    def __init__(self, kind: Kind, widths: Sequence[int], scores: int, width: int, dropout: float) -> None:
        super().__init__()
        self.widths = list(widths)
        self.embeddings = nn.ModuleList(nn.Linear(size, width) for size in widths)
        self.scores = nn.Parameter(torch.randn(scores, width) * width**-0.5)
        self.kinds = nn.Parameter(torch.randn(len(widths) + scores, width) * width**-0.5)
        heads = 4 if width % 4 == 0 else 1
        if kind == "transformer":
            layer = nn.TransformerEncoderLayer(
                width, heads, 2 * width, dropout, activation="gelu", batch_first=True, norm_first=True
            )
            self.blocks: nn.Module = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        else:
            self.blocks = SelfAndCross(width, heads, dropout)
        self.head = nn.Linear(width, 1)

    def forward(self, embedding: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """(B,) weights."""
        parts = embedding.split(self.widths, dim=-1) if self.widths else ()
        tokens = [project(part).unsqueeze(1) for project, part in zip(self.embeddings, parts, strict=True)]
        tokens.append(scores.unsqueeze(-1) * self.scores)
        weights: torch.Tensor = self.head(self.blocks(torch.cat(tokens, dim=1) + self.kinds).mean(1)).squeeze(-1)
        return weights


class SelfAndCross(nn.Module):
    """Self-attention among the tokens, then all of them against what came in."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.own = nn.MultiheadAttention(width, heads, dropout, batch_first=True)
        self.cross = nn.MultiheadAttention(width, heads, dropout, batch_first=True)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(B, tokens, width)."""
        seen = tokens + self.own(tokens, tokens, tokens, need_weights=False)[0]
        found: torch.Tensor = seen + self.cross(seen, tokens, tokens, need_weights=False)[0]
        return found
