"""The recipe on images runs from its packaged rows and proxy to its table, on a tenth of the pool."""

import json
from collections import Counter
from pathlib import Path

import pytest
from datasets import Dataset

from hf_datasel.metrics import DetectionAuroc
from hf_datasel.recipe import Run, load_recipe


FOLDER = Path(__file__).parents[2] / "recipes" / "ost_vlm"
KINDS = {"color", "shape", "yes_no"}


def test_the_packaged_rows_are_what_the_recipe_says():
    pool, held_out, evaluation = (
        Dataset.from_parquet(str(FOLDER / f"{name}.parquet")) for name in ("pool", "held_out", "evaluation")
    )
    assert Counter(pool["state"]) == {"clean": 360, "wrong_answer": 120, "refusal": 60, "truncated": 60}
    assert set(held_out["state"]) == set(evaluation["state"]) == {"clean"}
    assert Counter(held_out["kind"]) == dict.fromkeys(KINDS, 100) and Counter(evaluation["kind"]) == dict.fromkeys(
        KINDS, 50
    )
    assert not set(held_out["image_id"]) & set(evaluation["image_id"])
    for row in pool.remove_columns("images"):
        ends_on_the_answer = row["completion"].endswith(f"answer : {row['answer']} <end>")
        assert ends_on_the_answer == (row["state"] == "clean")
        assert (" answer : " in row["completion"]) == (row["state"] in ("clean", "wrong_answer"))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ost_vlm")
    for name, count in (("pool", 60), ("evaluation", 12)):
        Dataset.from_parquet(str(FOLDER / f"{name}.parquet")).select(range(count)).to_parquet(
            f"{folder}/{name}.parquet"
        )
    changes = {
        "pool.path": f"{folder}/pool.parquet",
        "train.evaluation.path": f"{folder}/evaluation.parquet",
        "train.seeds": [0],
        "train.target.steps": 2,
        "train.beside": {"full": {"Full": {}}},
    }
    return Run(load_recipe(FOLDER.parent / "ost_vlm.yaml", changes), folder / "run")


def test_it_runs_from_rows_to_a_table(run):
    text = run.report()
    results = json.loads((run.folder / "results.json").read_text())
    assert "selected" in text and "full" in text
    assert [arm["arm"] for arm in results["arms"]] == ["before training", "selected", "full"]
    assert len(run.recipe.scorers[0].anchors) == 100
    selection = run.selections()["selected"]
    assert selection.num_kept == 18
    of_each_kind = Counter(run.pool["kind"])
    assert all(abs(count - 0.3 * of_each_kind[kind]) < 1 for kind, count in Counter(selection.kept["kind"]).items())


def test_the_packaged_proxy_sees_and_reads(run):
    """It was trained on rows like the clean ones: what breaks off or refuses surprises it, whatever OST makes of that."""
    scored = run.scored()
    assert set(scored["ost_utility_status"]) == set(scored["low_perplexity_status"]) == {"ok"}
    rows = [row for row in scored.remove_columns("images") if row["state"] in ("clean", "refusal", "truncated")]
    found = DetectionAuroc().compute(
        predictions=[row["low_perplexity"] for row in rows], references=[row["state"] == "clean" for row in rows]
    )
    assert found["detection_auroc"] > 0.9
