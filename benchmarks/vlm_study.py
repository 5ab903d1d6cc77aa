"""Does One-Step-Train help a small vision-language model, trained here from scratch on real images (easy-VQA)?

Two LLaVAs, the proxy smaller than the target, learn from random weights to answer questions about 2,000 images: with one
word, then with short rationales. Three colors are never asked for or named. The pool asks about other images, and about all
colors, with rationales templated from question and answer, so that they can be cut; known shares of it carry a wrong answer
(of another question of the same kind), a refusal, or a truncated rationale. Anchors are 100 clean rows about test images,
stratified by kind of question (color, shape, yes or no); the evaluation asks about other test images. Seeds draw pool,
faults, anchors and evaluation, and the order of training; the two models are the same for all seeds.

Scored, selected and trained with the package's own verbs; greedy answers count where they match exactly.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from datasets import Dataset, disable_progress_bars

from benchmarks._easy_vqa import CLEAN, MARK, clean_rows, noisy_rows
from benchmarks._tiny_vlm import LABELS, accuracy, pretrain, prompts_of, written
from hf_datasel import (
    AboveThreshold,
    Full,
    OneStepTrain,
    Perplexity,
    Proxy,
    Random,
    ResponseLength,
    TargetTraining,
    TopFraction,
    TopFractionPerGroup,
    WarmUp,
    score,
    select,
    stratified,
)
from hf_datasel.metrics import DetectionAuroc
from hf_datasel.reports.plots import plot_arms


SHARES = {"wrong_answer": 0.2, "refusal": 0.1, "truncated": 0.1}
RATE, BATCH = 5e-4, 8
SFT = {"learning_rate": RATE, "per_device_train_batch_size": BATCH, "logging_strategy": "no", "disable_tqdm": True}
PROXY, TARGET = {"width": 48, "layers": 2}, {"width": 64, "layers": 3}
WARM_UPS = (0.0, 0.05, 0.25, 1.0)
NEW = ("teal", "brown", "gray")  # words that neither model has met: what the pool can teach
USUAL = 0.05  # the warm-up of the paper, for all but the table of warm-ups
SCORES = {"OST": "ost_utility", "perplexity": "low_perplexity", "length": "response_length"}
PICTURE = Path("benchmarks/results/vlm_study.png")


@dataclass(frozen=True)
class Size:
    """How large the study is.

    Args:
        seeds: of all draws.
        pretraining: steps of 32 rows from random weights, the last quarter on rationales.
        questions: about the images that both models learn to see from.
        pool: rows; as many again, drawn alike, are what the proxy warms up on.
        evaluation: test questions, a third of each kind.
        fractions: of the pool that is kept.
        warm_ups: fractions of a pass.
    """

    seeds: tuple[int, ...] = (0, 1, 2)
    pretraining: int = 1600
    questions: int = 6000
    pool: int = 2400
    evaluation: int = 450
    fractions: tuple[float, ...] = (0.1, 0.2, 0.3, 0.5)
    warm_ups: tuple[float, ...] = WARM_UPS


QUICK = Size((0,), 400, 1500, 400, 150, (0.2,), (USUAL,))


def run(quick: bool = False) -> dict:
    """Figures: accuracy by arm and protocol, detection by fault, and the same by warm-up; mean, lowest and highest seed."""
    size = QUICK if quick else Size()
    context = get_context("spawn")
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(3, context, initializer=quiet) as workers:
        jobs = [workers.submit(model, size, name, Path(folder)) for name in ("proxy", "target")]
        models = {name: job.result() for name, job in zip(("proxy", "target"), jobs, strict=True)}
        jobs = [workers.submit(one_seed, size, seed, models, Path(folder)) for seed in size.seeds]
        found = [job.result() for job in jobs]
    results = [result for one in found for result in one["results"]]
    if not quick:
        draw(results)
    table = summary(results)
    print(as_text(table))
    return {
        "accuracy": table,
        "detection_auroc": spread_of([one["detection"] for one in found]),
        "kept_clean": spread_of([one["kept_clean"] for one in found]),
        "by_warm_up": spread_of([one["by_warm_up"] for one in found]),
        "pretrained": {name: models[name]["accuracy"] for name in models},
        "new_words": NEW,
        "shares": SHARES,
        "size": vars(size),
        "runs": results,
    }


def quiet() -> None:
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    disable_progress_bars()
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()


def model(size: Size, name: str, folder: Path) -> dict[str, Any]:
    """The proxy or the target, trained from random weights, and how well it sees."""
    quiet()
    rows = clean_rows("train", range(2000), size.questions, 0, without=NEW)
    shape, seed = (PROXY, 1) if name == "proxy" else (TARGET, 2)
    trained = pretrain(folder / name, rows, **shape, steps=size.pretraining, seed=seed)
    test = clean_rows("test", range(200, 1000), size.evaluation, 0)
    seen = accuracy(written(trained, prompts_of(test, trained)), test)
    print(f"{name}: {seen}", flush=True)
    return {"folder": trained, "accuracy": rounded(seen)}


def one_seed(size: Size, seed: int, models: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Everything for one seed."""
    pool, other = noisy_rows(size.pool, SHARES, seed)
    anchors = stratified(clean_rows("test", range(200), 450, seed), 100, by="kind", seed=seed)
    test, target = clean_rows("test", range(200, 1000), size.evaluation, seed), models["target"]["folder"]
    steps = size.pool // 2 // BATCH
    study = Study(target, folder / f"seed-{seed}", seed, steps, test, prompts_of(test, target))
    scored_by = {
        fraction: scored_with(warmed(models["proxy"]["folder"], other, fraction, study), pool, anchors, study)
        for fraction in size.warm_ups
    }
    scored = scored_by[USUAL]
    results = [{"arm": "before", "protocol": "-", "seed": seed, "rows": 0, "steps": 0, **study.measured(study.target)}]
    chosen = {name: select(scored, rule) for name, rule in arms(size).items()}
    results += [
        {"arm": name, "protocol": protocol, **study.trained(selection.kept, protocol)}
        for name, selection in chosen.items()
        for protocol in ("A", "B")
    ]
    by_warm_up = {
        f"{fraction:.0%}": {
            **detection(scored)["OST"],
            **study.trained(select(scored, TopFraction("ost_utility", 0.2)).kept, "B"),
        }
        for fraction, scored in scored_by.items()
    }
    kept_clean = {
        name: mean(state == CLEAN for state in selection.kept["state"]) for name, selection in chosen.items()
    }
    return {"results": results, "detection": detection(scored), "by_warm_up": by_warm_up, "kept_clean": kept_clean}


