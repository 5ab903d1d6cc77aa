"""Stages of a run are reused only while everything that decides them is unchanged."""

import json
import shutil
from pathlib import Path

import pytest

from hf_datasel.errors import DataselError
from hf_datasel.recipe import Run
from hf_datasel.recipe.loading import check_recipe


PROXY = Path(__file__).parents[2] / "recipes" / "quickstart" / "proxy"


@pytest.fixture
def sections(tmp_path):
    rows = [{"row_id": f"r{i}", "prompt": f"{i} + {i} = ", "completion": "1" * (i + 1)} for i in range(5)]
    write(tmp_path / "pool.jsonl", rows)
    write(tmp_path / "evaluation.jsonl", [{"prompt": "9 + 9 = ", "completion": "18"}])
    shutil.copytree(PROXY, tmp_path / "target")
    return {
        "pool": {"path": "pool.jsonl", "labels": {"max_length": 64}},
        "score": {"scorers": [{"ResponseLength": {}}]},
        "select": {"TopCount": {"column": "response_length", "count": 2}},
        "train": {
            "target": {"target": "target", "steps": 1, "sft": {"per_device_train_batch_size": 2}},
            "evaluation": {"path": "evaluation.jsonl"},
            "seeds": [0],
        },
    }


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def run(sections, folder):
    return Run(check_recipe(sections, folder), folder / "run")


def test_changed_content_under_the_same_row_id_is_scored_again(sections, tmp_path):
    assert run(sections, tmp_path).scored()["response_length"][:] == [1, 2, 3, 4, 5]
    rows = [json.loads(line) for line in (tmp_path / "pool.jsonl").read_text().splitlines()]
    rows[0]["completion"] = "a much longer answer"
    write(tmp_path / "pool.jsonl", rows)
    assert run(sections, tmp_path).scored()["response_length"][:] == [20, 2, 3, 4, 5]
    assert run(sections, tmp_path).selections()["selected"].ids == ["r0", "r4"]


def test_training_is_repeated_for_other_weights_settings_or_evaluation_and_only_then(sections, tmp_path):
    def losses():
        return [result["heldout_loss"] for result in run(sections, tmp_path).trained()]

    first, model = losses(), tmp_path / "run/training/selected/seed-0/model/model.safetensors"
    written = model.stat().st_mtime_ns
    assert losses() == first and model.stat().st_mtime_ns == written

    sections["train"]["target"]["sft"]["learning_rate"] = 1e-2
    faster = losses()
    assert faster[0] == first[0] and faster[1] != first[1]

    write(tmp_path / "evaluation.jsonl", [{"prompt": "8 + 8 = ", "completion": "16"}])
    elsewhere = losses()
    assert elsewhere[0] != first[0] and elsewhere[1] != faster[1]

    sections["pool"]["labels"]["max_length"] = 12  # the end of every row is cut off
    shorter = losses()
    assert shorter[0] != elsewhere[0] and shorter[1] != elsewhere[1]
    sections["pool"]["labels"]["max_length"] = 64

    from safetensors.torch import load_file, save_file

    weights = load_file(tmp_path / "target" / "model.safetensors")
    other = {name: tensor * 1.01 for name, tensor in weights.items()}
    save_file(other, tmp_path / "target" / "model.safetensors", metadata={"format": "pt"})
    changed = losses()
    assert changed[0] != elsewhere[0] and changed[1] != elsewhere[1]


def stopped_at(monkeypatch, place):
    """The next call of what is at `place` never comes back."""

    def stop(*_, **__):
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(place, stop)


def test_a_run_stopped_between_scores_and_their_record_is_not_taken_for_the_one_before(
    sections, tmp_path, monkeypatch
):
    assert run(sections, tmp_path).scored()["response_length"][:] == [1, 2, 3, 4, 5]
    pool = (tmp_path / "pool.jsonl").read_text()
    rows = [json.loads(line) for line in pool.splitlines()]
    write(tmp_path / "pool.jsonl", [{**row, "completion": 2 * row["completion"]} for row in rows])
    stopped_at(monkeypatch, "hf_datasel.recipe.running.write_json")
    with pytest.raises(KeyboardInterrupt):
        run(sections, tmp_path).scored()
    (tmp_path / "pool.jsonl").write_text(pool)  # the recipe of before: what lies there now is not its
    assert run(sections, tmp_path).scored()["response_length"][:] == [1, 2, 3, 4, 5]


def test_a_training_stopped_before_its_result_is_not_taken_for_the_one_before(sections, tmp_path, monkeypatch):
    model = tmp_path / "run/training/selected/seed-0/model/model.safetensors"
    run(sections, tmp_path).trained()
    first = model.read_bytes()
    sections["train"]["target"]["sft"]["learning_rate"] = 1e-2
    stopped_at(monkeypatch, "hf_datasel.recipe.arms.Arms._measure")
    with pytest.raises(KeyboardInterrupt):
        run(sections, tmp_path).trained()
    assert model.read_bytes() != first
    del sections["train"]["target"]["sft"]["learning_rate"]
    run(sections, tmp_path).trained()
    assert model.read_bytes() == first


