"""Models that give texts ratings instead of tokens: a body with a head of a few numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from hf_datasel.contracts import Scores
from hf_datasel.proxy.batching import in_batches
from hf_datasel.proxy.proxy import LoadedProxy, Proxy, torch_device
from hf_datasel.rows.labels import IGNORED, TokenRow


if TYPE_CHECKING:
    from hf_datasel.proxy.batching import TokenBudget
    from hf_datasel.proxy.losses import TokenBatch


@dataclass(frozen=True)
class LoadedRater:
    """A rating model in memory, in evaluation mode.

    Args:
        loaded: model and tokenizer, as batches want them.
        ratings: numbers that the head gives.
    """

    loaded: LoadedProxy = field(repr=False)
    ratings: int


def load_rater(rater: Proxy, rank: int | None) -> LoadedRater:
    """The model with its head.

    Args:
        rater: which; its weights, type and revision count.
        rank: of this process among several on the machine.
    """
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    code: dict[str, Any] = {"revision": rater.revision, "trust_remote_code": rater.trust_remote_code}
    model: Any = AutoModelForSequenceClassification.from_pretrained(
        rater.model, dtype=getattr(torch, rater.dtype), use_safetensors=True, **code
    )
    model.to(torch_device(rank)).eval()
    tokenizer = AutoTokenizer.from_pretrained(rater.model, **code)
    tokenizer.model_max_length = int(1e30)  # texts are cut into windows
    parameters = {name: parameter.data for name, parameter in model.named_parameters()}
    return LoadedRater(LoadedProxy(model, tokenizer, parameters, tokenizer), int(model.config.num_labels))


def text_ratings(rater: LoadedRater, texts: Sequence[str], window: int, budget: TokenBudget) -> tuple[Scores, Scores]:
    """(B, C) ratings, means over windows by their tokens, and (B,) tokens. A text without tokens gets NaN and 0.

    Cost: 1 F a text, in windows.

    Args:
        rater: the model.
        texts: B texts, tokenized without special tokens.
        window: tokens of a window at most.
        budget: see `in_batches`.
    """
    encoded = [rater.loaded.tokenizer(text=text, add_special_tokens=False)["input_ids"] for text in texts]
    pieces = [
        (at, ids[start : start + window]) for at, ids in enumerate(encoded) for start in range(0, len(ids), window)
    ]
    rows = [TokenRow(tuple(ids), (IGNORED,) * len(ids), "ok") for _, ids in pieces]
    sums, tokens = np.zeros((len(texts), rater.ratings)), np.zeros(len(texts))
    found = np.zeros((len(rows), rater.ratings))
    for bucket, _, ratings in in_batches(rows, rater.loaded, budget, lambda batch: _ratings(rater.loaded, batch)):
        found[bucket] = ratings.double().cpu().numpy()
    # In the order of the text, so that batches do not change the rounding of a sum.
    for (at, ids), rating in zip(pieces, found, strict=True):
        sums[at] += len(ids) * rating
        tokens[at] += len(ids)
    with np.errstate(invalid="ignore"):
        return sums / tokens[:, None], tokens


def _ratings(loaded: LoadedProxy, batch: TokenBatch) -> torch.Tensor:
    model: Any = loaded.model
    inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
    with torch.no_grad():
        if not hasattr(model, "score"):  # an encoder, whose own head minds the mask
            logits: torch.Tensor = model(**inputs).logits
            return logits
        # A decoder's head looks for the last token that is no padding by its id, which may be a token of the text.
        states = getattr(model, model.base_model_prefix)(**inputs, use_cache=False)[0]
        last = batch.attention_mask.sum(1) - 1
        rated: torch.Tensor = model.score(states[torch.arange(len(last), device=last.device), last])
        return rated
