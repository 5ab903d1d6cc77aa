"""How an engine is chosen: models that break the rules, engines that are wrong, and what is said about it."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers
from torch.nn import functional
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from hf_datasel import OneStepTrain, Proxy
from hf_datasel.errors import DataselError
from hf_datasel.proxy.engines import choice
from hf_datasel.proxy.engines.ghost import ghost
from hf_datasel.proxy.engines.task import Measured

from .families import LABELS, SIZES, near


class Kernel(torch.autograd.Function):
    """An activation as the authors of fused kernels write them: no rule for forward mode, none for `torch.func`."""

    @staticmethod
    def forward(ctx, x, scale):
        ctx.save_for_backward(x, scale)
        return x * torch.sigmoid(x) * scale

    @staticmethod
    def backward(ctx, slope):
        x, scale = ctx.saved_tensors
        gate = torch.sigmoid(x)
        return slope * scale * (gate + x * gate * (1 - gate)), (slope * x * gate).sum()


class Fused(torch.nn.Module):
    """The kernel in a module, one scalar its parameter."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(1.5))

    def forward(self, x):
        return Kernel.apply(x, self.scale)


class Borrowing(torch.nn.Module):
    """Uses another layer's weight without calling that layer."""

    def __init__(self, owner):
        super().__init__()
        self.owner = [owner]  # not registered: the weight is the owner's alone

    def forward(self, x):
        return functional.silu(x) + 20 * x @ self.owner[0].weight.T @ self.owner[0].weight


class Exacting(transformers.LlamaModel):
    """A body that takes its padding mask for granted."""

    def forward(self, input_ids=None, attention_mask=None, **options):
        return super().forward(input_ids=input_ids, attention_mask=attention_mask.long(), **options)


def fused(model):
    for layer in model.model.layers:
        layer.mlp.act_fn = Fused()


def borrowing(model):
    model.model.layers[0].mlp.act_fn = Borrowing(model.model.layers[0].mlp.down_proj)


def repeated(model):
    model.model.layers[1].mlp = model.model.layers[0].mlp


def tied(model):
    model.model.layers[1].mlp.gate_proj.weight = model.model.layers[0].mlp.up_proj.weight


def exacting(model):
    model.model.__class__ = Exacting


@pytest.fixture
def odd(tiny_model, tmp_path, anchors):
    """A function of what is odd about a Llama, and which layers' weights it ties: a scorer of it, with `per_row`."""

    def scorer(change, ties=()):
        name = f"odd_{change.__name__}"
        config = type(name, (LlamaConfig,), {"model_type": name})

        def begin(self, config):
            LlamaForCausalLM.__init__(self, config)
            change(self)

        keys = {f"model.layers.{one}.weight": f"model.layers.{other}.weight" for one, other in dict(ties).items()}
        own = {"__init__": begin, "config_class": config, "_tied_weights_keys": keys}
        model = type(name, (LlamaForCausalLM,), own)
        AutoConfig.register(name, config, exist_ok=True)
        AutoModelForCausalLM.register(config, model, exist_ok=True)
        torch.manual_seed(0)
        model(config(**SIZES, tie_word_embeddings=bool(ties))).save_pretrained(tmp_path)
        transformers.AutoTokenizer.from_pretrained(tiny_model).save_pretrained(tmp_path)
        return OneStepTrain(Proxy(str(tmp_path)), anchors.select(range(3)), labels=LABELS, engine="per_row")

    return scorer


def test_a_model_that_no_engine_fits_is_measured_row_by_row_after_one_warning(odd, pool):
    slow = odd(fused)
    auto = replace(slow, engine="auto")
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        found = auto(pool[:2])["ost_dot"]
        auto(pool[2:4])
    said = [str(warning.message) for warning in seen if "no fast engine" in str(warning.message)]
    assert len(said) == 1
    assert "You must implement the jvp function for custom autograd.Function" in said[0]
    assert "ghost (ghost): RuntimeError" in said[0] and "Each row gets its own backward pass" in said[0]
    assert np.array_equal(found, slow(pool[:2])["ost_dot"])
    report = auto.engine_report
    assert (report["engine"], report["why"]) == ("per_row", "no fast engine fits")
    assert list(report["passed_over"]) == [
        "forward_mode (forward_mode)",
        "forward_mode (plain_forward_mode)",
        "ghost (ghost)",
    ]