def arms(size: Size) -> dict[str, Any]:
    """Rules by arm. The judge is an oracle: it knows which rows are clean."""
    found: dict[str, Any] = {}
    for fraction in size.fractions:
        found[f"best {fraction:.0%}"] = TopFraction("ost_utility", fraction)
        found[f"random {fraction:.0%}"] = Random(fraction=fraction)
    return {
        **found,
        "best 20% of each kind": TopFractionPerGroup("ost_utility", "kind", 0.2),
        "longest 20%": TopFraction("response_length", 0.2),
        "likeliest 20%": TopFraction("low_perplexity", 0.2),
        "judge 20%": TopFraction("judge", 0.2),
        "judge, all it passes": AboveThreshold("judge", 0.5),
        "full": Full(),
    }


def warmed(proxy: str, other: Dataset, fraction: float, study: Study) -> Proxy:
    """The proxy after its warm-up on rows like the pool's, which it does not score afterwards: the paper's split halves."""
    sft = {"logging_strategy": "no", "disable_tqdm": True}
    warm_up = WarmUp(fraction, learning_rate=RATE, batch_size=BATCH, seed=study.seed, sft=sft)
    return warm_up.fit(Proxy(proxy, trainable="language"), other, LABELS, study.folder / f"warm-{fraction}").proxy


def scored_with(proxy: Proxy, pool: Dataset, anchors: Dataset, study: Study) -> Dataset:
    scored = score(
        pool, OneStepTrain(proxy, anchors, labels=LABELS), Perplexity(proxy, labels=LABELS), ResponseLength(),
        journal=study.folder / "journal.sqlite",
    )  # fmt: skip
    return scored.add_column("judge", [float(state == CLEAN) for state in pool["state"]])


