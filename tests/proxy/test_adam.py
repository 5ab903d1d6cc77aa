"""Adam's next step on one row, from the state that a real Trainer saved."""

import numpy as np
import pytest
import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainingArguments

from hf_datasel import OneStepTrain, Proxy
from hf_datasel.errors import DataselError
from hf_datasel.proxy.adam import AdamState, load_adam_state
from hf_datasel.proxy.one_step import exact_utility


@pytest.fixture(scope="module", params=["full", "lora"])
def checkpoint(request, tiny_model, tmp_path_factory):
    """A proxy three steps into its training by Trainer, weight decay and all."""
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    if request.param == "lora":
        model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", target_modules="all-linear", r=2))
    rows = Dataset.from_list(
        [{"input_ids": [1, n, n + 1, n + 2], "labels": [1, n, n + 1, n + 2]} for n in range(9, 33)]
    )
    folder = tmp_path_factory.mktemp("trained")
    arguments = TrainingArguments(
        str(folder), max_steps=3, save_steps=3, weight_decay=0.1, learning_rate=1e-3, report_to="none", use_cpu=True,
        adam_beta2=0.99, disable_tqdm=True,
    )  # fmt: skip
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    Trainer(model, arguments, train_dataset=rows, processing_class=tokenizer).train()
    place = str(folder / "checkpoint-3")
    if request.param == "lora":
        return Proxy(tiny_model, adapter=place, trainable="lora")
    return Proxy(place)


def test_the_step_is_the_one_torch_would_take(checkpoint):
    proxy = checkpoint.load()
    state = load_adam_state(checkpoint.optimizer, proxy)
    assert state.steps == 3 and state.betas == (0.9, 0.99)
    generator = torch.Generator().manual_seed(0)
    gradient = {name: torch.randn(p.shape, generator=generator) for name, p in proxy.parameters.items()}
    expected = {name: p.clone().requires_grad_() for name, p in proxy.parameters.items()}
    for name, parameter in expected.items():
        parameter.grad = gradient[name]
    groups = [{"params": [p], "weight_decay": state.weight_decay[name]} for name, p in expected.items()]
    torchs = torch.optim.AdamW(groups, lr=1e-3, betas=state.betas, eps=state.eps)
    for name, parameter in expected.items():
        moments = {"exp_avg": state.mean[name].clone(), "exp_avg_sq": state.square[name].clone()}
        torchs.state[parameter] = {"step": torch.tensor(3.0), **moments}
    torchs.step()
    direction = state.direction(gradient, proxy.parameters)
    for name, parameter in proxy.parameters.items():
        torch.testing.assert_close(parameter - 1e-3 * direction[name], expected[name].detach(), rtol=1e-6, atol=1e-9)


def test_the_state_follows_the_names_not_the_place_in_the_file(checkpoint):
    # Norms come last in the Trainer's optimizer and are not decayed; in the model they stand among the others.
    state = load_adam_state(checkpoint.optimizer, checkpoint.load())
    decayed = {name for name, decay in state.weight_decay.items() if decay}
    assert all(("norm" in name) == (name not in decayed) for name in state.weight_decay)
    assert decayed and all(decay in (0.0, 0.1) for decay in state.weight_decay.values())


def test_first_order_is_the_exact_look_ahead_of_a_small_step(checkpoint, pool, anchors):
    rows = pool.select(range(8))
    options = {"step": "adam", "learning_rate": 1e-6}
    exact = OneStepTrain(checkpoint, anchors, estimator="exact", **options)(rows[:])["ost_utility"]
    first = OneStepTrain(checkpoint, anchors, **options)(rows[:])["ost_utility"]
    assert first == pytest.approx(exact, rel=0.02)
    sgd = OneStepTrain(checkpoint, anchors, learning_rate=1e-6)(rows[:])["ost_utility"]
    assert np.corrcoef(first, sgd)[0, 1] < 0.999


def test_the_first_step_of_adam_has_the_length_of_the_learning_rate():
    # m = v = 0: both moments cancel, whatever the gradient (up to eps).
    zero = {"w": torch.zeros(2, dtype=torch.float64)}
    state = AdamState(zero, zero, 0, (0.9, 0.999), 1e-12, {"w": 0.0})
    found = state.direction({"w": torch.tensor([3.0, -4.0], dtype=torch.float64)}, zero)
    assert found["w"].tolist() == pytest.approx([1.0, -1.0], abs=1e-9)


