"""Do weights of indicators learned from in-context gains select better rows than uniform weights, one indicator, OST or chance?

A pool of short rows of GSM8K, SVAMP and Dolly in equal parts; the task is GSM8K. 30 % of the pool is kept, the target trained on it for a
fixed number of steps (protocol B), and judged by its loss on held-out GSM8K rows. Proxy and target are stories260K, whose 512 tokens hold
two short rows. `learned weights` are those found, `guarded weights` those that `IndicatorWeights` keeps. Each seed draws another pool, other items and another training run. Embeddings are TF-IDF of words in 32 directions.

It reads the shared data: GSM8K (MIT), SVAMP (MIT), Dolly (CC BY-SA 3.0); nothing of it is kept.
"""

from __future__ import annotations

import gzip
import json
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset

from hf_datasel import (
    IFD,
    ClusterRarity,
    Indicator,
    IndicatorWeights,
    Labels,
    LexicalDiversity,
    LogicalComplexity,
    OneStepTrain,
    Perplexity,
    Proxy,
    Random,
    ResponseLength,
    SemanticDiversity,
    TargetTraining,
    TopFraction,
    select,
    weighted_sum,
)
from hf_datasel.errors import DataselError
from hf_datasel.training.heldout import heldout_loss


HERE = Path(__file__).parents[1]
SHARED = HERE.parent / "shared" / "data"
MODEL = str(HERE / "recipes" / "quickstart" / "proxy")
FRACTION, LONGEST, LABELS = 0.3, 330, Labels(max_length=512)
INDICATORS = (
    Indicator("row_loss", "middle"),
    Indicator("ifd_loss_ratio"),
    Indicator("row_loss"),
    Indicator("logical_complexity"),
    Indicator("response_length"),
    Indicator("semantic_diversity"),
    Indicator("cluster_rarity"),
    Indicator("lexical_diversity"),
)


def run(quick: bool = False) -> dict:
    """Held-out loss of every arm, by seed; weights by task."""
    tasks = {"gsm8k": gsm8k_rows(), "svamp": svamp_rows(), "dolly": dolly_rows()}
    seeds = [0] if quick else [0, 1, 2]
    sizes = {"per_task": 24 if quick else 80, "items": 4 if quick else 8, "probes": 16 if quick else 72,
             "evaluation": 8 if quick else 48, "steps": 4 if quick else 24}  # fmt: skip
    runs = [study(tasks, seed, **sizes) for seed in seeds]
    losses = {arm: [its["losses"][arm] for its in runs] for arm in runs[0]["losses"]}
    learned = losses["learned weights"]
    return {
        "sizes": sizes,
        "heldout_loss": {
            arm: {"mean": statistics.mean(its), "spread": max(its) - min(its), "by_seed": its}
            for arm, its in sorted(losses.items(), key=_mean)
        },
        "learned_minus": {
            arm: [mine - other for mine, other in zip(learned, its, strict=True)] for arm, its in losses.items()
        },
        "kept": [its["kept"] for its in runs],
        "reports": [its["reports"] for its in runs],
    }


def _mean(arm_and_losses: tuple[str, list[float]]) -> float:
    return statistics.mean(arm_and_losses[1])


