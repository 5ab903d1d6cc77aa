"""A goal by its name: picks worked out by hand from Table 6, and what is refused."""

import pytest
from datasets import Dataset

from hf_datasel import GOAL_PROFILES, ForGoal, GoalBins, GoalScore
from hf_datasel.errors import BadBudget, BadRow


ROWS = [("i1", 9), ("i2", 8), ("i3", 7), ("i4", 6), ("i5", 5), ("i6", 4), ("v1", 3), ("v2", 2), ("v3", 1)]


def scored() -> Dataset:
    """Six images and three worse videos, only the worst of which is about time."""
    videos = [name.startswith("v") for name, _ in ROWS]
    return Dataset.from_dict(
        {
            "row_id": [name for name, _ in ROWS],
            "goal_score": [float(score) for _, score in ROWS],
            "goal_bucket": ["short_video" if video else "image_qa" for video in videos],
            "goal_temporal": ["Static"] * 6 + ["Mixed", "Mixed", "Temporal"],
            "goal_source_group": ["clips" if video else "pictures" for video in videos],
            **{name: ["short"] * 9 for name in ("goal_duration", "goal_form", "goal_question_length", "goal_answer_length")},
            "goal_text_key": [name for name, _ in ROWS],
            "goal_media_key": [name for name, _ in ROWS],
            "goal_video_id": [name if video else None for (name, _), video in zip(ROWS, videos, strict=True)],
        }
    )  # fmt: skip


@pytest.mark.parametrize(
    ("goal", "picks"),
    [
        # Of 4 rows at least and at most ceil(0.15 * 4) = 1 a video, and ceil(0.05 * 1) = 1 of them about time.
        ("MinLoss", ["v3", "i1", "i2", "i3"]),
        # ceil(0.35 * 4) = 2 videos, ceil(0.20 * 2) = 1 about time; then the floor of pictures, ceil(0.38 * 4 * 6 / 9) = 2.
        ("Temp", ["v3", "v1", "i1", "i2"]),
    ],
)
def test_picks_of_a_goal(goal, picks):
    pool = scored()
    build = ForGoal(goal, count=4).build(pool)
    assert [pool["row_id"][row] for row in build.indices] == picks and not build.unmet
    assert ForGoal(goal, count=4).rank(pool).tolist() == build.indices.tolist()


def test_its_settings_reach_the_builder():
    rule = ForGoal("Temp+", "other", fraction=0.1, exclude="leaked", fidelity="authors")
    assert rule.builder == GOAL_PROFILES["Temp+"].rule("other", "authors", fraction=0.1, exclude="leaked")
    assert {"other", "leaked"} <= set(rule.reads)
    assert ForGoal("Temp").builder.automatic is not None


def test_a_goal_that_is_not_there():
    for wrong in (lambda: ForGoal("temp"), lambda: GOAL_PROFILES["temp"]):
        with pytest.raises(BadBudget, match="`goal` is 'temp', expected one of MinLoss, Diverse, Temp, Temp\\+"):
            wrong()
    assert GOAL_PROFILES.get("temp") is None and "temp" not in GOAL_PROFILES
    with pytest.raises(BadBudget, match="expected exactly one of"):
        ForGoal("Temp", count=4, fraction=0.1)


def test_missing_bins_name_what_writes_them():
    with pytest.raises(BadBudget, match=r"lacks \['goal_bucket'\], expected the columns of `GoalBins`"):
        ForGoal("Temp", count=4).rank(scored().remove_columns("goal_bucket"))
    with pytest.raises(BadRow, match=r"`pool` lacks \['goal_status'.*expected the columns of `GoalBins`"):
        GoalScore().fit(Dataset.from_dict({"prompt": ["Why?"], "completion": ["So."]}))
    assert "goal_status" in GoalBins.columns
