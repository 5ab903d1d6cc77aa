"""What other libraries charge for the same number: <g_i, g_V>, each row's gradient against one query gradient.

None is a dependency: whatever can be imported is measured, the rest is reported as missing. What a library does once
(loading, the query gradient) is outside the time. A row's loss is the mean over its targets, g_V the gradient of the
mean over the query rows. Models see rows padded on the right and no attention mask: no target can see the padding.
Run with OMP_NUM_THREADS=1 and quote ratios only.
"""

from __future__ import annotations

import io
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr

from hf_datasel.proxy.batch_size import length_buckets


Run = Callable[[], tuple[float, np.ndarray]]  # seconds, and a score for each row
clock = time.process_time  # one thread: the machine's other work does not count


@dataclass(frozen=True)
class Job:
    model: Any
    pad: int
    rows: list[dict]  # longest first
    query: list[dict]
    direction: dict[str, torch.Tensor]  # g_V by parameter
    buckets: list[list[int]]
    size: int  # how many of the longest rows make a batch: for peers that take one batch size only
    folder: Path

    def collate(self, rows: list[dict]) -> tuple[torch.Tensor, torch.Tensor]:
        length = max(len(row["input_ids"]) for row in rows)
        fills = (("input_ids", self.pad), ("labels", -100))
        return tuple(torch.tensor([[*row[n], *[f] * (length - len(row[n]))] for row in rows]) for n, f in fills)


def peers(
    model: Any,
    tokenizer: Any,
    rows: list,
    query_rows: list,
    names: dict,
    ours: dict[str, Run],
    repeats: int,
    budget: int,
) -> dict[str, dict]:
    """Cost and agreement of the peers in `names`, of `ours` and of "forward", at `budget` padded tokens a batch.

    `agreement` is Spearman's rho with per-row backward passes, made here, `agreement_covered` that with the backward
    passes' part in the parameters the peer looks at, `error_covered` the largest difference from those over the largest
    of them, `covered` those parameters' share, `cannot` is from the peer's source.
    `times_forward`: median over rounds of its time over a plain forward's (no gradient, all logits) in the same round.
    Some peers spend a second or so a call whatever the rows: give 64 rows or more.
    """
    pad = tokenizer.pad_token_id or tokenizer.eos_token_id or 0  # any token will do
    order = sorted(range(len(rows)), key=lambda i: -len(rows[i]["input_ids"]))
    rows = [rows[i] for i in order]
    lengths = [len(row["input_ids"]) for row in rows]
    buckets, size = list(length_buckets(lengths, budget)), max(1, budget // lengths[0])
    model = deepcopy(model).eval().requires_grad_(True)
    direction = gradients(model, query_rows)
    figures, noise = {"forward": {}}, io.StringIO()
    with tempfile.TemporaryDirectory() as folder, redirect_stderr(noise), redirect_stdout(noise):
        job = Job(model, pad, rows, query_rows, direction, buckets, size, Path(folder))
        runs: dict[str, Run] = {"forward": lambda: forward(job)}
        products = [
            {n: float((g.double() * direction[n]).sum()) for n, g in gradients(model, [row]).items()} for row in rows
        ]
        truth = np.array([sum(its.values()) for its in products])
        for name, its in ours.items():
            figures[name] = {"agreement": float(spearmanr(its()[1], truth).statistic)}
        runs |= ours
        for name, (prepare, cannot) in names.items():
            try:
                run, covers = prepare(job)
                scores = run()[1]  # also the warm-up
            except Exception as error:  # noqa: BLE001 (whatever a library raises is the figure)
                figures[name] = {"missing": f"{type(error).__name__}: {str(error).strip().split(chr(10))[0]}"}
                continue
            runs[name] = run
            part = np.array([sum(its[n] for n in covers) for its in products])
            figures[name] = {
                "agreement": float(spearmanr(scores, truth).statistic),
                "agreement_covered": float(spearmanr(scores, part).statistic),
                "error_covered": float(np.abs(scores - part).max() / np.abs(part).max()),
                "covered": sum(direction[n].numel() for n in covers) / sum(g.numel() for g in direction.values()),
                "cannot": cannot,
            }
        rounds = [{name: run()[0] for name, run in runs.items()} for _ in range(repeats)]
    for name in runs:
        figures[name]["seconds_per_row"] = statistics.median(times[name] for times in rounds) / len(rows)
        figures[name]["times_forward"] = statistics.median(times[name] / times["forward"] for times in rounds)
    return figures


def row_losses(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    targets = labels[:, 1:]
    flat = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), targets.flatten(), reduction="none")
    return flat.view(targets.shape).sum(1) / (targets != -100).sum(1)


