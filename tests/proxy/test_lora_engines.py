"""Every engine on adapters and on other parts of a model: what is trained is not all of the weights."""

from dataclasses import replace

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

from hf_datasel import OneStepTrain, Proxy
from hf_datasel.errors import DataselError
from hf_datasel.proxy.proxy import encode

from .families import EXPERTS, LABELS, near, plain_gradient, save_model, weights


TARGETS = {
    "LlamaConfig": "all-linear",
    "Qwen2Config": "all-linear",
    "Qwen3Config": "all-linear",
    "Gemma2Config": "all-linear",
    "GPT2Config": "all-linear",
    "MixtralConfig": ["q_proj", "o_proj"],
    "Qwen3MoeConfig": "all-linear",  # its router too, whose weight PEFT exchanges in every forward
    "MambaConfig": ["in_proj", "x_proj"],  # PEFT refuses out_proj
}
NO_GHOST = {"Qwen3MoeConfig": "Linear holds parameters and is never called"}


def with_adapter(folder, tiny_model, name, model_options=None, **options):
    """A proxy with a random adapter, whose own parameters are what is trained."""
    model = save_model(folder / "model", tiny_model, name, **(model_options or {}))
    settings = {"r": 4, "lora_alpha": 4, "init_lora_weights": False, "task_type": "CAUSAL_LM", **options}
    torch.manual_seed(0)
    adapted = get_peft_model(AutoModelForCausalLM.from_pretrained(model), LoraConfig(**settings))
    adapted.save_pretrained(folder / "adapter")
    return Proxy(model, adapter=str(folder / "adapter"), trainable="lora")


def per_row(proxy, anchors):
    return OneStepTrain(proxy, anchors.select(range(3)), labels=LABELS, engine="per_row")


@pytest.fixture(scope="module", params=TARGETS)
def family(request, tiny_model, tmp_path_factory, pool, anchors):
    """Name, scorer of an adapter, and its `per_row` numbers."""
    folder = tmp_path_factory.mktemp(request.param)
    proxy = with_adapter(folder, tiny_model, request.param, target_modules=TARGETS[request.param])
    scorer = per_row(proxy, anchors)
    return request.param, scorer, scorer(pool[:4])["ost_dot"]


def test_per_row_is_torchs_own_backward_pass_of_the_adapter(family, pool):
    """With nothing of the package but the tokens."""
    _, scorer, expected = family
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(scorer.proxy.model), scorer.proxy.adapter)
    names = [name for name, _ in model.named_parameters() if "lora_" in name]
    anchors = scorer._engines(None)[0].anchors
    direction = sum(plain_gradient(model, row, names) for row in anchors.rows) / 3
    own = [plain_gradient(model, encode(pool[i], anchors.proxy, LABELS), names) for i in range(2)]
    assert expected[:2] == near([float(direction @ gradient) for gradient in own], 1e-5)


@pytest.mark.parametrize("engine", ["forward_mode", "auto"])
def test_forward_mode_equals_per_row(family, pool, engine):
    _, scorer, expected = family
    forward = replace(scorer, engine=engine)
    before = weights(forward)
    assert forward(pool[:4])["ost_dot"] == near(expected, 1e-5)
    assert forward.engine_report["engine"] == "forward_mode"
    assert forward.engine_report["passed_over"] == {}  # by the rules, not by torch's own
    assert all(torch.equal(before[name], value) for name, value in weights(forward).items())


def test_ghost_products_equal_per_row_or_are_refused(family, pool):
    name, scorer, expected = family
    ghost = replace(scorer, engine="ghost")
    if name in NO_GHOST:
        with pytest.raises(DataselError, match=f"'ghost' and does not fit this proxy .*{NO_GHOST[name]}"):
            ghost(pool[:4])
        return
    before = weights(ghost)
    assert ghost(pool[:4])["ost_dot"] == near(expected, 1e-5)
    assert all(torch.equal(before[name], value) for name, value in weights(ghost).items())


def test_finite_differences_are_close_or_refused(family, pool):
    name, scorer, expected = family
    moved = replace(scorer, engine="finite_differences")
    if name in EXPERTS:
        with pytest.raises(DataselError, match="sends tokens to experts"):
            moved(pool[:4])
        return
    assert moved(pool[:4])["ost_dot"] == near(expected, 5e-3)


