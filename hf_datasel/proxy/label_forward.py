"""One forward pass that computes no more than the targets' logits: what every fast engine is made of.

Left out, none of which changes a loss: the last position (it predicts nothing), padding masks (causal models never
look right), the last layer's MLP and the LM head at positions without a target.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from hf_datasel.proxy.vision import attention_in, images_once


if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from hf_datasel.proxy.losses import TokenBatch
    from hf_datasel.proxy.proxy import LoadedProxy, Parameters

MAX_LOGITS = 2**24  # of one chunk of targets: 64 MiB in float32
CACHED_LOGITS = 2**20  # what stays in the cache of a CPU
Found = TypeVar("Found")


class NotApplicable(Exception):
    """An engine cannot serve this model; says why."""


class _Call(torch.nn.Module):
    """Any function of a model as a module, so that `functional_call` can exchange the model's parameters around it."""

    def __init__(self, model: torch.nn.Module, function: Callable[[], Any]) -> None:
        super().__init__()
        self.model = model
        self.function = function

    def forward(self) -> Any:
        return self.function()


def with_parameters(model: torch.nn.Module, parameters: Parameters, function: Callable[[], Found]) -> Found:
    """What `function` gives while the model has other parameters; the model's own are not touched."""
    named = {f"model.{name}": value for name, value in parameters.items()}
    found: Found = torch.func.functional_call(_Call(model, function), named, ())
    return found


def target_states(proxy: LoadedProxy, batch: TokenBatch, **inputs: Any) -> tuple[torch.Tensor, Any]:
    """Last hidden states (N, H) at the places that predict the batch's N targets, and the body's whole output.

    Raises:
        NotApplicable: the model has no body apart from its head.
    """
    body = body_of(proxy)
    read = batch.input_ids.shape[1] - batch.spare
    with _last_mlp_on_targets_only(text_body(body), batch), images_once(proxy, batch):
        output = body(**{"input_ids": batch.input_ids[:, :read], "use_cache": False, **batch.media, **inputs})
    return output[0][batch.places], output


def target_logits(proxy: LoadedProxy, states: torch.Tensor, output: Any) -> torch.Tensor:
    """Logits (n, V) of n hidden states (n, H): the model's own forward around a body that gives just these states.

    So whatever a model does to its logits (soft caps, scales) is done here as well.
    """
    model, body = inner_model(proxy), body_of(proxy)
    given = replace(output, last_hidden_state=states.unsqueeze(0))
    own = vars(body).get("forward")
    body.forward = lambda *_, **__: given
    try:
        places = torch.zeros((1, states.shape[0]), dtype=torch.long, device=states.device)
        logits: torch.Tensor = model(input_ids=places, use_cache=False).logits
    finally:
        if own is None:
            del body.forward
        else:
            body.forward = own
    return logits.squeeze(0)


