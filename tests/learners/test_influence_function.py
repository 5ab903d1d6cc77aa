"""Influence of real rows on a real proxy, a few parameters of it, against products of plain gradients."""

import pickle
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from hf_datasel import InfluenceFunction, Labels, OneStepTrain, Proxy
from hf_datasel.errors import BadRow, DataselError, MissingExtra, OverlapError
from hf_datasel.proxy.proxy import encode
from tests.proxy.families import plain_gradient


LABELS = Labels(max_length=512)
LAST_NORM = r"^model\.norm"


@pytest.fixture(scope="module")
def learner(tiny_model, anchors):
    proxy = Proxy(tiny_model, dtype="float64", trainable=(LAST_NORM,))
    return InfluenceFunction(proxy, anchors, damping=0.5, tolerance=1e-10, labels=LABELS)


@pytest.fixture(scope="module")
def rows(pool):
    return pool.select(range(6))


@pytest.fixture(scope="module")
def scorer(learner, rows):
    return learner.fit(rows)


def test_it_is_the_product_of_a_row_with_the_inverse_curvature_times_the_anchors(scorer, learner, rows, anchors):
    proxy = learner.proxy.load(LABELS)
    model = AutoModelForCausalLM.from_pretrained(learner.proxy.model, dtype=torch.float64, attn_implementation="eager")
    tokens = [encode(row, proxy, LABELS) for row in [*rows, *anchors]]
    gradients = torch.stack([plain_gradient(model, its, proxy.parameters) for its in tokens])
    own, anchor = gradients[:6], gradients[6:].mean(0)
    (name,) = proxy.parameters

    def mean_gradient(weight):  # of the pool, by torch's own second derivative
        with torch.no_grad():
            model.get_parameter(name).copy_(weight)
        return torch.stack([plain_gradient(model, its, [name]) for its in tokens[:6]]).mean(0)

    weight, step = proxy.parameters[name].clone(), 1e-3  # norms compute in float32
    solved = torch.from_numpy(scorer.direction[name])
    curved = (mean_gradient(weight + step * solved) - mean_gradient(weight - step * solved)) / (2 * step)
    assert (curved + 0.5 * solved).tolist() == pytest.approx(anchor.tolist(), abs=1e-4 * float(anchor.norm()))
    found = scorer(rows[:])
    assert found["influence"] == pytest.approx((own @ solved).numpy(), rel=1e-4)
    assert found["influence_up_weighting"].tolist() == (-found["influence"]).tolist()


@pytest.mark.parametrize("options", [{"solver": "exact"}, {"solver": "lissa", "iterations": 40}])
def test_the_other_solvers_find_the_same(learner, rows, options):
    one = rows.select([0])  # a single batch, so that LiSSA's series has no noise
    damped = replace(learner, damping=5.0)
    expected, found = damped.fit(one).direction, replace(damped, **options).fit(one).direction
    (name,) = expected
    assert found[name] == pytest.approx(expected[name], rel=1e-3, abs=1e-6)


def test_much_damping_makes_it_first_order(learner, rows, anchors):
    damped = replace(learner, damping=1e6).fit(rows)(rows[:])["influence"] * 1e6
    dot = OneStepTrain(learner.proxy, anchors, labels=LABELS)(rows[:])["ost_dot"]
    assert damped == pytest.approx(dot, rel=1e-4)


def test_bad_rows_pickles_and_overlap(scorer, rows, anchors):
    found = scorer({"prompt": ["Why?"], "completion": [""]})
    assert np.isnan(found["influence"][0]) and found["influence_status"] == ["empty_completion"]
    copy = pickle.loads(pickle.dumps(scorer))  # noqa: S301
    assert copy.spec == scorer.spec and copy(rows[:2])["influence"].tolist() == scorer(rows[:2])["influence"].tolist()
    with pytest.raises(OverlapError):
        scorer(anchors[:1])


def test_what_cannot_be_is_refused(learner, rows):
    with pytest.raises(ValueError, match="`solver` is 'newton'"):
        replace(learner, solver="newton")
    with pytest.raises(ValueError, match="`damping` is -1"):
        replace(learner, damping=-1)
    bad = rows.select([0]).map(lambda row: {"completion": ""})
    with pytest.raises(BadRow, match="`pool` has 1 rows and none with a loss"):
        learner.fit(bad)


