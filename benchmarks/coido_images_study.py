"""Does what CoIDO keeps of questions about images teach more than as many rows at random? The study of coido_study.py on easy-VQA.

The target, which is also what CoIDO trains beside its network, is the proxy of recipes/ost_vlm: a LLaVA of 106 thousand weights that
has learned to see, and has never met three of the colors. Features: its own states, and the length of the answer. Two pools: a
clean one, where the rows about those colors are the hard ones, and one where two fifths of the rows carry a wrong answer, a
refusal, or a rationale that breaks off. Each arm keeps the same number of rows of each kind of question, and trains for the
same number of steps; figures are the accuracy of greedy answers to questions about other images, and the held-out loss.
"""

from __future__ import annotations

import logging
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset

from benchmarks._easy_vqa import CLEAN, clean_rows, noisy_rows
from benchmarks._tiny_vlm import LABELS, accuracy, prompts_of, written
from benchmarks.coido_study import COUPLINGS, means, paired, spread, training
from benchmarks.vlm_study import NEW, SFT, SHARES, quiet
from hf_datasel import (
    CoIDO,
    Embedding,
    Full,
    NeighbourPenalty,
    Perplexity,
    Proxy,
    ResponseLength,
    SelfFilter,
    TargetTraining,
    TopFractionPerGroup,
    score,
    select,
)
from hf_datasel.metrics import RankAgreement
from hf_datasel.training import heldout_loss


MODEL = str(Path(__file__).parents[1] / "recipes" / "ost_vlm" / "proxy")
FRACTION = 0.2
MAIN = "p 20 %, uncertainty"
POOLS: dict[str, dict[str, float]] = {"clean": {}, "faulty": SHARES}


def run(quick: bool = False) -> dict:
    """Figures: `coido_minus_random` (accuracy, above 0 is better) on both pools, and what stands behind it, over seeds."""
    quiet()
    logging.getLogger("hf_datasel").setLevel(logging.ERROR)
    seeds = (0,) if quick else (0, 1, 2)
    size, clusters, held, steps = (120, 4, 30, 5) if quick else (600, 20, 150, 40)
    found: dict[str, dict[str, list[dict[str, float]]]] = {pool: {} for pool in POOLS}
    said: dict[str, dict[str, list[dict[str, float]]]] = {pool: {} for pool in POOLS}
    test = clean_rows("test", range(200, 1000), held, 0)
    prompts = prompts_of(test, MODEL)
    with tempfile.TemporaryDirectory() as folder:
        for seed in seeds:
            for name, shares in POOLS.items():
                pool, _ = noisy_rows(size, shares, seed)
                for arm, rows, agreement in arms(pool, seed, clusters, whole=name == "clean" and not quick):
                    done = TargetTraining(MODEL, protocol="B", steps=steps, sft=SFT).train(
                        rows, LABELS, Path(folder, "model"), seed
                    )
                    found[name].setdefault(arm, []).append(measured(done.folder, test, prompts))
                    said[name].setdefault(arm, []).append({**kept_of(rows), **agreement})
                    print(seed, name, arm, found[name][arm][-1], said[name][arm][-1], flush=True)
    return {
        "coido_minus_random": {
            pool: paired(of(its[MAIN], "accuracy"), of(its["random"], "accuracy")) for pool, its in found.items()
        },
        "accuracy": figures(found, "accuracy"),
        "accuracy_of_new_colors": figures(found, "accuracy_of_new_colors"),
        "heldout_loss": figures(found, "heldout_loss"),
        "what_is_kept": {pool: {arm: means(each) for arm, each in its.items()} for pool, its in said.items()},
        "before_training": measured(MODEL, test, prompts),
        "rows": {"pool": size, "kept": FRACTION, "held_out": len(test)},
        "clusters": clusters,
        "steps": steps,
        "seeds": list(seeds),
    }


def arms(pool: Dataset, seed: int, clusters: int, whole: bool) -> Iterator[tuple[str, Dataset, dict[str, float]]]:
    """Rows of each arm, and how far its score ranks the pool as the model's own loss does, which no arm reads.

    All arms if `whole`, else the method, its importance loss alone, and what stands beside it.
    """
    proxy = Proxy(MODEL)
    pool = score(pool, Embedding(proxy, labels=LABELS), ResponseLength(), Perplexity(proxy, labels=LABELS))
    shared = {"clusters": clusters, "neighbours": 10, "width": 64, "training": training(), "labels": LABELS}
    asked = {
        f"p 20 %, {coupling}": (0.2, coupling) for coupling in (COUPLINGS if whole else ("importance", "uncertainty"))
    }
    asked |= {f"p {percent} %, uncertainty": (percent / 100, "uncertainty") for percent in ((5, 10) if whole else ())}
    for name, (fraction, coupling) in asked.items():
        given: dict[str, Any] = {**shared, "fraction": fraction, "coupling": coupling, "seed": seed}
        scorer = CoIDO(proxy, ["embedding"], ["response_length"], **given).fit(pool)
        scored = pool.map(scorer, batched=True, load_from_cache_file=False)
        yield name, select(scored, TopFractionPerGroup("coido", "kind", FRACTION)).kept, agrees(scored, "coido")
    if whole:
        linear = SelfFilter(proxy, ["embedding"], [], 0.3, training(1.0), LABELS, seed).fit(pool)
        scored = pool.map(linear, batched=True, load_from_cache_file=False)
        yield (
            "self-filter",
            select(scored, NeighbourPenalty("self_filter", "embedding", FRACTION)).kept,
            agrees(scored, "self_filter"),
        )
    drawn = pool.add_column("drawn", np.random.default_rng(seed).random(len(pool)))
    yield "random", select(drawn, TopFractionPerGroup("drawn", "kind", FRACTION)).kept, {}
    yield "full", select(pool, Full()).kept, {}


def agrees(scored: Dataset, column: str) -> dict[str, float]:
    """Rank agreement of a score and the loss of the model before training."""
    found = RankAgreement().compute(predictions=scored[column][:], references=scored["row_loss"][:])
    return {"rank_agreement_with_loss": found["spearman"]}


def measured(folder: str, test: Dataset, prompts: Any) -> dict[str, float]:
    """Of a model: share of right answers, of those about the colors it had never met, and its held-out loss."""
    answers = written(folder, prompts)
    new = [place for place, answer in enumerate(test["answer"]) if answer in NEW]
    return {
        "accuracy": round(accuracy(answers, test)["all"], 4),
        "accuracy_of_new_colors": round(accuracy([answers[place] for place in new], test.select(new))["all"], 4),
        "heldout_loss": round(heldout_loss(folder, test, LABELS, 32), 4),
    }


def kept_of(rows: Dataset) -> dict[str, float]:
    """What an arm trains on: shares of rows in each state, and of rows that ask about a new color."""
    texts = zip(rows["question"], rows["answer"], strict=True)
    new = [bool({*question.rstrip("?").split(), answer} & set(NEW)) for question, answer in texts]
    states = {state: statistics.mean(its == state for its in rows["state"]) for state in (CLEAN, *SHARES)}
    return {**states, "new_colors": statistics.mean(new)}


def of(found: list[dict[str, float]], name: str) -> list[float]:
    """One figure of every seed."""
    return [its[name] for its in found]


def figures(found: dict[str, dict[str, list[dict[str, float]]]], name: str) -> dict[str, dict[str, dict[str, float]]]:
    """One figure by pool and arm, over seeds."""
    return {pool: {arm: spread(of(each, name)) for arm, each in its.items()} for pool, its in found.items()}
