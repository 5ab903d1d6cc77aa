"""Every engine against one backward pass per row, on kinds of models: tiny, with random weights."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers

from hf_datasel import Labels, OneStepTrain, Proxy
from hf_datasel.errors import DataselError


SIZES = {
    "vocab_size": 512, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 512,
}  # fmt: skip
FAMILIES = {
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
NO_GHOST = ("MixtralConfig", "Qwen3MoeConfig", "MambaConfig")  # experts and mixers hold parameters of their own
LABELS = Labels(max_length=512)


def save_model(folder, tiny_model, name, **options):
    torch.manual_seed(0)
    config = getattr(transformers, name)(**{**FAMILIES[name], **options})
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(tiny_model).save_pretrained(folder)
    return str(folder)


def with_engine(scorer, engine):
    """A scorer with this engine, and the same weights in memory."""
    return replace(scorer, engine=engine)


def weights(scorer):
    model = scorer._engine(None).anchors.proxy.model
    return {name: value.clone() for name, value in model.state_dict().items()}


@pytest.fixture(scope="module", params=FAMILIES)
def family(request, tiny_model, tmp_path_factory, pool, anchors):
    """Name, scorer for one direction, and its `per_row` numbers."""
    folder = tmp_path_factory.mktemp(request.param)
    proxy = Proxy(save_model(folder, tiny_model, request.param))
    scorer = OneStepTrain(proxy, anchors.select(range(3)), labels=LABELS, engine="per_row")
    return request.param, scorer, scorer(pool[:4])["ost_dot"]


def test_forward_mode_equals_a_backward_pass_per_row(family, pool):
    _, scorer, expected = family
    forward = with_engine(scorer, "forward_mode")
    before = weights(forward)
    assert forward(pool[:4])["ost_dot"] == pytest.approx(expected, rel=1e-5)
    assert "forward_mode" not in str(forward.engine_report["passed_over"])  # by the rules, not by torch's own
    assert all(torch.equal(before[name], value) for name, value in weights(forward).items())


def test_auto_takes_forward_mode_for_one_direction(family, pool):
    _, scorer, expected = family
    auto = with_engine(scorer, "auto")
    assert auto(pool[:4])["ost_dot"] == pytest.approx(expected, rel=1e-5)
    assert auto.engine_report["engine"] == "forward_mode"
    assert auto.engine_report["difference"] < 1e-5


def test_finite_differences_are_close(family, pool):
    _, scorer, expected = family
    moved = with_engine(scorer, "finite_differences")
    before = weights(moved)
    assert moved(pool[:4])["ost_dot"] == pytest.approx(expected, rel=5e-3, abs=1e-3 * np.abs(expected).max())
    assert moved.engine_report["steps"][0] > 0
    assert all(torch.equal(before[name], value) for name, value in weights(moved).items())


def test_ghost_products_are_equal_or_refused(family, pool):
    name, scorer, expected = family
    ghost = with_engine(scorer, "ghost")
    if name in NO_GHOST:
        with pytest.raises(DataselError, match=r"`engine` is 'ghost' and does not fit.*beside its layers"):
            ghost(pool[:4])
        return
    before = weights(ghost)
    assert ghost(pool[:4])["ost_dot"] == pytest.approx(expected, rel=1e-5)
    assert all(torch.equal(before[name], value) for name, value in weights(ghost).items())


def test_groups_take_ghost_products_where_they_can(family, pool, anchors):
    name, scorer, _ = family
    grouped = anchors.select(range(4)).add_column("group", ["a", "b", "a", "b"])
    auto = OneStepTrain(scorer.proxy, grouped, labels=LABELS, anchor_groups="group")
    rows = replace(auto, engine="per_row")
    found, expected = auto(pool[:4]), rows(pool[:4])
    assert auto.engine_report["engine"] == ("forward_mode" if name in NO_GHOST else "ghost")
    for group in ("a", "b"):
        key = f"ost_utility_group_{group}"
        scale = np.abs(expected[key]).max()
        assert found[key] == pytest.approx(expected[key], rel=1e-5, abs=1e-6 * scale)


@pytest.mark.parametrize("engine", ["forward_mode", "finite_differences", "per_row"])
def test_tokens_add_up_to_rows(family, pool, engine):
    _, scorer, expected = family
    found = replace(scorer, engine=engine, token_level=True, learning_rate=1.0)(pool[:2])
    means = [np.mean(tokens) for tokens in found["ost_token_utility"]]
    tolerance = 5e-3 if engine == "finite_differences" else 1e-5
    assert means == pytest.approx(expected[:2], rel=tolerance, abs=tolerance / 5 * np.abs(expected).max())
