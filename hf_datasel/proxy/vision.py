"""The part of a model that sees: which parameters it has, and its frozen encoder run once for each batch of images."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from hf_datasel.proxy.image_features import kept


if TYPE_CHECKING:
    from hf_datasel.proxy.losses import TokenBatch
    from hf_datasel.proxy.proxy import LoadedProxy

ENCODERS = ("vision_tower", "visual", "vision_model", "vision_encoder", "image_tower")
# What turns an encoder's output into a language model's input; in Qwen-VL it lies within the encoder.
PROJECTORS = (
    "multi_modal_projector", "mm_projector", "projector", "connector", "merger", "deepstack_merger_list", "aligner",
)  # fmt: skip
PROJECTOR = re.compile(rf"(?:^|\.)(?:{'|'.join(PROJECTORS)})\.")
IMAGE_MODULES = rf"(?:.*\.)?(?:{'|'.join((*ENCODERS, *PROJECTORS))})(?:\..*)?"
"""Matches the whole name of every module that sees images or projects them: where an adapter does not belong."""
PRESETS = ("all", "language", "projector", "lora")


def encoder_name(model: torch.nn.Module) -> str | None:
    """Where the encoder of images lies in a model; `None` without one."""
    return next((name for name, _ in model.named_modules() if name.rpartition(".")[2] in ENCODERS), None)


def is_of_images(parameter: str, encoder: str | None) -> bool:
    """Whether a parameter, by name, belongs to the encoder or the projector."""
    return (encoder is not None and parameter.startswith(f"{encoder}.")) or bool(PROJECTOR.search(parameter))


def frozen_encoder(proxy: LoadedProxy) -> torch.nn.Module | None:
    """The encoder of images, if no parameter of it is trainable."""
    name = encoder_name(proxy.model)
    if name is None or any(parameter.startswith(f"{name}.") for parameter in proxy.parameters):
        return None
    return proxy.model.get_submodule(name)


@contextmanager
def attention_in(model: torch.nn.Module, name: str) -> Iterator[None]:
    """Another implementation of attention for a while, in every part of a model that has it."""
    from transformers import PreTrainedModel

    parts = [module for module in model.modules() if isinstance(module, PreTrainedModel)]
    before = [part.config._attn_implementation for part in parts]
    for part in parts:
        if name != "sdpa" or getattr(part, "_supports_sdpa", False):
            part.config._attn_implementation = name
    try:
        yield
    finally:
        for part, own in zip(parts, before, strict=True):
            part.config._attn_implementation = own


@contextmanager
def images_once(proxy: LoadedProxy, batch: TokenBatch) -> Iterator[None]:
    """In here a frozen encoder encodes the batch's images the first time and remembers, as long as the batch lives.

    Every direction, both sides of a finite difference and every step back to the anchors then share one pass; what is
    remembered for longer, see `image_features.kept`.
    """
    encoder = proxy.frozen_encoder if batch.media else None
    if encoder is None:
        yield
        return
    plain = encoder.forward

    def once(*arguments: Any, **options: Any) -> Any:
        given = [value for value in (*arguments, *options.values()) if isinstance(value, torch.Tensor)]
        for known, output in batch.encoded:
            if _equal(known, given):
                return _fresh(output)
        with torch.no_grad(), attention_in(encoder, "sdpa"):  # whatever derivatives the rest needs, this part has none
            output = kept(encoder, given, lambda: _needed(proxy, plain(*arguments, **options)))
        batch.encoded.append((given, output))
        return _fresh(output)

    encoder.forward = once
    try:
        yield
    finally:
        del encoder.forward


def _equal(left: Sequence[torch.Tensor], right: Sequence[torch.Tensor]) -> bool:
    return len(left) == len(right) and all(
        a is b or (a.shape == b.shape and torch.equal(a, b)) for a, b in zip(left, right, strict=True)
    )


def _needed(proxy: LoadedProxy, output: Any) -> Any:
    """The output without the hidden states of layers that the projector does not read: they are most of its memory."""
    states = getattr(output, "hidden_states", None)
    wanted = getattr(proxy.model.config, "vision_feature_layer", None)
    if states is None or wanted is None:
        return output
    places = {place % len(states) for place in ([wanted] if isinstance(wanted, int) else wanted)}
    output.hidden_states = tuple(state if place in places else None for place, state in enumerate(states))
    return output


def _fresh(output: Any) -> Any:
    """Another container of the same tensors: models write their own fields into what an encoder gives."""
    return type(output)(**output) if hasattr(output, "to_tuple") else output