def test_groups_are_those_of_per_row(family, pool, anchors):
    name, scorer, _ = family
    grouped = anchors.select(range(3)).add_column("group", ["a", "b", "a"])
    auto = OneStepTrain(scorer.proxy, grouped, labels=LABELS, anchor_groups="group")
    found, expected = auto(pool[:4]), replace(auto, engine="per_row")(pool[:4])
    assert auto.engine_report["engine"] == ("forward_mode" if name in NO_GHOST else "ghost")
    for group in ("a", "b"):
        assert found[f"ost_utility_group_{group}"] == near(expected[f"ost_utility_group_{group}"], 1e-5)


PARTS = {
    "norms": ("Qwen3Config", ("norm",)),
    "one layer": ("Qwen3Config", (r"layers\.0\.",)),
    "the last layer's MLP": ("Qwen3Config", (r"layers\.1\.mlp",)),
    "queries and the norms of keys": ("Qwen3Config", ("q_proj", "k_norm")),
    "the head": ("LlamaConfig", ("lm_head",)),
    "embeddings that are the head as well": ("Qwen2Config", ("embed_tokens",)),
    "biases and learned positions": ("GPT2Config", ("bias", "wpe")),
    "norms beside experts": ("MixtralConfig", ("norm",)),
}


@pytest.mark.parametrize("part", PARTS)
def test_parts_of_a_model_are_measured_alike(tiny_model, tmp_path, pool, anchors, part):
    name, trainable = PARTS[part]
    scorer = per_row(Proxy(save_model(tmp_path, tiny_model, name), trainable=trainable), anchors)
    expected = scorer(pool[:4])["ost_dot"]
    for engine in ("forward_mode", "ghost"):
        assert replace(scorer, engine=engine)(pool[:4])["ost_dot"] == near(expected, 1e-5)


@pytest.mark.parametrize("saved", ["lm_head", "embed_tokens", "norm"])
def test_modules_saved_beside_an_adapter_are_trained_with_it(tiny_model, tmp_path, pool, anchors, saved):
    proxy = with_adapter(tmp_path, tiny_model, "LlamaConfig", target_modules=["q_proj"], modules_to_save=[saved])
    scorer = per_row(proxy, anchors)
    expected = scorer(pool[:4])["ost_dot"]
    assert any(saved in name for name in scorer._engines(None)[0].anchors.proxy.parameters)
    for engine in ("forward_mode", "ghost"):
        assert replace(scorer, engine=engine)(pool[:4])["ost_dot"] == near(expected, 1e-5)


def test_an_adapter_of_the_embeddings_meets_padding_tokens_as_in_training(tiny_model, tmp_path, pool, anchors):
    proxy = with_adapter(tmp_path, tiny_model, "LlamaConfig", {"pad_token_id": 2}, target_modules=["embed_tokens"])
    scorer = per_row(proxy, anchors)
    rows = {"prompt": pool[:4]["prompt"], "completion": [f"{row}</s> {row}" for row in pool[:4]["completion"]]}
    assert replace(scorer, engine="forward_mode")(rows)["ost_dot"] == near(scorer(rows)["ost_dot"], 1e-5)


def test_finite_differences_are_refused_where_training_stops_a_gradient(tiny_model, tmp_path, pool, anchors):
    """DoRA's norm counts as constant in the backward pass, and yet moves with the weights."""
    proxy = with_adapter(tmp_path, tiny_model, "LlamaConfig", target_modules=["q_proj", "down_proj"], use_dora=True)
    scorer = per_row(proxy, anchors)
    expected = scorer(pool[:4])["ost_dot"]
    assert replace(scorer, engine="auto")(pool[:4])["ost_dot"] == near(expected, 1e-5)
    with pytest.raises(DataselError, match=r"'finite_differences' and its best step differs by .* from exact values"):
        replace(scorer, engine="finite_differences")(pool[:4])
    with pytest.raises(DataselError, match=r"'ghost' and does not fit this proxy .*DoraLinearLayer"):
        replace(scorer, engine="ghost")(pool[:4])
