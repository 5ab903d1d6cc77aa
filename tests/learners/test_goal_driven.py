"""The whole way from rows to four subsets: bins, descriptors, quality, score, leaks, profiles, control."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from datasets import Dataset

from hf_datasel import (
    GOAL_PROFILES,
    GoalBins,
    GoalQuality,
    GoalScore,
    LeakGuard,
    SelfConsistency,
    probe_descriptors,
    score,
    select,
)
from hf_datasel.errors import BadRow
from hf_datasel.selectors import control_of


NUM_ROWS = 600


def rows():
    draw = np.random.default_rng(5)
    asked = ["What is shown", "What happens after", "How many are", "Who comes next to", "Why does it"]
    for number in range(NUM_ROWS):
        video = draw.random() < 0.5
        length = draw.integers(1, 40)
        yield {
            "row_id": f"r{number}",
            "prompt": [
                {"role": "user", "content": f"{asked[draw.integers(5)]} {'the one ' * draw.integers(12)}{number}?"}
            ],
            "completion": [{"role": "assistant", "content": " ".join(f"w{n}" for n in draw.integers(0, 99, length))}],
            "source": f"set_{draw.integers(6)}",
            "video_id": f"clip {draw.integers(90)}" if video else None,
            "frames": 32 if video else 1,
            "images": [f"{number}.png"],
            "loss_blind": float(draw.gamma(3.0)),
            "loss_sighted": float(draw.gamma(2.0)) if draw.random() < 0.95 else None,
            "optical_flow": float(draw.gamma(2.0)) if video else 0.0,
            "frame_diversity": float(draw.random()) if video else 0.0,
            "temporal_verdict": ["Temporal", "Static", "Hm"][draw.integers(3)],
            "sampled_answers": [f"it is {n}" for n in draw.integers(0, 3, 5)],
            "coverage": float(draw.random()),
        }


def scored(pool, **ablation):
    pool = pool.map(GoalBins(source="source", video_id="video_id", num_frames="frames"), batched=True)
    pool = pool.map(probe_descriptors, batched=True).map(SelfConsistency(), batched=True)
    pool = pool.map(GoalQuality().fit(pool), batched=True)
    pool = pool.map(GoalScore(**ablation).fit(pool), batched=True)
    return pool.map(LeakGuard([pool[7], pool[11]], mode="question"), batched=True)


@pytest.fixture(scope="module")
def plain():
    return Dataset.from_list(list(rows()))


@pytest.fixture(scope="module")
def pool(plain):
    return scored(plain)


def test_every_row_is_scored_and_what_was_not_measured_is_named(pool):
    assert not np.isnan(pool["goal_score"][:]).any()
    statuses = Counter(pool["goal_quality_status"])
    blind = sum(loss is None for loss in pool["loss_sighted"])
    assert statuses == {"ok": NUM_ROWS - blind, "partial: video_dependence, answer_difficulty": blind}
    assert sum(pool["leaked"]) == 2


def test_score_goes_the_whole_way_with_learners_among_the_scorers(plain, pool, tmp_path):
    measured = plain.map(probe_descriptors, batched=True)
    steps = (
        GoalBins(source="source", video_id="video_id", num_frames="frames"),
        SelfConsistency(),
        GoalQuality(),
        GoalScore(),
    )
    found = score(measured, *steps, journal=tmp_path / "journal.sqlite")
    for name in ("goal_source", "self_consistency", "goal_quality", "goal_score"):
        np.testing.assert_array_equal(np.array(found[name][:]), np.array(pool[name][:]))
    # Rows of the same content with other samples: a journal that knows rows by content would answer for them.
    others = measured.map(lambda row: {"sampled_answers": ["one", "two"]})
    apart = score(others, SelfConsistency(), journal=tmp_path / "journal.sqlite")
    assert set(apart["self_consistency"][:]) == {0.0} != set(found["self_consistency"][:])
    with pytest.raises(BadRow, match="already has the columns \\['goal_quality"):
        score(measured, *steps[:3], GoalQuality())


def test_the_four_goals_give_four_compositions(pool):
    kept = {name: select(pool, goal.rule(count=100, exclude="leaked")).kept for name, goal in GOAL_PROFILES.items()}
    videos = {name: Counter(rows["goal_bucket"])["short_video"] for name, rows in kept.items()}
    temporal = {name: Counter(rows["goal_temporal"])["Temporal"] for name, rows in kept.items()}
    assert videos["MinLoss"] <= 32 < videos["Diverse"] <= 45 < videos["Temp+"] <= 64
    assert temporal["Temp+"] > temporal["MinLoss"] and temporal["Temp+"] >= 0.38 * 50
    for one in kept.values():
        assert len(one) == 100 == len(set(one["goal_text_key"])) and not any(one["leaked"])


def test_each_ablation_changes_the_picks(plain, pool):
    rule = GOAL_PROFILES["Temp+"].rule(count=60)
    full = set(select(pool, rule).ids)
    for name in ("vds", "ppl", "sc"):
        assert 0 < len(full & set(select(scored(plain, without=[name]), rule).ids)) < 60


def test_the_authors_reading_says_that_its_temporal_floor_is_inactive(pool):
    build = GOAL_PROFILES["Temp"].rule(fidelity="authors", count=100).build(pool)
    assert "the temporal floor is inactive" in str(build)
    assert "inactive" not in str(GOAL_PROFILES["Temp"].rule(count=100).build(pool))


def test_an_automatic_size_of_a_small_pool_is_its_largest_share(pool):
    build = GOAL_PROFILES["Temp"].rule().build(pool)
    assert (len(build.indices), build.report["size"]["bound_by"]) == (9, "max_fraction")  # floor(0.016 * 600)


def test_the_control_has_ten_times_the_rows_or_says_so(pool, caplog):
    rule = GOAL_PROFILES["Temp"].rule(count=50, exclude="leaked")
    control = control_of(rule, 50)
    assert len(control.rank(pool)) == 500 and not caplog.text
    clips = Counter(row["goal_video_id"] for row in pool if row["goal_video_id"] is not None and not row["leaked"])
    there = NUM_ROWS - 2 - sum(max(0, count - 8) for count in clips.values())
    assert len(control_of(rule, 70).rank(pool)) == there < 598 and f"falls short: {there} of 700" in caplog.text
