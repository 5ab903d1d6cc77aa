"""Kinds of models, tiny, with random weights."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from hf_datasel import Labels, OneStepTrain
from hf_datasel.rows.labels import TokenRow


SIZES: dict[str, Any] = {
    "vocab_size": 512, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 512,
}  # fmt: skip
FAMILIES: dict[str, dict[str, Any]] = {
    "LlamaConfig": SIZES,
    "Qwen2Config": {**SIZES, "tie_word_embeddings": True},
    "Qwen3Config": {**SIZES, "head_dim": 8},
    "MistralConfig": {**SIZES, "sliding_window": 16},
    "GemmaConfig": {**SIZES, "head_dim": 8},
    "Gemma2Config": {**SIZES, "head_dim": 8, "sliding_window": 16},
    "GPT2Config": {"vocab_size": 512, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 512},
    "MixtralConfig": {**SIZES, "num_local_experts": 4, "num_experts_per_tok": 2},
    "Qwen3MoeConfig": {
        **SIZES, "head_dim": 8, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16,
    },
    "MambaConfig": {"vocab_size": 512, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 8},
}  # fmt: skip
EXPERTS = ("MixtralConfig", "Qwen3MoeConfig")
LABELS = Labels(max_length=512)


def save_model(folder: Any, tiny_model: str, name: str, **options: Any) -> str:
    """A model of one family in a folder, with the tokenizer of the quickstart."""
    torch.manual_seed(0)
    config = getattr(transformers, name)(**{**FAMILIES[name], **options})
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(tiny_model).save_pretrained(folder)
    return str(folder)


def weights(scorer: OneStepTrain) -> dict[str, torch.Tensor]:
    """A copy of the weights a scorer has in memory."""
    model = scorer._engines(None)[0].anchors.proxy.model
    return {name: value.clone() for name, value in model.state_dict().items()}


def near(expected: Any, tolerance: float) -> Any:
    """To be compared with `==`: relative to each value, or to the largest where values cancel."""
    return pytest.approx(expected, rel=tolerance, abs=tolerance * float(np.max(np.abs(expected))))


def plain_gradient(model: torch.nn.Module, tokens: TokenRow, names: Iterable[str]) -> torch.Tensor:
    """Of a row's mean loss, by the model's own loss and torch's own backward pass: one long vector, float64."""
    parameters = dict(model.named_parameters())
    held = [parameters[name].requires_grad_() for name in names]
    loss = model(input_ids=torch.tensor([tokens.input_ids]), labels=torch.tensor([tokens.labels])).loss
    parts = torch.autograd.grad(loss, held, allow_unused=True, materialize_grads=True)
    return torch.cat([part.double().flatten() for part in parts])
