"""Figures of rows: known answers, and every engine against the formulas on the model's full logits."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from hf_datasel import OneStepTrain, Proxy
from hf_datasel.proxy.engines.finite_differences import finite_differences
from hf_datasel.proxy.engines.forward_mode import forward_mode, plain_forward_mode
from hf_datasel.proxy.engines.ghost import ghost
from hf_datasel.proxy.engines.per_row import per_row
from hf_datasel.proxy.figures import plain_figures, read_figures, row_figures
from hf_datasel.proxy.losses import collate
from hf_datasel.proxy.proxy import encode
from hf_datasel.rows.labels import IGNORED, TokenRow

from .families import LABELS, near


FIGURES = ("loss", "perplexity", "el2n", "aum", "length")


def of_probabilities(probabilities, target, shift=0.0):
    """Figures of one target, of logits that give these probabilities."""
    logits = torch.tensor([probabilities], dtype=torch.float64).log() + shift
    return {name: float(value) for name, value in read_figures(logits, torch.tensor([target]), FIGURES)[0].items()}


def test_el2n_is_the_length_of_the_error():
    assert of_probabilities([0.5, 0.5], 0)["el2n"] == pytest.approx(math.sqrt(0.5))
    assert of_probabilities([1.0, 0.0], 0)["el2n"] == 0
    assert of_probabilities([1.0, 0.0], 1)["el2n"] == pytest.approx(math.sqrt(2))
    assert of_probabilities([1 / 3] * 3, 2)["el2n"] == pytest.approx(math.sqrt(2 / 3))


def test_aum_is_the_margin_of_the_targets_logit():
    assert of_probabilities([0.6, 0.3, 0.1], 0)["aum"] == pytest.approx(math.log(0.6 / 0.3))
    assert of_probabilities([0.6, 0.3, 0.1], 2)["aum"] == pytest.approx(math.log(0.1 / 0.6))
    assert of_probabilities([0.5, 0.5], 1)["aum"] == 0


def test_perplexity_is_the_exponential_of_the_mean_loss(scorer):
    """Probabilities 1/2 and 1/8 of two targets: mean loss 2 ln 2, perplexity 4."""
    batch = collate([TokenRow((1, 5, 6), (IGNORED, 5, 6), "ok")], scorer._engines(None)[0].anchors.proxy)
    found = row_figures({"loss": torch.tensor([math.log(2), math.log(8)])}, batch, ("perplexity", "length"))
    assert found["perplexity"] == pytest.approx([4.0])
    assert found["length"].tolist() == [2.0]


@pytest.mark.parametrize("shift", [0.0, 1000.0, -1000.0])
def test_what_all_logits_share_does_not_matter(shift):
    for name, value in of_probabilities([0.6, 0.3, 0.1], 1).items():
        assert of_probabilities([0.6, 0.3, 0.1], 1, shift)[name] == pytest.approx(value, abs=1e-9)


def test_a_hopeless_target_has_a_finite_loss_and_the_logits_stay():
    logits = torch.tensor([[1e4, -1e4, 0.0]])
    before = logits.clone()
    figures, weights, total = read_figures(logits, torch.tensor([1]), FIGURES)
    assert float(figures["loss"]) == 2e4
    assert float(figures["aum"]) == -2e4
    assert torch.equal(logits, before)
    assert (weights / total).tolist() == [[1, 0, 0]]


@pytest.fixture(scope="module")
def scorer(tiny_model, anchors):
    return OneStepTrain(Proxy(tiny_model), anchors, labels=LABELS, also=FIGURES)


@pytest.fixture(scope="module")
def by_hand(scorer, pool):
    """Of each row alone: plain transformers, all logits, float64, the formulas written out."""
    model = AutoModelForCausalLM.from_pretrained(scorer.proxy.model)
    figures = {name: [] for name in FIGURES}
    for row in pool.select(range(8)):
        tokens = encode(row, scorer._engines(None)[0].anchors.proxy, LABELS)
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([tokens.input_ids])).logits[0].double().numpy()
        each = {"loss": [], "el2n": [], "aum": []}
        for place, target in enumerate(tokens.labels[1:]):
            if target == IGNORED:
                continue
            probabilities = np.exp(logits[place] - logits[place].max())
            probabilities /= probabilities.sum()
            error = probabilities.copy()
            error[target] -= 1
            each["loss"].append(-np.log(probabilities[target]))
            each["el2n"].append(np.sqrt((error**2).sum()))
            each["aum"].append(logits[place][target] - np.delete(logits[place], target).max())
        for name, values in each.items():
            figures[name].append(np.mean(values))
        figures["perplexity"].append(np.exp(np.mean(each["loss"])))
        figures["length"].append(len(each["loss"]))
    return figures


MEASURED = {
    "forward_mode": {"engine": "forward_mode"},
    "ghost": {"engine": "ghost"},
    "per_row": {"engine": "per_row"},
    "auto": {"engine": "auto"},
    "cosine, row by row": {"normalize": "cosine"},
    "exact steps": {"estimator": "exact", "learning_rate": 1e-3},
    "sums of rows": {"reduction": "sum"},
}


@pytest.mark.parametrize("options", MEASURED)
def test_figures_are_those_of_the_formulas(scorer, pool, by_hand, options):
    found = replace(scorer, **MEASURED[options])(pool[:8])
    if options != "sums of rows":
        assert found["ost_row_loss"] == pytest.approx(by_hand["loss"], rel=1e-5)
    for name in FIGURES[1:]:
        assert found[f"ost_row_{name}"] == near(by_hand[name], 1e-5)


def test_finite_differences_read_figures_between_the_moved_weights(scorer, pool, by_hand):
    found = replace(scorer, engine="finite_differences")(pool[:8])
    assert found["ost_row_loss"] == near(by_hand["loss"], 1e-4)
    for name in FIGURES[1:]:
        assert found[f"ost_row_{name}"] == near(by_hand[name], 1e-3)
    assert found["ost_row_length"].tolist() == by_hand["length"]


def test_every_engine_gives_every_figure_of_every_target(scorer, pool):
    """Several rows in a batch, target by target: also by the way that no shipped proxy takes."""
    loaded = scorer._engines(None)[0]
    rows = [encode(row, loaded.anchors.proxy, LABELS) for row in pool.select(range(3))]
    batch = collate(rows, loaded.anchors.proxy)
    truth = [per_row(loaded.task)(collate([row], loaded.anchors.proxy)) for row in rows]
    engines = {make.__name__: make(loaded.task) for make in (forward_mode, plain_forward_mode, ghost)}
    engines["finite_differences"] = finite_differences(loaded.task, (1e-3,))
    for name, engine in engines.items():
        tolerance = 1e-3 if name == "finite_differences" else 1e-5
        found = engine(batch)
        assert found.figures.keys() == {"loss", "el2n", "aum"}
        for figure, values in found.figures.items():
            expected = torch.cat([each.figures[figure] for each in truth])
            assert values.numpy() == near(expected.numpy(), tolerance)


def test_figures_not_asked_for_are_not_there(scorer, pool):
    found = replace(scorer, also=("length",))(pool[:2])
    assert {name for name in found if name.startswith("ost_row")} == {"ost_row_loss", "ost_row_length"}


def test_a_plain_forward_takes_the_fast_attention_and_leaves_the_model_as_it_was(tiny_model):
    proxy = Proxy(tiny_model).load(LABELS)
    row = encode({"prompt": "Why?", "completion": " So it is."}, proxy, LABELS)
    seen = []
    proxy.model.register_forward_pre_hook(lambda model, _: seen.append(model.config._attn_implementation))
    plain_figures(proxy, collate([row], proxy), FIGURES)
    assert seen == ["sdpa"] and proxy.model.config._attn_implementation == "eager"
