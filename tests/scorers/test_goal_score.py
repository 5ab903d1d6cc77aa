"""The known answers of the text terms and the builder's score, and what the score promises beyond them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from datasets import Dataset

from hf_datasel.errors import BadRow
from hf_datasel.learners import GoalScore
from hf_datasel.scorers.goal import GoalBins, RankedScore
from hf_datasel.scorers.goal.ranking import (
    base_score,
    clipped_z,
    final_score,
    medium_difficulty,
    moments,
    text_quality,
    video_dependence_z,
)


QUESTION = "What happens after the man opens the red door?"
ANSWER = "He walks inside and sits down on the wooden chair."
SHARES = {
    "goal_duration": {"medium": 0.2},
    "goal_temporal": {"Temporal": 0.1},
    "goal_form": {"Open": 0.5},
    "goal_question_length": {"short": 0.5},
    "goal_answer_length": {"medium": 0.25},
    "goal_source_group": {"unknown": 0.1},
}
MOMENTS = {
    "loss_sighted": (1.5, 0.5),
    "loss_blind": (2.0, 0.5),
    "vds": (0.0, 1.0),
    "frame_diversity": (0.02, 0.03),
    "quality": (0.5, 0.08),
}
MEASURED = {"loss_sighted": 1.0, "loss_blind": 2.5, "frame_diversity": 0.08, "goal_quality": 0.62}


def scored(without=(), measured=MEASURED, **bins):
    row = {"prompt": [QUESTION], "completion": [ANSWER], "video_id": ["A"], "frames": [32], **bins}
    found = GoalBins(video_id="video_id", num_frames="frames")(row)
    scorer = RankedScore(999, SHARES, {"": 99}, MOMENTS, without=without)
    return scorer({**found, **{name: [value] for name, value in measured.items()}})


def test_the_text_terms_are_the_known_ones():
    bins = GoalBins()({"prompt": [QUESTION], "completion": [ANSWER], "video": ["a.mp4"]})
    counts = [bins[name][0] for name in ("goal_question_words", "goal_answer_words", "goal_distinct_words")]
    assert counts == [9, 10, 10]
    assert text_quality(*counts) == pytest.approx(-1.029337, abs=5e-7)
    assert medium_difficulty(*counts[:2]) == pytest.approx(0.868161, abs=5e-7)
    tags = ("goal_temporal", "goal_form", "goal_question_length", "goal_answer_length")
    assert [bins[name][0] for name in tags] == ["Temporal", "Open", "short", "medium"]


@pytest.mark.parametrize(
    ("without", "expected"),
    [((), 0.996177), (("vds",), 0.046177), (("ppl",), 1.114429), (("sc",), 0.864927)],
)
def test_the_score_of_a_video_and_its_ablations_are_the_known_ones(without, expected):
    found = scored(without)
    assert found["goal_score"][0] == pytest.approx(expected, abs=5e-7)
    assert found["goal_vds3"][0] == pytest.approx(4.0)
    assert found["goal_score_status"] == ["ok"]


def test_the_parts_of_that_score_are_the_known_ones():
    assert np.mean(np.log([0.2, 0.1, 0.5, 0.5, 0.25, 0.1])) == pytest.approx(-1.497866, abs=5e-7)
    assert scored()["goal_base"][0] == pytest.approx(-0.744092, abs=5e-7)
    without_metrics = scored(measured={})
    assert without_metrics["goal_score"][0] == pytest.approx(-0.235073, abs=5e-7)
    assert np.isnan(without_metrics["goal_vds3"][0])
    assert without_metrics["goal_score_status"] == ["no_metrics"]


def test_the_same_row_as_an_image_is_the_known_one():
    q, d, a, r = text_quality(9, 10, 10), medium_difficulty(9, 10), -1.497866, np.log(10)
    base = base_score(q, d, a, 1.0, r, False)
    assert base == pytest.approx(-1.397026, abs=1e-6)
    assert final_score(base, 4.0, 1.5, False, True) == pytest.approx(-0.334978, abs=1e-6)
    # Images are not punished for what was not measured.
    assert final_score(base, 0.0, np.nan, False, False) == pytest.approx(0.9 * np.tanh(base / 3))


def test_what_is_partly_measured_counts_as_far_as_it_goes():
    nan, one, two = np.array([np.nan]), np.array([1.0]), np.array([2.0])
    assert video_dependence_z(-one, one, two, nan) == 4.0
    assert video_dependence_z(nan, one, two, one) == 2.0  # one loss missing: vds and half the diversity
    assert video_dependence_z(-one, one, nan, one) == 1.0
    assert video_dependence_z(nan, one, two, nan) == 0.0


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), None])
def test_metrics_that_are_no_numbers_are_missing(odd):
    everything = dict.fromkeys(MEASURED, odd)
    assert scored(measured=everything)["goal_score"] == scored(measured={})["goal_score"]
    one = scored(measured={**MEASURED, "goal_quality": odd})
    assert one["goal_score"][0] == pytest.approx(scored(without=("sc",))["goal_score"][0])


def test_a_constant_metric_says_nothing_and_an_outlier_only_so_much():
    assert moments(np.full(9, 3.0)) == (3.0, 1.0)
    assert clipped_z(np.array([1e9, -1e9]), 0.0, 1.0).tolist() == [4.0, -4.0]


def test_text_without_words_is_low_but_finite():
    assert text_quality(0, 0, 0) == pytest.approx(-np.log(14) - 1.25 * np.log(16) - 1.2 * 0.55)


def pool(num_rows=60):
    draw = np.random.default_rng(3)
    return Dataset.from_dict(
        {
            "prompt": [f"What is {'so ' * draw.integers(20)}number {i}?" for i in range(num_rows)],
            "completion": [f"It is {'very ' * draw.integers(30)}{i}." for i in range(num_rows)],
            "source": [f"s{i % 4}" for i in range(num_rows)],
            "video_id": [f"v{i}" if i % 3 else None for i in range(num_rows)],
            "video_dependence": draw.normal(size=num_rows),
            "frame_diversity": [float(x) if x > 0.2 else None for x in draw.random(num_rows)],
            "goal_quality": draw.random(num_rows),
        }
    )


def test_row_order_batches_and_single_calls_change_no_bit():
    binned = pool().map(GoalBins(source="source", video_id="video_id"), batched=True)
    shuffled = binned.shuffle(seed=1)
    # To the last byte, order of keys included: a pickle of it is what `map` takes its fingerprint from.
    assert json.dumps(GoalScore().fit(shuffled).spec) == json.dumps(GoalScore().fit(binned).spec)
    scorer = GoalScore().fit(binned)
    at_once = binned.map(scorer, batched=True)
    expected = dict(zip(at_once["prompt"], at_once["goal_score"], strict=True))
    in_parts = shuffled.map(GoalScore().fit(shuffled), batched=True, batch_size=7)
    assert dict(zip(in_parts["prompt"], in_parts["goal_score"], strict=True)) == expected
    singly = binned.map(scorer)
    assert (
        singly["goal_score"] == at_once["goal_score"] and singly["goal_score_status"] == at_once["goal_score_status"]
    )


def test_rows_without_a_pair_are_not_scored_and_not_counted():
    rows = {"prompt": ["Why is it so?", "Why?", ""], "completion": ["Because it is.", "", "So."]}
    binned = Dataset.from_dict(rows).map(GoalBins(), batched=True)
    scorer = GoalScore().fit(binned)
    found = binned.map(scorer, batched=True)
    assert scorer.num_rows == 1 and scorer.shares["goal_form"] == {"Open": 1.0}
    assert np.isnan(found["goal_score"][:]).tolist() == [False, True, True]
    assert found["goal_score_status"][:] == ["no_metrics", "no_answer", "no_question"]


def test_what_is_wrong_is_named():
    with pytest.raises(ValueError, match=r"`without` has \['VDS'\], expected any of \('vds'"):
        GoalScore(without=["VDS"])
    with pytest.raises(ValueError, match=r"`names` has \['ppl'\], expected keys among"):
        GoalScore(names={"ppl": "x"})
    with pytest.raises(BadRow, match="no row with a question and an answer among 1"):
        GoalScore().fit(Dataset.from_dict({"prompt": ["a"], "completion": [""]}).map(GoalBins()))
    with pytest.raises(BadRow, match="`pool` has no rows"):
        GoalScore().fit(Dataset.from_dict({"goal_status": []}))
    with pytest.raises(BadRow, match=r"`pool` lacks \['goal_status', .* expected the columns of `GoalBins`"):
        GoalScore().fit(Dataset.from_dict({"prompt": ["a"]}))
    with pytest.raises(BadRow, match=r"`batch` lacks \['goal_bucket'"):
        scorer = RankedScore(1, {}, {}, MOMENTS)
        scorer({"goal_status": ["ok"]})
