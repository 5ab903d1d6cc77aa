"""Do our scores prefer what published selections kept, and do they know more than length does?

Alpaca rows (CC BY-NC 4.0) with three published selections: AlpaGasus (Claude's rating of at least 4.5), the same with a prompt
for helpfulness, and Cherry (the top 5 % by IFD of a warmed-up LLaMA-7B). Drawn from the rows that stand for the whole of
Alpaca; those of the first 5,000 are left out throughout, since Cherry seems never to have scored them. Three draws of rows;
the proxy is stories260K, which has read children's stories, with plain prompts (instruction, input). The selection of Dolly
(CC BY-SA 3.0) comes without the rows it left out, so nothing can agree with it: only its lengths are told.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from datasets import Dataset

from hf_datasel import AUM, EL2N, IFD, Embedding, KCenter, Labels, Perplexity, Proxy, ResponseLength, score
from hf_datasel.metrics import DetectionAuroc


ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"
SELECTIONS = {
    "alpagasus_claude": "sel_claude_t45",
    "alpagasus_helpfulness": "sel_helpfulness_t45",
    "cherry_ifd": "sel_cherry_5pct",
}
SEEDS = (0, 1, 2)
BINS = 10


def run(quick: bool = False) -> dict:
    if not (DATA / "alpaca_pool").is_dir():
        raise SystemExit(f"`{DATA / 'alpaca_pool'}` is not there, expected the Alpaca pool. Nothing was measured.")
    rows = read_alpaca()
    found: dict[str, dict[str, list[dict]]] = {name: {} for name in SELECTIONS}
    lengths: dict[str, list[float]] = {name: [] for name in ("all", *SELECTIONS)}
    for seed in SEEDS:
        drawn = np.random.default_rng(seed).choice(len(rows), 300 if quick else 1000, replace=False)
        pool = rows.select(np.sort(drawn))
        scores = dict(scores_of(pool))
        length = scores["response_length"]
        lengths["all"].append(float(np.nanmedian(length)))
        for name, column in SELECTIONS.items():
            kept = np.array(pool[column], bool)
            lengths[name].append(float(np.nanmedian(length[kept])))
            for scorer, values in scores.items():
                found[name].setdefault(scorer, []).append(agreement(values, kept, length))
    return {
        "rows_to_draw_from": len(rows),
        "rows_a_draw": 300 if quick else 1000,
        "draws": len(SEEDS),
        "share_selected": {name: round(float(np.mean(rows[column])), 4) for name, column in SELECTIONS.items()},
        "median_characters": {name: spread(values) for name, values in lengths.items()},
        "agreement": {
            name: {
                scorer: {key: spread([its[key] for its in draws]) for key in draws[0]} for scorer, draws in by.items()
            }
            for name, by in found.items()
        },
        "dolly": dolly(),
    }


def read_alpaca() -> Dataset:
    """Rows that stand for Alpaca without its first 5,000, as prompts and completions."""
    lines = gzip.decompress((DATA / "alpaca_pool" / "alpaca_pool.jsonl.gz").read_bytes()).decode().splitlines()
    rows = [json.loads(line) for line in lines]
    rows = [row for row in rows if (row["in_random_9k"] or row["in_alpaca_5000"]) and not row["orig_in_first5000"]]
    return Dataset.from_list(
        [
            {
                "row_id": row["id"],
                "prompt": "\n".join(text for text in (row["instruction"], row["input"]) if text) + "\n",
                "completion": row["output"],
                **{column: row[column] for column in SELECTIONS.values()},
            }
            for row in rows
        ]
    )


def scores_of(pool: Dataset) -> Iterator[tuple[str, np.ndarray]]:
    """Each score of the pool, (N,), NaN where a row has none."""
    proxy, labels = Proxy(str(ROOT / "recipes" / "quickstart" / "proxy")), Labels(max_length=512)
    yield "response_length", np.array(score(pool, ResponseLength())["response_length"])
    perplexity = np.array(score(pool, Perplexity(proxy, labels=labels))["low_perplexity"])
    yield "low_perplexity", perplexity
    yield "high_perplexity", -perplexity
    ifd = score(pool, IFD(proxy, drop_above_one=False, labels=labels))
    loss_ratio = np.array(ifd["loss_ratio"])
    yield "ifd_loss_ratio", loss_ratio
    yield "ifd_loss_ratio_up_to_one", np.where(loss_ratio > 1, np.nan, loss_ratio)
    yield "ifd_perplexity_ratio", np.array(ifd["perplexity_ratio"])
    yield "high_el2n", np.array(score(pool, EL2N(proxy, labels=labels))["high_el2n"])
    yield "high_aum", np.array(score(pool, AUM(proxy, labels=labels))["high_aum"])
    embedded = score(pool, Embedding(proxy, labels=labels))
    picks = KCenter("embedding", 1.0).rank(embedded)
    order = np.full(len(pool), np.nan)
    order[picks] = -np.arange(len(picks), dtype=np.float64)
    yield "k_center_order", order


def agreement(values: np.ndarray, kept: np.ndarray, length: np.ndarray) -> dict[str, float]:
    """How well a score finds the rows a selection kept; rows without a score come last.

    `auroc`: chance that a kept row scores above another. `auroc_within_length`: the same among rows of like length, in ten
    parts: what is left of it where length says nothing. `precision`: share of kept rows among as many of the best as were
    kept. `over_random`: that by the share kept.
    """
    values = np.where(np.isnan(values), -np.inf, values)
    best = np.argsort(-values, kind="stable")[: int(kept.sum())]
    precision = float(kept[best].mean())
    return {
        "auroc": auroc(values, kept),
        "auroc_within_length": within(values, kept, length),
        "precision": precision,
        "over_random": precision / float(kept.mean()),
    }


def auroc(values: np.ndarray, kept: np.ndarray) -> float:
    return float(DetectionAuroc().compute(predictions=values.tolist(), references=kept.tolist())["detection_auroc"])


def within(values: np.ndarray, kept: np.ndarray, length: np.ndarray) -> float:
    """Mean of the AUROCs of ten parts of equal size by length, weighed by their pairs; NaN without any."""
    parts = np.array_split(np.argsort(np.nan_to_num(length), kind="stable"), BINS)
    pairs = np.array([kept[part].sum() * (~kept[part]).sum() for part in parts], np.float64)
    if not pairs.any():
        return float("nan")
    found = [auroc(values[part], kept[part]) if pair else 0.0 for part, pair in zip(parts, pairs, strict=True)]
    return float(np.average(found, weights=pairs))


def spread(values: list[float]) -> list[float]:
    """Mean, least and largest over the draws."""
    return [round(float(value), 3) for value in (np.mean(values), np.min(values), np.max(values))]


def dolly() -> dict:
    """The lengths of AlpaGasus' selection of Dolly."""
    path = DATA / "dolly_alpagasus_3k" / "dolly_3k.json.gz"
    rows = json.loads(gzip.decompress(path.read_bytes()))
    lengths = [len(row["output"]) for row in rows]
    return {
        "rows": len(rows),
        "median_characters": float(np.median(lengths)),
        "agreement": "none: the rows that were left out are not there",
    }
