"""What is killed: work of the kinds that take days, made small, each in a process of its own.

A task gets a folder, does its work there through the command line's own door, and is run again after each kill. What it must
give, however often that was, is what `found` reads from the folder. The fork server of the benchmark imports this module once.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


QUICKSTART = Path(__file__).parents[1] / "recipes" / "quickstart"
PROXY = str(QUICKSTART / "proxy")  # stories260K, 260 thousand parameters
YEARS = 3e8  # ten, in seconds
REPO = "tester/curated"

Rows = dict[str, str]  # what a row was given, by its id


@dataclass(frozen=True)
class Task:
    """One kind of work.

    Args:
        command: of `datasel`.
        recipes: written into the folder, by name; a run takes them in turn, so that each finds what another left.
        found: the rows' results, and whatever else must be the same, from the folder.
        options: of the command.
    """

    command: str
    recipes: Mapping[str, Mapping[str, Any]]
    found: Callable[[Path], Rows]
    options: tuple[str, ...] = ()


def rows(name: str, count: int, least: int = 0) -> list[dict[str, Any]]:
    """The shortest rows of a file of the quickstart, behind the first `least`."""
    lines = (QUICKSTART / name).read_text(encoding="utf-8").splitlines()
    found = sorted((json.loads(line) for line in lines), key=lambda row: len(row["prompt"] + row["completion"]))
    return found[least : least + count]


def write(task: Task, folder: Path, judge: str) -> None:
    """The files that a task reads."""
    folder.mkdir(parents=True)
    pool = [*rows("pool.jsonl", 60), {**rows("pool.jsonl", 1, 61)[0], "completion": ""}]  # one that cannot be scored
    files = {"pool": pool, "anchors": rows("held_out.jsonl", 3), "evaluation": rows("evaluation.jsonl", 4)}
    for name, lines in files.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    for name, recipe in task.recipes.items():
        text = json.dumps(recipe).replace("JUDGE_URL", judge)  # JSON is YAML
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")


def arguments(task: Task, folder: Path, name: str) -> list[str]:
    """Of the command line, for one of the task's recipes, or all of them where it takes several."""
    names = list(task.recipes) if task.command == "compare" else [name]
    files = [str(folder / f"{each}.yaml") for each in names]
    return [task.command, *files, "--output-dir", str(folder / "run"), *task.options]


def work(command: list[str], log: str, clock: int | None) -> None:
    """In the child: run one command to its end, or until it is killed."""
    with open(log, "a", encoding="utf-8") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    if clock is not None:
        _let_the_clock_jump(clock)
    from hf_datasel.cli import main

    code = main(command)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # as it was forked, the exit of the interpreter is not its own


def _let_the_clock_jump(seed: int) -> None:
    """Each look at the wall clock may find it years before or behind the last."""
    draw, lock = np.random.default_rng(seed), threading.Lock()
    true, true_ns = time.time, time.time_ns

    def jump() -> float:
        with lock:
            return float(draw.uniform(-YEARS, YEARS))

    time.time = lambda: true() + jump()
    time.time_ns = lambda: true_ns() + int(jump() * 1e9)


def scores(folder: Path) -> Rows:
    """Every column of every row, to the last bit."""
    import pyarrow.parquet as pq

    table = pq.read_table(folder / "run" / "scores" / "scores.parquet").to_pylist()
    return {row["row_id"]: repr(row) for row in table} | {"rows": str(len(table))}  # a row too many is a fault as well


def trained(folder: Path) -> Rows:
    """What each training of a comparison measured, and the rows of each arm."""
    from hf_datasel import Selection

    results = json.loads((folder / "run" / "results.json").read_text(encoding="utf-8"))
    numbers = ("arm", "seed", "heldout_loss", "train_loss", "rows", "steps", "curve")
    found = {
        f"training {line['arm']} {line['seed']}": repr([_without_times(line.get(key)) for key in numbers])
        for line in results["trained"]
    }
    kept = sorted((folder / "run" / "selections").iterdir())
    return found | {f"selection {place.name}": repr(Selection.load(place).ids) for place in kept}


