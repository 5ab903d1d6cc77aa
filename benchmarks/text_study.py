"""One-Step-Train on text, as its paper looks at it: protocols (Table 2), strategies (Table 4), warm-up (Table 5), and scores (Fig. 4, 5).

The quickstart's pool: 600 word problems, of which a sixth carries a model's wrong solution; 100 anchors and the evaluation are
GSM8K by humans. Proxy and target are stories260K. Every strategy keeps 20 % and is trained under both protocols by `compare`, with
Random and Full beside, three seeds of training. Another table has the utility of proxies warmed up for 0, 5, 25 and 100 % of one
pass, three seeds of warm-up each: how the scores are spread, whether they drift along the (shuffled) pool, what they go with,
and whether they tell right solutions of GSM8K from wrong ones. With --quick: one seed, and two strategies.

Needs nothing beside the repository.
"""

from __future__ import annotations

import statistics
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset, disable_progress_bars
from scipy.stats import skew, spearmanr
from sklearn.metrics import roc_auc_score

from hf_datasel import Labels, OneStepTrain, Perplexity, Proxy, ResponseLength, WarmUp, score
from hf_datasel.recipe.comparing import Comparison
from hf_datasel.recipe.loading import load_recipe
from hf_datasel.reports import independence


QUICKSTART = Path(__file__).parents[1] / "recipes" / "quickstart.yaml"
ROWS = QUICKSTART.parent / "quickstart"
STUDY = Path(__file__).parents[1] / "build" / "text_study"  # kept: a stopped study goes on where it stopped
PLAIN = {"score.warm_up": None}
STRATEGIES: dict[str, dict[str, Any]] = {
    "One-Step-Train, per writer": {},
    "One-Step-Train": {"select": {"TopFraction": {"column": "ost_utility", "fraction": 0.2}}},
    "One-Step-Train, mean": {
        "score.scorers": [{"OneStepTrain": {"reduction": "mean"}}],
        "select": {"TopFractionPerGroup": {"column": "ost_utility", "fraction": 0.2, "group": "writer"}},
    },
    "low perplexity": {
        **PLAIN, "score.scorers": [{"Perplexity": {}}],
        "select": {"TopFraction": {"column": "low_perplexity", "fraction": 0.2}},
    },
    "IFD": {
        **PLAIN, "score.scorers": [{"IFD": {}}],
        "select": {"TopFraction": {"column": "ifd_loss_ratio", "fraction": 0.2}},
    },
    "longest": {
        **PLAIN, "score.scorers": [{"ResponseLength": {}}],
        "select": {"TopFraction": {"column": "response_length", "fraction": 0.2}},
    },
}  # fmt: skip


def run(quick: bool = False) -> dict:
    """Held-out loss by protocol and strategy, cost, and what utility is like after each warm-up."""
    warnings.filterwarnings("ignore")
    disable_progress_bars()
    torch.set_num_threads(1)
    chosen = dict(list(STRATEGIES.items())[-2:]) if quick else STRATEGIES
    shared = {"train.beside": {}, **({"train.seeds": [0], "train.target.steps": 5} if quick else {})}
    recipes = {name: load_recipe(QUICKSTART, {**shared, **changes}) for name, changes in chosen.items()}
    folder = STUDY.with_name(f"{STUDY.name}_quick") if quick else STUDY
    results = Comparison(recipes, folder, points=1).report()
    return {
        "protocols": {name: its["arms"] for name, its in results["protocols"].items()},
        "overlap": results["overlap"],
        "untrained": results["untrained"],
        "seeds": results["seeds"],
        "after_warm_up": {
            f"{share:.0%}": warmed(share, quick) for share in ((0.05,) if quick else (0.0, 0.05, 0.25, 1.0))
        },
    }


def warmed(share: float, quick: bool) -> dict:
    """What utility is like, median and range over seeds of the warm-up."""
    labels = Labels(max_length=512)
    pool = Dataset.from_json(str(ROWS / "pool.jsonl")).shuffle(seed=7)
    anchors = Dataset.from_json(str(ROWS / "held_out.jsonl"))
    pool = pool.select(range(60)) if quick else pool
    found = []
    for seed in range(1 if quick else 3):
        with tempfile.TemporaryDirectory() as place:
            warm_up = WarmUp(
                fraction=share, learning_rate=1e-3, seed=seed, sft={"logging_strategy": "no", "disable_tqdm": True}
            )
            proxy = warm_up.fit(Proxy(str(ROWS / "proxy")), pool, labels, place).proxy
            scored = score(
                pool, OneStepTrain(proxy, anchors, reduction="mean", labels=labels), Perplexity(proxy, labels=labels),
                ResponseLength(), journal=Path(place, "journal.sqlite"),
            )  # fmt: skip
        utility = np.array(scored["ost_utility"])
        drift = independence(utility)
        gsm8k = np.array(scored["task"]) == "gsm8k"
        found.append(
            {
                "below_zero": float((utility < 0).mean()),
                "skewness": float(skew(utility)),
                "best_tenth_of_all_utility": float(
                    np.sort(utility)[-len(utility) // 10 :].sum() / utility[utility > 0].sum()
                ),
                "drift_r_squared": drift.r_squared,
                "largest_autocorrelation": drift.max_autocorrelation,
                "rank_agreement_with_length": float(spearmanr(utility, scored["response_length"]).statistic),
                "rank_agreement_with_low_perplexity": float(spearmanr(utility, scored["low_perplexity"]).statistic),
                "auroc_right_over_wrong": float(roc_auc_score(np.array(scored["correct"])[gsm8k], utility[gsm8k])),
            }
        )
    return {
        name: {
            "median": round(statistics.median(values), 4), "lowest": round(min(values), 4), "highest": round(max(values), 4),
        }
        for name in found[0]
        for values in [[its[name] for its in found]]
    }  # fmt: skip
