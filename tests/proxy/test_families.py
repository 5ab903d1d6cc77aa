"""Forward mode against one backward pass per row, on other kinds of models: tiny, with random weights."""

from dataclasses import replace

import pytest
import torch
import transformers

from hf_datasel import Labels, OneStepTrain, Proxy


SIZES = {
    "vocab_size": 512, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 512,
}  # fmt: skip
FAMILIES = {
    "Qwen2Config": SIZES,
    "Qwen3Config": {**SIZES, "head_dim": 8},
    "Gemma2Config": {**SIZES, "head_dim": 8},
    "GPT2Config": {"vocab_size": 512, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 512},
    "MixtralConfig": {**SIZES, "num_local_experts": 4, "num_experts_per_tok": 2},
    "MambaConfig": {"vocab_size": 512, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 8},
}


@pytest.fixture(params=FAMILIES)
def model(request, tiny_model, tmp_path):
    torch.manual_seed(0)
    config = getattr(transformers, request.param)(**FAMILIES[request.param])
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    transformers.AutoTokenizer.from_pretrained(tiny_model).save_pretrained(tmp_path)
    return str(tmp_path)


def test_forward_mode_equals_a_backward_pass_per_row(model, pool, anchors):
    forward = OneStepTrain(Proxy(model), anchors.select(range(2)), labels=Labels(max_length=512))
    backward = replace(forward, normalize="cosine")  # the cosine needs each row's own gradient
    assert forward._engine(None).forward_mode_works
    assert forward(pool[:4])["ost_dot"] == pytest.approx(backward(pool[:4])["ost_dot"], rel=1e-5)


def test_a_model_without_forward_mode_gets_backward_passes_and_says_so(tiny_model, pool, anchors, monkeypatch):
    scorer = OneStepTrain(Proxy(tiny_model), anchors.select(range(2)), labels=Labels(max_length=512))
    expected = scorer(pool[:3])["ost_dot"]
    plain = replace(scorer)

    class NoForwardMode(torch.autograd.Function):
        @staticmethod
        def forward(values):
            return values.clone()

        @staticmethod
        def setup_context(ctx, inputs, output):
            pass

        @staticmethod
        def backward(ctx, gradient):
            return gradient

    norm = plain._engine(None).anchors.proxy.model.model.norm
    original = norm.forward
    monkeypatch.setattr(norm, "forward", lambda hidden: NoForwardMode.apply(original(hidden)))
    with pytest.warns(UserWarning, match="`proxy` has an operation without a forward-mode derivative"):
        found = plain(pool[:3])["ost_dot"]
    assert found == pytest.approx(expected, rel=1e-5)
