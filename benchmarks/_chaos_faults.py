"""Faults around the work: a Hub and a judge that fail, a disk that is full, a journal that is torn, an actor that dies."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import threading
import time
import types
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import _chaos_tasks as tasks
from benchmarks._chaos_kills import PATIENCE, Ground, Tally


REPO = tasks.REPO
# Method, path, and how often in a row a client may meet it before it gives up by its own rules.
REQUESTS = (
    ("POST", "/api/repos/create"), ("POST", "/branch/"), ("POST", "/preupload/"), ("POST", "/commit/datasel-"),
    ("POST", "/commit/main"), ("PUT", ""), ("POST", "/info/lfs/objects/batch"), ("GET", r"/resolve/.*\.parquet"),
    ("(GET|HEAD)", "/resolve/.*README.md"), ("GET", "/tree/"), ("GET", "/api/datasets/"), ("DELETE", "/branch/"),
)  # fmt: skip
KINDS: tuple[dict[str, Any], ...] = (
    {"status": 409}, {"status": 412}, {"status": 429, "headers": {"Retry-After": "0"}}, {"status": 500}, {"status": 503},
    {"status": 500, "after": True}, {"cut": True}, {"cut_upload": True}, {"delay": 1.5},
)  # fmt: skip


def whole(hub: Any, ids: list[str]) -> str:
    """What is wrong with what a stranger finds on the Hub: nothing at all, or one whole publication, is right."""
    from datasets import load_dataset
    from huggingface_hub import HfFileSystem

    from hf_datasel import load_selection

    HfFileSystem.clear_instance_cache()  # it remembers listings
    if ("dataset", REPO) not in hub.repos:
        return ""
    commits = len(hub.repo(REPO).history("main"))
    if commits == 1:
        return ""  # the repository's own first commit
    if commits > 2:
        return f"published {commits - 1} times"
    kept = load_dataset(REPO, split="train", token=hub.token)["row_id"][:]
    found = load_selection(REPO, token=hub.token).ids
    return (
        ""
        if kept == ids == found
        else f"{len(kept)} rows and {len(found)} ids on the Hub, expected the {len(ids)} kept"
    )


def seen(hub: Any, ground: Ground, done: bool) -> str:
    """The same, of the task that publishes; once it is done, the publication must be there."""
    from hf_datasel import Selection

    its = Selection.load(ground.folder / "publish" / "whole" / "run" / "selection")
    if done and len(hub.repo(REPO).history("main")) != 2:
        return "not published"
    return whole(hub, its.ids)


def faulty_hub(hub: Any, draw: np.random.Generator, rounds: int) -> Tally:
    """One to four faults drawn for each publication, one to three times in a row; run again, five times at most, if it gives up."""
    from datasets import Dataset
    from huggingface_hub.utils import _http

    from hf_datasel import ResponseLength, Source, TopFraction, publish, score, select
    from hf_datasel.errors import PublishError
    from hf_datasel.hub import client

    logging.getLogger("hf_datasel").setLevel("CRITICAL")
    client.SILENCE = 1.0  # what is slower than that counts as gone
    client.SECONDS = 0.01  # between attempts; so do the Hub's own client's
    _http.time = types.SimpleNamespace(**{**vars(time), "sleep": lambda seconds: time.sleep(min(seconds, 0.01))})

    pool = Dataset.from_list(
        [{key: row[key] for key in ("prompt", "completion")} for row in tasks.rows("pool.jsonl", 60)]
    )
    selection = select(score(pool, ResponseLength()), TopFraction("response_length", 0.25))
    injected = survived = lost = 0
    notes: list[str] = []
    for number in range(rounds):
        hub.reset()
        faults = []
        for _ in range(int(draw.integers(1, 5))):
            method, path = REQUESTS[draw.integers(len(REQUESTS))]
            kind = KINDS[draw.integers(len(KINDS))]
            faults.append(hub.fail(method, path, times=int(draw.integers(1, 4)), **kind))
        asked = sum(fault.times for fault in faults)
        said = "never ended well"
        for _ in range(6):
            try:
                publish(
                    selection, REPO, "top", sources=[Source("a/pool", license="mit")], token=hub.token, plots=False
                )
                said = ""
                break
            except PublishError as error:
                if problem := whole(hub, selection.ids):
                    notes.append(f"hub, round {number}: {problem} after: {error}")
        happened = asked - sum(fault.times for fault in faults)
        hub.faults.clear()
        commits = len(hub.repo(REPO).history("main"))
        said = said or whole(hub, selection.ids) or ("" if commits == 2 else f"{commits} commits")
        injected += happened
        survived += 0 if said else happened
        lost += len(selection.ids) if said else 0
        notes += [f"hub, round {number}, {[(f.method, f.path, f.status) for f in faults]}: {said}"] if said else []
    hub.reset()
    return Tally(injected, survived, lost, tuple(notes))


def faulty_judge(ground: Ground, rounds: int) -> Tally:
    """Replies that fail, are cut, are no JSON, or say nothing that can be read; then the same again with a sound judge."""
    from tests.judge_endpoint import JudgeEndpoint, fair_judge

    task = tasks.TASKS["judge"]
    place = ground.folder / "judge-faults"
    wrong = ground.finish(task, place / "whole")
    if wrong:
        return Tally(0, 0, 0, (f"judge: even left alone: {wrong}",))
    expected = task.found(place / "whole")
    injected = survived = lost = 0
    notes: list[str] = []
    for number in range(rounds):
        here, count, lock = place / f"round-{number}", [0], threading.Lock()

        def answer(body: dict[str, Any], count: list[int] = count, lock: Any = lock) -> Any:
            with lock:
                fails = ground.draw.random() < 0.3
                kind = int(ground.draw.integers(5))
                count[0] += fails
            if not fails:
                return fair_judge().answer(body)
            return [
                None, (500, {}, "broken"), (429, {"Retry-After": "0"}, "busy"), (503, {}, ""), (200, {}, '{"choices": '),
            ][kind]  # fmt: skip

        faulty = JudgeEndpoint(answer)
        tasks.write(task, here, faulty.url)
        ground.finish(task, here)  # may end well or not: rows without a reply have no score, and say so
        for path in here.glob("*.yaml"):
            path.write_text(path.read_text().replace(faulty.url, ground.judge))
        made_up = [
            row for row, its in _of(task, here).items() if "'ok'" in its and _judged(its) != _judged(expected.get(row))
        ]
        # Where a judge is asked does not decide what it says: the journal answers for the rows that were judged.
        wrong = ground.finish(task, here)
        faulty.close()
        found = {} if wrong else task.found(here)
        missing = [row for row, its in expected.items() if _judged(found.get(row)) != _judged(its)]
        injected += count[0]
        survived += 0 if wrong or missing or made_up else count[0]
        lost += len(missing)
        notes += [f"judge, round {number}: {wrong} {missing[:3]} {made_up[:3]}"] if wrong or missing or made_up else []
    return Tally(injected, survived, lost, tuple(notes))


def _judged(row: str | None) -> str:
    """A row's results without how often the judge had to be asked."""
    return re.sub(r"'judge_calls': [^,}]+", "", row or "")


