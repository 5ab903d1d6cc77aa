"""Scoring a pool of short rows on disk, in a process of its own, with its memory watched. Part of `scale`."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset
from datasets.arrow_writer import ArrowWriter

from benchmarks._memory import Watch
from hf_datasel import Labels, Perplexity, Proxy, score
from hf_datasel.rows import row_digest, with_row_ids
from hf_datasel.rows.batches import rows_of
from hf_datasel.rows.journal import VARIABLE, Journal, resumed
from hf_datasel.runs.score import CHUNK


PROXY = Path(__file__).parents[1] / "recipes" / "quickstart" / "proxy"
BATCH = 64


@dataclass(frozen=True)
class StubProxy:
    """What `Perplexity` asks of the journal and of datasets, in batches of 64, with arithmetic in place of a model."""

    columns = ("stub_perplexity", "stub_perplexity_status", "row_loss", "perplexity")
    keeps_journal = True

    @property
    def spec(self) -> dict[str, Any]:
        return {"scorer": "StubProxy", "algo_version": 1}

    def __call__(self, batch: Any, rank: int | None = None) -> dict[str, Any]:
        rows, _ = rows_of(batch)
        return resumed(self.spec, rows, self._score, self.columns)

    def _score(
        self, rows: Sequence[Mapping[str, Any]], missing: frozenset[int]
    ) -> Iterator[tuple[list[int], dict[str, Any]]]:
        for start in range(0, len(rows), BATCH):
            places = [place for place in range(start, min(start + BATCH, len(rows))) if place in missing]
            if places:
                losses = np.array([len(rows[place]["completion"]) / 7 for place in places])
                values = (-losses, ["ok"] * len(places), losses, np.exp(losses))
                yield places, dict(zip(self.columns, values, strict=True))


def write_pool(path: Path, rows: int) -> None:
    """An Arrow file of sums with their results, no two alike."""
    with ArrowWriter(path=str(path)) as writer:
        for start in range(0, rows, 100_000):
            numbers = range(start, min(start + 100_000, rows))
            prompts = [f"What is {n} plus {7 * n % 1000}?" for n in numbers]
            completions = [f" It is {n + 7 * n % 1000}, since we add {7 * n % 1000} to {n}." for n in numbers]
            writer.write_table(pa.table({"prompt": prompts, "completion": completions}))


def write_proxy(folder: Path) -> Path:
    """A Llama of one layer, 8 wide, with random weights and the quickstart's tokenizer of 512 entries."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(str(PROXY))
    sizes = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1}
    config = LlamaConfig(vocab_size=len(tokenizer), max_position_embeddings=256, tie_word_embeddings=True, **sizes)
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def tiny(folder: Path) -> Perplexity:
    """The scorer with the smallest model."""
    return Perplexity(Proxy(str(folder / "proxy")), labels=Labels(max_length=128))


def main() -> None:
    """One way to score one pool: `fresh`, `resumed`, `map`, `model` or `parts`. Figures as JSON."""
    kind, folder, rows = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    pool = Dataset.from_file(str(folder / f"pool-{rows}.arrow"))
    if kind == "parts":
        print(json.dumps(parts(pool, folder)))
        return
    journal = folder / f"{'model' if kind == 'model' else 'map' if kind == 'map' else 'stub'}-{rows}.sqlite"
    scorer = tiny(folder) if kind == "model" else StubProxy()
    scorer(pool[:BATCH])  # imports, and the model
    os.environ[VARIABLE] = str(journal)
    with Watch() as watch:
        found = pool.map(scorer, batched=True) if kind == "map" else score(pool, scorer, journal=journal)
    values = np.asarray(found.data.column(scorer.columns[0]).to_numpy())
    assert len(values) == rows and np.isfinite(values).all()
    assert not isinstance(scorer, StubProxy) or values[-1] == -len(pool[-1]["completion"]) / 7
    print(
        json.dumps(
            {
                **watch.figures,
                "own_before_mb": round(watch.before["own"], 1),
                "rows_per_second": round(rows / watch.seconds),
                "rows_per_processor_second": round(rows / watch.processor_seconds),
                "journal_bytes_a_row": round(
                    sum(its.stat().st_size for its in folder.glob(f"{journal.name}*")) / rows
                ),
                "bytes_a_row_of_columns": round(sum(_written(found)) / rows, 1),
            }
        )
    )


def _written(found: Dataset) -> Iterator[int]:
    """Sizes of the files that a map wrote for this result."""
    for its in found.cache_files:
        path = Path(its["filename"])
        if path.name.startswith("cache-"):
            yield path.stat().st_size


def parts(pool: Dataset, folder: Path) -> dict[str, dict[str, float]]:
    """Microseconds a row, on the wall and of the processor, of what a row costs beside the model."""
    found: dict[str, dict[str, float]] = {}

    def part(name: str, task: Callable[[], Any]) -> Any:
        with Watch() as watch:
            result = task()
        found[name] = {
            "wall_us": round(1e6 * watch.seconds / len(pool), 1),
            "processor_us": round(1e6 * watch.processor_seconds / len(pool), 1),
        }
        return result

    chunks = [range(start, min(start + CHUNK, len(pool))) for start in range(0, len(pool), CHUNK)]
    part("row_ids", lambda: with_row_ids(pool))
    rows = part("read", lambda: [rows_of(pool[its.start : its.stop])[0] for its in chunks])
    digests = part("digest", lambda: [[row_digest(row) for row in its] for its in rows])
    spec, columns = StubProxy().spec, dict.fromkeys(StubProxy.columns, 0.1 + 0.2) | {"stub_perplexity_status": "ok"}

    def put() -> None:
        for its in digests:
            journal = Journal(folder / "parts.sqlite")
            with journal.held():
                for start in range(0, len(its), BATCH):
                    journal.put(spec, dict.fromkeys(its[start : start + BATCH], columns))

    part("journal_put", put)
    part("journal_get", lambda: [Journal(folder / "parts.sqlite").get(spec, its) for its in digests])
    values = np.random.default_rng(0).normal(size=len(pool))
    part(
        "write",
        lambda: pool.map(_Constant(values[:CHUNK]), batched=True, batch_size=CHUNK, remove_columns=pool.column_names),
    )
    return found


@dataclass(frozen=True)
class _Constant:
    """Columns as a scorer returns them, at no cost."""

    values: Any

    def __call__(self, batch: Any) -> dict[str, Any]:
        values = self.values[: len(batch["prompt"])]
        return {name: ["ok"] * len(values) if "status" in name else values for name in StubProxy.columns}
