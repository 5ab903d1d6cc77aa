"""Attention that carries tangents: a rule for forward mode, which the fused kernels do not have.

For scores S = scale Q K', P = softmax(S) and O = P V:
dS = scale (dQ K' + Q dK'), dO = (P * dS) V + P dV - rowsum(P * dS) O.
Four products instead of six, in blocks of queries, so that keys to the right of a block cost nothing.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd import forward_ad
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from hf_datasel.proxy.label_forward import NotApplicable


NAME = "hf_datasel_dual"
BLOCK = 64  # queries
KNOWN = {
    "is_causal", "softcap", "sliding_window", "use_cache", "position_ids", "cache_position", "output_attentions",
    "output_hidden_states", "return_dict",
}  # fmt: skip


def dual_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    softcap: float | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """An attention of transformers: query (B, heads, T, D), key and value (B, key heads, T, D) to (B, T, heads, D).

    Raises:
        NotApplicable: the layer has an option without a rule here.
    """
    unknown = [name for name, option in options.items() if name not in KNOWN and option is not None]
    if unknown:
        raise NotApplicable(f"{type(module).__name__} calls attention with {unknown[0]!r}")
    pairs = [forward_ad.unpack_dual(tensor) for tensor in (query, key, value)]
    if all(tangent is None for _, tangent in pairs) and softcap is None:
        plain: tuple[torch.Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout, scaling, **options
        )
        return plain
    own = options.get("is_causal")
    causal = attention_mask is None and bool(getattr(module, "is_causal", True) if own is None else own)
    q, k, v = ([_heads(part, query.shape[1]) for part in _both(*pair)] for pair in pairs)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    primal, tangent = _blocks(q, k, v, scale, attention_mask, softcap, causal)
    return forward_ad.make_dual(primal, tangent), None


AttentionInterface.register(NAME, dual_attention)
AttentionMaskInterface.register(NAME, sdpa_mask)


def _both(primal: torch.Tensor, tangent: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
    return primal, torch.zeros_like(primal) if tangent is None else tangent


def _heads(states: torch.Tensor, heads: int) -> torch.Tensor:
    return states if states.shape[1] == heads else states.repeat_interleave(heads // states.shape[1], dim=1)


def _blocks(
    query: list[torch.Tensor],
    key: list[torch.Tensor],
    value: list[torch.Tensor],
    scale: float,
    mask: torch.Tensor | None,
    softcap: float | None,
    causal: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Output and its tangent, (B, T, heads, D), of (primal, tangent) pairs (B, heads, T, D)."""
    (q, dq), (k, dk), (v, dv) = query, key, value
    batch, heads, length, _ = q.shape
    size = v.shape[-1]
    q = q * scale
    both_q = torch.cat([dq * scale, q], -1)
    both_k = torch.cat([k, dk], -1).transpose(-1, -2)
    both_v = torch.cat([v, dv], -1)
    keys = both_k[..., : k.shape[-1], :]
    primal = v.new_empty(batch, length, heads, size)
    tangent = torch.empty_like(primal)
    for start in range(0, length, BLOCK):
        rows = slice(start, min(start + BLOCK, length))
        seen = slice(0, rows.stop if causal else k.shape[2])
        scores = q[:, :, rows] @ keys[..., seen]
        slopes = both_q[:, :, rows] @ both_k[..., seen]
        if softcap is not None:
            capped = torch.tanh(scores / softcap)
            scores, slopes = capped * softcap, slopes * (1 - capped * capped)
        weights = _softmax(scores, start, None if mask is None else mask[:, :, rows], causal)
        slopes = slopes.to(weights.dtype).mul_(weights)
        shift = slopes.sum(-1, keepdim=True).to(v.dtype)
        products = weights.to(v.dtype) @ both_v[:, :, seen]
        change = slopes.to(v.dtype) @ v[:, :, seen]
        change += products[..., size:]
        change.addcmul_(shift, products[..., :size], value=-1)
        primal[:, rows] = products[..., :size].transpose(1, 2)
        tangent[:, rows] = change.transpose(1, 2)
    return primal, tangent


def _softmax(scores: torch.Tensor, start: int, mask: torch.Tensor | None, causal: bool) -> torch.Tensor:
    """Of a block of queries that begins at `start`, in float32 or wider."""
    if causal:
        count = scores.shape[-2]
        later = torch.ones(count, count, dtype=torch.bool, device=scores.device).triu(1)
        scores[..., start:].masked_fill_(later, float("-inf"))
    elif mask is None:  # images are looked at all at once
        pass
    elif mask.dtype == torch.bool:
        scores = scores.masked_fill(~mask, float("-inf"))
    else:
        scores = scores + mask
    return torch.softmax(scores, -1, dtype=torch.promote_types(scores.dtype, torch.float32))
