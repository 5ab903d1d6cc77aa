"""What CoIDO costs: fitted scoring in rows a second, co-training as a ratio to plain SFT of the same rows, clustering.

Features are drawn, rows to train on are the quickstart's own. Beside the time on the wall stands the processor time, which
other work on the machine does not change much.
"""

from __future__ import annotations

import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset, disable_progress_bars

from hf_datasel import Labels, Proxy
from hf_datasel.learners.row_clusters import cluster_rows
from hf_datasel.rows.reader import load_reader
from hf_datasel.scorers.coido import FeatureBuilder, WeightScorer
from hf_datasel.scorers.coido.networks import make_network
from hf_datasel.training.co_training import CoTraining
from hf_datasel.training.coupled_loss import CoupledLoss
from hf_datasel.training.coupled_trainer import ROW, CoupledSFTTrainer
from hf_datasel.training.sft import no_telemetry, sft_trainer, trainable_rows


QUICKSTART = Path(__file__).parents[1] / "recipes" / "quickstart"
THREADS = 2
# Numbers of the embeddings and width of the network: of sentences, of CLIP's two towers, and a small network.
SHAPES = {"sentences": ([384], 256), "clip": ([768, 768], 256), "sentences, width 64": ([384], 64)}


def run(quick: bool = False) -> dict:
    """Figures: `rows_per_second`, `training_overhead`, `clustering_seconds`, and what stands behind each."""
    warnings.filterwarnings("ignore")
    disable_progress_bars()
    torch.set_num_threads(THREADS)
    repeats = 1 if quick else 3
    scoring = {name: scored(*shape, 100_000, repeats) for name, shape in SHAPES.items()}
    overhead = training_overhead(steps=4 if quick else 8, repeats=2 if quick else 3)
    clusters = {rows: clustered(rows) for rows in ((2_000,) if quick else (2_000, 20_000))}
    largest = max(clusters)
    return {
        "rows_per_second": scoring["sentences"]["rows_per_second"],
        "rows_per_second_of_idle_cores": scoring["sentences"]["rows_per_second_of_idle_cores"],
        "scoring": scoring,
        "training_overhead": overhead["processor"],
        "training": overhead,
        "clustering_seconds": clusters[largest]["seconds"],
        "clustering_rows": largest,
        "clustering": {str(rows): found for rows, found in clusters.items()},
        "threads": THREADS,
    }


def timed(task: Callable[[], object]) -> tuple[float, float]:
    """Seconds on the wall, and of the processor over all threads."""
    wall, own = time.perf_counter(), time.process_time()
    task()
    return time.perf_counter() - wall, time.process_time() - own


def scored(widths: list[int], width: int, rows: int, repeats: int) -> dict:
    """Rows a second of `pool.map(scorer)`, from the Arrow file to the columns."""
    draw = np.random.default_rng(0)
    network = {"kind": "mlp", "widths": widths, "scores": 3, "width": width, "dropout": 0.1}
    torch.manual_seed(0)
    weights = {name: value.numpy() for name, value in make_network(**network).state_dict().items()}
    names = [f"e{place}" for place in range(len(widths))]
    builder = FeatureBuilder(tuple(names), tuple(widths), ("a", "b", "c"), (0.0,) * 3, (1.0,) * 3, (0.5,) * 3)
    scorer = WeightScorer("coido", builder, network, weights)
    columns = {
        name: list(draw.normal(size=(rows, size)).astype(np.float32)) for name, size in zip(names, widths, strict=True)
    }
    with tempfile.TemporaryDirectory() as folder:
        Dataset.from_dict({**columns, **{name: draw.random(rows) for name in "abc"}}).save_to_disk(folder)
        pool = Dataset.load_from_disk(folder)
        call = partial(pool.map, scorer, batched=True, batch_size=4096, load_from_cache_file=False)
        times = [timed(partial(call, remove_columns=pool.column_names)) for _ in range(repeats + 1)][1:]
    wall, own = (statistics.median(column) for column in zip(*times, strict=True))
    return {
        "rows_per_second": round(rows / wall),
        "rows_per_second_of_idle_cores": round(THREADS * rows / own),
        "embedding": sum(widths),
        "width": width,
        "parameters": sum(value.size for value in weights.values()),
        "rows": rows,
    }


def training_overhead(steps: int, repeats: int) -> dict:
    """Time of co-training over that of plain SFT: the same model, rows and batches, in turns."""
    with tempfile.TemporaryDirectory() as folder:
        model = wide_model(folder)
        labels = Labels(max_length=256)
        reader = load_reader(model, labels)
        rows, _ = trainable_rows(Dataset.from_json(str(QUICKSTART / "pool.jsonl")), reader, labels)
        rows = rows.select(range(min(len(rows), 8 * steps)))
        numbered = rows.add_column(ROW, list(range(len(rows))))
        training = CoTraining(epochs=1.0, sft={"disable_tqdm": True, "logging_strategy": "no"})
        arguments = {**training.arguments(Proxy(model), 0), "train_sampling_strategy": "sequential"}
        ratios: dict[str, list[float]] = {"processor": [], "wall": []}
        for _ in range(repeats + 1):  # the first warms up
            made = {}
            for name, build in (
                ("plain", None),
                ("coupled", partial(CoupledSFTTrainer, coupled=drawn_loss(len(rows)))),
            ):
                with no_telemetry():
                    trainer = sft_trainer(
                        model,
                        reader,
                        numbered if build else rows,
                        labels,
                        Path(folder, "out"),
                        arguments,
                        trainer_class=build,
                    )
                made[name] = timed(trainer.train)
            ratios["wall"].append(made["coupled"][0] / made["plain"][0])
            ratios["processor"].append(made["coupled"][1] / made["plain"][1])
    return {
        "processor": round(statistics.median(ratios["processor"][1:]), 3),
        "wall": round(statistics.median(ratios["wall"][1:]), 3),
        "processor_of_each": [round(ratio, 3) for ratio in ratios["processor"][1:]],
        "model_parameters": sum(p.numel() for p in trainer.model.parameters())
        - sum(p.numel() for p in trainer.coupled.parameters()),
        "network_parameters": sum(p.numel() for p in trainer.coupled.parameters()),
        "steps": steps,
    }


def wide_model(folder: str) -> str:
    """A Llama of about 9 million random weights that reads the quickstart's tokens: a network beside it weighs a sixth."""
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(QUICKSTART / "proxy")
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=320, intermediate_size=864, num_hidden_layers=7, num_attention_heads=8,
        max_position_embeddings=512, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def drawn_loss(rows: int) -> CoupledLoss:
    """The paper's network, 1536 numbers of CLIP and 3 scores, over drawn features in 20 clusters."""
    torch.manual_seed(0)
    network = make_network("mlp", [768, 768], 3)
    return CoupledLoss(network, torch.randn(rows, 1536), torch.randn(rows, 3), torch.randint(20, (rows,)))


def clustered(rows: int) -> dict:
    """Seconds of one spectral clustering of drawn features, 1539 numbers a row about 40 directions."""
    draw = np.random.default_rng(0)
    centres = draw.normal(size=(40, 1539))
    vectors = (0.6 * centres[draw.integers(0, 40, rows)] + draw.normal(size=(rows, 1539))).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found: list[np.ndarray] = []
    wall, own = timed(lambda: found.append(cluster_rows(vectors)))
    return {"seconds": round(wall, 1), "processor_seconds": round(own, 1), "clusters": len(set(found[0].tolist()))}