@pytest.mark.parametrize("engine", ["forward_mode", "ghost"])
def test_an_engine_named_that_does_not_fit_is_refused(odd, pool, engine):
    with pytest.raises(DataselError, match=f"`engine` is '{engine}' and does not fit this proxy .* Use engine='auto'"):
        replace(odd(fused), engine=engine)(pool[:2])


def test_finite_differences_need_no_rules_at_all(odd, pool):
    slow = odd(fused)
    assert replace(slow, engine="finite_differences")(pool[:4])["ost_dot"] == near(slow(pool[:4])["ost_dot"], 5e-3)


def test_a_weight_used_behind_its_layers_back_is_noticed(odd, pool, anchors):
    """Ghost products see a weight where its layer is called; the self-check sees what they miss."""
    slow = odd(borrowing)
    with pytest.raises(DataselError, match=r"'ghost' .*differs by .* from a backward pass per row"):
        replace(slow, engine="ghost")(pool[:4])
    grouped = anchors.select(range(3)).add_column("group", ["a", "b", "b"])
    slow = replace(slow, anchors=grouped, anchor_groups="group")
    auto = replace(slow, engine="auto")
    assert auto(pool[:4])["ost_dot"] == near(slow(pool[:4])["ost_dot"], 1e-5)
    assert auto.engine_report["engine"] == "forward_mode"
    assert "differs by" in auto.engine_report["passed_over"]["ghost (ghost)"]


def test_a_weight_that_two_layers_share_is_measured(odd, pool):
    slow = odd(tied, {"1.mlp.gate_proj": "0.mlp.up_proj"})
    expected = slow(pool[:4])["ost_dot"]
    for engine in ("forward_mode", "ghost"):
        assert replace(slow, engine=engine)(pool[:4])["ost_dot"] == near(expected, 1e-5)


def test_a_module_that_is_called_again_in_a_later_layer_is_noticed(odd, pool):
    """What is left out of the last layer's MLP is then missing from an earlier one: the self-check sees it."""
    slow = odd(repeated, {f"1.mlp.{name}_proj": f"0.mlp.{name}_proj" for name in ("gate", "up", "down")})
    auto = replace(slow, engine="auto")
    assert auto(pool[:4])["ost_dot"] == near(slow(pool[:4])["ost_dot"], 1e-5)
    assert "differs by" in auto.engine_report["passed_over"]["forward_mode (forward_mode)"]
    with pytest.raises(DataselError, match=r"'ghost' and does not fit this proxy .*differs by"):
        replace(slow, engine="ghost")(pool[:2])


def test_whatever_a_models_own_code_says_to_an_unusual_call_auto_goes_on(odd, pool):
    """Without a mask: an AttributeError of the model. Torch's own forward mode calls it as training does."""
    slow = odd(exacting)
    auto = replace(slow, engine="auto")
    assert auto(pool[:4])["ost_dot"] == near(slow(pool[:4])["ost_dot"], 1e-5)
    assert auto.engine_report["engine"] == "forward_mode"
    assert auto.engine_report["passed_over"].keys() == {"forward_mode (forward_mode)"}
    assert "AttributeError: 'NoneType'" in auto.engine_report["passed_over"]["forward_mode (forward_mode)"]
    with pytest.raises(DataselError, match=r"'finite_differences' and does not fit this proxy \(AttributeError"):
        replace(slow, engine="finite_differences")(pool[:4])


def off_by(factor):
    """Ghost products, a little wrong."""

    def wrong(task):
        engine = ghost(task)

        def measure(batch):
            found = engine(batch)
            return Measured(found.dots * factor, found.figures)

        return measure

    return wrong


@pytest.fixture
def scorer(tiny_model, anchors):
    return OneStepTrain(Proxy(tiny_model), anchors, labels=LABELS)


