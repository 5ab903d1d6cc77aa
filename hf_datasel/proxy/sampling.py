"""Answers that a proxy writes to a prompt: k at once from one reading of it, drawn from seeds of the row's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from hf_datasel.proxy.losses import collate
from hf_datasel.rows.labels import IGNORED, TokenRow
from hf_datasel.rows.vision import cut_media


if TYPE_CHECKING:
    from hf_datasel.proxy.proxy import LoadedProxy


def prompt_of(row: TokenRow) -> TokenRow:
    """The tokens and media before a row's first target: what the model has read when it begins to answer.

    Example:
        >>> prompt_of(TokenRow((5, 6, 7, 8), (-100, -100, 7, 8), "ok")).input_ids
        (5, 6)
    """
    length = next(place for place, label in enumerate(row.labels) if label != IGNORED)
    return replace(
        row, input_ids=row.input_ids[:length], labels=row.labels[:length], media=cut_media(dict(row.media), length)
    )


def write_answers(
    proxy: LoadedProxy, prompt: TokenRow, draws: npt.NDArray[np.float64], temperature: float, top_p: float
) -> list[str]:
    """k answers to one prompt, without special tokens. Cost: 1 F of the prompt, and 1 F a token for k rows.

    A prompt never shares a batch with another, so its answers depend on it alone. They end at an end-of-sequence token.

    Args:
        proxy: the model.
        prompt: one row; see `prompt_of`.
        draws: (k, T) numbers from 0 to 1, one for each token that each answer may have.
        temperature: divides the logits; 0 takes the likeliest token, whatever is drawn.
        top_p: tokens are drawn from the fewest that hold this probability.
    """
    count, length = draws.shape
    batch = collate([prompt], proxy)
    ends = end_tokens(proxy)
    written: list[list[int]] = [[] for _ in range(count)]
    with torch.no_grad():
        forget_places(proxy)
        # No mask: nothing is padded, and Qwen-VL would take one that covers what is cached for new tokens.
        output: Any = proxy.model(input_ids=batch.input_ids, use_cache=True, **batch.media)
        cache = output.past_key_values
        cache.batch_repeat_interleave(count)
        logits = output.logits[:, -1].repeat(count, 1)
        for step in range(length):
            chosen = _chosen(logits, draws[:, step], temperature, top_p)
            for answer, token in zip(written, chosen.tolist(), strict=True):
                if not answer or answer[-1] not in ends:
                    answer.append(token)
            if step + 1 == length or all(answer[-1] in ends for answer in written):
                break
            tokens = chosen.to(batch.input_ids.device).unsqueeze(1)
            output = proxy.model(input_ids=tokens, past_key_values=cache, use_cache=True)
            logits = output.logits[:, -1]
        forget_places(proxy)
    return [str(proxy.tokenizer.decode(answer, skip_special_tokens=True)) for answer in written]


def forget_places(proxy: LoadedProxy) -> None:
    """Qwen-VL keeps how far images moved the places of the last prompt, and would move those of a text alike."""
    for module in proxy.model.modules():
        if getattr(module, "rope_deltas", None) is not None:
            module.rope_deltas = None  # type: ignore[assignment]


def end_tokens(proxy: LoadedProxy) -> frozenset[int]:
    """Tokens that end an answer: the tokenizer's, and those the model declares."""
    declared = proxy.model.generation_config.eos_token_id if proxy.model.generation_config else None
    others: Sequence[Any] = declared if isinstance(declared, list) else [declared]
    return frozenset(int(token) for token in (proxy.tokenizer.eos_token_id, *others) if isinstance(token, int))


def _chosen(logits: torch.Tensor, draws: npt.NDArray[np.float64], temperature: float, top_p: float) -> torch.Tensor:
    """(k,) tokens by logits (k, V): where each draw falls among the probabilities, the likeliest token first."""
    wide = logits.double().cpu()
    if temperature == 0:
        return wide.argmax(-1)
    likely, order = torch.softmax(wide / temperature, -1).sort(dim=-1, descending=True, stable=True)
    upto = likely.cumsum(-1)
    likely = torch.where(upto - likely < top_p, likely, torch.zeros_like(likely))
    upto = likely.cumsum(-1)
    places = torch.searchsorted(upto, torch.as_tensor(draws).unsqueeze(1) * upto[:, -1:], right=True)
    last = (likely > 0).sum(-1, keepdim=True) - 1  # rounding may put a draw of almost 1 behind it
    return order.gather(-1, torch.minimum(places, last)).squeeze(-1)
