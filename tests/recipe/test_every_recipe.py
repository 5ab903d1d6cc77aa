"""Every shipped recipe on the quickstart's pool, or on that of images, runs from its YAML to a selection, on 40 of its rows.

`ost_vlm.yaml` and those on pools of their own have tests of their own: test_goal_recipes.py, test_ost_vlm.py, test_chain_of_thought.py.
"""

import json
from pathlib import Path

import pytest
import yaml
from datasets import Dataset

from hf_datasel.recipe import Run
from hf_datasel.recipe.loading import check_recipe

from .. import clip
from ..judge_endpoint import fair_judge
from ..raters import save_classifier, save_rater, save_weaker
from ..sentences import save_sentence_model


FOLDER = Path(__file__).parents[2] / "recipes"
RECIPES = sorted(FOLDER.glob("*.yaml"))
POOLS = ("quickstart/pool.jsonl", "ost_vlm/pool.parquet")
ON_POOLS = [
    path
    for path in RECIPES
    if path.stem != "ost_vlm" and any(f"path: {pool}" in path.read_text(encoding="utf-8") for pool in POOLS)
]


@pytest.fixture(scope="module")
def few_rows(tmp_path_factory, real_rows):
    """Files of 40 rows by the names of the pools they are of."""
    folder = tmp_path_factory.mktemp("pool")
    texts, images = ((pool, folder / Path(pool).name) for pool in POOLS)
    real_rows("pool.jsonl", 240).select(range(0, 240, 6)).to_json(str(texts[1]))
    Dataset.from_parquet(str(FOLDER / images[0])).select(range(40)).to_parquet(str(images[1]))
    return dict((texts, images))


def smaller(values, rows):
    """The recipe on fewer rows: only sizes change, never what is scored or picked by."""
    values["pool"]["path"] = str(rows[values["pool"]["path"]])
    if "anchors" in values:
        values["anchors"]["size"] = 4
    if "warm_up" in values["score"]:
        values["score"]["warm_up"]["steps"] = 1
    values.pop("train", None)
    for scorer in values["score"]["scorers"]:
        if "LLMJudge" in scorer:
            scorer["LLMJudge"]["endpoint"]["base_url"] = fair_judge().url
        if "QuRating" in scorer:
            scorer["QuRating"]["rater"]["model"] = save_rater(str(FOLDER / "quickstart" / "proxy"))
        proxy = str(FOLDER / "quickstart" / "proxy")
        for name in {"CLIPScore", "CLIPFeatures"} & set(scorer):
            scorer[name]["model"] = clip.folder()
        if "Reward" in scorer:
            scorer["Reward"]["reward"] = save_rater(proxy, outputs=1)
        if "PreSelect" in scorer:
            pytest.importorskip("fasttext")
            scorer["PreSelect"]["model"] = save_classifier()
        if "PredictiveStrength" in scorer:
            scorer["PredictiveStrength"]["models"] = [{"model": save_weaker(proxy, by)} for by in (0.3, 0.1)] + [
                {"model": proxy}
            ]
        if "SentenceEmbedding" in scorer:
            pytest.importorskip("sentence_transformers")
            scorer["SentenceEmbedding"]["model"] = save_sentence_model(proxy)
        if "InfluenceFunction" in scorer:
            scorer["InfluenceFunction"]["iterations"] = 1
        if "MISS" in scorer:
            scorer["MISS"].update(count=8, rounds=2)
        for name, steps in {"LossTrajectory": 4, "MISS": 1}.items():
            if name in scorer:
                scorer[name]["training"]["steps"] = steps
    ((_, rule),) = values["select"].items()
    rule.update({name: few for name, few in (("count", 8), ("tokens", 1000)) if name in rule})
    return values


@pytest.mark.parametrize("path", ON_POOLS, ids=lambda path: path.stem)
def test_it_runs(path, few_rows, tmp_path):
    values = smaller(yaml.safe_load(path.read_text(encoding="utf-8")), few_rows)
    run = Run(check_recipe(values, FOLDER, path.name), tmp_path)
    selection = run.selections()["selected"]
    assert 0 < selection.num_kept < 40
    done = json.loads((tmp_path / "scores" / "done.json").read_text())
    assert [scorer["scorer"] for scorer in done["scorers"]] == [next(iter(its)) for its in values["score"]["scorers"]]
    again = run.selections()["selected"]
    assert again.ids == selection.ids


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_it_says_what_it_does_and_how_to_run_it(path):
    header = path.read_text(encoding="utf-8").split("\n\n")[0]
    assert header.startswith("# What:    ")
    assert f"recipes/{path.stem}.yaml --output-dir runs/{path.stem}" in header


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    """Stores, and models of learners, go to `runs/` of the working folder."""
    monkeypatch.chdir(tmp_path)
