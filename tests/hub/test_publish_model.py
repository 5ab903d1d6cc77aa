"""From a recipe to the Hub and back to training: `datasel publish`, `trl sft`, and the model with its card."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from datasets import load_dataset
from huggingface_hub import ModelCard, RepoCard
from transformers import AutoModelForCausalLM

from hf_datasel import Published, load_selection, publish_model
from hf_datasel.cli import main
from hf_datasel.errors import PublishError
from hf_datasel.recipe import Run, load_recipe


QUICKSTART = Path(__file__).parents[2] / "recipes" / "quickstart.yaml"


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """The quickstart on 40 short rows and two steps."""
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
    values["train"]["seeds"] = [0]
    values["train"]["beside"] = {"random": {"Random": {"fraction": 0.2}}}
    values["select"] = {"TopFraction": {"column": "ost_utility", "fraction": 0.2}}
    values["publish"] |= {"repo_id": "tester/word-problems", "config_name": "ost-20", "model_repo_id": "tester/solver"}
    values["publish"]["space_repo_id"] = "tester/look"
    (folder / "small.yaml").write_text(yaml.safe_dump(values))
    return folder / "small.yaml"


def weights(folder):
    return AutoModelForCausalLM.from_pretrained(folder).state_dict()


@pytest.mark.slow
def test_publish_load_apply_and_train_over_http(hub, recipe, tmp_path):
    folder = recipe.parent / "run"
    assert main(["publish", str(recipe), "--output-dir", str(folder)]) == 0
    run = Run(load_recipe(recipe), folder)
    selection = run.selections()["selected"]

    kept = load_dataset("tester/word-problems", "ost-20", split="train")
    assert kept["row_id"][:] == selection.ids
    assert load_selection("tester/word-problems").apply(run.pool).kept["prompt"][:] == selection.kept["prompt"][:]

    # The same training as the run's own, by TRL's command line, from the file we wrote, on the rows on the Hub.
    config = yaml.safe_load((folder / "sft.yaml").read_text())
    config["output_dir"] = str(tmp_path / "out")
    (tmp_path / "sft.yaml").write_text(yaml.safe_dump(config))
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [str(Path(sys.executable).with_name("trl")), "sft", "--config", str(tmp_path / "sft.yaml")],
        capture_output=True, text=True, check=False, env=environment, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    ours = weights(folder / "training" / "selected" / "seed-0" / "model")
    theirs = weights(tmp_path / "out")
    assert all(bool((ours[name] == theirs[name]).all()) for name in ours)

    # The target is there, trained, and says on what.
    there = AutoModelForCausalLM.from_pretrained("tester/solver").state_dict()
    assert all(bool((ours[name] == there[name]).all()) for name in ours)
    commit = hub.repo("tester/word-problems").history("main")[-1].oid
    card = ModelCard.load("tester/solver")
    assert card.data.datasets == ["tester/word-problems"]
    for text in (commit, "`ost-20`", "8 of the 40 rows", "TopFraction(column='ost_utility'", "| random | 8 |"):
        assert text in card.text, text

    # The page to look at it stands beside, as a static Space.
    space = hub.repo("tester/look", "space").history("main")[-1].files
    assert (
        space["index.html"] == (folder / "report.html").read_bytes()
        and b"Quickstart of hf_datasel" in space["index.html"]
    )
    readme = RepoCard(space["README.md"].decode())
    assert readme.data.sdk == "static" and readme.data.datasets == ["tester/word-problems"] and commit in readme.text
    assert hub.repo("tester/look", "space").private

    # Nothing says where on this machine it was made, and no pickle or optimizer state went along.
    stored = {}
    for repo_id, kind in (("tester/word-problems", "dataset"), ("tester/solver", "model"), ("tester/look", "space")):
        stored |= hub.repo(repo_id, kind).history("main")[-1].files
    assert not [path for path in stored if path.endswith((".bin", ".pt"))]
    for path, content in stored.items():
        assert str(recipe.parent).encode() not in content and str(QUICKSTART.parent).encode() not in content, path


def test_a_dry_run_writes_all_cards_and_sends_nothing(hub, recipe, capsys):
    folder = recipe.parent / "run"
    assert main(["publish", str(recipe), "--output-dir", str(folder), "--dry-run"]) == 0
    assert hub.log == []
    assert load_dataset(str(folder / "publish"), "ost-20", split="train").num_rows == 8
    assert "tester/solver" not in (folder / "publish" / "README.md").read_text()
    assert "revision" not in (folder / "publish" / "model" / "README.md").read_text()
    assert (folder / "publish" / "space" / "index.html").read_bytes() == (folder / "report.html").read_bytes()
    assert "publish/README.md" in capsys.readouterr().out


def test_what_cannot_be_finished_is_not_begun(hub, recipe, capsys):
    folder = recipe.parent / "run"
    for change, message in (
        ("publish.model_repo_id=solver", "`repo_id` is 'solver'"),
        ("publish.space_repo_id=look", "`repo_id` is 'look'"),
        ("publish.light=true", "the report page holds the rows' content"),
        ("train.target={target: x, method: lora, lora: {bias: all}}", "which `trl sft` does not know"),
    ):
        assert main(["publish", str(recipe), "--output-dir", str(folder), "--set", change]) == 1
        assert message in capsys.readouterr().err
        assert hub.log == []


def test_a_recipe_that_does_not_say_where_to(hub, recipe, capsys):
    folder = recipe.parent / "run"
    assert main(["publish", str(recipe), "--output-dir", str(folder), "--set", "publish.repo_id=null"]) == 1
    assert "`publish.repo_id` is missing" in capsys.readouterr().err
    assert hub.log == []


@pytest.fixture
def trained(tmp_path, tiny_model):
    import shutil

    folder = tmp_path / "model"
    shutil.copytree(tiny_model, folder)
    (folder / "training_args.bin").write_bytes(b"pickle")
    (folder / "optimizer.pt").write_bytes(b"state")
    return folder


SAID = {
    "rule": {"rule": "TopCount", "column": "s", "count": 2}, "threshold": 0.5, "kept_ids_sha256": "ab",
    "counts": {"rows": 4, "kept": 2, "dropped": 2, "not_scored": 0}, "scorers": [{"scorer": "ResponseLength"}],
}  # fmt: skip
ON = Published("tester/rows", "top-2", "c0ffee", "http://x", SAID)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/api/repos/create", {"status": 500, "after": True}),
        ("/commit/main", {"status": 503, "after": True}),
        ("/commit/main", {"cut": True}),
        ("/commit/main", {"status": 409}),
        ("/commit/main", {"status": 412}),
        ("/preupload/", {"status": 429}),
    ],
)
def test_a_model_lands_once_whatever_happens(hub, trained, path, kind):
    fault = hub.fail("POST", path, **kind)
    publish_model(trained, "tester/solver", ON, base_model="Qwen/Qwen3-0.6B", token=hub.token)
    assert fault.times == 0
    history = hub.repo("tester/solver", "model").history("main")
    assert len(history) == 2
    assert "training_args.bin" not in history[-1].files and "optimizer.pt" not in history[-1].files
    AutoModelForCausalLM.from_pretrained("tester/solver")


def test_an_adapter_is_called_one(hub, trained, tmp_path):
    config = {"peft_type": "LORA", "base_model_name_or_path": "/home/me/models/base", "r": 4}
    (trained / "adapter_config.json").write_text(json.dumps(config))
    publish_model(trained, "tester/solver", ON, base_model="Qwen/Qwen3-0.6B", dry_run=tmp_path / "card")
    card = ModelCard.load(tmp_path / "card" / "README.md")
    assert card.data.library_name == "peft" and card.data.base_model == "Qwen/Qwen3-0.6B"
    (trained / "notes.txt").write_text("not yours")
    (trained / "train.py").write_text("not yours")
    publish_model(trained, "tester/solver", ON, base_model="Qwen/Qwen3-0.6B", token=hub.token)
    files = hub.repo("tester/solver", "model").at("main").files
    assert json.loads(files["adapter_config.json"]) == {**config, "base_model_name_or_path": "base"}
    assert "notes.txt" not in files and "train.py" not in files


def test_a_folder_without_weights_is_refused(hub, tmp_path):
    with pytest.raises(PublishError, match="holds no safetensors"):
        publish_model(tmp_path, "tester/solver", ON, base_model="x", token=hub.token)
    assert hub.log == []
