"""The four goal recipes: the same but for the goal, and what they keep is what their goals say."""

import json
from collections import Counter
from pathlib import Path

import pytest
import yaml

from hf_datasel import GOAL_PROFILES
from hf_datasel.recipe import Run, load_recipe
from hf_datasel.recipe.loading import check_recipe


RECIPES = Path(__file__).parents[2] / "recipes"
GOALS = {"minloss": "MinLoss", "diverse": "Diverse", "temp": "Temp", "temp_plus": "Temp+"}


def values(name):
    return yaml.safe_load((RECIPES / f"goal_{name}.yaml").read_text(encoding="utf-8"))


def test_they_differ_by_their_goal_alone():
    first = values("temp_plus")
    for name, goal in GOALS.items():
        its = values(name)
        assert its["select"]["ForGoal"].pop("goal") == goal and its["publish"].pop("title").endswith(goal)
        assert {**its, "select": None, "publish": None} == {**first, "select": None, "publish": None}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Every second picture and all videos, scored once for all four."""
    pytest.importorskip("cv2")
    pytest.importorskip("sklearn")
    folder = tmp_path_factory.mktemp("goals")
    rows = load_recipe(RECIPES / "goal_temp.yaml").pool_rows
    chosen = [place for place, video in enumerate(rows["video_id"]) if video or place % 2]
    rows.select(chosen).to_parquet(str(folder / "pool.parquet"))
    found = {}
    for name, goal in GOALS.items():
        its = values(name)
        del its["train"]
        its["pool"]["path"] = str(folder / "pool.parquet")
        its["score"]["proxy"]["model"] = str(RECIPES / "goal" / "probe")
        its["score"]["scorers"][2]["Probe"] |= {"samples": 0}
        found[goal] = Run(check_recipe(its, RECIPES), folder / "run")
    return found


def test_each_keeps_what_its_goal_says(runs):
    videos = {}
    for goal, run in runs.items():
        kept = run.selections()["selected"].kept
        low, high = GOAL_PROFILES[goal].video_share
        videos[goal] = Counter(kept["goal_bucket"])["short_video"]
        assert low * len(kept) <= videos[goal] <= high * len(kept), goal
        temporal = sum(tag == "Temporal" for tag in kept["goal_temporal"])
        assert temporal >= GOAL_PROFILES[goal].temporal_share * videos[goal], goal
        assert len(kept) == 36 == len({(row["goal_text_key"], row["goal_media_key"]) for row in kept})
        report = json.loads((run.folder / "selection" / "constraints.json").read_text())
        assert all(its["met"] for its in report["constraints"])
        assert f"modality at least: {videos[goal]} for" in run.account()
    assert videos["MinLoss"] < videos["Diverse"] <= videos["Temp"] < videos["Temp+"]


def test_the_card_names_the_constraints_and_they_go_with_the_rule(runs):
    run = runs["Temp+"]
    run.report(train=False)
    card = (run.folder / "README.md").read_text()
    assert "| modality at least | 18 | 18 | yes |" in card and "| goal_bucket | pool | selected |" in card
    plain = values("temp_plus") | {"select": {"Random": {"fraction": 0.1}}}
    del plain["train"]
    plain["pool"]["path"], plain["score"] = run.recipe.pool.path, {"scorers": [{"ResponseLength": {}}]}
    other = Run(check_recipe(plain, RECIPES), run.folder)
    other.selections()
    assert other.account() == "" and not (run.folder / "selection" / "constraints.json").exists()
