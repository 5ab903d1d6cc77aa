"""Influence of real rows on a real proxy, a few parameters of it, against products of plain gradients."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from hf_datasel import InfluenceFunction, Labels, OneStepTrain, Proxy
from hf_datasel.errors import BadRow, OverlapError
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
