"""Does what CoIDO keeps teach more than as many rows at random? On text, at bench scale, with everything beside it.

Pool: GSM8K (solutions by humans), SVAMP and two kinds of Dolly rows, short ones. Features: 64 numbers of latent semantic
analysis and three scores that read no model. The target, which is also what CoIDO trains beside its network, is stories260K, 260
thousand weights that have read children's stories. Each arm keeps the same number of rows of each task and trains for the
same number of steps; the figure is the held-out loss, mean over the tasks, nats per token. Transfer: what was learned on this
pool scores a second one (AQuA and two other kinds of Dolly rows) without training, and is compared there with a scorer learned
on that pool.
"""

from __future__ import annotations

import gzip
import json
import logging
import statistics
import tempfile
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset, disable_progress_bars

from hf_datasel import (
    CoIDO,
    Full,
    Labels,
    NeighbourPenalty,
    Perplexity,
    Proxy,
    SelfFilter,
    TargetTraining,
    TopFractionPerGroup,
    WeightScorer,
    score,
    select,
)
from hf_datasel.metrics import RankAgreement
from hf_datasel.training import CoTraining, heldout_loss


ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"
MODEL = str(ROOT / "recipes" / "quickstart" / "proxy")
LABELS = Labels(max_length=256)
FRACTION = 0.2
COUPLINGS = ("importance", "sum", "learned", "uncertainty")
FIRST = ("gsm8k", "svamp", "open_qa", "classification")
SECOND = ("aqua", "brainstorming", "general_qa")