def detection(scored: Dataset) -> dict[str, dict[str, float]]:
    """How often a clean row scores above a faulty one, by score and fault; wrong answers also by kind of question."""
    states, kinds = scored["state"][:], scored["kind"][:]
    values = {column: scored[column][:] for column in SCORES.values()}
    asked = {fault: (fault, set(kinds)) for fault in SHARES}
    asked |= {f"wrong_answer_{kind}": ("wrong_answer", {kind}) for kind in sorted(set(kinds))}
    found: dict[str, dict[str, float]] = {name: {} for name in SCORES}
    for name, (fault, among) in asked.items():
        places = [i for i, state in enumerate(states) if state in (CLEAN, fault) and kinds[i] in among]
        for score_name, column in SCORES.items():
            found[score_name][name] = DetectionAuroc().compute(
                predictions=[values[column][i] for i in places], references=[states[i] == CLEAN for i in places]
            )["detection_auroc"]
    return found


@dataclass(frozen=True)
class Study:
    """One seed's target and its evaluation, and the runs already made.

    Args:
        target: folder of the weights that every run starts from.
        folder: for this seed's files.
        seed: of the order of training.
        steps: of protocol B: what half the pool takes in one pass, so that for half the pool both protocols are one run.
        test: rows to be judged on.
        prompts: of these, as the target reads them.
        known: what finished runs came to.
    """

    target: str
    folder: Path
    seed: int
    steps: int
    test: Dataset
    prompts: Sequence[Any]
    known: dict[Any, dict[str, Any]] = field(default_factory=dict)

    def measured(self, folder: str) -> dict[str, Any]:
        texts = written(folder, self.prompts)
        return {"accuracy": accuracy(texts, self.test), "answered": mean(MARK in text for text in texts)}

    def trained(self, rows: Dataset, protocol: str) -> dict[str, Any]:
        key = (tuple(rows["row_id"]), protocol if len(rows) != self.steps * BATCH else "A and B")
        if key not in self.known:
            training = TargetTraining(self.target, protocol=protocol, epochs=1, steps=self.steps, sft=SFT)
            done = training.train(rows, LABELS, self.folder / "target", self.seed)
            counted = {"seed": self.seed, "rows": done.num_rows, "steps": done.steps}
            self.known[key] = {**counted, **self.measured(done.folder)}
        return self.known[key]


def summary(results: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """By arm and protocol: rows, steps and accuracy over seeds."""
    table: dict[str, dict[str, Any]] = {}
    for arm, protocol in dict.fromkeys((result["arm"], result["protocol"]) for result in results):
        runs = [result for result in results if (result["arm"], result["protocol"]) == (arm, protocol)]
        figures = [{**run["accuracy"], "answered": run["answered"]} for run in runs]
        counted = {"rows": mean(run["rows"] for run in runs), "steps": mean(run["steps"] for run in runs)}
        table.setdefault(arm, {})[protocol] = {**counted, **spread_of(figures)}
    return table


def spread_of(found: Sequence[Any]) -> Any:
    """Mappings of the same shape as one, each number as mean, lowest and highest."""
    if isinstance(found[0], Mapping):
        return {name: spread_of([one[name] for one in found]) for name in found[0]}
    return rounded({"mean": mean(found), "lowest": min(found), "highest": max(found)})


def rounded(figures: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in figures.items()}


def as_text(table: Mapping[str, Mapping[str, Any]]) -> str:
    """Accuracy in percent, mean [lowest, highest] over seeds: all questions, and those not answered by yes or no."""
    lines = ["arm | protocol | rows | steps | accuracy | beyond yes and no"]
    for arm, protocols in table.items():
        for protocol, its in protocols.items():
            spreads = [
                f"{100 * its[name]['mean']:.1f} [{100 * its[name]['lowest']:.1f}, {100 * its[name]['highest']:.1f}]"
                for name in ("all", "beyond_yes_no")
            ]
            lines.append(" | ".join([arm, protocol, f"{its['rows']:.0f}", f"{its['steps']:.0f}", *spreads]))
    return "\n".join(lines)


def draw(results: Sequence[Mapping[str, Any]]) -> None:
    """Accuracy of every seed under protocol B, by arm."""
    runs = [
        {"arm": result["arm"], "seed": result["seed"], "value": result["accuracy"]["all"]}
        for result in results
        if result["protocol"] == "B"
    ]
    plot_arms(runs, PICTURE, metric="accuracy at equal steps")
