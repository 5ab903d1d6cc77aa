"""Does a score put right chains of thought above wrong ones? Real rows, written by models, known to be right or wrong.

TabMWP with GPT-3's solutions (38 % wrong) and MATH-Vision with those of three models (85 % wrong). Anchors and warm-up vary with
the seed; rows seen in the warm-up are left out, since the paper scores rows that the proxy was not tuned on. All scorers see the
same proxy and the same rows.

The proxy is stories260K: 260 thousand weights that have read children's stories, and then a few hundred of these rows. It knows
which words and numbers look like a solution, how long one is and whether it ends as solutions end. It cannot add, read a table or
follow a step, so where it finds wrong solutions it does so by their looks; a wrong number in a well-formed solution is invisible to it.
It sees no picture: tables are given as text, pictures of MATH-Vision are left out. That the pictures go through is shown apart,
with vision-language models of random weights, which know nothing: their AUROC says what chance and looks alone give.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import statistics
import tempfile
import warnings
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from scipy.stats import spearmanr

from hf_datasel import IFD, Labels, OneStepTrain, Proxy, ResponseLength, WarmUp
from hf_datasel.metrics import DetectionAuroc
from hf_datasel.proxy.proxy import encode
from hf_datasel.rows import stratified, with_row_ids
from tests.vlm import save


ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"
PROXY = DATA / "weights" / "stories260K" / "hf"
STRATA = {"tabmwp": "grade", "mathvision": "subject"}
SEEDS = (0, 1, 2)
BATCH = 8
LABELS = Labels(max_length=None)  # a row that does not fit into the proxy's 512 tokens is not scored, rather than cut
KEPT = 0.2


def run(quick: bool = False) -> dict:
    """Figures: `auroc` by pool and score, mean and range over seeds; 0.5 knows nothing, below it the wrong rows come first."""
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    os.environ["HF_DATASEL_JOURNAL"] = "off"
    torch.set_num_threads(1)
    if not PROXY.is_dir():
        raise FileNotFoundError(f"there is no {str(PROXY)!r}: put the proxy and the data of the recipes there")
    figures: dict[str, Any] = {"seeds": list(SEEDS), "proxy": "stories260K, text only"}
    with tempfile.TemporaryDirectory() as folder:
        for name in STRATA:
            figures[name] = text_pool(name, Path(folder, name), 120 if quick else 1000)
        figures["pictures"] = {
            family: pictures(save(family, Path(folder, family)), 24 if quick else 120)
            for family in ("internvl", "qwen3_vl")
        }
    return figures


def builder() -> ModuleType:
    """The script that makes the recipes' rows."""
    spec = importlib.util.spec_from_file_location("build", ROOT / "recipes" / "chain_of_thought" / "build.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def text_pool(name: str, folder: Path, limit: int) -> dict[str, Any]:
    """AUROC of every score on one pool, over the seeds."""
    made = getattr(builder(), name)(DATA / name, as_text=True)
    loaded = Proxy(str(PROXY)).load(LABELS)
    read = {part: [encode(row, loaded, LABELS).status for row in made[part]] for part in ("pool", "held_out")}
    pool, held_out = (
        made[part].select([i for i, status in enumerate(statuses) if status == "ok"])
        for part, statuses in read.items()
    )
    pool = with_row_ids(pool).shuffle(seed=0)
    pool = pool.select(range(min(limit, len(pool))))
    steps = max(1, len(pool) // (6 * BATCH))  # a sixth of the rows
    found = [seeded(pool, held_out, STRATA[name], steps, seed, folder / str(seed)) for seed in SEEDS]
    scores = found[0]["auroc"]
    return {
        "rows": len(made["pool"]),
        "right": round(float(np.mean(made["pool"]["correct"])), 4),
        "not_scored": {status: count for status, count in Counter(read["pool"]).items() if status != "ok"},
        "warm_up_steps": steps,
        "rows_compared": [its["rows"] for its in found],
        "auroc": {score: spread([its["auroc"][score] for its in found]) for score in scores},
        f"right_among_best_{KEPT:.0%}": {
            score: spread([its["precision"][score] for its in found]) for score in scores
        },
        "right_among_compared": spread([its["right"] for its in found]),
        "rank_correlation_with_length": {score: spread([its["length"][score] for its in found]) for score in scores},
    }


def seeded(pool: Dataset, held_out: Dataset, by: str, steps: int, seed: int, folder: Path) -> dict[str, Any]:
    """One seed: its anchors, its warm-up, and every score of the rows the warm-up did not see."""
    anchors = stratified(held_out, size=50, by=by, seed=seed).select_columns(["prompt", "completion"])
    settings = {"logging_strategy": "no", "disable_tqdm": True}
    warm_up = WarmUp(steps=steps, learning_rate=1e-3, batch_size=BATCH, seed=seed, sft=settings)
    warm = warm_up.fit(Proxy(str(PROXY)), pool, LABELS, folder)
    known = set(warm.seen_row_ids)
    rows = pool.filter(lambda row_id: row_id not in known, input_columns="row_id")
    columns = rows.select_columns(["prompt", "completion"])[:]
    found = OneStepTrain(warm.proxy, anchors, also=("length",), labels=LABELS)(columns)
    length = ResponseLength()(columns)["response_length"]
    scores = {
        "one_step_train": found["ost_utility"],
        # The gradient of a sum is that of the mean by the number of targets: reduction="sum".
        "one_step_train_sum": found["ost_utility"] * found["ost_row_length"],
        "longest": length,
        "low_perplexity": -found["ost_row_loss"],
        "ifd": IFD(warm.proxy, drop_above_one=False, labels=LABELS)(columns)["ifd_loss_ratio"],
    }
    there = np.all([np.isfinite(its) for its in scores.values()], axis=0)  # all are judged on the same rows
    right = np.asarray(rows["correct"])[there]
    scores = {name: its[there] for name, its in scores.items()}
    return {
        "rows": int(there.sum()),
        "right": float(right.mean()),
        "auroc": {name: auroc(its, right) for name, its in scores.items()},
        "precision": {name: precision(its, right) for name, its in scores.items()},
        "length": {name: float(spearmanr(its, length[there]).statistic) for name, its in scores.items()},
    }


def pictures(model: str, count: int) -> dict[str, Any]:
    """The same with the pictures, half of the rows right, through a model that knows nothing."""
    build = builder()
    made = build.tabmwp(DATA / "tabmwp")
    pool = build.shortened(made["pool"].shuffle(seed=0), count)
    found, statuses = [], Counter[str]()
    for seed in SEEDS:
        anchors = stratified(made["held_out"], size=12, by="grade", seed=seed)
        scorer = OneStepTrain(Proxy(model, trainable="language"), anchors, labels=Labels(max_length=1024))
        scored = pool.map(scorer, batched=True, batch_size=64, load_from_cache_file=False)
        utility = np.asarray(scored["ost_utility"][:], dtype=np.float64)
        statuses = Counter(status.split(":")[0] for status in scored["ost_utility_status"])
        there = np.isfinite(utility)
        found.append(auroc(utility[there], np.asarray(pool["correct"])[there]))
    return {"rows": len(pool), "statuses": dict(statuses), "auroc_one_step_train": spread(found)}


def auroc(scores: np.ndarray, right: np.ndarray) -> float:
    return float(DetectionAuroc().compute(predictions=scores, references=right)["detection_auroc"])


def precision(scores: np.ndarray, right: np.ndarray) -> float:
    """Share of right rows among the best."""
    best = np.argsort(-scores, kind="stable")[: max(1, int(KEPT * len(scores)))]
    return float(right[best].mean())


def spread(values: list[float]) -> dict[str, float]:
    return {
        "mean": round(statistics.mean(values), 4),
        "low": round(min(values), 4),
        "high": round(max(values), 4),
    }
