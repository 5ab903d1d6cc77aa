"""How scoring grows with the pool, in time and memory, and what a second process gives. Ratios within one run.

Growth in processor time of one thread; the second process in time on the wall: run it on a machine that does nothing else.

Rows are the quickstart's own, repeated with a number in front so that no two are alike; the proxy is stories260K.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path


QUICKSTART = Path(__file__).parents[1] / "recipes" / "quickstart"
CODE = """
import json, resource, sys, time
from datasets import Dataset
from hf_datasel import Labels, OneStepTrain, Proxy, score
rows, folder, runner, processes = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
pool = Dataset.from_parquet(rows, cache_dir=folder + "/cache")
anchors = Dataset.from_json({held_out!r}).select(range(16))
scorer = OneStepTrain(Proxy({proxy!r}), anchors, labels=Labels(max_length=512))
scorer(pool[:32])
began, own = time.perf_counter(), time.process_time()
scored = score(pool, scorer, journal=folder + "/journal.sqlite", runner=runner, processes=processes)
seconds, own = time.perf_counter() - began, time.process_time() - own
print(json.dumps({{"seconds": seconds, "own": own, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}}))
"""


def run(quick: bool) -> dict:
    sizes = (512, 2048, 8192) if quick else (1024, 10240, 102400)
    repeats = 1 if quick else 3
    with tempfile.TemporaryDirectory() as folder:
        pools = {size: write_pool(Path(folder), size) for size in sizes}
        often = {size: repeats if size < sizes[-1] else 1 for size in sizes}  # the largest is its own average
        runs = {size: [measure(pools[size]) for _ in range(often[size])] for size in sizes}
        two = sizes[1]
        pairs = [(measure(pools[two]), measure(pools[two], "torchrun", 2)) for _ in range(repeats)]
    per_row = {size: statistics.median(found["own"] for found in its) / size for size, its in runs.items()}
    peaks = {size: statistics.median(found["peak_mb"] for found in its) for size, its in runs.items()}
    small, large = sizes[0], sizes[-1]
    return {
        "rows": list(sizes),
        "time_per_row_over_smallest": {str(size): round(per_row[size] / per_row[small], 3) for size in sizes},
        "peak_memory_over_smallest": {str(size): round(peaks[size] / peaks[small], 3) for size in sizes},
        "two_processes_speedup": round(statistics.median(one["seconds"] / two["seconds"] for one, two in pairs), 2),
        "two_processes_rows": two,
        "largest_over_smallest": large // small,
    }


def write_pool(folder: Path, size: int) -> Path:
    """`size` rows, as Parquet."""
    from datasets import Dataset

    lines = Dataset.from_json(str(QUICKSTART / "pool.jsonl"))
    rows = [
        {
            "prompt": f"{n}. {lines[n % len(lines)]['prompt'][:160]}",
            "completion": lines[n % len(lines)]["completion"][:120],
        }
        for n in range(size)
    ]
    path = folder / f"{size}.parquet"
    Dataset.from_list(rows).to_parquet(str(path))
    return path


def measure(pool: Path, runner: str = "local", processes: int = 1) -> dict:
    """Seconds and peak memory of scoring a pool in a process of its own, with one thread each."""
    import json

    code = CODE.format(held_out=str(QUICKSTART / "held_out.jsonl"), proxy=str(QUICKSTART / "proxy"))
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", code, str(pool), folder, runner, str(processes)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)  # noqa: S603
    if done.returncode != 0:
        raise RuntimeError(done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1])