def chunks(proxy: LoadedProxy, targets: torch.Tensor, max_logits: int = MAX_LOGITS) -> Iterator[slice]:
    """Slices of the targets (N,), whose logits stay within `max_logits`; of 64 targets at least."""
    step = max(64, max_logits // inner_model(proxy).config.get_text_config().vocab_size)
    for start in range(0, len(targets), step):
        yield slice(start, min(start + step, len(targets)))


def read_targets(
    proxy: LoadedProxy,
    batch: TokenBatch,
    read: Callable[[torch.Tensor, torch.Tensor], Mapping[str, torch.Tensor]],
    **inputs: Any,
) -> dict[str, torch.Tensor]:
    """Figures (N,) of the batch's N targets, from one forward.

    Args:
        proxy: the model, its parameters possibly exchanged.
        batch: B rows.
        read: of logits (n, V) and targets (n,): figures (n,) by name.
        inputs: of the model's body beside the batch.
    """
    states, output = target_states(proxy, batch, **inputs)
    targets = batch.targets[batch.is_target]
    limit = CACHED_LOGITS if targets.device.type == "cpu" else MAX_LOGITS
    parts = [read(target_logits(proxy, states[part], output), targets[part]) for part in chunks(proxy, targets, limit)]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def inner_model(proxy: LoadedProxy) -> PreTrainedModel:
    """The causal language model itself, out of PEFT's wrapper (its adapters stay in place)."""
    model: Any = proxy.model
    config = getattr(model, "active_peft_config", None)
    if config is not None and config.is_prompt_learning:
        raise NotApplicable(f"{type(model).__name__} puts learned tokens before every row")
    inner: PreTrainedModel = model.get_base_model() if hasattr(model, "get_base_model") else model
    return inner


def body_of(proxy: LoadedProxy) -> Any:
    """The model without its head."""
    model = inner_model(proxy)
    body = getattr(model, model.base_model_prefix, None)
    if body is None or body is model or model.config.is_encoder_decoder:
        raise NotApplicable(f"{type(model).__name__} has no body apart from its head")
    return body


def text_body(body: Any) -> Any:
    """The part of a model without its head that reads tokens: all of it, or the language model within."""
    names = ("language_model", "text_model")
    return next((getattr(body, name) for name in names if hasattr(body, name)), body)


@contextmanager
def _last_mlp_on_targets_only(body: Any, batch: TokenBatch) -> Iterator[None]:
    layers = getattr(body, "layers", None) or getattr(body, "h", None)
    mlp = getattr(layers[-1], "mlp", None) if layers else None
    if mlp is None:
        yield
        return
    shape = (batch.input_ids.shape[0], batch.input_ids.shape[1] - batch.spare)

    def narrow(_: Any, arguments: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if arguments[0].shape[:2] != shape:
            raise NotApplicable(f"{type(mlp).__name__} does not take (rows, tokens, features)")
        return (arguments[0][batch.places].unsqueeze(0), *arguments[1:])

    def widen(_: Any, __: Any, output: Any) -> torch.Tensor:
        if not isinstance(output, torch.Tensor):
            raise NotApplicable(f"{type(mlp).__name__} gives more than hidden states")
        empty = output.new_zeros((*shape, output.shape[-1]))
        return torch.index_put(empty, batch.places, output.squeeze(0))

    hooks = [mlp.register_forward_pre_hook(narrow), mlp.register_forward_hook(widen)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def attention(proxy: LoadedProxy, name: str) -> AbstractContextManager[None]:
    """Another implementation of attention for a while, in every part of the model that has it."""
    return attention_in(inner_model(proxy), name)


def fast_attention(proxy: LoadedProxy) -> str:
    """`"sdpa"` where it computes what eager attention does, else `"eager"`."""
    model = inner_model(proxy)
    config = model.config.get_text_config()
    capped = getattr(config, "attn_logit_softcapping", None) is not None
    sloped = bool(getattr(config, "alibi", False))  # Falcon's slopes come out otherwise: 5 % of the largest logit
    return "sdpa" if getattr(model, "_supports_sdpa", False) and not capped and not sloped else "eager"


@contextmanager
def padding_as_in_training(proxy: LoadedProxy) -> Iterator[None]:
    """No derivative through the embedding of the padding token, as `nn.Embedding(padding_idx)` has it in a backward pass.

    A model that pads with its end-of-sequence token meets it within rows, too. With tied embeddings the anchors'
    gradient is not zero there, and forward mode and moved weights would count what training never does.
    """
    hooks = []
    for module in inner_model(proxy).modules():
        if isinstance(module, torch.nn.Embedding) and module.padding_idx is not None:
            padding = torch.tensor([module.padding_idx], device=module.weight.device)
            with torch.no_grad():
                own = module(padding)[0]

            def keep(_: Any, arguments: Any, output: torch.Tensor, p: Any = padding, own: Any = own) -> torch.Tensor:
                return torch.where((arguments[0] == p).unsqueeze(-1), own, output)

            hooks.append(module.register_forward_hook(keep))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
