"""A study: curves that are what saved models measure, shared scores, resumption, and one contract for all."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from hf_datasel import Labels, Perplexity, Proxy, TargetTraining, compare
from hf_datasel.cli import main
from hf_datasel.errors import BadRecipe
from hf_datasel.recipe import Run
from hf_datasel.recipe.comparing import Comparison, load_recipes
from hf_datasel.recipe.contract import under
from hf_datasel.recipe.costs import selection_cost
from hf_datasel.runs.flops import counted_flops
from hf_datasel.training import heldout_loss
from hf_datasel.training.curve import CurveCallback


pytestmark = pytest.mark.slow  # trainings of every arm and seed
PROXY = Path(__file__).parents[2] / "recipes" / "quickstart" / "proxy"


def write_recipe(folder, name, select, pool=None, **changes):
    train = {
        "target": {
            "target": str(PROXY), "protocol": "A", "epochs": 1,
            "sft": {"per_device_train_batch_size": 1, "learning_rate": 1.0e-3},
        },
        "evaluation": {"path": "evaluation.jsonl"},
        "seeds": [0, 1],
        **changes,
    }  # fmt: skip
    values = {
        "pool": pool or {"path": "pool.jsonl", "labels": {"max_length": 64}},
        "score": {"scorers": [{"ResponseLength": {}}]},
        "select": select,
        "train": train,
    }
    (folder / f"{name}.yaml").write_text(json.dumps(values))  # JSON is YAML
    return folder / f"{name}.yaml"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    rows = [{"row_id": f"r{i}", "prompt": f"{i} + {i} = ", "completion": "1" * (i + 1)} for i in range(12)]
    (folder / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "evaluation.jsonl").write_text(json.dumps({"prompt": "9 + 9 = ", "completion": "18"}) + "\n")
    return [
        write_recipe(folder, "longest", {"TopCount": {"column": "response_length", "count": 1}}),
        write_recipe(folder, "middle", {"MiddleBand": {"column": "response_length", "low": 0.45, "high": 0.54}}),
    ]


@pytest.fixture(scope="module")
def study(files):
    folder = files[0].parent / "out"
    return folder, compare(files, folder, points=2)


def test_every_arm_and_seed_has_a_curve_of_its_own_samples(study):
    folder, results = study
    found = results["protocols"]["A"]
    assert [arm["arm"] for arm in found["arms"]] == ["longest", "middle", "random", "uniform 10x", "full"]
    samples = {arm: [point[0] for point in curves[0]] for arm, curves in found["curves"].items()}
    assert samples == {
        "longest": [0, 1], "middle": [0, 1], "random": [0, 1], "uniform 10x": [0, 1, 5, 10],
        "full": [0, 1, 6, 10, 12],  # also where the arms of one and of ten rows end
    }  # fmt: skip
    assert all(len(curves) == 2 for curves in found["curves"].values())
    assert {curve[0][1] for curves in found["curves"].values() for curve in curves} == {results["untrained"]}
    assert json.loads((folder / "results.json").read_text())["protocols"] == json.loads(
        json.dumps(results["protocols"])
    )


def test_the_last_point_is_what_the_saved_model_measures(study, files):
    folder, results = study
    evaluation = load_recipes(files[:1])["longest"].evaluation_rows
    for arm, place in (("full", "full"), ("uniform 10x", "uniform-10x")):
        again = heldout_loss(folder / "training" / "A" / place / "seed-1" / "model", evaluation, Labels(max_length=64))
        assert results["protocols"]["A"]["curves"][arm][1][-1][1] == pytest.approx(again, rel=1e-6)
    assert results["untrained"] == pytest.approx(heldout_loss(PROXY, evaluation, Labels(max_length=64)), rel=1e-6)


def test_scores_are_shared_and_the_page_and_plot_are_there(study):
    folder, results = study
    assert len(list((folder / "scored").iterdir())) == 1
    assert (folder / "convergence-A.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    page = (folder / "README.md").read_text()
    for line in results["protocols"]["A"]["matches"]:
        assert f"| {line['arm']} | {line['baseline']} |" in page
    assert [line["recipes"] for line in results["scored"]] == [["longest", "middle"]]
    assert results["uniform_times"] == 10 and "no arm" not in page
    assert results["overlap"]["longest"] == {
        "longest": 1.0, "middle": 0.0, "random": results["overlap"]["random"]["longest"],
        "uniform 10x": results["overlap"]["uniform 10x"]["longest"], "full": round(1 / 12, 3),
    }  # fmt: skip


def test_a_study_draws_what_its_arms_are_made_of(files, tmp_path):
    folder = files[0].parent
    rows = [json.loads(line) for line in (folder / "pool.jsonl").read_text().splitlines()]
    for number, row in enumerate(rows):
        row["kind"] = "abc"[number % 3]
    (folder / "kinds.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    rule = {"TopCountPerGroup": {"column": "response_length", "count": 3, "group": "kind"}}
    file = write_recipe(folder, "grouped", rule, seeds=[0], pool={"path": "kinds.jsonl", "labels": {"max_length": 64}})
    results = compare([file], tmp_path, points=1)
    (table,) = results["composition"]
    shares = {line["value"]: dict(zip(table["arms"], line["shares"], strict=True)) for line in table["lines"]}
    assert {value: its["grouped"] for value, its in shares.items()} == pytest.approx(dict.fromkeys("abc", 1 / 3))
    assert (tmp_path / "composition-kind.png").is_file() and "composition-kind.png" in (
        tmp_path / "README.md"
    ).read_text()


def test_both_protocols_stand_beside_each_other_with_what_they_cost(study):
    folder, results = study
    assert list(results["protocols"]) == ["A", "B"]
    # B: as many steps for each arm as the recipes' one pass over the 12 rows takes, one row a step.
    arms = {arm["arm"]: arm for arm in results["protocols"]["B"]["arms"]}
    assert {arm["samples"] for arm in arms.values()} == {12} and arms["longest"]["rows"] == 1
    passes = {arm["arm"]: arm for arm in results["protocols"]["A"]["arms"]}
    assert 5 < passes["full"]["flops"] / passes["longest"]["flops"] < 12  # 12 rows, of other lengths
    assert arms["longest"]["flops"] > 5 * passes["longest"]["flops"]
    assert {arm["selection_flops"] for arm in passes.values()} == {0.0}  # lengths take no model
    assert (
        passes["longest"]["selection_seconds"]
        > 0
        == passes["random"]["selection_seconds"]
        == passes["full"]["selection_seconds"]
    )
    assert [line["not_counted"] for line in results["scored"]] == [[]]
    page = (folder / "README.md").read_text()
    for protocol in ("A", "B"):
        for name in (f"convergence-{protocol}.png", f"pareto-{protocol}.png"):
            assert (folder / name).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" and name in page
        assert f"## Protocol {protocol}:" in page
    assert (folder / "overlap.png").is_file() and "not of one size" not in page
    assert main(["report", str(folder)]) == 1


def test_a_protocol_that_the_recipe_does_not_name_follows_from_the_other(files):
    recipe = load_recipes(files[:1])["longest"]
    assert under(recipe, "A", 12) is recipe
    other = under(recipe, "B", 12).train.target
    assert (other.protocol, other.steps) == ("B", 12)
    sft = {**recipe.train.target.sft, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 2}
    large = replace(recipe, train=replace(recipe.train, target=replace(recipe.train.target, sft=sft, epochs=1.5)))
    assert under(large, "B", 12).train.target.steps == 3  # of 18 rows, 8 a step


def test_what_scoring_takes_is_counted_and_what_is_not_is_named(files):
    changes = {"score.proxy": {"model": str(PROXY)}, "score.scorers": [{"Perplexity": {}}, {"ResponseLength": {}}]}
    run = Run(load_recipes(files[:1], changes)["longest"], files[0].parent / "counted")
    run.scored()
    cost = selection_cost(run)
    assert cost["flops"] == pytest.approx(
        counted_flops(Perplexity(Proxy(str(PROXY)), labels=Labels(max_length=64)), run.pool)
    )
    assert cost["flops"] > 0 < cost["seconds"] and cost["not_counted"] == []
    assert selection_cost(run) == cost


def test_a_stopped_study_goes_on_where_it_stopped(study, files):
    folder, results = study
    places = sorted(folder.glob("training/A/*/seed-*/result.json"))
    assert len(places) == 10
    before = {place: place.stat().st_mtime_ns for place in places}
    lost = folder / "training" / "A" / "full" / "seed-1"
    shutil.rmtree(lost)
    again = compare(files, folder, points=2)
    assert {place for place in places if place.stat().st_mtime_ns != before[place]} == {lost / "result.json"}
    assert json.loads(json.dumps(again["protocols"]["A"]["curves"])) == json.loads(
        json.dumps(results["protocols"]["A"]["curves"])
    )


def test_scores_of_an_earlier_run_are_not_computed_again(files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (recipe,) = load_recipes(files[:1]).values()
    Run(recipe, Path("runs/longest")).scored()
    study = Comparison({"longest": recipe}, tmp_path / "study")
    done = study.runs["longest"].folder / "scores" / "done.json"
    before = done.read_text()
    monkeypatch.setattr("hf_datasel.recipe.running.score_and_fit", lambda *_, **__: pytest.fail("scored again"))
    assert (
        study.runs["longest"].scored()["response_length"][:]
        == Run(recipe, Path("runs/longest")).scored()["response_length"][:]
    )
    assert done.read_text() == before
    other = load_recipes(files[:1], {"score.scorers": [{"ResponseLength": {}}, {"LexicalDiversity": {}}]})["longest"]
    with pytest.raises(pytest.fail.Exception, match="scored again"):  # it is another recipe now
        Comparison({"longest": other}, tmp_path / "other").runs["longest"].scored()


def test_a_copy_of_an_earlier_run_that_was_stopped_half_way_is_made_again(files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (recipe,) = load_recipes(files[:1]).values()
    first = Run(recipe, Path("runs/longest")).scored()["response_length"][:]
    copy = shutil.copy2

    def stop(source, target, **options):  # folders are listed in any order: the record may come first
        copy(Path(source).parent / "done.json", Path(target).parent / "done.json")
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil.copytree, "__defaults__", (False, None, stop, False, False))
    with pytest.raises(KeyboardInterrupt):
        _ = Comparison({"longest": recipe}, tmp_path / "study").runs
    monkeypatch.setattr(shutil.copytree, "__defaults__", (False, None, copy, False, False))
    study = Comparison({"longest": recipe}, tmp_path / "study")
    assert study.runs["longest"].scored()["response_length"][:] == first
    assert (study.runs["longest"].folder / "scores" / "journal.sqlite").is_file()


def test_recipes_that_differ_in_more_than_rows_are_refused(files, tmp_path):
    other = write_recipe(files[0].parent, "other", {"Random": {"fraction": 0.5}}, seeds=[0])
    with pytest.raises(BadRecipe, match=r"`other` has another train section than `longest`.*seeds \[0\] instead of"):
        compare([files[0], other], tmp_path)
    with pytest.raises(BadRecipe, match="expected different file names"):
        compare([files[0], files[0]], tmp_path)
    with pytest.raises(BadRecipe, match="`full` is the name of a baseline"):
        Comparison({"full": load_recipes(files[:1])["longest"]}, tmp_path)
    with pytest.raises(BadRecipe, match="`points` is 0"):
        compare(files, tmp_path, points=0)
    with pytest.raises(BadRecipe, match=r"`protocols` is \['C'\], expected 'A', 'B', or both"):
        compare(files, tmp_path, protocols=["C"])
    assert not list(tmp_path.iterdir())


def test_the_control_of_a_goal_keeps_the_rules_of_its_builder(files, tmp_path):
    goal = {"GoalBuilder": {"column": "response_length", "count": 1, "unique": ["prompt"], "seed": 5}}
    file = write_recipe(files[0].parent, "goal", goal)
    control = Comparison(load_recipes([file]), tmp_path).selections["uniform 10x"].rule
    assert (control["rule"], control["count"], control["unique"], control["seed"]) == (
        "UniformControl", 10, ["prompt"], 5,
    )  # fmt: skip


def test_the_command_line_says_the_same(files, study, capsys):
    folder, results = study
    assert main(["compare", *map(str, files), "--output-dir", str(folder), "--points", "2", "--dry-run"]) == 0
    assert "longest, middle are sound" in capsys.readouterr().out
    assert main(["compare", *map(str, files), "--output-dir", str(folder), "--points", "2"]) == 0
    printed = capsys.readouterr().out
    assert all(arm in printed for arm in ("longest", "middle", "random", "uniform 10x"))
    assert "README.md" in printed and results["baseline"] == "uniform 10x"


def test_measuring_leaves_the_training_as_it_is(tmp_path, pool):
    # What dropout draws follows from what was drawn before.
    dropout = {"model_init_kwargs": {"attention_dropout": 0.1}}
    sft = {"per_device_train_batch_size": 2, "learning_rate": 1e-3, **dropout}
    target = TargetTraining(str(PROXY), protocol="B", steps=4, sft=sft)
    seen = []

    def measure(folder):
        seen.append(Proxy(folder).digest)
        return {"draw": float(torch.rand(1))}

    callback = CurveCallback(measure, tmp_path / "c", points=2)
    labels = Labels(max_length=128)
    plain = target.train(pool, labels, tmp_path / "plain")
    measured = target.train(pool, labels, tmp_path / "measured", callbacks=[callback])
    assert Proxy(plain.folder).digest == Proxy(measured.folder).digest == seen[-1] != seen[0]
    assert [(point["samples"], point["step"]) for point in callback.curve] == [(4, 2), (8, 4)]
    assert not list((tmp_path / "c").iterdir())
