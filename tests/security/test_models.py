"""Does anything run that a model, a file of weights, a recipe or a README brings along? Only what was asked for by name."""

from __future__ import annotations

import ast
import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset

from hf_datasel import (
    CLIPScore,
    Labels,
    Perplexity,
    Proxy,
    QuRating,
    ResponseLength,
    Reward,
    SentenceEmbedding,
    TargetTraining,
    TopCount,
    WarmUp,
    publish,
    select,
)
from hf_datasel.cli import main
from hf_datasel.errors import BadRecipe, DataselError, PublishError
from hf_datasel.proxy import image_features
from hf_datasel.proxy.adam import load_adam_state
from hf_datasel.recipe import load_recipe
from hf_datasel.runs.worker import SCORER, read_scorer, write_job
from hf_datasel.training import heldout_loss


PACKAGE = Path(__file__).parents[2] / "hf_datasel"
ROW = {"prompt": ["1 + 1 ="], "completion": [" 2"]}
ROWS = Dataset.from_dict({name: values * 4 for name, values in ROW.items()})
SHORT = Labels(max_length=64)


class Payload:
    """What makes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.marker),)


@pytest.fixture
def marker(tmp_path: Path) -> Any:
    yield tmp_path / "it_ran"
    assert not (tmp_path / "it_ran").exists()


@pytest.fixture
def pickled(tiny_model: str, tmp_path: Path, marker: Path) -> str:
    """The tiny model, its weights a pickle that is a program."""
    folder = tmp_path / "pickled"
    shutil.copytree(tiny_model, folder, ignore=shutil.ignore_patterns("*.safetensors*"))
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Payload(marker)))
    return str(folder)


@pytest.fixture
def adapter(tiny_model: str, tmp_path: Path, marker: Path) -> str:
    (tmp_path / "adapter").mkdir()
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": tiny_model,
        "r": 1,
        "target_modules": ["q_proj"],
    }
    (tmp_path / "adapter" / "adapter_config.json").write_text(json.dumps(config))
    (tmp_path / "adapter" / "adapter_model.bin").write_bytes(pickle.dumps(Payload(marker)))
    return str(tmp_path / "adapter")


CODE = "import os\nos.mkdir({marker!r})\n\nclass Evil:\n    pass\n"


def with_code(tiny_model: str, folder: Path, marker: Path, parts: tuple[str, ...]) -> str:
    """The tiny model with code of its own for the named parts."""
    shutil.copytree(tiny_model, folder)
    (folder / "evil.py").write_text(CODE.format(marker=str(marker)))
    autos = {
        "config.json": {"AutoConfig": "evil.Evil", "AutoModel": "evil.Evil", "AutoModelForCausalLM": "evil.Evil",
                        "AutoModelForSequenceClassification": "evil.Evil", "AutoModelForImageTextToText": "evil.Evil"},
        "tokenizer_config.json": {"AutoTokenizer": ["evil.Evil", "evil.Evil"]},
    }  # fmt: skip
    for name in parts:
        config = json.loads((folder / name).read_text())
        config["auto_map"] = autos[name]
        if name == "config.json":
            config |= {"model_type": "evil", "architectures": ["Evil"]}
        else:
            config["tokenizer_class"] = "Evil"
        (folder / name).write_text(json.dumps(config))
    return str(folder)


def training(model: str, folder: Path) -> TargetTraining:
    return TargetTraining(model, steps=1, sft={"per_device_train_batch_size": 2})


LOADERS: dict[str, Callable[[str, Path], Any]] = {
    "proxy": lambda model, _: Perplexity(Proxy(model), labels=SHORT)(ROW),
    "warm-up": lambda model, folder: WarmUp(steps=1, batch_size=2).fit(Proxy(model), ROWS, SHORT, folder / "out"),
    "target": lambda model, folder: training(model, folder).train(ROWS, SHORT, folder / "out"),
    "evaluation": lambda model, _: heldout_loss(model, ROWS, SHORT),
    "rater": lambda model, _: QuRating(Proxy(model), score=("a",), criteria=("a",))(ROW),
    "reward": lambda model, _: Reward(model)(ROW),
    "sentences": lambda model, _: SentenceEmbedding(model)(ROW),
    "clip": lambda model, _: CLIPScore(model)({**ROW, "images": [[torch.zeros(4, 4, 3).numpy()]]}),
}


@pytest.mark.parametrize("what", LOADERS)
def test_weights_that_are_a_pickle_are_not_read(what: str, pickled: str, tmp_path: Path) -> None:
    with pytest.raises((OSError, DataselError), match="safetensors"):
        LOADERS[what](pickled, tmp_path)


@pytest.mark.parametrize("what", ["proxy", "warm-up"])
def test_an_adapter_that_is_a_pickle_is_not_read(what: str, adapter: str, tiny_model: str, tmp_path: Path) -> None:
    proxy = Proxy(tiny_model, adapter=adapter)
    with pytest.raises(DataselError, match=r"`adapter` is .* no adapter_model\.safetensors.*save it again"):
        if what == "proxy":
            Perplexity(proxy, labels=SHORT)(ROW)
        else:
            WarmUp(steps=1, batch_size=2).fit(proxy, ROWS, SHORT, tmp_path / "out")


@pytest.mark.parametrize("part", ["config.json", "tokenizer_config.json"])
@pytest.mark.parametrize("what", LOADERS)
def test_a_model_with_code_of_its_own_is_refused(
    what: str, part: str, tiny_model: str, tmp_path: Path, marker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = with_code(tiny_model, tmp_path / "model", marker, (part,))
    monkeypatch.setattr("builtins.input", lambda *_: "y")  # nobody is asked: a yes would run it
    with pytest.raises((DataselError, ValueError, OSError)) as caught:
        LOADERS[what](model, tmp_path)
    if what in ("proxy", "warm-up", "target", "evaluation"):
        assert isinstance(caught.value, DataselError)
        assert "brings Python code of its own" in str(caught.value) and "`trust_remote_code`" in str(caught.value)


def test_code_runs_when_it_is_asked_for_by_name(tiny_model: str, tmp_path: Path) -> None:
    ran = tmp_path / "as_asked"
    model = with_code(tiny_model, tmp_path / "model", ran, ("config.json",))
    with pytest.raises(Exception, match="Evil"):  # it is no model, after all
        Perplexity(Proxy(model, trust_remote_code=True), labels=SHORT)(ROW)
    assert ran.is_dir()


def test_a_worker_reads_no_scorer_that_somebody_put_there(tmp_path: Path, marker: Path) -> None:
    job = tmp_path / "job"
    _, digest = write_job(job, ROWS, ResponseLength(), 2)
    assert read_scorer(job, digest) == ResponseLength()
    (job / SCORER).write_bytes(pickle.dumps(Payload(marker)))
    with pytest.raises(DataselError, match=r"another scorer\.pickle than the one that was written"):
        read_scorer(job, digest)
    assert write_job(job, ROWS, ResponseLength(), 2)[1] == digest  # gone on with: nothing is read of what lies there
    assert read_scorer(job, digest) == ResponseLength()


def test_states_and_features_are_tensors_alone(tiny_model: str, tmp_path: Path, marker: Path) -> None:
    (tmp_path / "optimizer.pt").write_bytes(pickle.dumps(Payload(marker)))
    with pytest.raises(DataselError, match=r"`.*optimizer\.pt` cannot be read"):
        load_adam_state(tmp_path / "optimizer.pt", Proxy(tiny_model).load())
    torch.save({"state": Payload(marker)}, tmp_path / "features.pt")
    with pytest.raises(DataselError, match="cannot be read"):
        image_features._read(tmp_path / "features.pt", torch.device("cpu"))


@pytest.mark.parametrize(
    ("module", "name", "fields"),
    [("os", "mkdir", {"path": "MARKER"}), ("subprocess", "Popen", {"args": ["mkdir", "MARKER"]})],
)
def test_features_name_outputs_of_models_and_nothing_else(
    module: str, name: str, fields: dict[str, Any], tmp_path: Path, marker: Path
) -> None:
    given = json.loads(json.dumps(fields).replace("MARKER", str(marker)))
    torch.save({"module": module, "name": name, "fields": given}, tmp_path / "features.pt")
    with pytest.raises(DataselError, match=f"which names {module}.{name}, expected an output of a model"):
        image_features._read(tmp_path / "features.pt", torch.device("cpu"))


APPLY = "!!python/object/apply:os.mkdir [{marker}]"


def test_yaml_makes_no_objects(hub: Any, tmp_path: Path, marker: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evil = APPLY.format(marker=marker)
    (tmp_path / "recipe.yaml").write_text(f"pool: {evil}\n")
    with pytest.raises(BadRecipe, match="is not YAML: could not determine a constructor"):
        load_recipe(tmp_path / "recipe.yaml")
    (tmp_path / "recipe.yaml").write_text("pool: {path: x.jsonl}\n")
    assert main(["score", str(tmp_path / "recipe.yaml"), "--set", f"pool.path={evil}"]) == 1
    assert "`--set pool.path` is not YAML" in capsys.readouterr().err
    hub.plant("tester/rows", files={"README.md": f"---\nlicense: {evil}\n---\n".encode()})
    chosen = select(Dataset.from_dict({"text": ["a", "b"], "s": [1.0, 0.0]}), TopCount("s", 1))
    with pytest.raises(PublishError, match="README whose YAML cannot be read"):
        publish(chosen, "tester/rows", plots=False, token=hub.token)


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def calls() -> list[tuple[str, str, dict[str, Any]]]:
    """File, name and constant keywords of every call in the package."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                keywords = {its.arg: getattr(its.value, "value", ...) for its in node.keywords if its.arg}
                found.append((str(path.relative_to(PACKAGE)), dotted(node.func), keywords))
    return found


def test_what_could_run_code_is_where_it_is_known_to_be() -> None:
    """Of pickles, ruff finds each (S301, S403), and of YAML what is not read safely (S506); here is where they may be."""
    sources = {str(path.relative_to(PACKAGE)): path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")}
    every = calls()
    dangerous = ("pickle", "dill", "joblib", "cloudpickle", "marshal", "shelve")
    assert [name for name, text in sources.items() if any(f"import {its}\n" in text for its in dangerous)] == [
        "runs/worker.py"
    ]
    assert {
        (file, name) for file, name, _ in every if name in ("eval", "exec", "compile", "os.system", "__import__")
    } == set()
    assert all(words.get("weights_only") is True for _, name, words in every if name == "torch.load")
    assert all("allow_pickle" not in words for _, name, words in every if name == "np.load")
    assert all(words.get("trust_remote_code") is not True for _, _, words in every)
    assert [name for name, text in sources.items() if '"trust_remote_code": True' in text] == []
