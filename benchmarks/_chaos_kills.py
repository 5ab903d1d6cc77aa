"""kill -9 at random moments: rounds of one task, each in a folder of its own, each ended by a run that is left alone."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import _chaos_tasks as tasks
from benchmarks._chaos_tasks import Rows, Task


PATIENCE = 300.0  # seconds for work that takes a few: what takes longer hangs


@dataclass(frozen=True)
class Tally:
    """What came of the faults of one kind.

    Args:
        injected: faults.
        survived: those after which the result was identical to one without any fault.
        rows_lost: results of rows that were missing or others.
        notes: what happened where it was not identical, and what could not be injected here.
    """

    injected: int
    survived: int
    rows_lost: int = 0
    notes: tuple[str, ...] = field(default_factory=tuple)


@dataclass(frozen=True)
class Ground:
    """Where the work is done.

    Args:
        folder: for the rounds.
        judge: address of the judge.
        draw: of all that is random.
    """

    folder: Path
    judge: str
    draw: np.random.Generator

    def start(self, task: Task, place: Path, name: str = "", clock: int | None = None) -> Any:
        """A process that works on a task."""
        if not place.exists():
            tasks.write(task, place, self.judge)
        command = tasks.arguments(task, place, name or next(iter(task.recipes)))
        process = _fork_server().Process(target=tasks.work, args=(command, str(place / "log.txt"), clock))
        process.start()
        return process

    def finish(self, task: Task, place: Path, clock: int | None = None) -> str:
        """Work to the end; empty, or what was wrong."""
        process = self.start(task, place, clock=clock)
        process.join(PATIENCE)
        if process.exitcode is None:
            process.kill()
            process.join()
            return f"still running after {PATIENCE:.0f} s"
        log = (place / "log.txt").read_text(encoding="utf-8", errors="replace")
        return "" if process.exitcode == 0 else f"exit code {process.exitcode}: {log[-600:]}"

    def compared(self, task: Task, place: Path, expected: Rows, clock: int | None = None) -> tuple[str, list[str]]:
        """Work to the end; what was wrong, and the rows whose results are missing or others."""
        wrong = self.finish(task, place, clock)
        return wrong, lost_rows(expected, {} if wrong else task.found(place))


def lost_rows(expected: Rows, found: Rows) -> list[str]:
    """Rows whose results are missing or others."""
    return [row for row, its in expected.items() if found.get(row) != its]


def kills(
    ground: Ground,
    name: str,
    least: int,
    before: Callable[[], None] | None = None,
    look: Callable[[bool], str] | None = None,
) -> Tally:
    """Kill a task at least so many times, over several rounds; compare what each round ends with.

    Args:
        ground: where.
        name: of the task.
        least: kills.
        before: called before each round.
        look: called after each kill (False) and when the work is done (True); says what is wrong with what others see.
    """
    task = tasks.TASKS[name]
    place = ground.folder / slug(name)
    if before:
        before()
    began = time.monotonic()
    wrong = ground.finish(task, place / "whole")
    if wrong:
        return Tally(0, 0, 0, (f"{name}: even left alone: {wrong}",))
    takes = time.monotonic() - began
    expected = task.found(place / "whole")
    injected = survived = lost = 0
    notes: list[str] = []
    turns = list(task.recipes) if task.command != "compare" else [""]
    number = 0
    while injected < least and number < 4 * least:
        if before:
            before()
        here, number = place / f"round-{number}", number + 1
        seen = _killed(ground, task, here, takes, turns, look)
        wrong = ground.finish(task, here) or (look(True) if look else "")
        missing = lost_rows(expected, {} if wrong else task.found(here))
        problems = [
            *seen.problems,
            *([wrong] if wrong else []),
            *([f"{len(missing)} results differ"] if missing else []),
        ]
        injected += seen.kills
        survived += 0 if problems else seen.kills
        lost += len(missing)
        notes += [f"{name}, round {number}: {problem}" for problem in problems]
        if not problems:
            shutil.rmtree(here)
    return Tally(injected, survived, lost, tuple(notes))


@dataclass(frozen=True)
class _Seen:
    kills: int
    problems: list[str]


def _killed(
    ground: Ground, task: Task, here: Path, takes: float, turns: list[str], look: Callable[[bool], str] | None
) -> _Seen:
    """One to three kills, each at a moment drawn from the time the work takes; of several recipes, one after the other."""
    count, problems = 0, []
    for turn in range(int(ground.draw.integers(1, 4)) * len(turns)):
        process = ground.start(task, here, turns[-1 - turn % len(turns)])
        process.join(float(ground.draw.uniform(0, takes)))
        if process.exitcode is None:
            process.kill()
            process.join()
            count += 1
            problems += [problem] if look and (problem := look(False)) else []
        elif process.exitcode != 0:
            problems.append(f"exit code {process.exitcode}: {(here / 'log.txt').read_text(errors='replace')[-600:]}")
    return _Seen(count, problems)


def slug(name: str) -> str:
    """A folder name."""
    return "".join(letter if letter.isalnum() else "-" for letter in name)


def together(ground: Ground, rounds: int) -> Tally:
    """Two processes score one pool with one journal at once; the one that is killed leaves the other its work."""
    task = tasks.TASKS["scoring"]
    place = ground.folder / "together"
    began = time.monotonic()
    wrong = ground.finish(task, place / "whole")
    if wrong:
        return Tally(0, 0, 0, (f"together: even left alone: {wrong}",))
    takes, expected = time.monotonic() - began, task.found(place / "whole")
    injected = survived = lost = 0
    notes: list[str] = []
    for number in range(rounds):
        here = place / f"round-{number}"
        processes = [ground.start(task, here) for _ in range(2)]
        processes[0].join(float(ground.draw.uniform(0, takes)))
        is_killed = processes[0].exitcode is None
        processes[0].kill()
        for process in processes:
            process.join(PATIENCE)
        wrong = "" if processes[1].exitcode == 0 else (here / "log.txt").read_text(errors="replace")[-600:]
        ended, missing = ground.compared(task, here, expected)
        wrong = wrong or ended
        injected += is_killed
        survived += is_killed and not wrong and not missing
        lost += len(missing)
        notes += [f"together, round {number}: {wrong or missing[:3]}"] if wrong or missing else []
    return Tally(injected, survived, lost, tuple(notes))


def clocks(ground: Ground, names: tuple[str, ...]) -> Tally:
    """Every look at the wall clock finds it up to ten years before or behind; files of the run are as old or as young."""
    injected = survived = lost = 0
    notes: list[str] = []
    for name in names:
        task, place = tasks.TASKS[name], ground.folder / f"clock-{slug(name)}"
        wrong = ground.finish(task, place / "whole")
        expected = {} if wrong else task.found(place / "whole")
        process = ground.start(task, place / "jumped", clock=1)
        process.join(float(ground.draw.uniform(1, 4)))
        process.kill()
        process.join()
        for path in (place / "jumped").rglob("*"):
            then = time.time() + float(ground.draw.uniform(-tasks.YEARS, tasks.YEARS))
            os.utime(path, (then, then))
        ended, missing = ground.compared(task, place / "jumped", expected, clock=2)
        wrong = wrong or ended
        injected += 1
        survived += not wrong and not missing
        lost += len(missing)
        notes += [f"clock, {name}: {wrong or missing[:3]}"] if wrong or missing else []
    return Tally(injected, survived, lost, tuple(notes))


def _fork_server() -> Any:
    context = multiprocessing.get_context("forkserver")
    os.environ["HF_DATASEL_CHAOS"] = "fork server"
    context.set_forkserver_preload(["benchmarks._chaos_tasks"])
    return context