def _without_times(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_times(item) for item in value]
    if isinstance(value, dict):
        return {key: _without_times(item) for key, item in value.items() if "second" not in key}
    return value


POOL = {"path": "pool.jsonl", "labels": {"max_length": 512}}
ANY = {"Random": {"fraction": 0.25}}
BEST = {"TopFraction": {"column": "response_length", "fraction": 0.25}}
STEPS = {"learning_rate": 1.0e-3, "sft": {"logging_strategy": "no"}}


def _recipe(scorers: list[Any], select: Mapping[str, Any] = ANY, **others: Any) -> dict[str, Any]:
    proxy = others.pop("proxy", {"model": PROXY})
    score = {"scorers": scorers, **({"proxy": proxy} if proxy else {}), **others.pop("score", {})}
    return {"pool": POOL, "score": score, "select": dict(select), **others}


OST = {"OneStepTrain": {"token_level": True}}
WARMED = {"warm_up": {"steps": 3, "batch_size": 4, **STEPS}}
JUDGE = {
    "LLMJudge": {
        "endpoint": {"model": "judge", "base_url": "JUDGE_URL", "concurrency": 4, "first_wait": 0.01},
        "rounds": 2,
        "temperature": 0.7,
    }
}
COIDO = {
    "CoIDO": {
        "embeddings": ["embedding"], "scores": ["response_length"], "fraction": 0.5, "clusters": 3, "neighbours": 6, "width": 8,
        "training": {"epochs": 1, "network_learning_rate": 3.0e-3, "method": "full", **STEPS},
    }
}  # fmt: skip
TRAIN = {
    "target": {"target": PROXY, "protocol": "B", "steps": 2, "sft": {"per_device_train_batch_size": 2, "learning_rate": 1.0e-3}},
    "evaluation": {"path": "evaluation.jsonl"},
    "seeds": [0],
}  # fmt: skip
ANCHORS = {"path": "anchors.jsonl"}

TASKS = {
    "scoring": Task("score", {"one": _recipe([OST, {"Perplexity": {}}], anchors=ANCHORS, score=WARMED)}, scores),
    "scoring, two recipes in one folder": Task(
        "score",
        {
            "one": _recipe([OST], anchors=ANCHORS),
            "two": _recipe([{"OneStepTrain": {"token_level": True, "reduction": "sum"}}], anchors=ANCHORS),
        },
        scores,
    ),
    "judge": Task("score", {"one": _recipe([JUDGE], proxy=None)}, scores),
    "co-training": Task("score", {"one": _recipe([{"Embedding": {}}, {"ResponseLength": {}}, COIDO])}, scores),
    "compare": Task(
        "compare",
        {
            "longest": _recipe([{"ResponseLength": {}}], BEST, proxy=None, train=TRAIN),
            "middle": _recipe(
                [{"ResponseLength": {}}], {"MiddleBand": {"column": "response_length", "low": 0.4, "high": 0.6}},
                proxy=None, train=TRAIN,
            ),
        },
        trained,
        ("--points", "1", "--protocols", "B"),
    ),
    "publish": Task(
        "publish",
        {
            "one": _recipe(
                [{"ResponseLength": {}}], BEST, proxy=None, publish={"repo_id": REPO, "config_name": "top", "license": "mit"}
            )
        },
        scores,
    ),
}  # fmt: skip


def _imported() -> None:
    """What the work needs, once, in the fork server."""
    import tqdm

    for name in ("recipe.comparing", "training.curve", "training.target"):
        importlib.import_module(f"hf_datasel.{name}")
    from hf_datasel import Labels, Proxy

    # tqdm's own lock is shared by forked processes: one that is killed while it draws would hang all that follow.
    tqdm.tqdm.set_lock(threading.RLock())
    Proxy(PROXY).load(Labels(), None)


if os.environ.get("HF_DATASEL_CHAOS") == "fork server":
    _imported()
