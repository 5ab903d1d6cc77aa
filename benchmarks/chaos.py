"""Does work survive what happens to it, and hostile input what reads it?

Faults, each at a moment or of a kind drawn from a seed: kill -9 of scoring, judging, co-training, comparing and publishing; a Hub
that answers 409, 412, 429, 500 and 503, loses its answer, cuts the connection or lets wait; a judge that does; a full disk; a torn
journal; two processes on one journal; a clock that jumps by years; a worker of Ray or torchrun that dies. A fault is survived if
the work, run again, ends with the identical result of every row, published exactly once, and nobody ever found a half-published
selection. Everything on the loopback, all of it real but the clock. And every parser is given hostile input (see `hostile_input`).
About six minutes with --quick, about twenty-five without.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np


QUICK = {"kills": 4, "hub": 40, "judge": 2, "disk": 3, "torn": 3, "together": 1, "workers": ("ray",)}
FULL = {
    "kills": 15, "hub": 200, "judge": 6, "disk": 10, "torn": 9, "together": 4, "workers": ("ray", "torchrun"),
}  # fmt: skip
SEED = 0
CLOCKED = ("scoring", "judge", "co-training", "compare")


def run(quick: bool = False) -> dict[str, Any]:
    """Faults injected and survived, rows lost, inputs tried and crashes; by kind, with what went wrong."""
    os.environ.update(OMP_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false", HF_DATASEL_JOURNAL="off")
    # Before any library of Hugging Face is imported: they read where the Hub is when they are.
    from tests.hub.environment import serve_this_process

    hub = serve_this_process()
    os.environ.update(HF_HUB_DOWNLOAD_TIMEOUT="1", HF_HUB_ETAG_TIMEOUT="1")
    from benchmarks import _chaos_faults as faults
    from benchmarks import _chaos_kills as killing
    from benchmarks import _chaos_workers as workers
    from benchmarks import hostile_input
    from benchmarks._chaos_tasks import TASKS
    from tests.judge_endpoint import fair_judge

    size = QUICK if quick else FULL
    with tempfile.TemporaryDirectory(prefix="chaos_") as folder:
        ground = killing.Ground(Path(folder), fair_judge().url, np.random.default_rng(SEED))
        found = {}
        for name in TASKS:
            watch = (
                {"before": hub.reset, "look": lambda done: faults.seen(hub, ground, done)} if name == "publish" else {}
            )
            found[f"kill -9: {name}"] = _told(name, killing.kills(ground, name, size["kills"], **watch))
        for kind, tally in {
            "two processes on one journal, one killed": lambda: killing.together(ground, size["together"]),
            "clock jumps": lambda: killing.clocks(ground, CLOCKED),
            "torn journal": lambda: faults.torn_journal(ground, size["torn"]),
            "full disk": lambda: faults.full_disk(ground, size["disk"]),
            "judge fails": lambda: faults.faulty_judge(ground, size["judge"]),
            "worker dies": lambda: workers.dying_workers(ground, size["workers"]),
            "Hub fails": lambda: faults.faulty_hub(hub, ground.draw, size["hub"]),
        }.items():
            found[kind] = _told(kind, tally())
    hostile = hostile_input.run(quick)
    injected = sum(its.injected for its in found.values())
    return {
        "faults_injected": injected,
        "faults_survived_share": sum(its.survived for its in found.values()) / injected,
        "rows_lost": sum(its.rows_lost for its in found.values()),
        "inputs_fuzzed": hostile["inputs"],
        "crashes": len(hostile["crashes"]),
        "faults": {
            kind: {"injected": its.injected, "survived": its.survived, "rows_lost": its.rows_lost, "notes": list(its.notes)}
            for kind, its in found.items()
        },
        "parsers": hostile["parsers"],
        "bad_answers": hostile["crashes"],
        "seed": SEED,
    }  # fmt: skip


def _told(kind: str, tally: Any) -> Any:
    print(
        f"{kind}: {tally.survived} of {tally.injected} survived, {tally.rows_lost} rows lost",
        *tally.notes,
        sep="\n  ",
        flush=True,
    )
    return tally
