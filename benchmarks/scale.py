"""How far one machine goes: ten million rows selected from, a million scored, a hundred chunks over Ray; and the constants of a bill.

Every part runs in a process of its own, so that none pays for another's memory. `fresh` and `resumed` are
`score(pool, scorer, journal=...)` and `map` is `pool.map(scorer, batched=True)`, with a stub in place of the model: what is left
is what the library and datasets cost. `model` is `Perplexity` with a Llama of one layer, 8 wide. Rows are sums of some thirty
tokens, no two alike, in an Arrow file that is mapped. Seconds are of the wall and, beside them, of the processor, which other
work on the machine disturbs less. --quick takes a tenth of the rows or less. docs/scaling.md says what follows from it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks._scale_scoring import write_pool, write_proxy
from hf_datasel.rows.journal import OFF, VARIABLE
from hf_datasel.runs.score import CHUNK


def run(quick: bool = False) -> dict:
    """Figures of selection, scoring, Ray and the constants; memory in MB, by the number of rows."""
    sizes = (10_000, 30_000, 100_000) if quick else (100_000, 300_000, 1_000_000)
    modelled = (3_000, 10_000) if quick else (30_000, 100_000)
    selected = (100_000, 1_000_000) if quick else (1_000_000, 10_000_000)
    chunks = 10 if quick else 101
    before = os.getloadavg()[1]  # more than the cores: seconds of the wall are too many
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_proxy(folder / "proxy")
        for rows in {*sizes, *modelled, chunks * CHUNK}:
            write_pool(folder / f"pool-{rows}.arrow", rows)
        scoring: dict[str, dict[str, Any]] = {
            kind: {str(rows): child("scoring", kind, folder, rows) for rows in sizes}
            for kind in ("fresh", "resumed", "map")
        }
        scoring["model"] = {str(rows): child("scoring", "model", folder, rows) for rows in modelled}
        return {
            "memory_growth_bytes_a_row": {kind: growth(its) for kind, its in scoring.items()},
            "scoring": scoring,
            "beside_the_model": child("scoring", "parts", folder, sizes[0]),
            "selection": {str(rows): child("selection", folder, rows) for rows in selected},
            "ray": child("ray", folder, chunks),
            "others_on_the_machine": {"load_average_before": before, "load_average_after": os.getloadavg()[1]},
            "constants": child("constants", folder, 8 if quick else 24),
        }


def child(part: str, *arguments: Any) -> dict[str, Any]:
    """What a part prints, run in a process of its own with one thread."""
    code = f"from benchmarks._scale_{part} import main; main()"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "TQDM_DISABLE": "1"}
    environment |= {"HF_DATASETS_DISABLE_PROGRESS_BARS": "1", VARIABLE: OFF}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)  # noqa: S603
    if done.returncode:
        raise RuntimeError(f"{part} {arguments}: {done.stderr[-3000:]}")
    print(part, *arguments, flush=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def growth(by_rows: dict[str, dict[str, float]]) -> float:
    """Bytes of a process's own memory at the peak that a row more takes, from the smallest pool to the largest."""
    small, large = min(by_rows, key=int), max(by_rows, key=int)
    more = by_rows[large]["own_peak_mb"] - by_rows[small]["own_peak_mb"]
    return round(more * 2**20 / (int(large) - int(small)), 1)
