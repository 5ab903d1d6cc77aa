"""Losses of rows under a proxy: batched by length, head on label positions, sums in float64."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import torch

from hf_datasel.proxy.vision import images_once
from hf_datasel.rows.labels import IGNORED, TokenRow
from hf_datasel.rows.vision import PER_TOKEN


if TYPE_CHECKING:
    from hf_datasel.proxy.proxy import LoadedProxy, Parameters

Reduction = Literal["mean", "sum"]


@dataclass(frozen=True)
class TokenBatch:
    """B rows padded to T tokens, and the L positions where any of them has a target.

    Args:
        input_ids, attention_mask: (B, T).
        positions: (L,) places whose logits are needed; the logits at place t predict token t + 1.
        targets: (B, L) token ids, `IGNORED` where a row has no target.
        media: what the model takes beside tokens, by name: (B, T), or the rows' images or patches one after another.
        pieces: how many of these are each row's, (B,); empty without images.
        encoded: what a frozen encoder made of the images, once it has (see `images_once`).
    """

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    positions: torch.Tensor
    targets: torch.Tensor
    media: Mapping[str, torch.Tensor] = field(default_factory=dict, repr=False)
    pieces: tuple[int, ...] = ()
    encoded: list[Any] = field(default_factory=list, repr=False, compare=False)

    @property
    def spare(self) -> int:
        """Tokens at a row's end that need not be read: the last one predicts nothing, but it may be a part of an image."""
        return 0 if self.media else 1

    @functools.cached_property
    def is_target(self) -> torch.Tensor:
        """(B, L), true where a row has a target."""
        return self.targets != IGNORED

    @functools.cached_property
    def places(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Row and position, (N,) each, of the logits that predict the batch's N targets, row by row."""
        rows, columns = self.is_target.nonzero(as_tuple=True)
        return rows, self.positions[columns]

    def spread(self, values: torch.Tensor) -> torch.Tensor:
        """(B, L) with the values (N,) of the targets in their places, 0 elsewhere."""
        spread = torch.zeros(self.targets.shape, dtype=values.dtype, device=values.device)
        spread[self.is_target] = values
        return spread


def collate(rows: Sequence[TokenRow], proxy: LoadedProxy, padding: int = 0) -> TokenBatch:
    """Pad on the right, to the longest row and `padding` more; padding is neither seen by real tokens nor a target."""
    length = max(len(row.input_ids) for row in rows) + padding
    device = next(iter(proxy.parameters.values())).device
    filler = proxy.tokenizer.pad_token_id
    filler = proxy.tokenizer.eos_token_id if filler is None else filler

    def padded(values: Sequence[Sequence[int]], fill: int) -> torch.Tensor:
        return torch.tensor([[*row, *[fill] * (length - len(row))] for row in values], device=device)

    targets = padded([row.labels for row in rows], IGNORED)[:, 1:]
    positions = (targets != IGNORED).any(0).nonzero().squeeze(1)
    return TokenBatch(
        padded([row.input_ids for row in rows], int(filler)),
        padded([[1] * len(row.input_ids) for row in rows], 0),
        positions,
        targets[:, positions],
        media := media_of(rows, proxy, length),
        tuple(_pieces(row) for row in rows) if _is_told_apart(media) else (),
    )


def media_of(rows: Sequence[TokenRow], proxy: LoadedProxy, length: int, left: bool = False) -> dict[str, torch.Tensor]:
    """Model inputs beside the tokens of B rows, padded to T tokens on the right, or on the left.

    Images of several sizes are padded with zeros, which a processor does too, and marks in its own masks.
    """
    names = list(dict.fromkeys(name for row in rows for name in row.media))
    media = {}
    for name in names:
        parts = [row.media[name] for row in rows if name in row.media]
        if name in PER_TOKEN:
            empty = parts[0].new_zeros((1, 0))
            parts = [row.media.get(name, empty) for row in rows]
            if left:
                parts = [
                    torch.cat([part.new_zeros((1, length - len(row.input_ids))), part], dim=1)
                    for part, row in zip(parts, rows, strict=True)
                ]
            sizes: tuple[int, ...] = (length,)
        else:
            sizes = tuple(max(part.shape[place] for part in parts) for place in range(1, parts[0].dim()))
        media[name] = torch.cat([_grown(part, sizes) for part in parts])
    weight = next(iter(proxy.parameters.values()))
    return {
        name: value.to(weight.device, weight.dtype if value.is_floating_point() else None)
        for name, value in media.items()
    }


def _grown(values: torch.Tensor, sizes: Sequence[int]) -> torch.Tensor:
    """(n, ...) with zeros behind, so that what follows n has these sizes."""
    if tuple(values.shape[1:]) == tuple(sizes):
        return values
    grown = values.new_zeros((values.shape[0], *sizes))
    grown[tuple(slice(0, size) for size in values.shape)] = values
    return grown


def _is_told_apart(media: Mapping[str, torch.Tensor]) -> bool:
    """Whether the model reads every piece there is: with five dimensions and no mask, some may be padding it drops."""
    return "pixel_values" in media and (media["pixel_values"].dim() < 5 or "pixel_attention_mask" in media)


def _pieces(row: TokenRow) -> int:
    pixels = row.media.get("pixel_values")
    if pixels is None:
        return 0
    return pixels.shape[:-3].numel() if pixels.dim() > 3 else pixels.shape[0]


def label_logits(proxy: LoadedProxy, parameters: Parameters, batch: TokenBatch) -> torch.Tensor:
    """Logits (B, L, V) at the batch's label positions; only these go through the LM head."""
    arguments = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask, "use_cache": False}
    keeps = _accepts(proxy.model, "logits_to_keep")
    if keeps:
        arguments["logits_to_keep"] = batch.positions
    with images_once(proxy, batch):
        logits: torch.Tensor = torch.func.functional_call(
            proxy.model, parameters, kwargs={**arguments, **batch.media}
        ).logits
    return logits if keeps else logits[:, batch.positions]


def token_losses(proxy: LoadedProxy, parameters: Parameters, batch: TokenBatch, precise: bool = False) -> torch.Tensor:
    """Teacher-forced cross-entropy of every target, (B, L) in nats, 0 where a row has no target.

    Args:
        proxy: the model.
        parameters: its P trainable parameters, possibly moved or carrying tangents.
        batch: B rows.
        precise: log-softmax in float64 (twice the memory).
    """
    logits = label_logits(proxy, parameters, batch)
    logits = logits.to(torch.float64 if precise else torch.promote_types(logits.dtype, torch.float32))
    targets = batch.targets.clamp_min(0).unsqueeze(-1)
    losses = torch.logsumexp(logits, -1) - logits.gather(-1, targets).squeeze(-1)
    return torch.where(batch.is_target, losses, torch.zeros((), dtype=losses.dtype, device=losses.device))


def row_values(token_values: torch.Tensor, batch: TokenBatch, reduction: Reduction) -> torch.Tensor:
    """(B,) float64: mean (or sum) over each row's targets of values given per token, (B, L)."""
    total = token_values.double().sum(1)
    return total / batch.is_target.sum(1) if reduction == "mean" else total


def _accepts(model: torch.nn.Module, argument: str) -> bool:
    # PEFT's forward takes **kwargs: ask the model it wraps.
    inner = getattr(model, "get_base_model", lambda: model)()
    return argument in inspect.signature(inner.forward).parameters
