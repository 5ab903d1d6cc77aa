"""Loss trajectories of a training that is made for them: the losses of the weights on the way, and S2L on them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset

from hf_datasel import S2L, Labels, LossTrajectory, Perplexity, Proxy, WarmUp, score
from hf_datasel.errors import BadRecipe


LABELS = Labels(max_length=512)
TRAINING = WarmUp(fraction=1.0, epochs=2.0, learning_rate=3e-3, batch_size=4, sft={"logging_strategy": "no"})


@pytest.fixture(scope="module")
def rows(pool):
    return Dataset.from_list([*pool.select(range(8)).to_list(), {**pool[0], "completion": ""}])


@pytest.fixture(scope="module")
def learner(tiny_model, tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("trajectories"))
    return LossTrajectory(Proxy(tiny_model), (1.0, 0.0, 0.5), TRAINING, folder, LABELS)


@pytest.fixture(scope="module")
def scorer(learner, rows):
    return learner.fit(rows)


def test_they_are_the_losses_of_the_weights_on_the_way(scorer, learner, rows, tiny_model):
    found = scorer(rows[:])
    losses = found["loss_trajectory"]
    assert losses.shape == (9, 3) and np.isnan(losses[8]).all()
    assert found["loss_trajectory_status"] == ["ok"] * 8 + ["empty_completion"]
    middle = Proxy(f"{learner.folder}/losses/at_50pct/model")  # 2 of 4 steps: after every row once
    for place, proxy in enumerate((Proxy(tiny_model), middle, Proxy(f"{learner.folder}/proxy"))):
        expected = Perplexity(proxy, labels=LABELS)(rows[:8])["row_loss"]
        assert losses[:8, place] == pytest.approx(expected, rel=1e-5)
    assert (losses[:8, 0] > losses[:8, 2]).all(), "it learned nothing: the losses above prove little"


def test_rows_it_has_not_seen_have_none(scorer, pool):
    found = scorer(pool.select([20])[:])
    assert found["loss_trajectory"].shape == (1, 3) and np.isnan(found["loss_trajectory"]).all()
    assert found["loss_trajectory_status"] == ["not_in_the_pool"]


def test_what_is_finished_is_not_done_again_and_what_is_not_is(scorer, learner, rows):
    before = scorer(rows[:])["loss_trajectory"]
    weights = Path(learner.folder) / "proxy" / "model.safetensors"
    changed = weights.stat().st_mtime_ns
    assert learner.fit(rows)(rows[:])["loss_trajectory"].tolist()[:8] == before.tolist()[:8]
    assert weights.stat().st_mtime_ns == changed
    more = replace(learner, at=(0.0, 0.25, 0.5, 1.0)).fit(rows)(rows[:])["loss_trajectory"]
    assert weights.stat().st_mtime_ns > changed
    assert more[:8, [0, 2, 3]] == pytest.approx(before[:8], rel=1e-6)


def test_s2l_draws_from_them(learner, rows):
    scored = score(rows, learner)
    kept = S2L("loss_trajectory", 0.5, clusters=3).rank(scored)
    assert len(kept) == 4 and 8 not in kept


def test_what_cannot_be_is_refused(learner, rows):
    for at in ((), (0.5, 0.5), (0.5, 1.5), (float("nan"),)):
        with pytest.raises(BadRecipe, match="`at` is"):
            replace(learner, at=at)
    with pytest.raises(BadRecipe, match="`training` takes no step"):
        replace(learner, training=WarmUp(steps=0)).fit(rows)


def test_its_spec_says_what_decides_the_numbers(learner, tmp_path):
    assert learner.spec["scorer"] == "LossTrajectory"
    assert replace(learner, folder=str(tmp_path)).spec == learner.spec
    assert replace(learner, training=WarmUp(steps=3)).spec != learner.spec != replace(learner, at=(1.0,)).spec