def study(
    tasks: dict[str, list[dict]], seed: int, per_task: int, items: int, probes: int, evaluation: int, steps: int
) -> dict:
    """One seed: a pool, weights for each task, and every arm trained."""
    draw = np.random.default_rng(seed)
    shuffled = {task: [rows[place] for place in draw.permutation(len(rows))] for task, rows in tasks.items()}
    rest = {task: rows[per_task:] for task, rows in shuffled.items()}
    pool = scored_pool([row for rows in shuffled.values() for row in rows[:per_task]])
    learned = {
        task: IndicatorWeights(
            Proxy(MODEL), rows[:items], INDICATORS, FRACTION, probes, items, longest=1.0, seed=seed, labels=LABELS
        ).learn(pool)
        for task, rows in rest.items()
    }
    report = learned["gsm8k"].report
    names = [its.name for its in INDICATORS]
    found = weighted_sum(pool, INDICATORS, [report["found"].get(name, 0.0) for name in names])
    anchors = Dataset.from_list(rest["gsm8k"][:items])
    pool = pool.map(OneStepTrain(Proxy(MODEL), anchors, labels=LABELS), batched=True)
    arms: dict[str, Any] = {
        "learned weights": (found, "weighted_sum"),
        "uniform weights": (weighted_sum(pool, INDICATORS), "weighted_sum"),
        "OST": (None, "ost_utility"),
        **{f"only {its.name}": (weighted_sum(pool, [its]), "weighted_sum") for its in INDICATORS},
    }
    kept = {
        arm: select(pool.map(scorer, batched=True) if scorer else pool, TopFraction(column, FRACTION)).kept
        for arm, (scorer, column) in arms.items()
    }
    kept["Random"] = select(pool, Random(FRACTION, seed=seed)).kept
    held_out = Dataset.from_list(rest["gsm8k"][items : items + evaluation])
    losses = {arm: trained_loss(rows, held_out, steps, seed) for arm, rows in kept.items()}
    losses["guarded weights"] = losses["learned weights" if report["kept"] == "learned" else "uniform weights"]
    losses["untrained"] = heldout_loss(MODEL, held_out, LABELS)
    shares = {arm: round(sum(task == "gsm8k" for task in rows["task"]) / len(rows), 3) for arm, rows in kept.items()}
    return {"losses": losses, "kept": {"gsm8k_share": shares, "guard": report["kept"]},
            "reports": {task: its.report for task, its in learned.items()}}  # fmt: skip


def scored_pool(rows: Sequence[dict]) -> Dataset:
    """The pool with the columns of all indicators."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts = [row["prompt"] + row["completion"] for row in rows]
    words = TfidfVectorizer(sublinear_tf=True).fit_transform(texts)
    vectors = TruncatedSVD(32, random_state=0).fit_transform(words)
    pool = Dataset.from_list([dict(row) for row in rows]).add_column("embedding", vectors.tolist())
    scorers = [
        Perplexity(Proxy(MODEL), labels=LABELS), IFD(Proxy(MODEL), drop_above_one=False, labels=LABELS),
        LogicalComplexity(), LexicalDiversity(), ResponseLength(),
        SemanticDiversity().fit(pool), ClusterRarity().fit(pool),
    ]  # fmt: skip
    for scorer in scorers:
        own = [name for name in scorer.columns if name not in pool.column_names]
        pool = pool.map(lambda batch, scorer=scorer, own=own: {n: scorer(batch)[n] for n in own}, batched=True)
    return pool


def trained_loss(rows: Dataset, held_out: Dataset, steps: int, seed: int) -> float:
    """Loss on held-out rows of the target trained on these."""
    training = TargetTraining(
        MODEL, steps=steps,
        sft={"learning_rate": 1e-3, "per_device_train_batch_size": 8, "logging_strategy": "no", "report_to": "none"},
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        training.train(rows.select_columns(["prompt", "completion"]), LABELS, folder, seed)
        return heldout_loss(folder, held_out, LABELS)


def short(rows: list[dict]) -> list[dict]:
    """Rows of which two fit the proxy's context, without copies."""
    fitting = {row["prompt"]: row for row in rows if 40 <= len(row["prompt"] + row["completion"]) <= LONGEST}
    return list(fitting.values())


def gsm8k_rows() -> list[dict]:
    with gzip.open(path("gsm8k/train.jsonl.gz"), "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return short([{"prompt": r["question"] + "\n", "completion": r["answer"], "task": "gsm8k"} for r in rows])


def svamp_rows() -> list[dict]:
    rows = json.loads(gzip.decompress(path("svamp/SVAMP.json.gz").read_bytes()))
    return short(
        [
            {"prompt": f"{r['Body'].rstrip('. ')}. {r['Question']}\n",
             "completion": f"{r['Equation']} = {r['Answer']:g}\n#### {r['Answer']:g}", "task": "svamp"}
            for r in rows
        ]
    )  # fmt: skip


def dolly_rows() -> list[dict]:
    rows = json.loads(gzip.decompress(path("dolly_alpagasus_3k/dolly_3k.json.gz").read_bytes()))
    return short(
        [
            {"prompt": r["instruction"] + "\n", "completion": r["output"], "task": "dolly"}
            for r in rows
            if not r["input"]
        ]
    )


def path(name: str) -> Path:
    if not (SHARED / name).is_file():
        raise DataselError(f"`{SHARED / name}` is missing, expected the shared data.")
    return SHARED / name