def _of(task: Any, place: Path) -> dict[str, str]:
    return task.found(place) if (place / "run" / "scores" / "scores.parquet").is_file() else {}


FULL = """
set -e
mount -t tmpfs -o size={size} tmpfs "$1"
cp -r "$2"/. "$1"
cd "$3"
shift 3
"$@" > "$LOG" 2>&1 && code=0 || code=$?
cp -r "$DISK/run" "$OUT" 2>/dev/null || true
exit $code
"""


def full_disk(ground: Ground, rounds: int) -> Tally:
    """A real file system, too small by a share that is drawn: the run ends with our error, and goes on when there is room."""
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode:  # noqa: S607
        return Tally(
            0, 0, 0, ("full disk: not injected, as this machine allows no mount in a namespace of one's own",)
        )
    task = tasks.TASKS["scoring"]
    place = ground.folder / "disk"
    wrong = ground.finish(task, place / "whole")
    if wrong:
        return Tally(0, 0, 0, (f"full disk: even left alone: {wrong}",))
    expected = task.found(place / "whole")
    injected = survived = lost = 0
    notes: list[str] = []
    used = sum(path.stat().st_size for path in (place / "whole").rglob("*"))
    for number in range(rounds):
        here, disk = place / f"room-{number}", place / f"disk-{number}"
        size = int(used * float(ground.draw.uniform(0.3, 1)))
        tasks.write(task, here, ground.judge)
        disk.mkdir()
        command = [sys.executable, "-m", "hf_datasel.cli", *tasks.arguments(task, disk, "one")]
        script = FULL.format(size=size)
        environment = {
            **os.environ,
            "LOG": str(here / "log.txt"),
            "OUT": str(here / "run"),
            "DISK": str(disk),
            "HF_HOME": str(disk / "home"),
        }
        done = subprocess.run(  # noqa: S603
            ["unshare", "-rm", "sh", "-c", script, "sh", str(disk), str(here), os.getcwd(), *command],  # noqa: S607
            env=environment, check=False, capture_output=True, text=True, timeout=PATIENCE,
        )  # fmt: skip
        if done.returncode == 0:
            continue  # there was room
        injected += 1
        said = (here / "log.txt").read_text(errors="replace")
        ours = done.returncode == 1 and "Traceback" not in said and "datasel: " in said
        wrong, missing = ground.compared(task, here, expected)
        survived += ours and not wrong and not missing
        lost += len(missing)
        if not ours:
            notes.append(f"full disk of {size} bytes: exit code {done.returncode}: {said[-500:]} {done.stderr[-300:]}")
        notes += [f"full disk of {size} bytes: {wrong or missing[:3]}"] if wrong or missing else []
    return Tally(injected, survived, lost, tuple(notes))


