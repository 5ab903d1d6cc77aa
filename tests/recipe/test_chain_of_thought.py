"""The recipes whose rows are not shipped: built from the real files, bound, and run on a tiny model with real pictures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset

from hf_datasel.errors import BadRecipe
from hf_datasel.recipe import Run, load_recipe


ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
PLACES = {"pool.path": "pool", "anchors.path": "held_out", "train.evaluation.path": "evaluation"}
NAMES = ("tabmwp", "mathvision")


def build(name: str, output: Path, *options: str) -> dict[str, Path]:
    if not (DATA / name).is_dir():
        pytest.skip(f"{DATA / name} is not here")
    script = ROOT / "recipes" / "chain_of_thought" / "build.py"
    subprocess.run(
        [sys.executable, str(script), name, "--data", str(DATA), "--output", str(output), *options], check=True
    )
    return {place: output / f"{file}.parquet" for place, file in PLACES.items()}


@pytest.mark.parametrize("name", NAMES)
def test_without_rows_only_the_rows_are_missing(name: str, tmp_path: Path) -> None:
    with pytest.raises(BadRecipe) as caught:
        load_recipe(ROOT / f"recipes/ost_{name}.yaml", {place: str(tmp_path / "no.parquet") for place in PLACES})
    faults = str(caught.value).splitlines()[1:]
    assert [fault.split("`")[1] for fault in faults if "cannot be read: there is no file" in fault] == list(PLACES)
    assert all(fault.startswith("  - ") and "is missing" not in fault for fault in faults)
    assert len(faults) == 3  # that One-Step-Train has no anchors then goes without saying


@pytest.mark.parametrize("options", [(), ("--text",)])
def test_tabmwp_has_the_rows_its_authors_count(options: tuple[str, ...], tmp_path: Path) -> None:
    files = build("tabmwp", tmp_path, *options)
    pool, held_out, evaluation = (Dataset.from_parquet(str(path), cache_dir=str(tmp_path)) for path in files.values())
    assert (len(pool), sum(pool["correct"])) == (1000, 620)
    assert len(held_out) == 200
    assert not set(pool["id"]) & {*held_out["id"], *evaluation["id"]}
    assert not set(held_out["id"]) & set(evaluation["id"])
    assert ("image" in pool.column_names) == (not options)


def test_mathvision_keeps_problems_apart(tmp_path: Path) -> None:
    files = build("mathvision", tmp_path, "--text")
    pool, held_out, evaluation = (Dataset.from_parquet(str(path), cache_dir=str(tmp_path)) for path in files.values())
    assert len(pool) == 3 * len(set(pool["id"])) == 3 * (1000 - 259)
    assert len(held_out) + len(evaluation) == 259
    assert not set(pool["id"]) & {*held_out["id"], *evaluation["id"]}
    assert not set(held_out["id"]) & set(evaluation["id"])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.slow
def test_they_run_on_real_pictures(name: str, vlm_folder: Any, tmp_path: Path) -> None:
    files = build(name, tmp_path / "rows", "--limit", "6")
    changes: dict[str, Any] = {
        **{place: str(path) for place, path in files.items()},
        "anchors.size": 4,
        "score.proxy.model": vlm_folder("internvl"),
        "score.proxy.dtype": "float32",
        "score.warm_up": {"steps": 1, "batch_size": 2},
        "train.target.target": vlm_folder("qwen3_vl"),
        "train.target.steps": 1,
        "train.seeds": [0],
        "train.beside": {"full": {"Full": {}}},
        "train.max_new_tokens": 2,
    }
    run = Run(load_recipe(ROOT / f"recipes/ost_{name}.yaml", changes), tmp_path / "run")
    assert run.recipe.score.proxy is not None and run.recipe.score.proxy.trainable == "language"
    table = run.report()
    scored = run.scored()
    # Models wrote nothing at all to some problems.
    assert {status.split(":")[0] for status in scored["ost_utility_status"]} <= {"ok", "truncated", "empty_completion"}
    assert "ok" in scored["ost_utility_status"][:]
    assert "full" in table
    results = run.trained()
    assert ("answer_accuracy" in results[0]) == (name == "tabmwp")