@pytest.mark.parametrize(("sample", "expected"), [(2.0, 0.18), (-1.0, -0.105)])
def test_montessori_in_its_sgd_form(sample, expected):
    # theta = 0, reference loss (theta - 1)^2 / 2, sample loss (theta - a)^2 / 2, step 0.1.
    parameters = {"t": torch.zeros((), dtype=torch.float64)}
    anchor = lambda p: 0.5 * (p["t"] - 1) ** 2  # noqa: E731
    utility, _ = exact_utility(
        lambda p: 0.5 * (p["t"] - sample) ** 2, anchor, parameters, 0.1, anchor(parameters), lambda g, p: g
    )
    assert float(utility) == pytest.approx(expected, abs=1e-15)


def test_what_is_not_there_is_said(tiny_model, checkpoint, anchors, pool, tmp_path):
    with pytest.raises(DataselError, match=r"no '.*optimizer.pt'"):
        OneStepTrain(Proxy(tiny_model), anchors, step="adam")(pool[:2])
    sgd = torch.optim.SGD([torch.zeros(2, requires_grad=True)], lr=0.1)
    torch.save(sgd.state_dict(), tmp_path / "optimizer.pt")
    with pytest.raises(DataselError, match="not the state of Adam"):
        load_adam_state(tmp_path / "optimizer.pt", checkpoint.load())
    other = torch.optim.AdamW([torch.zeros(2, requires_grad=True)])
    other.param_groups[0]["params"][0].grad = torch.ones(2)
    other.step()
    torch.save(other.state_dict(), tmp_path / "optimizer.pt")
    with pytest.raises(DataselError, match="belongs to another model"):
        load_adam_state(tmp_path / "optimizer.pt", checkpoint.load())


@pytest.mark.parametrize(
    "change",
    [{"amsgrad": True}, {"maximize": True}, {"decoupled_weight_decay": False, "weight_decay": 0.1}, {"eps": 1e-3}],
)
def test_variants_of_adam_are_refused(checkpoint, tmp_path, change):
    state = torch.load(checkpoint.optimizer, weights_only=True)
    state["param_groups"][0].update(change)
    torch.save(state, tmp_path / "optimizer.pt")
    with pytest.raises(DataselError, match="not the state of AdamW"):
        load_adam_state(tmp_path / "optimizer.pt", checkpoint.load())


def test_a_part_of_the_model_trained_and_named(tiny_model, tmp_path):
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("self_attn" in name)
    rows = Dataset.from_list([{"input_ids": [1, n, n + 1], "labels": [1, n, n + 1]} for n in range(9, 25)])
    arguments = TrainingArguments(
        str(tmp_path), max_steps=2, save_steps=2, report_to="none", use_cpu=True, disable_tqdm=True
    )
    Trainer(model, arguments, train_dataset=rows, processing_class=AutoTokenizer.from_pretrained(tiny_model)).train()
    named = Proxy(str(tmp_path / "checkpoint-2"), trainable=("self_attn",))
    state = load_adam_state(named.optimizer, named.load())
    assert state.steps == 2 and all("self_attn" in name for name in state.mean)
    with pytest.raises(DataselError, match=r"name that part in `proxy\.trainable`"):
        load_adam_state(named.optimizer, Proxy(named.model).load())


def test_another_state_is_another_spec(checkpoint, anchors):
    import shutil
    from pathlib import Path

    before = OneStepTrain(checkpoint, anchors, step="adam").spec
    folder = Path(checkpoint.adapter or checkpoint.model)
    shutil.copy(folder / "optimizer.pt", folder / "kept.pt")
    state = torch.load(folder / "optimizer.pt", weights_only=True)
    state["param_groups"][0]["eps"] = 1e-3
    torch.save(state, folder / "optimizer.pt")
    assert OneStepTrain(checkpoint, anchors, step="adam").spec != before
    shutil.move(folder / "kept.pt", folder / "optimizer.pt")


@pytest.mark.parametrize(
    "options", [{"estimator": "second_order"}, {"normalize": "cosine"}, {"token_level": True}, {"step": "lion"}]
)
def test_what_adam_cannot_do_is_refused(tiny_model, anchors, options):
    with pytest.raises(ValueError, match=r"`step` is '(adam|lion)', expected"):
        OneStepTrain(Proxy(tiny_model), anchors, **{"step": "adam", **options})