def torn_journal(ground: Ground, rounds: int) -> Tally:
    """After a kill, the journal loses its end, gets other bytes in the middle, or is another file altogether."""
    task = tasks.TASKS["scoring"]
    place = ground.folder / "torn"
    began = time.monotonic()
    wrong = ground.finish(task, place / "whole")
    if wrong:
        return Tally(0, 0, 0, (f"torn journal: even left alone: {wrong}",))
    takes, expected = time.monotonic() - began, task.found(place / "whole")
    injected = survived = lost = 0
    notes: list[str] = []
    for number in range(rounds):
        here = place / f"round-{number}"
        process = ground.start(task, here)
        process.join(float(ground.draw.uniform(0.4, 1)) * takes)
        process.kill()
        process.join()
        scores = here / "run" / "scores"
        # Where it was too late for a kill: else nobody reads the journal again.
        (scores / "done.json").unlink(missing_ok=True)
        torn = [_tear(journal, ground.draw, number) for journal in scores.glob("journal.sqlite*")]
        wrong, missing = ground.compared(task, here, expected)
        injected += any(torn)
        survived += any(torn) and not wrong and not missing
        lost += len(missing)
        notes += [f"torn journal, round {number}: {wrong or missing[:3]}"] if wrong or missing else []
    return Tally(injected, survived, lost, tuple(notes))


def _tear(journal: Path, draw: np.random.Generator, number: int) -> bool:
    """Whether the file is another one now."""
    before = journal.read_bytes()
    held = bytearray(before)
    if number % 3 == 0:
        held = held[: int(draw.integers(0, len(held) + 1))]
    elif number % 3 == 1 and held:
        for at in draw.integers(0, len(held), int(draw.choice([1, 10, 200]))):
            held[at] = int(draw.integers(256))
    else:
        held = bytearray(draw.bytes(4096))
    journal.write_bytes(bytes(held))
    return held != before
