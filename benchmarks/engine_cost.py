"""What each engine charges per row, in plain forwards, and how close it comes; against Algorithm 1 and other libraries.

A plain forward (F): no gradient, all logits, over the same batches of like length. Proxies of Llama's shape with 2 and 19
million float32 weights, trained for 30 steps on made-up rows like those scored: 64 to 256 tokens, 45 % of them targets, half
of them repeating patterns. One thread, processor time; each figure is the median over rounds of a ratio within the round.

Other libraries are measured where they can be imported: `make peers` puts them into build/peers.
"""

from __future__ import annotations

import copy
import ctypes
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr

from benchmarks._llamas import ANCHORS, BUDGET, TOKENIZER, Bench
from hf_datasel.proxy.anchors import AnchorSet
from hf_datasel.proxy.losses import collate, row_values, token_losses
from hf_datasel.proxy.utility import UtilityEngine
from hf_datasel.rows.labels import TokenRow


PEERS = Path(__file__).parents[1] / "build" / "peers"
SHARE = 0.2
SLOW = ("dattri Grad-Dot",)  # fifty forwards a row
FASTEST = ("bergson score", "bergson output influence")  # of the full table: all that the quick one measures


def run(quick: bool = False) -> dict:
    """All tables; the figures at the top are the worst over the proxies measured."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        tables = {"2M": measure("2M", 96, 3 if quick else 5)}
        tables["2M"]["cascade"] = measure_cascade("2M", 1280 if quick else 2048)
        rivals = {"2M": peers("2M", 48, 5 if quick else 3, only=FASTEST if quick else ())}
        if not quick:
            tables["19M"] = {**measure("19M", 32, 3), "cascade": measure_cascade("19M", 256)}
            rivals["19M"] = peers("19M", 16, 3, left_out=SLOW)
        script = None if quick else plain_script("19M", 32, 3)
    finally:
        torch.set_num_threads(threads)
    cost = {name: table["forwards_per_row"] for name, table in tables.items()}
    worst = {kind: max(its[kind] for its in cost.values()) for kind in ("exact", "fast")}
    worst["cascade"] = max(table["cascade"]["forwards_per_row"] for table in tables.values())
    return {
        "forwards_per_row": worst,
        "cascade_overlap": min(table["cascade"]["overlap"] for table in tables.values()),
        "speedup_vs_algorithm_1": {
            kind: min(its["algorithm_1"] / its[kind] for its in cost.values()) for kind in ("exact", "fast")
        },
        "speedup_vs_best_peer": {kind: _against(rivals, kind, False) for kind in ("exact", "fast")},
        "speedup_vs_best_peer_of_all_parameters": {kind: _against(rivals, kind, True) for kind in ("exact", "fast")},
        "eight_directions_over_one": max(table["eight_directions_over_one"] for table in tables.values()),
        "against_a_plain_script": script,
        "proxies": tables,
        "peers": rivals,
    }


def measure(shape: str, count: int, repeats: int) -> dict:
    """Cost, agreement and memory of every engine on one proxy."""
    bench = Bench(shape, count)
    rows = bench.rows
    engines = {
        "forward_mode": bench.engine("forward_mode"),
        "finite_differences": bench.engine("finite_differences"),
        "bfloat16": bench.engine("bfloat16"),
        "ghost": bench.engine("ghost"),
        "eight directions": bench.engine("auto", groups=8),
        "per_row": bench.engine("per_row"),
    }
    few = rows[:: max(1, count // 32)]
    truth = {name: engines["per_row"](its).dot[:, 0] for name, its in (("all", rows), ("few", few))}
    calls: dict[str, Callable[[], Any]] = {"forward": lambda: bench.forward(rows)}
    calls |= {name: lambda e=engine: e(rows).dot for name, engine in engines.items() if name != "per_row"}
    calls["few forward"] = lambda: bench.forward(few)
    calls["per_row"] = lambda: engines["per_row"](few).dot
    calls["forward of 3"] = lambda: bench.forward(rows[:3])
    calls["algorithm_1"] = lambda: algorithm_1(bench, engines["per_row"].anchors, rows[:3])
    times: dict[str, list[float]] = {name: [] for name in calls}
    found = {}
    for _ in range(repeats):
        for name, call in calls.items():
            began = time.process_time()
            found[name] = call()
            times[name].append(time.process_time() - began)
    unit = {"per_row": "few forward", "algorithm_1": "forward of 3"}
    cost = {
        name: round(statistics.median(a / b for a, b in zip(its, times[unit.get(name, "forward")], strict=True)), 3)
        for name, its in times.items()
        if "forward" not in name or name == "forward_mode"
    }
    agreement = {
        name: {
            "spearman": float(spearmanr(found[name][:, 0], truth["all"]).statistic),
            "largest_error": float(np.abs(found[name][:, 0] - truth["all"]).max() / np.abs(truth["all"]).max()),
        }
        for name in ("forward_mode", "finite_differences", "bfloat16", "ghost")
    }
    exact = [name for name in ("forward_mode", "ghost") if agreement[name]["largest_error"] < 1e-5]
    fast = [name for name in agreement if agreement[name]["spearman"] >= 0.999]
    eight = [a / b for a, b in zip(times["eight directions"], times["forward_mode"], strict=True)]
    return {
        "parameters": sum(parameter.numel() for parameter in bench.model.parameters()),
        "rows": count,
        "forwards_per_row": {
            "exact": min(cost[name] for name in exact),
            "fast": min(cost[name] for name in fast),
            **{name.replace(" ", "_"): value for name, value in cost.items()},
        },
        "exact": min(exact, key=cost.get),
        "fast": min(fast, key=cost.get),
        "agreement": agreement,
        "eight_directions_over_one": round(statistics.median(eight), 3),
        "peak_mb": peaks(bench, engines, few),
        "step_of_finite_differences": engines["finite_differences"].chosen[1].steps[0],
    }


def measure_cascade(shape: str, count: int) -> dict:
    """bfloat16 for all rows, then forward mode near the cut; rows kept against those that forward mode alone keeps."""
    bench = Bench(shape, count)
    rough, full = bench.engine("bfloat16"), bench.engine("forward_mode")
    began = time.process_time()
    bench.forward(bench.rows)
    unit = time.process_time() - began
    began = time.process_time()
    kept, rescored = cascade_of(rough, full, bench.rows)
    cost = round((time.process_time() - began) / unit, 3)
    best = set(np.argsort(-full(bench.rows).dot[:, 0])[: len(kept)])
    overlap = len(set(kept) & best) / len(kept)
    return {"forwards_per_row": cost, "overlap": overlap, "rows_in_full": rescored, "rows": count}


class Measures:
    """An engine as a scorer of rows whose prompt is their number."""

    columns = ("utility",)

    def __init__(self, engine: UtilityEngine, rows: list[TokenRow], asked: list[int]) -> None:
        self.engine, self.rows, self.asked = engine, rows, asked

    def __getstate__(self) -> int:
        return id(self)  # as the library's own scorers: fingerprints never see the model

    def __call__(self, batch: Any) -> dict[str, np.ndarray]:
        places = [int(place) for place in batch["prompt"]]
        self.asked.extend(places)
        return {"utility": self.engine([self.rows[place] for place in places]).dot[:, 0]}


def cascade_of(rough: UtilityEngine, full: UtilityEngine, rows: list[TokenRow]) -> tuple[list[int], int]:
    """`hf_datasel.cascade` on tokenised rows: the rows it keeps, and how many were scored in full."""
    from datasets import Dataset, disable_progress_bars

    from hf_datasel import TopFraction, cascade, select

    disable_progress_bars()
    pool = Dataset.from_dict({"prompt": [str(place) for place in range(len(rows))]})
    asked: list[int] = []
    os.environ["TQDM_DISABLE"] = "1"
    found = cascade(pool, Measures(rough, rows, []), Measures(full, rows, asked), SHARE)
    kept = select(found.scored, TopFraction("utility", SHARE)).kept["prompt"][:]
    return [int(place) for place in kept], len(asked)


def algorithm_1(bench: Bench, anchors: AnchorSet, rows: list[TokenRow]) -> list[float]:
    """The paper's Algorithm 1 as fast as it honestly goes: step in place, anchors in batches, logits of targets, undo."""
    proxy = anchors.proxy
    parameters = {name: value.clone() for name, value in proxy.parameters.items()}
    found = []
    for row in rows:
        batch = collate([row], proxy)

        def loss(moved: dict, batch: Any = batch) -> torch.Tensor:
            return row_values(token_losses(proxy, moved, batch), batch, "mean").sum()

        step = torch.func.grad(loss)(parameters)
        for name, value in step.items():
            parameters[name].add_(value, alpha=-1e-5)
        with torch.no_grad():
            totals = [
                row_values(token_losses(proxy, parameters, its), its, "mean").sum() for its in anchors.batches[0]
            ]
        found.append(float(sum(totals)) / ANCHORS)
        for name, value in step.items():
            parameters[name].add_(value, alpha=1e-5)
    return found


