"""NUGGETS: worked cases, and what it does with rows it cannot show."""

import numpy as np
import pytest

from hf_datasel import Labels, Nuggets, Proxy
from hf_datasel.proxy.in_context import InContext
from hf_datasel.scorers.nuggets import golden_score


def test_known_answers():
    # Log-probabilities of four anchors without and with an example: a tie is no gain.
    assert golden_score(np.array([-9, -8, -4, -9.0]) - np.array([-10, -8, -5, -7.0]))[0] == 0.5
    # Losses of two anchors without an example, and with each of four.
    alone = np.array([2.0, 1.0])
    losses = np.array([[1.8, 1.2], [1.4, 0.8], [1.5, 0.9], [2.2, 1.0]])
    assert [golden_score(alone - row)[0] for row in losses] == [0.5, 1.0, 1.0, 0.0]
    assert [golden_score(alone - row)[1] for row in losses] == pytest.approx([0.0, 0.4, 0.3, -0.1])


def test_it_is_the_share_of_anchors_that_gain(tiny_model, pool, real_rows):
    anchors = real_rows("held_out.jsonl", 4)
    found = Nuggets(Proxy(tiny_model), anchors)(pool[:6])
    engine = InContext(Proxy(tiny_model).load(Labels()), list(anchors), Labels(), shares_prefix=False)
    for place, row in enumerate(pool.select(range(6))):
        status, gains = engine.gains([row])
        assert found["golden_score_status"][place] == status == "ok"
        assert found["anchor_gains"][place] == pytest.approx(gains.tolist(), abs=1e-4)
        assert found["golden_score"][place] == np.mean(gains > 0)
        assert found["golden_gain"][place] == pytest.approx(gains.mean(), abs=1e-4)


def test_an_anchor_is_not_measured_on_itself(tiny_model, pool):
    anchors = pool.select(range(3))
    found = Nuggets(Proxy(tiny_model), anchors)(pool[:1])
    assert np.isnan(found["anchor_gains"][0]).tolist() == [True, False, False]
    assert found["golden_score"][0] in (0.0, 0.5, 1.0)
    alone = Nuggets(Proxy(tiny_model), anchors.select([0]))(pool[:1])
    assert np.isnan(alone["golden_score"][0]) and alone["golden_score_status"] == ["no_anchor_but_itself"]
    assert np.isnan(alone["anchor_gains"]).tolist() == [[True]]


def test_a_row_too_long_is_flagged_and_never_scored_zero(tiny_model, anchors):
    rows = {"prompt": ["So " * 300, "1 + 1\n"], "completion": ["yes", "2"]}
    found = Nuggets(Proxy(tiny_model), anchors)(rows)
    assert np.isnan(found["golden_score"]).tolist() == [True, False]
    assert found["golden_score_status"] == ["longer_than_context", "ok"]
    short = Nuggets(Proxy(tiny_model), anchors, longest=0.01)(rows)
    assert np.isnan(short["golden_score"]).all()
    assert short["golden_score_status"][1] == "demonstration_too_long"
    with pytest.raises(ValueError, match="`longest` is 2, expected above 0"):
        Nuggets(Proxy(tiny_model), anchors, longest=2)


def test_another_task_or_model_is_another_key(tiny_model, anchors):
    scorer = Nuggets(Proxy(tiny_model), anchors)
    assert scorer.spec != Nuggets(Proxy(tiny_model), anchors.select(range(5))).spec
    one, other = (Nuggets(Proxy(tiny_model), anchors.select(places)).spec for places in ([0, 1], [0, 2]))
    assert one != other
    assert scorer.spec != Nuggets(Proxy(tiny_model, dtype="float64"), anchors).spec
    assert scorer.spec == Nuggets(Proxy(tiny_model), list(anchors.select_columns(["prompt", "completion"]))).spec
