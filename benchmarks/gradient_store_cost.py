"""What a projected gradient costs beside the backward pass it needs, and what it takes on disk.

The unit is a plain forward and backward for each row on its own, gradients left where autograd puts them. Proxies of
Llama's shape with 2 and 19 million float32 weights and rows of 64 to 256 tokens (see `engine_cost`), K = 8192 in float16.
One thread, processor time; each figure is the median over rounds of a ratio within the round. With --quick: 2 million weights.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.engine_cost import Bench
from hf_datasel.proxy.adam import AdamState
from hf_datasel.proxy.gradient_store import GradientReader, GradientStore
from hf_datasel.proxy.projection import Projection
from hf_datasel.proxy.proxy import Proxy
from hf_datasel.proxy.row_gradients import RowGradients
from hf_datasel.rows import Labels


DIMENSIONS = 8192


def run(quick: bool = False) -> dict:
    """Speed of the pass over that of the plain backward (1 is as fast), and bytes a row."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        tables = {"2M": measure("2M", 32, 5)}
        if not quick:
            tables["19M"] = measure("19M", 16, 5)
    finally:
        torch.set_num_threads(threads)
    return {
        "speed_over_plain_backward": min(table["speed_over_plain_backward"]["stored"] for table in tables.values()),
        "bytes_a_row": max(table["bytes_a_row"] for table in tables.values()),
        "dimensions": DIMENSIONS,
        "proxies": tables,
    }


def measure(shape: str, count: int, repeats: int) -> dict:
    """Of one proxy: the plain pass, the pass projected, with Adam's direction, and stored."""
    bench = Bench(shape, count)
    proxy, rows = bench.proxy(), bench.rows
    projected = RowGradients(proxy, Projection(DIMENSIONS))
    zero = {name: torch.zeros_like(value) for name, value in proxy.parameters.items()}
    square = {name: torch.full_like(value, 1e-4) for name, value in proxy.parameters.items()}
    state = AdamState(zero, square, 9, (0.9, 0.999), 1e-8, dict.fromkeys(zero, 0.0))
    adam = RowGradients(proxy, Projection(DIMENSIONS), change=state.less_direction)
    folder = Path(tempfile.mkdtemp())
    reader = _reader(folder, proxy)
    texts = [{"input_ids": list(row.input_ids), "labels": list(row.labels)} for row in rows]
    for measured in (projected, adam, reader._gradients):
        measured(rows[:1])  # draws the projection, once a process
    calls: dict[str, Any] = {
        "plain": lambda: plain(bench),
        "projected": lambda: projected(rows),
        "adam": lambda: adam(rows),
        "stored": lambda: _fresh(reader, texts),
        "read": lambda: reader(texts),
    }
    times: dict[str, list[float]] = {name: [] for name in calls}
    try:
        for _ in range(repeats):
            for name, call in calls.items():
                began = time.process_time()
                call()
                times[name].append(time.process_time() - began)
        (part,) = reader.folder.glob("part-*.arrow")
        size = part.stat().st_size / count
    finally:
        shutil.rmtree(folder)
    speed = {
        name: round(statistics.median(a / b for a, b in zip(times["plain"], its, strict=True)), 3)
        for name, its in times.items()
        if name not in ("plain", "read")
    }
    return {
        "parameters": sum(value.numel() for value in proxy.parameters.values()),
        "rows": count,
        "rounds": repeats,
        "speed_over_plain_backward": speed,
        "reading_over_plain_backward": round(
            statistics.median(a / b for a, b in zip(times["read"], times["plain"], strict=True)), 5
        ),
        "bytes_a_row": round(size),
        "bytes_a_row_said": reader.store.bytes_a_row,
    }


def plain(bench: Bench) -> None:
    """A forward and a backward for every row, by the model's own loss."""
    model = bench.model
    for parameter in model.parameters():
        parameter.requires_grad_()
    for row in bench.rows:
        model(torch.tensor([row.input_ids]), labels=torch.tensor([row.labels]), use_cache=False).loss.backward()
        model.zero_grad(set_to_none=True)
    model.requires_grad_(False)


def _reader(folder: Path, proxy: Any) -> GradientReader:
    """A reader whose proxy is in memory already: it has no folder, so its features are keyed by a name."""
    reader = GradientReader(GradientStore(str(folder), DIMENSIONS), Proxy("in memory"), Labels())
    reader.__dict__["spec"] = {"proxy": "in memory"}
    reader.__dict__["_gradients"] = RowGradients(proxy, Projection(DIMENSIONS))
    return reader


def _fresh(reader: GradientReader, rows: list[dict]) -> np.ndarray:
    """The whole way: tokens read, gradients measured, projected and written."""
    for path in reader.folder.glob("part-*.arrow"):
        path.unlink()
    reader._index.clear()
    reader._tables.clear()
    return reader(rows).directions