def test_results_of_another_selection_do_not_stay_beside_this_one(sections, tmp_path, caplog):
    del sections["train"]
    run(sections, tmp_path).report(train=False)
    run(sections, tmp_path).selections()
    assert (tmp_path / "run" / "results.json").is_file()  # the same rows
    sections["select"] = {"TopCount": {"column": "response_length", "count": 3}}
    run(sections, tmp_path).selections()
    assert not any((tmp_path / "run" / name).exists() for name in ("results.json", "README.md", "plots"))
    assert "were of other selections, and are removed" in caplog.text


def test_a_folder_that_another_recipe_took_meanwhile_is_said(sections, tmp_path):
    first = run(sections, tmp_path)
    first.write_recipe()
    first.refuse_another_writer()
    sections["select"] = {"TopCount": {"column": "response_length", "count": 3}}
    run(sections, tmp_path).write_recipe()
    with pytest.raises(DataselError, match="was taken by a run of another recipe while this one worked there"):
        first.refuse_another_writer()


def test_a_recipe_without_training_still_gives_a_card(sections, tmp_path):
    del sections["train"]
    text = run(sections, tmp_path).report(train=False)
    assert text.startswith("2 of 5 rows kept by ") and "{" not in text
    assert "**2 of 5 rows**" in (tmp_path / "run" / "README.md").read_text()


GOAL = {
    "score": {"scorers": [{"GoalBins": {"source": "origin"}}, {"GoalScore": {}}]},
    "select": {"TopCount": {"column": "goal_score", "count": 2}},
}


def with_origins(sections, folder, origins):
    rows = [json.loads(line) for line in (folder / "pool.jsonl").read_text().splitlines()]
    write(folder / "pool.jsonl", [{**row, "origin": origin} for row, origin in zip(rows, origins, strict=True)])
    return {"pool": sections["pool"], **GOAL}


def test_a_learner_in_a_recipe_is_fitted_on_what_was_scored_before_it(sections, tmp_path):
    from hf_datasel import GoalBins, GoalScore, score

    found = run(with_origins(sections, tmp_path, "aabbc"), tmp_path)
    expected = score(found.pool, GoalBins(source="origin"), GoalScore())
    assert found.scored()["goal_score"][:] == expected["goal_score"][:]
    assert [spec["scorer"] for spec in found.selections()["selected"].scorers] == ["GoalBins", "GoalScore"]
    assert "| GoalScore |" in (found.report(train=False) and (tmp_path / "run" / "README.md").read_text())


def test_another_value_of_a_column_that_a_scorer_reads_scores_anew_and_one_that_none_reads_does_not(
    sections, tmp_path
):
    first = run(with_origins(sections, tmp_path, "aabbc"), tmp_path).scored()
    written = (tmp_path / "run/scores/scores.parquet").stat().st_mtime_ns
    again = run(with_origins(sections, tmp_path, "aabbc"), tmp_path)
    assert again.scored()["goal_score"][:] == first["goal_score"][:]
    assert (tmp_path / "run/scores/scores.parquet").stat().st_mtime_ns == written
    other = run(with_origins(sections, tmp_path, "aaaab"), tmp_path).scored()
    assert other["goal_source"][:] == list("aaaab") and other["goal_score"][:] != first["goal_score"][:]


def test_another_setting_of_a_learner_scores_anew(sections, tmp_path):
    plain = with_origins(sections, tmp_path, "aabbc")
    first = run(plain, tmp_path).scored()["goal_score"][:]
    plain["score"] = {"scorers": [{"GoalBins": {"source": "origin"}}, {"GoalScore": {"without": ["ppl"]}}]}
    assert run(plain, tmp_path).scored()["goal_score"][:] != first


def test_weights_learned_in_a_recipe_are_on_its_card_and_gains_in_its_journal(sections, tmp_path, monkeypatch):
    from hf_datasel import Proxy

    write(tmp_path / "anchors.jsonl", [{"prompt": f"{n} + 1 = ", "completion": str(n + 1)} for n in (6, 7)])
    indicators = [{"column": "response_length"}, {"column": "response_length", "better": "low"}]
    del sections["train"]
    sections |= {
        "anchors": {"path": "anchors.jsonl"},
        "score": {
            "proxy": {"model": str(PROXY)},
            "scorers": [{"ResponseLength": {}}, {"IndicatorWeights": {"indicators": indicators, "rounds": 2}}],
        },
        "select": {"TopCount": {"column": "weighted_sum", "count": 2}},
    }
    run(sections, tmp_path).report(train=False)
    weights = json.loads((tmp_path / "run/results.json").read_text())["weights"]
    assert set(weights["weights"]) == {"response_length", "low response_length"} and weights["items"] == 2
    assert weights["probes"] == {"ok": 5}
    assert "plots/indicator_weights.png" in (tmp_path / "run/README.md").read_text()
    assert (tmp_path / "run/plots/indicator_weights.png").stat().st_size > 0
    # Another search asks no model: the run's own journal has the gains.
    monkeypatch.setattr(Proxy, "load", lambda *_: pytest.fail("a model was loaded"))
    sections["score"]["scorers"][1]["IndicatorWeights"]["search"] = "random"
    again = run(sections, tmp_path).scored()
    assert again["uniform_sum"][:] == pytest.approx([0.5] * 5)
