"""Do the estimators of One-Step-Train agree with the exact step, and what is lost at the paper's step in float32?

On the quickstart's pretrained proxy and its 160 shortest pool rows (40 with --quick), 12 anchors. Truth: Eq. 2 in float64.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from datasets import Dataset
from scipy.stats import spearmanr

from hf_datasel import Labels, OneStepTrain, Proxy


QUICKSTART = Path(__file__).parents[1] / "recipes" / "quickstart"


def rows(name: str, count: int) -> Dataset:
    lines = (QUICKSTART / name).read_text(encoding="utf-8").splitlines()
    found = sorted((json.loads(line) for line in lines), key=lambda row: len(row["prompt"] + row["completion"]))
    return Dataset.from_list(found[:count]).select_columns(["prompt", "completion"])


def run(quick: bool = False) -> dict:
    """Rank correlation with the truth and largest relative difference of values, for each estimator and step."""
    pool, anchors = rows("pool.jsonl", 40 if quick else 160), rows("held_out.jsonl", 12)
    precise = OneStepTrain(Proxy(str(QUICKSTART / "proxy"), dtype="float64"), anchors, labels=Labels(max_length=512))
    rough = replace(precise, proxy=replace(precise.proxy, dtype="float32"))
    brain = replace(precise, proxy=replace(precise.proxy, dtype="bfloat16"))

    def utility(scorer: OneStepTrain) -> np.ndarray:
        return np.concatenate([scorer(pool[i : i + 32])["ost_utility"] for i in range(0, len(pool), 32)])

    figures: dict = {"rows": len(pool), "anchors": len(anchors)}
    first = utility(precise)
    for learning_rate in (1e-7, 1e-5):
        truth = utility(replace(precise, estimator="exact", learning_rate=learning_rate))
        expected = first * learning_rate / precise.learning_rate
        figures[f"learning_rate_{learning_rate:g}"] = {
            "spearman_first_order": float(spearmanr(first, truth).statistic),
            "largest_relative_difference_first_order": float(np.max(np.abs(expected / truth - 1))),
            "spearman_exact_float32": float(
                spearmanr(utility(replace(rough, estimator="exact", learning_rate=learning_rate)), truth).statistic
            ),
        }
    figures["spearman_first_order_float32"] = float(spearmanr(utility(rough), first).statistic)
    figures["spearman_first_order_bfloat16"] = float(spearmanr(utility(brain), first).statistic)
    return figures
