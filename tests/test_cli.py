"""The command line on a small real run: every stage, again from its folder, and stopped half-way."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from hf_datasel.cli import main


QUICKSTART = Path(__file__).parents[1] / "recipes" / "quickstart.yaml"


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """The quickstart on 40 short rows, two arms and two steps."""
    folder = tmp_path_factory.mktemp("recipe")
    values = yaml.safe_load(QUICKSTART.read_text())
    for name, count in (("pool", 40), ("held_out", 6), ("evaluation", 4)):
        lines = (QUICKSTART.parent / "quickstart" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        (folder / f"{name}.jsonl").write_text("\n".join(sorted(lines, key=len)[:count]) + "\n", encoding="utf-8")
    model = str(QUICKSTART.parent / "quickstart" / "proxy")
    values["pool"]["path"], values["anchors"]["path"] = "pool.jsonl", "held_out.jsonl"
    values["score"]["proxy"]["model"] = values["train"]["target"]["target"] = model
    values["score"]["warm_up"]["steps"] = values["train"]["target"]["steps"] = 2
    values["train"]["evaluation"]["path"] = "evaluation.jsonl"
    values["train"]["seeds"] = [0, 1]
    values["train"]["beside"] = {"random": {"Random": {"fraction": 0.2}}}
    values["select"] = {"TopFraction": {"column": "ost_utility", "fraction": 0.2}}
    (folder / "small.yaml").write_text(yaml.safe_dump(values))
    return folder / "small.yaml"


@pytest.fixture(scope="module")
def finished(recipe):
    folder = recipe.parent / "run"
    assert main(["run", str(recipe), "--output-dir", str(folder)]) == 0
    return folder


def test_a_run_leaves_everything_the_readme_names(finished):
    for name in (
        "recipe.yaml", "README.md", "results.json", "scores/scores.parquet", "selection/selection.json",
        "selection/rows.parquet", "selection/random/rows.parquet", "plots/histogram.png", "plots/independence.png",
        "plots/rows.png", "plots/utility_curve.png", "plots/arms.png", "training/selected/seed-1/model/model.safetensors",
    ):  # fmt: skip
        assert (finished / name).is_file(), name


def test_the_results_hold_every_arm_and_seed(finished):
    results = json.loads((finished / "results.json").read_text())
    runs = [(result["arm"], result["seed"]) for result in results["trained"]]
    assert runs == [("before training", None), ("selected", 0), ("selected", 1), ("random", 0), ("random", 1)]
    assert results["selection"]["kept"] == 8
    assert all(0 < arm["heldout_loss"]["low"] <= arm["heldout_loss"]["mean"] for arm in results["arms"])
    assert all(result["steps"] == 2 for result in results["trained"][1:])


def test_the_card_says_what_the_results_say(finished):
    card, results = (finished / "README.md").read_text(), json.loads((finished / "results.json").read_text())
    assert "**8 of 40 rows** (20.0 %)" in card
    for arm in results["arms"]:
        assert f"| {arm['arm']} | {arm['rows']} |" in card and f"{arm['heldout_loss']['mean']:.4g}" in card
    assert results["scorers"][0]["spec"]["proxy"]["weights"] in card
    assert "{{" not in card and "undefined" not in card.lower()


def test_the_report_of_a_run_shows_what_the_run_found(finished, tmp_path, capsys):
    assert main(["report", str(finished)]) == 0
    page = finished / "report.html"
    assert capsys.readouterr().out.startswith(f"{page}, 0.")
    told = json.loads(re.search(r'id="about">([^<]*)</script>', page.read_text(encoding="utf-8")).group(1))
    results = json.loads((finished / "results.json").read_text())
    assert told["rows"] == 40 and told["has_tokens"] and told["title"] == "Quickstart of hf_datasel"
    assert told["scores"][0]["name"] == "ost_utility" and told["scores"][0]["words"].startswith(
        "Utility: fall in anchor loss"
    )
    assert list(told["selections"]) == ["the selection", "random"]
    assert [arm["heldout_loss"] for arm in told["results"]["arms"]] == [arm["heldout_loss"] for arm in results["arms"]]
    assert [line["what"] for line in told["costs"]] == [
        "warming the proxy up", "scoring the pool", "training on the selection, 2 seeds", "training on random, 2 seeds",
    ]  # fmt: skip
    assert str(finished) not in page.read_text(encoding="utf-8")  # it is to be passed on
    assert main(["report", str(finished), "--output", str(tmp_path / "elsewhere.html")]) == 0
    assert (tmp_path / "elsewhere.html").read_bytes() == page.read_bytes()


def test_a_report_needs_a_run(tmp_path, capsys):
    assert main(["report", str(tmp_path)]) == 1
    assert f"`run` is {str(tmp_path)!r}, expected the folder of a run with finished scores" in capsys.readouterr().err


def test_a_second_run_reuses_everything(recipe, finished, capsys):
    stages = ["scores/scores.parquet", "warm_up/model.safetensors", "training/random/seed-0/model/model.safetensors"]
    before = {name: (finished / name).stat().st_mtime_ns for name in stages}
    results = (finished / "results.json").read_text()
    assert main(["run", str(recipe), "--output-dir", str(finished)]) == 0
    assert {name: (finished / name).stat().st_mtime_ns for name in stages} == before
    assert (finished / "results.json").read_text() == results
    assert "held-out loss" in capsys.readouterr().out


def test_the_resolved_recipe_gives_the_same_selection(finished, tmp_path):
    assert main(["select", str(finished / "recipe.yaml"), "--output-dir", str(tmp_path / "again")]) == 0
    from hf_datasel import Selection

    first, again = Selection.load(finished / "selection"), Selection.load(tmp_path / "again" / "selection")
    assert first.ids == again.ids
    assert first.diff(again).jaccard == 1


def test_the_console_speaks_in_sentences(recipe, finished, capsys, caplog):
    assert main(["run", str(recipe), "--output-dir", str(finished)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("8 of 40 rows kept by TopFraction, lowest kept ost_utility ")
    assert "nats per token." in printed.splitlines()[0] and "{" not in printed
    assert caplog.text.count("holds this very one already") == 1
    assert main(["select", str(recipe), "--output-dir", str(finished)]) == 0
    assert f"See {finished / 'selection'}" in capsys.readouterr().out


def test_without_training_the_console_says_what_was_kept(tmp_path, capsys):
    recipe = Path(__file__).parents[1] / "recipes" / "builder.yaml"
    folder = tmp_path / "run"
    assert main(["run", str(recipe), "--output-dir", str(folder)]) == 0
    first, _, last = capsys.readouterr().out.strip().splitlines()
    assert first == "120 of 600 rows kept by GoalBuilder, lowest kept response_length 39 characters."
    assert last == f"See {folder / 'README.md'}, or: datasel report {folder} --open"
    card = (folder / "README.md").read_text()
    assert "utility" not in card and "nats" not in card and not (folder / "plots" / "utility_curve.png").exists()
    # The rule asks for shares of tasks and floors of writers: their composition is drawn.
    drawn = {path.name for path in (folder / "plots").glob("composition-*.png")}
    assert drawn == {"composition-task.png", "composition-writer.png"} and all(name in card for name in drawn)


def test_warm_up_rows_are_flagged(finished):
    from datasets import Dataset

    seen = Dataset.from_parquet(str(finished / "scores" / "scores.parquet"))["seen_in_warmup"][:]
    assert sum(seen) == 16  # two steps of eight rows


def test_a_fault_is_one_clear_message_and_exit_code_1(recipe, capsys):
    assert main(["run", str(recipe), "--set", "score.proxi=1", "--dry-run"]) == 1
    assert "Did you mean `proxy`?" in capsys.readouterr().err
    assert main(["run", str(recipe), "--set", "nonsense", "--dry-run"]) == 1
    assert "expected PLACE=VALUE" in capsys.readouterr().err


def test_dry_run_runs_nothing(recipe, tmp_path, capsys):
    assert main(["run", str(recipe), "--dry-run", "--output-dir", str(tmp_path / "none")]) == 0
    assert "40 rows in the pool" in capsys.readouterr().out
    assert not (tmp_path / "none").exists()


def test_a_pool_of_one_row_runs_to_the_end(recipe, tmp_path):
    (tmp_path / "one.jsonl").write_text((recipe.parent / "pool.jsonl").read_text().splitlines()[0] + "\n")
    options = [
        "--set",
        f"pool.path={tmp_path / 'one.jsonl'}",
        "--set",
        "score.warm_up.steps=0",
        "--set",
        "train.seeds=[0]",
    ]
    assert main(["run", str(recipe), "--output-dir", str(tmp_path / "run"), *options]) == 0
    card = (tmp_path / "run" / "README.md").read_text()
    assert "**1 of 1 rows**" in card and "Too few different scores" in card


def test_a_budget_larger_than_the_pool_is_one_message(recipe, tmp_path, capsys):
    rule = "select={TopCount: {column: response_length, count: 41}}"
    options = ["--set", "score.scorers=[{ResponseLength: {}}]", "--set", "score.warm_up=null", "--set", rule]
    assert main(["select", str(recipe), "--output-dir", str(tmp_path), *options]) == 1
    assert "`TopCount.count` is 41, expected at most 40" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["score", "compare"])
def test_an_output_folder_that_is_none_is_one_message(recipe, capsys, command):
    assert main([command, str(recipe), "--output-dir", str(recipe)]) == 1
    assert f"`--output-dir` is '{recipe}', expected a folder to write to (" in capsys.readouterr().err


def test_an_empty_pool_is_one_message(recipe, capsys):
    (recipe.parent / "empty.jsonl").touch()
    assert main(["score", str(recipe), "--set", "pool.path=empty.jsonl"]) == 1
    assert "empty.jsonl' cannot be read: '" in (said := capsys.readouterr().err) and "empty.jsonl' is empty" in said


@pytest.mark.slow
def test_ctrl_c_while_scoring_loses_nothing(recipe, tmp_path):
    """SIGINT once some rows are journalled; the second run scores only the others and ends the same."""
    import sqlite3

    folder = tmp_path / "stopped"
    # Second-order utilities take long enough to be stopped in the middle.
    options = ["--set", "score.warm_up.steps=0", "--set", "score.scorers=[{OneStepTrain: {estimator: second_order}}]"]
    command = [sys.executable, "-m", "hf_datasel.cli", "score", str(recipe), "--output-dir", str(folder), *options]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ.copy(),
        # A shell's background jobs ignore SIGINT and hand that on; a user's terminal does not.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )

    def journalled() -> int:
        try:
            with sqlite3.connect(f"file:{folder / 'scores' / 'journal.sqlite'}?mode=ro", uri=True) as connection:
                return connection.execute("select count(*) from rows").fetchone()[0]
        except sqlite3.Error:
            return 0

    while process.poll() is None and journalled() == 0:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert "the same command goes on from there" in errors and "Traceback" not in errors
    kept = journalled()
    assert 0 < kept < 40
    again = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
    assert again.returncode == 0, again.stderr
    assert f"| {kept}/40" in again.stderr
    assert journalled() == 40


@pytest.mark.parametrize("options", [["--processes", "2"], ["--processes", "0", "--runner", "torchrun"]])
def test_processes_that_nobody_would_use_are_refused(capsys, options):
    assert main(["score", "recipes/quickstart.yaml", *options]) == 1
    assert "`--processes` is" in capsys.readouterr().err