def test_a_solution_that_is_none_yet_is_said(learner, rows, caplog):
    replace(learner, damping=1e-3, iterations=1).fit(rows)
    assert "`iterations` is 1 and the residual still" in caplog.text


NOT_INSTALLED = (
    "kronfluence is not installed: pip install 'hf_datasel[ekfac]', or make peers and PYTHONPATH=build/peers"
)


def test_ekfac_comes_close_to_the_inverse_of_a_head_where_first_order_does_not(tiny_model, anchors, pool, tmp_path):
    pytest.importorskip("kronfluence", reason=NOT_INSTALLED)
    model = AutoModelForCausalLM.from_pretrained(tiny_model, tie_word_embeddings=False)
    model.lm_head.weight = torch.nn.Parameter(model.get_input_embeddings().weight.detach().clone())
    model.save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(tmp_path)
    # Of a head of its own, the Hessian is the Gauss-Newton matrix.
    proxy = Proxy(str(tmp_path), dtype="float64", trainable=("lm_head",))
    exact = InfluenceFunction(proxy, anchors, damping=1.0, tolerance=1e-2, labels=LABELS)
    (expected,) = exact.fit(pool).direction.values()
    (first_order,) = replace(exact, damping=1e9).fit(pool.select([0])).direction.values()
    scorer = replace(exact, solver="ekfac").fit(pool)
    (found,) = scorer.direction.values()
    assert np.linalg.norm(found - expected) < 0.3 * np.linalg.norm(expected)
    assert np.linalg.norm(1e9 * first_order - expected) > 0.8 * np.linalg.norm(expected)
    scores, expected_scores = (
        its(pool[:])["influence"] for its in (scorer, replace(scorer, direction={"lm_head.weight": expected}))
    )
    assert (np.sign(scores) == np.sign(expected_scores)).all()
    assert np.corrcoef(scores.argsort().argsort(), expected_scores.argsort().argsort())[0, 1] > 0.95
    assert scorer.solved == {"solver": "ekfac", "damping": 1.0, "covered": 1.0}


def test_ekfac_of_the_sum_is_that_of_the_mean_times_the_targets(tiny_model, anchors, pool):
    pytest.importorskip("kronfluence", reason=NOT_INSTALLED)
    from hf_datasel.proxy.ekfac import fit_factors

    proxy = Proxy(tiny_model, dtype="float64", trainable=(r"layers\.4\.mlp\.down_proj",)).load(LABELS)
    row = encode(pool[0], proxy, LABELS)
    traces = [float(fit_factors(proxy, [row], its, 0, 64).popitem()[1].curvature.sum()) for its in ("sum", "mean")]
    count = sum(label >= 0 for label in row.labels[1:])
    assert traces[0] == pytest.approx(traces[1] * count, rel=1e-6)


def test_ekfac_says_what_it_does_not_cover(learner, rows, tiny_model, caplog):
    pytest.importorskip("kronfluence", reason=NOT_INSTALLED)
    proxy = Proxy(tiny_model, dtype="float64", trainable=(r"layers\.4\.self_attn\.o_proj", LAST_NORM))
    damped = replace(learner, proxy=proxy, damping=1e9)
    norm, layer = "model.norm.weight", "model.layers.4.self_attn.o_proj.weight"
    found, expected = (replace(damped, solver=its).fit(rows).direction for its in ("ekfac", "cg"))
    assert found[layer] == pytest.approx(expected[layer], rel=1e-5, abs=1e-15)
    assert expected[norm].any() and not found[norm].any()
    assert "covers 98.5 % of the trainable parameters" in caplog.text
    with pytest.raises(DataselError, match="no trainable parameter is the weight of a linear layer"):
        replace(learner, solver="ekfac").fit(rows)


def test_ekfac_names_what_to_install(learner, rows, monkeypatch):
    monkeypatch.setitem(sys.modules, "kronfluence.analyzer", None)
    with pytest.raises(MissingExtra, match=r"pip install 'hf_datasel\[ekfac\]'"):
        replace(learner, solver="ekfac").fit(rows)
