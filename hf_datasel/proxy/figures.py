"""Figures of target tokens, read off their logits."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from hf_datasel.contracts import Scores
from hf_datasel.proxy.batching import in_batches
from hf_datasel.proxy.label_forward import attention, fast_attention
from hf_datasel.proxy.losses import label_logits, row_values
from hf_datasel.rows.labels import TokenRow


if TYPE_CHECKING:
    from hf_datasel.proxy.batching import TokenBudget
    from hf_datasel.proxy.losses import TokenBatch
    from hf_datasel.proxy.proxy import LoadedProxy


def read_figures(
    logits: torch.Tensor, targets: torch.Tensor, also: Collection[str]
) -> tuple[dict[str, torch.Tensor], torch.Tensor, torch.Tensor]:
    """Figures of n targets, float64, and the softmax they come from.

    Args:
        logits: (n, V), left as they are.
        targets: (n,) token ids.
        also: besides the loss (nats): `"el2n"`, the distance |softmax - onehot| (Paul et al. 2021), and `"aum"`, the
            target's logit minus the largest other (Pleiss et al. 2020), or `"probability_margin"`, the same of the
            softmax, in [-1, 1].

    Returns:
        Figures by name; exponentials (n, V) of the logits minus their largest; their sums (n,), which divide them.
    """
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    index = targets.unsqueeze(-1)
    picked, largest = wide.gather(-1, index), wide.amax(-1, keepdim=True)
    weights = (wide - largest).exp_()
    total = weights.sum(-1).double()
    figures = {"loss": total.log() - (picked - largest).squeeze(-1).double()}
    if "el2n" in also:
        own = weights.gather(-1, index).squeeze(-1) / total
        square = weights.double().square().sum(-1) / total.square()
        figures["el2n"] = (square - own.square() + (1 - own).square()).sqrt()
    if "aum" in also:
        others = wide.scatter(-1, index, float("-inf")).amax(-1)
        figures["aum"] = (picked.squeeze(-1) - others).double()
    if "probability_margin" in also:
        other = weights.scatter(-1, index, 0.0).amax(-1).double()
        figures["probability_margin"] = (weights.gather(-1, index).squeeze(-1).double() - other) / total
    return figures, weights, total


def row_figures(figures: dict[str, torch.Tensor], batch: TokenBatch, also: Collection[str]) -> dict[str, Scores]:
    """(B,) of each figure asked for: means over a row's targets, the exponential of the mean loss, and their number."""
    found = {name: row_values(batch.spread(figures[name]), batch, "mean").cpu().numpy() for name in figures}
    with np.errstate(over="ignore"):
        found["perplexity"] = np.exp(found["loss"])
    found["length"] = batch.is_target.sum(1).double().cpu().numpy()
    return {name: found[name] for name in also}


def measure_figures(
    proxy: LoadedProxy, rows: Sequence[TokenRow], also: Collection[str], budget: TokenBudget
) -> dict[str, Scores]:
    """(B,) of each figure for B scorable rows. Cost: 1 F a row."""
    found = {name: np.full(len(rows), np.nan) for name in also}
    for bucket, batch, figures in in_batches(rows, proxy, budget, lambda batch: plain_figures(proxy, batch, also)):
        for name, values in row_figures(figures, batch, also).items():
            found[name][bucket] = values
    return found


def plain_figures(proxy: LoadedProxy, batch: TokenBatch, also: Collection[str]) -> dict[str, torch.Tensor]:
    """(N,) figures of the batch's targets under the weights as they are, by the model's plain forward."""
    with torch.no_grad(), attention(proxy, fast_attention(proxy)):
        logits = label_logits(proxy, proxy.parameters, batch)[batch.is_target]
        return read_figures(logits, batch.targets[batch.is_target], also)[0]
