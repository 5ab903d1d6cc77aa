"""Greedy answers to questions with worked examples before them, and where the model looks while it reads the question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from hf_datasel.proxy.batch_size import length_buckets
from hf_datasel.proxy.in_context import InContext
from hf_datasel.proxy.label_forward import attention, body_of, fast_attention
from hf_datasel.proxy.prefix import (
    Prefix,
    common_length,
    keeps_keys_and_values,
    read_prefix,
    shared_length,
    without_prefix,
)
from hf_datasel.proxy.sampling import end_tokens, forget_places, prompt_of, write_answers
from hf_datasel.rows.demonstrations import demonstrated, with_last_answer
from hf_datasel.rows.labels import TokenRow


if TYPE_CHECKING:
    from hf_datasel.proxy.proxy import LoadedProxy

EXAMPLES_RUN_TOGETHER = "examples_run_together"
NO_ROOM = "no_room_to_answer"


def answers_in_context(
    engine: InContext, demonstrations: Sequence[Mapping[str, Any]], max_new_tokens: int = 128
) -> tuple[str, list[str]]:
    """A status, and the greedy answer to each of T questions after k examples (none: the question alone).

    No answers unless the status is `"ok"`: where examples and a question leave less room in the context than
    `max_new_tokens`, the status is `"no_room_to_answer"`, since an answer cut short would count as a wrong one.
    Cost: 1 F of the examples, T F of the questions, 1 F a token.

    Args:
        engine: holds the questions.
        demonstrations: k rows.
        max_new_tokens: of an answer; it ends earlier at an end-of-sequence token.
    """
    status, rows = engine.after(demonstrations) if demonstrations else ("ok", engine.alone)
    if not rows:
        return status, []
    proxy, prompts = engine.proxy, [prompt_of(row) for row in rows]
    if proxy.context and max(len(row.input_ids) for row in prompts) + max_new_tokens > proxy.context:
        return NO_ROOM, []
    if not engine.shares_prefix or not keeps_keys_and_values(proxy):
        return "ok", [write_answers(proxy, row, np.zeros((1, max_new_tokens)), 0.0, 1.0)[0] for row in prompts]
    with torch.no_grad(), attention(proxy, fast_attention(proxy)):
        length = shared_length(rows)
        prefix = read_prefix(proxy, prompts[0].input_ids[:length]) if length else None
        written: list[list[int]] = [[] for _ in prompts]
        rest = [without_prefix(row, length) for row in prompts]
        for places in length_buckets([len(row.input_ids) for row in rest], engine.budget.tokens):
            its = _greedy(proxy, [rest[i] for i in places], prefix, max_new_tokens)
            for place, answer in zip(places, its, strict=True):
                written[place] = answer
    return "ok", [str(proxy.tokenizer.decode(answer, skip_special_tokens=True)) for answer in written]


def _greedy(proxy: LoadedProxy, prompts: Sequence[TokenRow], prefix: Prefix | None, limit: int) -> list[list[int]]:
    """The likeliest tokens after each of B prompts, padded on the left behind the prefix that they share."""
    start, width = (prefix.length if prefix else 0), max(len(row.input_ids) for row in prompts)
    device = next(iter(proxy.parameters.values())).device
    padding = [width - len(row.input_ids) for row in prompts]
    tokens = torch.tensor(
        [[0] * pad + list(row.input_ids) for pad, row in zip(padding, prompts, strict=True)], device=device
    )
    mask = torch.tensor([[1] * start + [0] * pad + [1] * (width - pad) for pad in padding], device=device)
    ends = end_tokens(proxy)
    written: list[list[int]] = [[] for _ in prompts]
    forget_places(proxy)
    cache: Any = prefix.for_rows(len(prompts)) if prefix else None
    while True:
        places = (mask.cumsum(1) - 1).clamp_min(0)[:, -tokens.shape[1] :]
        output: Any = proxy.model(
            input_ids=tokens, attention_mask=mask, position_ids=places, past_key_values=cache, use_cache=True
        )
        cache = output.past_key_values
        tokens = output.logits[:, -1].argmax(-1, keepdim=True)
        for answer, token in zip(written, tokens[:, 0].tolist(), strict=True):
            if not answer or answer[-1] not in ends:
                answer.append(token)
        if all(len(answer) >= limit or answer[-1] in ends for answer in written):
            return written
        mask = torch.cat([mask, mask.new_ones((len(prompts), 1))], 1)


def attention_to_examples(
    engine: InContext, demonstrations: Sequence[Mapping[str, Any]], layer: int
) -> tuple[str, npt.NDArray[np.float64]]:
    """A status, and how much the T questions look at each of k examples: (T, k), summing to 1 over the examples.

    Attention from a question's tokens to an example's, summed over heads, over the number of both. NaN unless the status
    is `"ok"`. Cost: 1 F of the examples, T F of the questions.

    Args:
        engine: holds the questions.
        demonstrations: k rows.
        layer: whose attention, counted from 0.

    Raises:
        ValueError: the model has no such layer.
    """
    nothing = np.full((len(engine.items), len(demonstrations)), np.nan)
    status, rows = engine.after(demonstrations)
    if not rows:
        return status, nothing
    prompts = [prompt_of(row) for row in rows]
    starts = example_starts(engine, demonstrations, prompts[0])
    if starts is None:
        return EXAMPLES_RUN_TOGETHER, nothing
    question = starts[-1] if keeps_keys_and_values(engine.proxy) else 0
    found = []
    with torch.no_grad(), attention(engine.proxy, "eager"):
        prefix = read_prefix(engine.proxy, prompts[0].input_ids[:question]) if question else None
        for row in prompts:
            heads = _attention(engine.proxy, row.input_ids[question:], prefix, layer)
            looks = heads[:, starts[-1] - question :].double().sum(0)
            parts = [looks[:, begin:end].mean() for begin, end in pairwise(starts)]
            found.append(torch.stack(parts).cpu().numpy())
    shares = np.array(found)
    return "ok", shares / shares.sum(1, keepdims=True)


def example_starts(
    engine: InContext, demonstrations: Sequence[Mapping[str, Any]], prompt: TokenRow
) -> list[int] | None:
    """Where each of k examples and then the question begins in a prompt: k + 1 tokens; None where they run together."""
    shots = [with_last_answer(row) for row in demonstrations]
    starts = []
    for count in range(len(shots) + 1):
        # Two texts that go on differently: at least one parts from the prompt where its next example begins.
        read = [engine.read(demonstrated(shots[:count], _asking(shots[0], text), engine.separator)) for text in "0?"]
        starts.append(min(common_length(row.input_ids, prompt.input_ids) for row in read))
    return starts if all(one < other for one, other in pairwise(starts)) else None


def _asking(shot: Mapping[str, Any], text: str) -> dict[str, Any]:
    is_text = isinstance(shot["prompt"], str)
    return {**shot, "prompt": text if is_text else [{"role": "user", "content": text}]}


def _attention(proxy: LoadedProxy, tokens: Sequence[int], prefix: Prefix | None, layer: int) -> torch.Tensor:
    """(heads, T, P + T) of one layer: from T tokens to the prefix and to themselves."""
    body = body_of(proxy)
    device = next(iter(proxy.parameters.values())).device
    forget_places(proxy)
    output: Any = body(
        input_ids=torch.tensor([list(tokens)], device=device),
        past_key_values=prefix.for_rows(1) if prefix else None,
        use_cache=prefix is not None,
        output_attentions=True,
    )
    if not 0 <= layer < len(output.attentions):
        raise ValueError(f"`layer` is {layer}, expected 0 to {len(output.attentions) - 1}, the layers of the model.")
    found: torch.Tensor = output.attentions[layer][0]
    return found
