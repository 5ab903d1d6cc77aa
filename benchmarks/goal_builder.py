"""What the goal builder costs: seconds and memory for a million rows in 500 strata, and how both grow.

The pool is drawn, not real: the builder looks at columns alone. Every constraint is on, and each size is measured in a
process of its own, from the Arrow file to the picks and the report. Growth is that of the processor's seconds, which other work on the
machine disturbs less than those of the clock on the wall.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import sys
import tempfile


CODE = """
import json, resource, sys, time
from datasets import load_from_disk
from hf_datasel.selectors import AutoBudget, GoalBuilder, ShareFloor, ShareRange, SourceFloors
pool = load_from_disk(sys.argv[1])
rule = GoalBuilder(
    "score", ("kind", "tag", "source", "length"), automatic=AutoBudget(max_fraction=0.1, positive="positive"),
    modality=ShareRange("kind", ("video",), 0.5, 0.64), temporal=ShareFloor("tag", ("T",), 0.38),
    sources=SourceFloors("source", 16), unique=("key",), cap_by="clip", exclude="leaked",
)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
began, worked = time.perf_counter(), time.process_time()
build = rule.build(pool)
seconds, processor = time.perf_counter() - began, time.process_time() - worked
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({
    "seconds": seconds, "processor": processor, "peak_gb": peak / 2**20, "before_gb": before / 2**20, "picked": len(build.indices),
    "strata": build.report["strata"]["number"], "unmet": build.unmet, "stages": build.report["stages"],
}))
"""


def run(quick: bool) -> dict:
    sizes = (62_500, 250_000, 1_000_000)
    repeats = 3 if quick else 5
    found = {}
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            # In a process of its own: a child starts with the memory peak of its parent.
            python(
                "import sys; from benchmarks.goal_builder import write_pool; write_pool(sys.argv[1], int(sys.argv[2]))",
                f"{folder}/pool",
                str(size),
            )
            pool = f"{folder}/pool"
            found[size] = [measure(pool) for _ in range(repeats)]
    seconds, processor = (
        {size: statistics.median(its[clock] for its in runs) for size, runs in found.items()}
        for clock in ("seconds", "processor")
    )
    largest = found[sizes[-1]]
    return {
        "seconds_1m_rows": round(seconds[sizes[-1]], 2),
        "peak_gb_1m_rows": round(max(its["peak_gb"] for its in largest), 3),
        "growth_exponent": round(slope(processor), 3),
        "seconds": {str(size): round(value, 3) for size, value in seconds.items()},
        "processor_seconds": {str(size): round(value, 3) for size, value in processor.items()},
        "peak_gb": {str(size): round(max(its["peak_gb"] for its in runs), 3) for size, runs in found.items()},
        "gb_before_building": round(largest[0]["before_gb"], 3),
        "strata": largest[0]["strata"],
        "picked": largest[0]["picked"],
        "stages": largest[0]["stages"],
        "unmet": largest[0]["unmet"],
        "repeats": repeats,
    }


def slope(seconds: dict[int, float]) -> float:
    """Exponent of growth: the slope of log seconds over log rows, by least squares. 1 is linear."""
    x, y = [math.log(size) for size in seconds], [math.log(value) for value in seconds.values()]
    return statistics.linear_regression(x, y).slope


def write_pool(folder: str, size: int) -> None:
    """`size` rows in 500 strata of unequal size, a quarter of them copies, half of them videos of a dozen rows each."""
    import numpy as np
    from datasets import Dataset

    draw = np.random.default_rng(0)
    # 2 kinds x 25 sources x 10 lengths, and a tag that follows from length: 500 strata.
    kind = draw.random(size) < 0.5
    source = (draw.random(size) ** 2 * 25).astype(int)
    length = draw.integers(0, 10, size)
    clips = draw.integers(0, max(1, size // 24), size)
    columns = {
        "row_id": np.array([f"row-{number:09d}" for number in draw.permutation(size)]),
        "score": draw.normal(size=size),
        "positive": draw.normal(size=size) - 1,
        "kind": np.where(kind, "video", "image"),
        "tag": np.where(kind, np.where(length < 3, "T", "M"), "S"),
        "source": np.array([f"source {number}" for number in range(25)])[source],
        "length": np.array([f"length {number}" for number in range(10)])[length],
        "key": np.array([f"{number:016x}" for number in draw.integers(0, size * 2, size)]),
        "clip": [f"clip {number}" if is_video else None for number, is_video in zip(clips, kind, strict=True)],
        "leaked": draw.random(size) < 0.01,
    }
    Dataset.from_dict(columns).save_to_disk(folder)


def measure(pool: str) -> dict:
    """Seconds (by the wall and of the processor) and peak memory of one build in a process of its own, with one thread."""
    return json.loads(python(CODE, pool).splitlines()[-1])


def python(code: str, *arguments: str) -> str:
    """What code prints in a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout  # noqa: S603
