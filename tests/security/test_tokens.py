"""Where do the Hub's token and the judge's key end up? Nowhere: everything a run writes and says is searched for them."""

from __future__ import annotations

import json
import logging
import os
import pickle
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

import pytest
import yaml
from datasets import Dataset

from hf_datasel import Endpoint, LLMJudge, Random, TopFraction, publish, publish_model, publish_page, score, select
from hf_datasel.errors import BadRecipe, DataselError, PublishError
from hf_datasel.hub import Published, client
from hf_datasel.recipe import load_recipe
from hf_datasel.training import TargetTraining

from ..judge_endpoint import JudgeEndpoint
from .written import files_below, forms, leaks


KEY = "sk-judge-4f9a1c27b8d6e305"
WRONG = "hf_WrongWrongWrongWrongWrongWrongWr"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def judge() -> Any:
    """One that looks at the key before it answers, and repeats it to whoever comes with another."""

    def answer(body: dict[str, Any]) -> Any:
        given = served.headers[-1].get("Authorization", served.headers[-1].get("authorization"))
        return "7\nGood." if given == f"Bearer {KEY}" else (401, {}, f"no such key: {given}")

    served = JudgeEndpoint(answer)
    yield served
    served.close()


@pytest.fixture
def recipe(tmp_path: Path, judge: JudgeEndpoint, real_rows: Any, tiny_model: str) -> Path:
    real_rows("pool.jsonl", 12).to_json(tmp_path / "pool.jsonl")
    real_rows("evaluation.jsonl", 3).to_json(tmp_path / "evaluation.jsonl")
    endpoint = {"model": "m", "base_url": judge.url, "key_variable": "JUDGE_KEY", "concurrency": 1}
    target = {
        "target": tiny_model,
        "steps": 1,
        "sft": {"per_device_train_batch_size": 2, "save_strategy": "steps", "save_steps": 1},
    }
    values = {
        "pool": {"path": "pool.jsonl", "labels": {"max_length": 512}},
        "score": {"proxy": {"model": tiny_model}, "scorers": [{"Perplexity": {}}, {"LLMJudge": {"endpoint": endpoint}}]},
        "select": {"TopFraction": {"column": "judge_rating", "fraction": 0.5}},
        "train": {"target": target, "evaluation": {"path": "evaluation.jsonl"}, "seeds": [0]},
        "publish": {"repo_id": "tester/rows", "model_repo_id": "tester/model", "space_repo_id": "tester/page", "license": "mit"},
    }  # fmt: skip
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(values))
    return tmp_path / "recipe.yaml"


def datasel(recipe: Path, token: str, *more: str) -> subprocess.CompletedProcess[bytes]:
    """`datasel publish`, as talkative as its libraries can be."""
    home = recipe.parent / "home"
    environment = {
        **os.environ, "HF_TOKEN": token, "JUDGE_KEY": KEY, "HF_HOME": str(home), "HOME": str(home), "PYTHONPATH": str(ROOT),
        "HF_DATASEL_JOURNAL": str(home / "journal"),
        **dict.fromkeys(("HF_DATASEL_VERBOSITY", "HF_HUB_VERBOSITY", "DATASETS_VERBOSITY", "TRANSFORMERS_VERBOSITY"), "debug"),
    }  # fmt: skip
    command = [
        sys.executable,
        "-m",
        "hf_datasel.cli",
        "publish",
        str(recipe),
        "--output-dir",
        str(recipe.parent / "run"),
    ]
    return subprocess.run([*command, *more], capture_output=True, env=environment, cwd=recipe.parent, check=False)


def on_the_hub(hub: Any) -> list[tuple[str, bytes]]:
    found = []
    for (kind, name), repo in hub.repos.items():
        for branch in repo.branches:
            for commit in repo.history(branch):
                found.append((f"{kind} {name}, message", repr(vars(commit)).encode()))
                found += [(f"{kind} {name}/{path}", content) for path, content in commit.files.items()]
    return found


@pytest.mark.slow
def test_a_whole_run_writes_them_nowhere(hub: Any, judge: JudgeEndpoint, recipe: Path) -> None:
    done = datasel(recipe, hub.token)
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    failed = datasel(recipe, WRONG, "--set", "publish.repo_id=tester/another")
    assert failed.returncode == 1 and b"HTTP 401" in failed.stderr
    assert judge.requests and {kind for kind, _ in hub.repos} == {"dataset", "model", "space"}
    places = [
        *files_below(recipe.parent), *on_the_hub(hub),
        *((name, content) for its in (done, failed) for name, content in (("stdout", its.stdout), ("stderr", its.stderr))),
    ]  # fmt: skip
    names = " ".join(name for name, _ in places)
    for kind in (
        "recipe.yaml",
        "journal.sqlite",
        "scores.parquet",
        "report.html",
        "training_args.bin",
        ".png",
        "tester/rows/README.md",
    ):
        assert kind in names, f"this test looks at no {kind}"
    assert [
        leak for secret in (hub.token, KEY, WRONG) for name, content in places for leak in leaks(secret, name, content)
    ] == []


def test_the_search_finds_what_is_hidden(tmp_path: Path) -> None:
    for name, table in (("a.parquet", {KEY: [1]}), ("b.parquet", {"text": [f"x {KEY}"]})):
        Dataset.from_dict(table).to_parquet(tmp_path / name)
    (tmp_path / "c.txt").write_bytes(forms(KEY)[4])
    assert all(leaks(KEY, name, content) for name, content in files_below(tmp_path))


