"""Logits of a few tokens at the place where a model begins to answer: a reading of its opinion without generation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from hf_datasel.contracts import Scores
from hf_datasel.proxy.batching import in_batches
from hf_datasel.proxy.losses import label_logits
from hf_datasel.rows.labels import IGNORED, TokenRow


if TYPE_CHECKING:
    from hf_datasel.proxy.batching import TokenBudget
    from hf_datasel.proxy.losses import TokenBatch
    from hf_datasel.proxy.proxy import LoadedProxy


def next_token_logits(
    proxy: LoadedProxy, prompts: Sequence[Sequence[int]], tokens: Sequence[int], budget: TokenBudget
) -> Scores:
    """(B, k) logits of k tokens right behind each of B prompts, float64. Cost: 1 F a prompt.

    Args:
        proxy: the model.
        prompts: token ids, at least one each.
        tokens: k ids.
        budget: see `in_batches`.
    """
    # A target behind the prompt, whichever, makes the logits before it the ones that are computed.
    rows = [TokenRow((*ids, tokens[0]), (*[IGNORED] * len(ids), tokens[0]), "ok") for ids in prompts]

    def measure(batch: TokenBatch) -> torch.Tensor:
        with torch.no_grad():
            return label_logits(proxy, proxy.parameters, batch)[batch.is_target][:, list(tokens)]

    found = np.full((len(rows), len(tokens)), np.nan)
    for bucket, _, logits in in_batches(rows, proxy, budget, measure):
        found[bucket] = logits.double().cpu().numpy()
    return found
