"""The merge: its known answer, its fallback, and what pooling does to videos among many images."""

from __future__ import annotations

import numpy as np
import pytest
from datasets import Dataset

from hf_datasel.errors import BadRow
from hf_datasel.learners import GoalQuality
from hf_datasel.scorers.goal import MergedQuality
from hf_datasel.scorers.goal.merge import SPREAD, consistency_guess, merged_quality, robust_spread


KNOWN = {"z_vds": 1.0, "z_frame_diversity": 0.5, "z_ppl": -0.5, "z_amm": 2.0, "tnc": 1.0, "coverage": np.exp(-0.7)}
NAN = float("nan")


def test_the_quality_is_the_known_one():
    assert merged_quality(**KNOWN, sc=0.6) == pytest.approx(0.637939, abs=5e-7)
    assert consistency_guess(1.0, -0.5) == pytest.approx(0.622459, abs=5e-7)


@pytest.mark.parametrize("unmeasured", [-1.0, NAN])
def test_a_self_consistency_that_was_not_measured_is_guessed(unmeasured):
    guessed = merged_quality(**KNOWN, sc=unmeasured)
    assert guessed - merged_quality(**KNOWN, sc=0.6) == pytest.approx(0.18 * (0.622459 - 0.6), abs=5e-7)
    assert merged_quality(**KNOWN, sc=0.0) == pytest.approx(0.637939 - 0.18 * 0.6, abs=5e-7)


def test_the_weights_sum_to_one():
    best = {**KNOWN, "z_vds": 99.0, "z_ppl": 0.0, "z_amm": 0.0, "coverage": 1.0}
    assert merged_quality(**best, sc=1.0) == pytest.approx(0.94)
    assert merged_quality(**{**best, "coverage": 0.0}, sc=1.0) == pytest.approx(0.90)


def test_spread_is_of_what_is_there():
    assert robust_spread(np.array([NAN, 1.0, 2.0, 3.0, np.inf])) == (2.0, 1.0 / 1.349)
    assert robust_spread(np.array([NAN])) == (0.0, 1e-6)


def mixed(share_of_images):
    """100 rows: images without motion, videos with motion and dependence on the video."""
    images = int(100 * share_of_images)
    draw = np.random.default_rng(0)
    videos = 100 - images
    return Dataset.from_dict(
        {
            "goal_bucket": ["image_qa"] * images + ["short_video"] * videos,
            "optical_flow": [0.0] * images + (1 + draw.random(videos)).tolist(),
            "frame_diversity": [0.0] * images + (0.1 + draw.random(videos)).tolist(),
            "video_dependence": draw.normal(size=100),
        }
    )


def test_pooled_statistics_blind_the_merge_to_videos_and_per_bucket_ones_do_not():
    pool = mixed(share_of_images=0.8)
    pooled, per_bucket = GoalQuality(fidelity="authors").fit(pool), GoalQuality().fit(pool)
    assert pooled.spreads["all"]["amm"][1] == pooled.spreads["all"]["frame_diversity"][1] == 1e-6
    blind, seeing = (np.array(pool.map(scorer, batched=True)["goal_quality"][:]) for scorer in (pooled, per_bucket))
    dependence = np.array(pool["video_dependence"][:])[80:]
    # sigmoid = 1 and exp(-|z|) = 0 whatever a video shows: quality varies through the guessed consistency alone.
    median, scale = pooled.spreads["all"]["vds"]
    guessed = consistency_guess((dependence - median) / scale, 0.0)
    assert blind[80:] == pytest.approx(0.28 + 0.18 * guessed + 0.14 + 0.06, abs=1e-6)
    assert len(np.unique(seeing[80:].round(6))) == 20
    assert seeing[80:].max() - seeing[80:].min() > 0.1


def test_where_videos_are_many_pooling_still_sees_them():
    pooled = GoalQuality(fidelity="authors").fit(mixed(share_of_images=0.5))
    assert pooled.spreads["all"]["amm"][1] > 0.1


def test_missing_is_neutral_or_as_the_authors_have_it_zero():
    rows = {"goal_bucket": ["v"] * 5, "answer_difficulty": [10.0, 11.0, 12.0, 13.0, None]}
    pool = Dataset.from_dict(rows)
    corrected = pool.map(GoalQuality().fit(pool), batched=True)
    assert corrected["goal_quality_status"][-1] == "no_descriptors"
    assert np.isnan(corrected["goal_quality"][-1])
    assert corrected["goal_quality_status"][0].startswith("partial: video_dependence, frame_diversity")

    pool = pool.add_column("optical_flow", [1.0, 2.0, 3.0, 4.0, 2.5])
    corrected, authors = (GoalQuality(fidelity=fidelity).fit(pool) for fidelity in ("corrected", "authors"))
    assert corrected.spreads["v"]["ppl"][0] == 11.5 and authors.spreads["all"]["ppl"][0] == 11.0
    neutral, zero = (pool.map(scorer, batched=True)["goal_quality"][-1] for scorer in (corrected, authors))
    # Median motion, and everything else neutral: z = 0, temporal necessity and coverage 0.5.
    assert neutral == pytest.approx(0.28 / 2 + 0.18 / 2 + 0.14 + 0.12 + 0.06 + 0.08)
    z = -11.0 / authors.spreads["all"]["ppl"][1]
    assert zero == pytest.approx(
        0.28 / 2 + 0.18 * consistency_guess(0.0, z) + 0.14 * np.exp(-abs(z)) + 0.12 + 0.06, abs=1e-9
    )


def test_shuffling_changes_no_bit_and_single_rows_agree():
    pool = mixed(share_of_images=0.3)
    scorer = GoalQuality().fit(pool)
    assert GoalQuality().fit(pool.shuffle(seed=2)).spec == scorer.spec
    assert pool.map(scorer)["goal_quality"] == pool.map(scorer, batched=True, batch_size=9)["goal_quality"]


def test_a_bucket_that_was_not_in_the_pool_is_said():
    scorer = MergedQuality({"image_qa": dict.fromkeys(SPREAD, (0.0, 1.0))})
    found = scorer({"goal_bucket": ["short_video"], "optical_flow": [1.0]})
    assert np.isnan(found["goal_quality"][0]) and found["goal_quality_status"] == ["unknown_bucket"]


def test_what_is_wrong_is_named():
    with pytest.raises(BadRow, match="`pool` has none of the descriptor columns"):
        GoalQuality().fit(Dataset.from_dict({"goal_bucket": ["v"]}))
    with pytest.raises(BadRow, match="`pool` has no rows"):
        GoalQuality().fit(Dataset.from_dict({"optical_flow": []}))
    with pytest.raises(BadRow, match=r"`pool` lacks \['goal_bucket'\], expected the columns of `GoalBins`"):
        GoalQuality().fit(Dataset.from_dict({"optical_flow": [1.0]}))
    with pytest.raises(ValueError, match=r"`names` has \['flow'\]"):
        GoalQuality(names={"flow": "x"})
    with pytest.raises(BadRow, match="`optical_flow` holds 'fast', expected one number per row"):
        MergedQuality({"all": {}})({"optical_flow": ["fast"]})
