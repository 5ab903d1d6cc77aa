"""Many chunks of rows over two Ray actors on the loopback, one of them killed half-way. Part of `scale`."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset

from benchmarks._scale_scoring import tiny
from hf_datasel import score
from hf_datasel.runs.score import CHUNK


PROCESSES = 2


def main() -> None:
    """Seconds of one process, of two actors, and of two actors one of which is killed; the same scores asserted. As JSON."""
    import ray

    folder, chunks = Path(sys.argv[1]), int(sys.argv[2])
    rows = chunks * CHUNK - CHUNK // 2  # the last one is not full
    pool = Dataset.from_file(str(folder / f"pool-{chunks * CHUNK}.arrow")).select(range(rows))
    scorer = tiny(folder)
    scorer(pool[:64])
    seconds, truth = timed(pool, scorer, folder / "alone" / "journal.sqlite")
    figures: dict[str, Any] = {"chunks": chunks, "rows": rows, "actors": PROCESSES, "one_process_seconds": seconds}
    began = time.perf_counter()
    ray.init(
        num_cpus=PROCESSES,
        include_dashboard=False,
        object_store_memory=200 * 2**20,
        log_to_driver=False,
    )
    figures["ray_start_seconds"] = round(time.perf_counter() - began, 2)
    try:
        figures["two_actors_seconds"], spread = timed(pool, scorer, folder / "ray" / "journal.sqlite", "ray")
        assert same(spread, truth)
        killed: list[int] = []
        over = threading.Event()
        killer = threading.Thread(target=kill_one, args=(folder / "killed", chunks // 3, killed, over))
        killer.start()
        figures["one_killed_seconds"], spread = timed(pool, scorer, folder / "killed" / "journal.sqlite", "ray")
        over.set()
        killer.join()
        assert same(spread, truth) and len(killed) == 1, killed
    finally:
        ray.shutdown()
    (job,) = folder.glob("ray/job-*")
    figures |= {
        "identical": True,
        "actors_killed": len(killed),
        "two_actors_over_one_process": round(figures["two_actors_seconds"] / seconds, 3),
        "one_killed_over_two_actors": round(figures["one_killed_seconds"] / figures["two_actors_seconds"], 3),
        "files_a_chunk": round(sum(its.is_file() for its in job.rglob("0*.parquet")) / chunks, 2),
        "bytes_a_row_of_job": {
            name: round(sum(its.stat().st_size for its in (job / name).iterdir()) / rows, 1)
            for name in ("rows", "scores")
        },
    }
    print(json.dumps(figures))


def timed(pool: Dataset, scorer: Any, journal: Path, runner: Any = "local") -> tuple[float, Dataset]:
    began = time.perf_counter()
    found = score(pool, scorer, journal=journal, runner=runner, processes=PROCESSES)
    return round(time.perf_counter() - began, 2), found


def same(found: Dataset, truth: Dataset) -> bool:
    """Whether all columns agree to the last bit."""

    def equal(name: str) -> bool:
        ours, theirs = (np.asarray(its.with_format("arrow")[name][:].to_pylist()) for its in (found, truth))
        return bool(np.array_equal(ours, theirs, equal_nan=ours.dtype.kind == "f"))

    return found.column_names == truth.column_names and all(equal(name) for name in truth.column_names)


def kill_one(folder: Path, after: int, killed: list[int], over: threading.Event) -> None:
    """Kill one actor of this process's own Ray once so many chunks are done."""
    while not over.wait(0.05):
        if len(list(folder.glob("job-*/scores/*.parquet"))) >= after:
            actors = [pid for pid, title in descendants(os.getpid()) if "RayWorker" in title]
            if actors:
                os.kill(actors[0], signal.SIGKILL)
                killed.append(actors[0])
                return


def descendants(of: int) -> Iterator[tuple[int, str]]:
    """Processes started by a process, or by one of those it started: number and title."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
        except OSError:  # it has ended
            continue
        parents[int(stat.parent.name)] = int(text.rsplit(")", 1)[1].split()[1])
    for pid in parents:
        above = pid
        while above in parents and above != of:
            above = parents[above]
        if above == of and pid != of:
            try:
                yield pid, Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