def gradients(model: Any, rows: list[dict]) -> dict[str, torch.Tensor]:
    """Of the mean of the rows' losses, a row at a time: no padding, nothing shared with the peers."""
    model.zero_grad()
    for row in rows:
        ids, labels = torch.tensor([row["input_ids"]]), torch.tensor([row["labels"]])
        (row_losses(model(ids).logits, labels).sum() / len(rows)).backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


@torch.no_grad()
def forward(job: Job) -> tuple[float, None]:
    began = clock()
    for bucket in job.buckets:
        job.model(job.collate([job.rows[i] for i in bucket])[0])
    return clock() - began, None


def bergson(job: Job, forward_mode: bool) -> tuple[Run, list[str]]:
    """The loops of its two workers, with our buckets (its own allocation packs alike) and scores kept in memory."""
    from bergson import GradientCollector, GradientProcessor, IndexConfig, Scorer, collect_gradients
    from bergson.data import pad_and_tensor
    from bergson.score.output_influence import output_token_influence, query_directions
    from bergson.score.score_writer import InMemorySequenceScoreWriter
    from datasets import Dataset

    config = IndexConfig(run_path=str(job.folder / "bergson"), loss_reduction="mean")
    config.partial_run_path.mkdir(parents=True, exist_ok=True)
    model = deepcopy(job.model).requires_grad_(False)
    model.get_input_embeddings().requires_grad_(True)  # as its own setup does, so that there is a backward pass
    if forward_mode:
        model.set_attn_implementation("eager")  # as its worker does
    targets = GradientCollector.discover_targets(model.base_model)
    covers = [f"{model.base_model_prefix}.{name}.weight" for name in targets]
    query = {name: job.direction[full].reshape(1, -1) for name, full in zip(targets, covers, strict=True)}
    data = Dataset.from_list([{name: row[name] for name in ("input_ids", "labels")} for row in job.rows])

    def run() -> tuple[float, np.ndarray]:
        writer = InMemorySequenceScoreWriter(len(data), 1)
        scorer = Scorer(query, list(targets), writer, torch.device("cpu"), torch.float32)
        directions = query_directions(model, scorer.query_grads_t, targets)
        began = clock()
        if not forward_mode:
            collect_gradients(model, data, GradientProcessor(), config, batches=job.buckets, scorer=scorer)
        for bucket in job.buckets if forward_mode else ():
            batch = data[bucket]
            x, y, *_ = pad_and_tensor(batch["input_ids"], labels=batch["labels"], sync_max_len=False)
            scorer.write_scores(bucket, output_token_influence(model, x, y, directions, config)[0].sum(dim=1))
        return clock() - began, writer.scores[:, 0].numpy()

    return run, covers


def kronfluence(job: Job, aggregate: bool) -> tuple[Run, list[str]]:
    """Identity in place of curvature; the query rows' gradients summed into one, or a column of scores for each."""
    from kronfluence.analyzer import Analyzer, prepare_model
    from kronfluence.arguments import FactorArguments, ScoreArguments
    from kronfluence.task import Task
    from kronfluence.utils.dataset import DataLoaderKwargs

    class MeanLoss(Task):
        began = 0.0  # when the first batch of rows starts: what comes before is the query's share, done once

        def compute_train_loss(self, batch: Any, model: Any, sample: bool = False) -> torch.Tensor:
            self.began = self.began or clock()
            return row_losses(model(batch[0]).logits, batch[1]).sum()

        def compute_measurement(self, batch: Any, model: Any) -> torch.Tensor:
            return row_losses(model(batch[0]).logits, batch[1]).sum() / len(job.query)

        def get_influence_tracked_modules(self) -> list[str]:
            return linear

    found = [name for name, part in job.model.named_modules() if isinstance(part, torch.nn.Linear)]
    linear = [name for name in found if f"{name}.weight" in job.direction]  # not a head tied to the embeddings
    task = MeanLoss()
    model = prepare_model(deepcopy(job.model), task)
    analyzer = Analyzer(f"one_{aggregate}", model, task, cpu=True, output_dir=str(job.folder), disable_tqdm=True)
    analyzer.set_dataloader_kwargs(DataLoaderKwargs(collate_fn=job.collate))
    analyzer.fit_all_factors("identity", job.rows, factor_args=FactorArguments(strategy="identity"))
    options = {"score_args": ScoreArguments(aggregate_query_gradients=aggregate), "overwrite_output_dir": True}

    def run() -> tuple[float, np.ndarray]:
        task.began = 0.0
        analyzer.compute_pairwise_scores(
            "scores", "identity", job.query, job.rows, len(job.query), job.size, **options
        )
        seconds = clock() - task.began
        return seconds, analyzer.load_pairwise_scores("scores")["all_modules"].sum(0).numpy()

    return run, [name for name in job.direction if name.rpartition(".")[0] in linear]


