"""Hidden states of rows, pooled to one vector each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from hf_datasel.proxy.batching import in_batches
from hf_datasel.proxy.label_forward import body_of
from hf_datasel.rows.labels import IGNORED, TokenRow


if TYPE_CHECKING:
    from hf_datasel.proxy.batching import TokenBudget
    from hf_datasel.proxy.losses import TokenBatch
    from hf_datasel.proxy.proxy import LoadedProxy

Pooling = Literal["mean", "last"]


def pooled_states(
    proxy: LoadedProxy, rows: Sequence[TokenRow], layer: int, pooling: Pooling, budget: TokenBudget
) -> npt.NDArray[np.float32]:
    """(B, H) mean, or last, of the hidden states at each row's labels. Cost: 1 F without the LM head.

    Args:
        proxy: the model.
        rows: B rows; their labels mark the tokens that are pooled, the first token included.
        layer: 0 is the embedding of tokens, k the output of block k, -1 the last, behind the model's final norm.
        pooling: over the marked tokens of a row.
        budget: see `in_batches`.

    Raises:
        ValueError: the model has no such layer.
    """
    found = np.zeros((len(rows), hidden_size(proxy)), dtype=np.float32)
    for bucket, _, vectors in in_batches(rows, proxy, budget, lambda batch: _states(proxy, batch, layer)):
        for place, states in zip(bucket, vectors, strict=True):
            marked = [at for at, label in enumerate(rows[place].labels) if label != IGNORED]
            wide = states[marked if pooling == "mean" else marked[-1:]].double()
            found[place] = wide.mean(0).float().cpu().numpy()
    return found


def hidden_size(proxy: LoadedProxy) -> int:
    """Numbers in a hidden state."""
    return int(proxy.model.config.get_text_config().hidden_size)


def _states(proxy: LoadedProxy, batch: TokenBatch, layer: int) -> torch.Tensor:
    with torch.no_grad():
        output: Any = body_of(proxy)(
            input_ids=batch.input_ids,
            attention_mask=batch.attention_mask,
            use_cache=False,
            output_hidden_states=layer != -1,
            **batch.media,
        )
    if layer == -1:
        last: torch.Tensor = output[0]
        return last
    states: tuple[torch.Tensor, ...] = output.hidden_states
    if not -len(states) <= layer < len(states):
        raise ValueError(
            f"`layer` is {layer}, expected one of 0 (token embeddings) to {len(states) - 1}, or counted from the end, -1 to "
            f"{-len(states)}."
        )
    return states[layer]