def test_an_engine_that_is_wrong_is_passed_over(scorer, pool, monkeypatch):
    expected = replace(scorer, engine="per_row")(pool[:4])["ost_dot"]
    monkeypatch.setitem(choice.EXACT, "forward_mode", (off_by(1.001),))
    auto = replace(scorer)
    assert auto(pool[:4])["ost_dot"] == near(expected, 1e-5)
    assert auto.engine_report["engine"] == "ghost"
    assert auto.engine_report["passed_over"] == {
        "forward_mode (wrong)": "differs by 1.0e-03 from a backward pass per row",
    }
    with pytest.raises(DataselError, match=r"'forward_mode' and does not fit .*differs by 1.0e-03"):
        replace(scorer, engine="forward_mode")(pool[:4])
    monkeypatch.setitem(choice.EXACT, "ghost", (off_by(float("nan")),))
    with pytest.warns(UserWarning, match=r"`proxy` fits no fast engine .*1.0e-03.*ghost \(wrong\): differs by nan"):
        assert replace(scorer)(pool[:4])["ost_dot"] == near(expected, 1e-5)


def test_an_engine_that_mixes_rows_up_is_passed_over_even_with_one_anchor(scorer, pool, monkeypatch):
    """One row alone could not show it, so a second is made of it."""

    def mixing(task):
        engine = ghost(task)

        def measure(batch):
            found = engine(batch)
            return Measured(found.dots.flip(0), found.figures)

        return measure

    monkeypatch.setitem(choice.EXACT, "forward_mode", (mixing,))
    auto = replace(scorer, anchors=scorer.anchors[:1])
    auto(pool[:2])
    assert "forward_mode (mixing)" in auto.engine_report["passed_over"]


def test_an_engine_that_sees_padding_is_passed_over(scorer, pool, monkeypatch):
    """Anchors of one length would need no padding: some is added to show it."""

    def counting(task):
        engine = ghost(task)

        def measure(batch):
            found = engine(batch)
            return Measured(found.dots * (1 + 0.01 * bool(batch.attention_mask.eq(0).all(0).any())), found.figures)

        return measure

    monkeypatch.setitem(choice.EXACT, "forward_mode", (counting,))
    auto = replace(scorer, anchors=scorer.anchors[:1])
    auto(pool[:2])
    assert "forward_mode (counting)" in auto.engine_report["passed_over"]


def test_anchors_without_finite_values_are_said_to_be_the_reason(scorer, pool):
    next(iter(scorer._engines(None)[0].anchors.proxy.parameters.values()))[:] = float("nan")
    with pytest.warns(UserWarning, match="the anchors' own values are not finite, so no engine can be checked"):
        found = scorer(pool[:2])
    assert found["ost_utility_status"] == ["nan_loss", "nan_loss"]


@pytest.mark.parametrize(("groups", "engine"), [(1, "forward_mode"), (2, "ghost")])
def test_auto_takes_the_cheapest(scorer, pool, anchors, groups, engine):
    grouped = anchors.add_column("group", [str(i % groups) for i in range(len(anchors))])
    auto = replace(scorer, anchors=grouped, anchor_groups="group")
    auto(pool[:2])
    report = auto.engine_report
    assert (report["engine"], report["why"]) == (engine, f"the cheapest exact one for {groups} direction(s)")
    assert report["rows_checked"] == 4 and report["difference"] < 1e-5


def test_ghost_products_of_large_layers_add_up_in_float64():
    """A sum of a million float32 numbers in one piece was off by 3e-4 of the largest value: eight groups fell to 22 F."""
    from hf_datasel.proxy.engines.ghost_rules import _outer

    torch.manual_seed(0)
    left, right, directions = torch.randn(120, 1024), torch.randn(120, 1024), torch.randn(8, 1024, 1024)
    spans = [(0, 50), (50, 120)]
    found = _outer(left, right, directions, spans)
    exact = torch.stack([
        torch.einsum("ta,tb,gab->g", left[i:j].double(), right[i:j].double(), directions.double()) for i, j in spans
    ])  # fmt: skip
    assert float((found - exact).abs().max() / exact.abs().max()) < 1e-6