def dattri(job: Job) -> tuple[Run, list[str]]:
    """Grad-Dot. Its attributor makes the query gradient again for every batch of rows: that is in the time."""
    from dattri.algorithm.tracin import TracInAttributor
    from dattri.task import AttributionTask

    model = deepcopy(job.model)
    model.set_attn_implementation("eager")  # for vmap

    def loss(parameters: Any, data: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        ids, labels = (part.reshape(-1, part.shape[-1]) for part in data)  # a row, or all query rows as one example
        return row_losses(torch.func.functional_call(model, parameters, (ids,)).logits, labels).mean()

    task = AttributionTask(loss_func=loss, model=model, checkpoints=model.state_dict())
    attributor = TracInAttributor(task=task, weight_list=torch.ones(1), normalized_grad=False)
    attributor.projector_kwargs = None  # given to the constructor, None keeps a projection to 512 dimensions
    rows = torch.utils.data.DataLoader(job.rows, batch_size=job.size, collate_fn=job.collate)
    query = torch.utils.data.DataLoader([job.collate(job.query)], batch_size=1)

    def run() -> tuple[float, np.ndarray]:
        began = clock()
        scores = attributor.attribute(rows, query)[:, 0]
        return clock() - began, scores.numpy()

    return run, list(job.direction)


def traker(job: Job) -> tuple[Run, list[str]]:
    """Only its gradient computer and a product by hand: TRAK's own score is another number."""
    from trak.gradient_computers import FunctionalGradientComputer

    def loss(model: Any, weights: Any, buffers: Any, ids: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        logits = torch.func.functional_call(model, (weights, buffers), (ids[None],)).logits
        return row_losses(logits, labels[None]).sum()

    model = deepcopy(job.model)
    model.set_attn_implementation("eager")  # for vmap
    computer = FunctionalGradientComputer(model, SimpleNamespace(get_output=loss), 0, torch.float32, "cpu")

    def run() -> tuple[float, np.ndarray]:
        began, scores = clock(), []
        for start in range(0, len(job.rows), job.size):
            its = computer.compute_per_sample_grad(job.collate(job.rows[start : start + job.size]))
            scores.append(sum((part.detach() * job.direction[name]).flatten(1).sum(1) for name, part in its.items()))
        return clock() - began, torch.cat(scores).numpy()

    return run, list(job.direction)


BERGSON = ["embeddings, head and norms", "inputs besides input_ids"]
KRONFLUENCE = ["embeddings, norms, a tied head", "batches by tokens: one batch size for all rows"]
VMAP = ["batches by tokens", "fused attention on CPU", "less memory than a whole gradient of every row of a batch"]
PEERS: dict[str, tuple[Callable[[Job], tuple[Run, list[str]]], list[str]]] = {
    "bergson score": (lambda job: bergson(job, False), BERGSON),
    "bergson output influence": (lambda job: bergson(job, True), [*BERGSON, "fused attention", "many queries a pass"]),
    "kronfluence, one query": (lambda job: kronfluence(job, True), KRONFLUENCE),
    "kronfluence, query rows apart": (lambda job: kronfluence(job, False), KRONFLUENCE),
    "dattri Grad-Dot": (dattri, ["a query gradient kept between batches", *VMAP]),
    "traker gradients": (traker, ["this score: TRAK projects at random and whitens", *VMAP]),
}