def run(quick: bool = False) -> dict:
    """Figures: `coido_minus_random` (nats per token, below 0 is better), each arm's losses, and the transfer's."""
    warnings.filterwarnings("ignore")
    logging.getLogger("hf_datasel").setLevel(logging.ERROR)
    disable_progress_bars()
    torch.set_num_threads(1)
    seeds = (0, 1) if quick else (0, 1, 2)
    size, held, steps, clusters = (20, 4, 5, 4) if quick else (200, 24, 30, 20)
    first, first_held = pools(FIRST, size, held)
    second, second_held = pools(SECOND, size * 3 // 8, held)
    losses: dict[str, list[float]] = {}
    beyond: dict[str, list[float]] = {}
    said: dict[str, list[dict]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for seed in seeds:
            trained, learned = study(first, seed, clusters)
            for name, scorer in learned.items():
                said.setdefault(name, []).append(about(scorer, first))
            for arm, rows in trained.items():
                losses.setdefault(arm, []).append(loss_after(rows, first_held, steps, seed, folder))
            for arm, rows in transfer(second, learned["p 20 %, uncertainty"], seed, clusters, Path(folder)).items():
                beyond.setdefault(arm, []).append(loss_after(rows, second_held, steps, seed, folder))
    before = {"first": heldout(MODEL, first_held), "second": heldout(MODEL, second_held)}
    return {
        "coido_minus_random": paired(losses["p 20 %, uncertainty"], losses["random"]),
        "transferred_minus_random": paired(beyond["transferred"], beyond["random"]),
        "transferred_minus_own": paired(beyond["transferred"], beyond["own"]),
        "heldout_loss": {arm: spread(values) for arm, values in losses.items()},
        "heldout_loss_transfer": {arm: spread(values) for arm, values in beyond.items()},
        "heldout_loss_before_training": {name: round(value, 4) for name, value in before.items()},
        "what_the_scores_say": {name: means(found) for name, found in said.items()},
        "rows": {"first": len(first), "second": len(second), "kept": FRACTION, "held_out": len(first_held)},
        "steps": steps,
        "seeds": list(seeds),
    }


def study(pool: Dataset, seed: int, clusters: int) -> tuple[dict[str, Dataset], dict[str, WeightScorer]]:
    """The rows of every arm, and the scorers learned for them."""
    learned: dict[str, WeightScorer] = {}
    for coupling in COUPLINGS:
        learned[f"p 20 %, {coupling}"] = learner(seed, coupling=coupling, clusters=clusters).fit(pool)
    for percent in (5, 10) if len(pool) >= 400 else ():
        learned[f"p {percent} %, uncertainty"] = learner(seed, fraction=percent / 100, clusters=clusters).fit(pool)
    arms = {name: kept(pool.map(scorer, batched=True), "coido") for name, scorer in learned.items()}
    turned = pool.map(learned["p 20 %, uncertainty"], batched=True).map(lambda row: {"easy": -row["coido"]})
    arms["p 20 %, uncertainty, the other end"] = kept(turned, "easy")
    filtered = SelfFilter(Proxy(MODEL), ["embedding"], [], 0.3, training(1.0), LABELS, seed).fit(pool)
    arms["self-filter"] = select(
        pool.map(filtered, batched=True), NeighbourPenalty("self_filter", "embedding", FRACTION)
    ).kept  # fmt: skip
    arms["longest"] = kept(pool, "answer_length")
    arms["random"] = drawn(pool, seed)
    arms["full"] = select(pool, Full()).kept
    return arms, learned


def transfer(pool: Dataset, elsewhere: WeightScorer, seed: int, clusters: int, folder: Path) -> dict[str, Dataset]:
    """The arms on a second pool: a scorer that was learned elsewhere, saved and loaded; one learned here; neither."""
    elsewhere.save_pretrained(folder / f"scorer-{seed}")
    loaded = WeightScorer.from_pretrained(folder / f"scorer-{seed}")
    own = learner(seed, clusters=clusters).fit(pool)
    return {
        "transferred": kept(pool.map(loaded, batched=True), "coido"),
        "own": kept(pool.map(own, batched=True), "coido"),
        "random": drawn(pool, seed),
        "full": select(pool, Full()).kept,
    }


def training(epochs: float = 2.0) -> CoTraining:
    """Rates for a few dozen steps instead of the paper's two thousand."""
    sft = {"disable_tqdm": True, "logging_steps": 0.25}
    return CoTraining(epochs, 8, 1e-3, 3e-3, "full", {}, sft)


def learner(seed: int, **changes: Any) -> CoIDO:
    """CoIDO as the paper has it, with a network of width 64 for features of this size."""
    given = {"clusters": 20, "width": 64, "training": training(), "labels": LABELS, "seed": seed}
    return CoIDO(Proxy(MODEL), ["embedding"], ["question_length", "answer_length", "digits"], **{**given, **changes})


def kept(scored: Dataset, column: str) -> Dataset:
    """The highest share of each task."""
    return select(scored, TopFractionPerGroup(column, "task", FRACTION)).kept


def drawn(pool: Dataset, seed: int) -> Dataset:
    """As large a share of each task, at random."""
    return kept(pool.add_column("drawn", np.random.default_rng(seed).random(len(pool))), "drawn")


def loss_after(rows: Dataset, held: Dataset, steps: int, seed: int, folder: str) -> float:
    """Train the target on the rows, measure it."""
    sft = {"learning_rate": 1e-3, "per_device_train_batch_size": 8, "disable_tqdm": True, "logging_strategy": "no"}
    done = TargetTraining(MODEL, protocol="B", steps=steps, sft=sft).train(rows, LABELS, Path(folder, "model"), seed)
    return heldout(done.folder, held)


def heldout(model: str, held: Dataset) -> float:
    """Mean over tasks of the held-out loss."""
    tasks = sorted(set(held["task"]))
    each = [heldout_loss(model, held.filter(lambda row, task=task: row["task"] == task), LABELS, 16) for task in tasks]
    return statistics.mean(each)


def about(scorer: WeightScorer, pool: Dataset) -> dict[str, float]:
    """What a score goes with: the loss of the model before training, and the length of the answer."""
    scored = score(pool.map(scorer, batched=True), Perplexity(Proxy(MODEL), labels=LABELS))
    agree = RankAgreement()
    last = scorer.learned["last_log"]
    return {
        "rank_agreement_with_loss": agree.compute(predictions=scored["coido"][:], references=scored["row_loss"][:])[
            "spearman"
        ],
        "rank_agreement_with_answer_length": agree.compute(
            predictions=scored["coido"][:], references=scored["answer_length"][:]
        )["spearman"],
        "importance_loss": last["importance_loss"],
        "diversity_loss": last["diversity_loss"],
        "log_sigma_importance": last["log_sigma_importance"],
        "log_sigma_diversity": last["log_sigma_diversity"],
    }


def pools(tasks: tuple[str, ...], size: int, held: int) -> tuple[Dataset, Dataset]:
    """A pool of up to `size` rows of each task, with features, and `held` others of each to measure on."""
    rows = [row for task in tasks for row in short(read(task), size + held, task)]
    draw = np.random.default_rng(1)
    order = draw.permutation(len(rows))
    rows = [rows[place] for place in order]
    seen: dict[str, int] = {}
    parts: tuple[list[dict], list[dict]] = ([], [])
    for row in rows:
        seen[row["task"]] = seen.get(row["task"], 0) + 1
        parts[seen[row["task"]] > held].append(row)
    held_out, pool = parts
    return Dataset.from_list(pool).add_column("embedding", embeddings(pool)), Dataset.from_list(held_out)


def read(task: str) -> list[tuple[str, str]]:
    """Questions and answers of a task."""
    if task == "gsm8k":
        return [(row["question"], row["answer"]) for row in lines("gsm8k/train.jsonl.gz")]
    if task == "svamp":
        found = whole("svamp/SVAMP.json.gz")
        return [(f"{row['Body']} {row['Question']}", f"{row['Equation']} = {row['Answer']:g}") for row in found]
    if task == "aqua":
        found = [row for part in ("dev", "test") for row in lines(f"aqua/{part}.json.gz")]
        return [(f"{row['question']} {' '.join(row['options'])}", row["rationale"]) for row in found]
    found = whole("dolly_alpagasus_3k/dolly_3k.json.gz")
    return [(f"{r['instruction']} {r['input']}".strip(), r["output"]) for r in found if r["category"] == task]


def lines(name: str) -> list[dict]:
    with gzip.open(DATA / name, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def whole(name: str) -> list[dict]:
    with gzip.open(DATA / name, "rt", encoding="utf-8") as file:
        return json.load(file)


def short(rows: list[tuple[str, str]], count: int, task: str) -> list[dict]:
    """`count` of the rows of 40 to 300 characters, evenly spread over the file."""
    fitting = [(q, a) for q, a in rows if 40 <= len(q) + len(a) <= 300 and a.strip()]
    places = np.linspace(0, len(fitting) - 1, min(count, len(fitting))).round().astype(int)
    return [
        {
            "prompt": f"{q}\n", "completion": a, "task": task, "question_length": float(np.log(len(q))),
            "answer_length": float(np.log(len(a))), "digits": sum(c.isdigit() for c in q + a) / len(q + a),
        }
        for q, a in (fitting[place] for place in sorted(set(places.tolist())))
    ]  # fmt: skip


def embeddings(rows: list[dict]) -> list[list[float]]:
    """Latent semantic analysis, 64 numbers a row."""
    return fitted_axes()([row["prompt"] + row["completion"] for row in rows])


AXES: list[Callable[[list[str]], list[list[float]]]] = []


def fitted_axes() -> Callable[[list[str]], list[list[float]]]:
    """The axes of the first pool serve the second, too, as one encoder would."""
    if not AXES:
        from sklearn.decomposition import TruncatedSVD
        from sklearn.feature_extraction.text import TfidfVectorizer

        texts = [f"{q}\n{a}" for task in (*FIRST, *SECOND) for q, a in read(task)[:400]]
        words = TfidfVectorizer(sublinear_tf=True, min_df=2).fit(texts)
        axes = TruncatedSVD(64, random_state=0).fit(words.transform(texts))
        AXES.append(lambda given: axes.transform(words.transform(given)).astype(np.float32).tolist())
    return AXES[0]


def spread(values: list[float]) -> dict[str, float]:
    """Mean, smallest and largest over seeds."""
    return {"mean": round(statistics.mean(values), 4), "min": round(min(values), 4), "max": round(max(values), 4)}


def paired(one: list[float], other: list[float]) -> dict[str, float]:
    """Differences seed by seed."""
    return spread([a - b for a, b in zip(one, other, strict=True)])


def means(found: list[Mapping[str, float]]) -> dict[str, float]:
    return {name: round(statistics.mean(its[name] for its in found), 4) for name in found[0]}
