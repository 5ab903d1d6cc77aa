"""How long do rules take on large pools?

TopFraction on 10 million scored rows; rules over embeddings on 100 thousand rows of 384 numbers, drawn around 1000 directions,
some close and some far. Times are of `rank`, one after another in one process. About two minutes; --quick changes nothing,
since the names of the figures say how many rows they are of.
"""

from __future__ import annotations

import re
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
from datasets import Dataset

from hf_datasel import D2Pruning, FacilityLocation, RepresentationFilter, SemDeDup, TopFraction


def seconds(rule: object, scored: Dataset) -> tuple[float, int]:
    began = time.monotonic()
    kept = len(rule.rank(scored))
    return round(time.monotonic() - began, 2), kept


def memory(name: str) -> float:
    """VmRSS, what this process holds now, or VmHWM, its peak, in GB."""
    return int(re.search(rf"{name}:\s+(\d+)", Path("/proc/self/status").read_text()).group(1)) / 2**20


def embedded(rows: int) -> Dataset:
    draw = np.random.default_rng(0)
    centres = draw.normal(size=(1000, 384)).astype(np.float32)
    noise = draw.uniform(0.2, 0.8, (rows, 1)) * draw.normal(size=(rows, 384))
    vectors = centres[draw.integers(0, 1000, rows)] + noise.astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    columns = {
        "row_id": pa.array([f"{number:07}" for number in draw.permutation(rows)]),
        "s": pa.array(draw.random(rows)),
        "e": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), 384),
    }
    return Dataset(pa.table(columns))


def run(quick: bool = False) -> dict:
    """Seconds of each rule, rows kept, and the memory TopFraction takes above the table, in GB."""
    draw = np.random.default_rng(0)
    count = 10_000_000
    table = pa.table({"row_id": pa.array(np.arange(count)), "s": pa.array(draw.normal(size=count))})
    large = Dataset(table)
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here on (Linux)
    before = memory("VmRSS")
    figures: dict = {"top_fraction_rows": count, "rows": 100_000, "dimensions": 384}
    figures["top_fraction_10m_seconds"], _ = seconds(TopFraction("s", 0.2), large)
    figures["top_fraction_10m_extra_gb"] = round(memory("VmHWM") - before, 3)
    del large, table
    scored = embedded(100_000)
    rules = {
        "semdedup": SemDeDup("e", 0.2),
        "representation_filter": RepresentationFilter("s", "e", 0.2),
        "facility_location": FacilityLocation("e", 0.2),
        "d2": D2Pruning("s", "e", 0.2),
    }
    for name, rule in rules.items():
        figures[f"{name}_100k_seconds"], figures[f"{name}_kept"] = seconds(rule, scored)
    return figures