def plain_script(shape: str, count: int, repeats: int) -> dict:
    """Engines over what a script runs that takes rows as they come, 16 at a time, with all logits of 16k entries."""
    bench = Bench(shape, count, vocab_size=16384, tie_word_embeddings=True)
    engines = {name: bench.engine(name) for name in ("forward_mode", "finite_differences", "bfloat16")}
    proxy = bench.proxy()

    def script() -> None:
        with torch.no_grad():
            for start in range(0, count, 16):
                batch = collate(bench.rows[start : start + 16], proxy)
                bench.model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False)

    ratios: dict[str, list[float]] = {name: [] for name in engines}
    script()
    for _ in range(repeats):
        began = time.process_time()
        script()
        unit = time.process_time() - began
        for name, engine in engines.items():
            began = time.process_time()
            engine(bench.rows)
            ratios[name].append((time.process_time() - began) / unit)
    return {name: round(statistics.median(its), 3) for name, its in ratios.items()}


def peaks(bench: Bench, engines: dict[str, UtilityEngine], rows: list[TokenRow]) -> dict[str, float]:
    """Resident memory each adds at its peak, in MB; weights, directions and moved weights are there before."""
    calls: dict[str, Callable[[], Any]] = {"forward": lambda: bench.forward(rows)}
    calls |= {name: lambda e=engine: e(rows) for name, engine in engines.items()}
    return {name: round(statistics.median(peak(call) for _ in range(3)), 1) for name, call in calls.items()}


