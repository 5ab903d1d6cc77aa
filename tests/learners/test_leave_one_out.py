"""Leaving rows out, on a slope by hand and by real trainings."""

import logging
from pathlib import Path

import numpy as np
import pytest

from hf_datasel import Labels, LeaveOneOut, Perplexity, Proxy, WarmUp
from hf_datasel.errors import DataselError
from hf_datasel.learners.leave_one_out import differences
from hf_datasel.recipe import Run, load_recipe


LABELS = Labels(max_length=512)
RECIPE = Path(__file__).parents[2] / "recipes" / "leave_one_out.yaml"


def test_two_rows_on_a_slope():
    """y = theta x, rows (1, 1) and (1, 3), anchor (1, 3), half squared error: -.5 and +1.5."""
    x, y = np.array([1.0, 1.0]), np.array([1.0, 3.0])

    def anchor_loss(kept):
        theta = (x[kept] @ y[kept]) / (x[kept] @ x[kept])
        return 0.5 * (3.0 - theta) ** 2

    assert differences(anchor_loss, 2).tolist() == pytest.approx([-0.5, 1.5], abs=1e-12)


def test_real_trainings_that_say_first_what_they_cost(tiny_model, pool, anchors, tmp_path, caplog):
    rows = pool.select(range(2))
    training = WarmUp(steps=2, batch_size=2, learning_rate=1e-3, sft={"logging_strategy": "no"})
    learner = LeaveOneOut(Proxy(tiny_model), anchors, training, str(tmp_path), labels=LABELS)
    with caplog.at_level(logging.WARNING):
        scorer = learner.fit(rows)
    assert "Leave-one-out costs 3 trainings of 2 steps with 2 rows each, and 18 forward passes" in caplog.text
    found = scorer(rows[:])

    def loss(name):
        return Perplexity(Proxy(str(tmp_path / name)), labels=LABELS)(anchors[:])["row_loss"].mean()

    whole = loss("whole")
    expected = [loss("without-0") - whole, loss("without-1") - whole]
    assert found["leave_one_out"] == pytest.approx(expected, abs=2e-5) and abs(expected[0]) > 1e-4
    assert found["leave_one_out_status"] == ["ok", "ok"]
    other = scorer(pool.select([5])[:])
    assert np.isnan(other["leave_one_out"][0]) and other["leave_one_out_status"] == ["not_in_the_pool"]


def test_a_pool_too_large_is_refused_with_its_price(tiny_model, pool, anchors):
    learner = LeaveOneOut(Proxy(tiny_model), anchors, WarmUp(steps=5), "nowhere", max_rows=20, labels=LABELS)
    with pytest.raises(DataselError, match=r"`pool` has 24 rows, expected at most 20: .* 25 trainings of 5 steps"):
        learner.fit(pool)


def test_its_recipe_on_three_rows(real_rows, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    real_rows("pool_short.jsonl", 3).to_json("pool.jsonl")
    run = Run(load_recipe(RECIPE, {"pool.path": str(tmp_path / "pool.jsonl"), "anchors.size": 2}), tmp_path / "run")
    values = np.array(run.scored()["leave_one_out"])
    assert run.selections()["selected"].indices.tolist() == [int(values.argmax())] and len(set(values)) == 3
    assert len(list((tmp_path / "runs" / "leave_one_out_models").glob("*/warm_up.json"))) == 4
    # Finished scores are keyed by all that decides them: other anchors are other scores.
    others = {"pool.path": str(tmp_path / "pool.jsonl"), "anchors.size": 3}
    assert Run(load_recipe(RECIPE, others), tmp_path / "run").scored()["leave_one_out"][:] != values.tolist()
