"""Is a pool of images scored in memory that does not grow with it? Each size in a process of its own, images in Arrow files.

Rows are real pictures (MATH-Vision, JPEG files of up to 30 kB, embedded) with a number before each question, so that no two are
alike; the proxy is a LLaVA of random weights. `own` memory is what the process cannot give back (anonymous pages), sampled;
`peak` is all resident memory, in which the operating system counts pages of the mapped Arrow file as long as nobody else wants them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.vlm import save


PICTURES = Path(__file__).parents[2] / "shared" / "data" / "mathvision" / "dev1000.parquet"
CODE = """
import json, resource, sys, threading, time
from datasets import load_from_disk
from hf_datasel import Labels, OneStepTrain, Proxy, score
pool, model, folder = load_from_disk(sys.argv[1]), sys.argv[2], sys.argv[3]
anchors, pool = pool.select(range(8)), pool.select(range(8, len(pool)))
scorer = OneStepTrain(Proxy(model, trainable="language"), anchors, labels=Labels(max_length=512))
scorer(pool[:64])
own = lambda: int(next(l for l in open("/proc/self/status") if l.startswith("RssAnon")).split()[1]) / 1024
ready, most, done = own(), [0.0], threading.Event()
def watch():
    while not done.wait(0.02):
        most[0] = max(most[0], own())
watcher = threading.Thread(target=watch, daemon=True)
watcher.start()
began = time.process_time()
scored = score(pool, scorer, journal=folder + "/journal.sqlite")
seconds = time.process_time() - began
done.set()
watcher.join()
statuses = {status: scored["ost_utility_status"][:].count(status) for status in set(scored["ost_utility_status"])}
print(json.dumps({"rows": len(pool), "ready_mb": ready, "own_mb": most[0], "seconds": seconds, "statuses": statuses,
                  "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
"""


def run(quick: bool = False) -> dict:
    """Figures by size: memory in MB, and the growth of `own` memory and of processor time a row from the smallest to the largest."""
    if not PICTURES.is_file():
        raise FileNotFoundError(
            f"there is no {str(PICTURES)!r}, expected pictures of MATH-Vision; see recipes/chain_of_thought"
        )
    sizes = (256, 1024) if quick else (1000, 10_000)
    with tempfile.TemporaryDirectory() as folder:
        model = save("llava", Path(folder, "model"))
        runs = {size: measure(write_pool(Path(folder), size), model) for size in sizes}
    small, large = runs[sizes[0]], runs[sizes[-1]]
    return {
        "rows": list(sizes),
        "file_mb": {str(size): round(its["file_mb"], 1) for size, its in runs.items()},
        "written_beside_mb": {str(size): round(its["written_mb"], 1) for size, its in runs.items()},
        "statuses": {str(size): its["statuses"] for size, its in runs.items()},
        "own_mb_before_scoring": {str(size): round(its["ready_mb"], 1) for size, its in runs.items()},
        "own_mb": {str(size): round(its["own_mb"], 1) for size, its in runs.items()},
        "peak_mb": {str(size): round(its["peak_mb"], 1) for size, its in runs.items()},
        "own_mb_a_thousand_rows_more": round((large["own_mb"] - small["own_mb"]) / (sizes[-1] - sizes[0]) * 1000, 2),
        "own_over_smallest": round(large["own_mb"] / small["own_mb"], 3),
        "time_per_row_over_smallest": round(large["seconds"] / large["rows"] / (small["seconds"] / small["rows"]), 3),
    }


def write_pool(folder: Path, size: int) -> Path:
    """`size` rows and 8 anchors, with the pictures in Arrow files."""
    from datasets import Dataset, Features, Image, Value
    from pyarrow import parquet

    rows = parquet.read_table(PICTURES, columns=["image", "question", "answer"]).to_pylist()

    def numbered():
        for n in range(size + 8):
            row = rows[n % len(rows)]
            question = row["question"].replace("<image1>", "")[:200]
            yield {
                "image": row["image"],
                "prompt": f"<image> {n}. {question}",
                "completion": f" The answer is {row['answer']}.",
            }

    features = Features({"image": Image(), "prompt": Value("string"), "completion": Value("string")})
    made = Dataset.from_generator(numbered, features=features, cache_dir=str(folder / f"cache-{size}"))
    made.save_to_disk(str(folder / str(size)))
    return folder / str(size)


def measure(pool: Path, model: str) -> dict:
    """Memory and processor time of scoring a pool in a process of its own, with one thread."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1", "HF_DATASEL_JOURNAL": "off"}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", CODE, str(pool), model, folder]
        environment["HF_DATASETS_CACHE"] = folder
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)  # noqa: S603
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    found = {
        name: sum(path.stat().st_size for path in pool.glob(f"{name}-*.arrow")) / 2**20 for name in ("data", "cache")
    }
    return {**json.loads(done.stdout.splitlines()[-1]), "file_mb": found["data"], "written_mb": found["cache"]}