def peak(call: Callable[[], Any]) -> float:
    """MB of resident memory that a call adds at its peak (Linux; NaN elsewhere)."""
    if not Path("/proc/self/clear_refs").exists():
        return float("nan")
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    call()
    return (_status("VmHWM") - before) / 1024


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


def peers(shape: str, count: int, repeats: int, only: tuple[str, ...] = (), left_out: tuple[str, ...] = ()) -> dict:
    """What other libraries charge, beside our engines in the same rounds; `missing` where they cannot be imported."""
    sys.path.insert(0, str(PEERS))
    from benchmarks import _peers

    bench = Bench(shape, count)
    names = {name: _peers.PEERS[name] for name in only or _peers.PEERS if name not in left_out}

    def rows(its: list[TokenRow]) -> list[dict]:
        return [{"input_ids": list(row.input_ids), "labels": list(row.labels)} for row in its]

    def ours(name: str) -> Callable[[], tuple[float, np.ndarray]]:
        engine, own = bench.engine(name), sorted(bench.rows, key=lambda row: -len(row.input_ids))

        def run() -> tuple[float, np.ndarray]:
            began = _peers.clock()
            found = engine(own).dot[:, 0]
            return _peers.clock() - began, found

        return run

    bench.anchors = bench.anchors[:16]
    own = {name: ours(name) for name in ("forward_mode", "finite_differences", "bfloat16")}
    query = rows(bench.anchors)
    return _peers.peers(copy.deepcopy(bench.model), TOKENIZER, rows(bench.rows), query, names, own, repeats, BUDGET)


def _against(rivals: dict[str, dict], kind: str, whole: bool) -> float | None:
    """Least over the proxies: fastest peer's cost over ours. `whole`: only peers that give the number we give."""
    engines = ("forward_mode",) if kind == "exact" else ("finite_differences", "bfloat16")
    ratios = []
    for table in rivals.values():
        theirs = [
            its["times_forward"]
            for name, its in table.items()
            if "covered" in its and name not in ("forward_mode", "finite_differences", "bfloat16")
            if not whole or (its["covered"] == 1 and its["agreement"] >= 0.999)
        ]
        if theirs:
            ratios.append(min(theirs) / min(table[name]["times_forward"] for name in engines))
    return round(min(ratios), 3) if ratios else None