def reachable(error: BaseException) -> str:
    """What an error carries: its words, what can be pickled of it, and the attributes of all that stands behind it."""
    chain, texts = [error], ["".join(traceback.format_exception(error)), repr(pickle.dumps(error))]
    while chain:
        its = chain.pop()
        chain += [other for other in (its.__cause__, its.__context__) if other is not None]
        for value in vars(its).values():
            headers = [getattr(getattr(value, part, value), "headers", "") for part in ("request", "self")]
            texts += [repr(value), *(repr(dict(header)) for header in headers if header)]
    return "\n".join(texts)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 500])
@pytest.mark.parametrize("what", ["rows", "model", "page"])
def test_an_error_of_publishing_carries_none(
    hub: Any, what: str, status: int, tmp_path: Path, tiny_model: str, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    monkeypatch.setattr(client, "SECONDS", 0.001)
    caplog.set_level(logging.DEBUG)
    rows = select(Dataset.from_dict({"text": ["a", "b"], "s": [1.0, 0.0]}), Random(0.5))
    shown = publish(rows, "tester/rows", plots=False, dry_run=tmp_path / "dry")
    hub.fail("POST", "/api/repos/create", status=status, times=99)
    (tmp_path / "page.html").write_text("<p>")
    with pytest.raises(PublishError) as caught:
        if what == "rows":
            publish(rows, "tester/rows", plots=False, token=hub.token)
        elif what == "model":
            publish_model(tiny_model, "tester/model", shown, base_model="m", token=hub.token)
        else:
            publish_page(tmp_path / "page.html", "tester/page", shown, token=hub.token)
    assert f"HTTP {status}" in str(caught.value)
    assert leaks(hub.token, "error", reachable(caught.value).encode()) == []
    assert leaks(hub.token, "log", caplog.text.encode()) == []


def test_what_a_server_repeats_is_not_repeated() -> None:
    error = client.explained(ValueError(f"Illegal header value b'Bearer {WRONG}'"), "Uploading")
    assert "Illegal header value" in str(error) and WRONG not in str(error)


@pytest.mark.parametrize("status", [400, 401, 500])
def test_an_error_of_a_judge_carries_no_key(
    status: int, monkeypatch: pytest.MonkeyPatch, caplog: Any, tmp_path: Path
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("JUDGE_KEY", KEY)
    served = JudgeEndpoint(lambda body: (status, {}, json.dumps({"error": f"Incorrect API key provided: {KEY}"})))
    its = LLMJudge(Endpoint("m", base_url=served.url, key_variable="JUDGE_KEY", retries=0))
    pool = Dataset.from_dict({"prompt": ["1 + 1 ="], "completion": ["2"]})
    try:
        if status == 400:
            said = score(pool, its, journal=tmp_path / "journal.sqlite")["judge_rating_status"][0]
            assert said.startswith("refused: HTTP 400: ")
        else:
            with pytest.raises(DataselError, match=f"HTTP {status}") as caught:
                score(pool, its, journal=tmp_path / "journal.sqlite")
            said = reachable(caught.value)
    finally:
        served.close()
    assert "Incorrect API key provided: …" in said
    everything = [("said", said.encode()), ("log", caplog.text.encode()), *files_below(tmp_path)]
    everything += [("repr", repr(its).encode()), ("spec", repr(its.spec).encode()), ("pickle", pickle.dumps(its))]
    assert [leak for name, content in everything for leak in leaks(KEY, name, content)] == []


@pytest.mark.parametrize(
    "url", [f"http://me:{KEY}@127.0.0.1/v1", f"http://127.0.0.1/v1?api_key={KEY}", f"http://{KEY}@127.0.0.1/v1"]
)
def test_a_key_in_an_address_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ValueError, match=r"expected an address alone.*`key_variable`") as caught:
        Endpoint("m", base_url=url)
    assert KEY not in str(caught.value)


def test_a_recipe_with_a_token_is_refused_without_repeating_it(recipe: Path) -> None:
    for place, value in (
        ("train.target.sft.hub_token", WRONG),
        ("publish.about", [f"see {WRONG}"]),
        ("score.proxy.token", KEY),
    ):
        with pytest.raises(BadRecipe, match=f"`{place}.*holds what looks like a token") as caught:
            load_recipe(recipe, {place: value})
        assert WRONG not in str(caught.value) and KEY not in str(caught.value)
    with pytest.raises(BadRecipe, match="`sft` has 'hub_token': leave it out"):
        TargetTraining("m", sft={"hub_token": "mine"})


def test_a_recipe_and_a_selection_hold_none(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", KEY)
    monkeypatch.setenv("HF_TOKEN", WRONG)
    read = load_recipe(recipe)
    chosen = select(
        Dataset.from_dict({"text": ["a", "b"], "s": [1.0, 0.0]}), TopFraction("s", 0.5), [read.scorers[1].spec]
    )
    shown = Published("tester/rows", "selection", None, "", {})
    for its in (read, *read.scorers, chosen, shown):
        for secret in (KEY, WRONG):
            assert leaks(secret, type(its).__name__, repr(its).encode() + pickle.dumps(its)) == []
