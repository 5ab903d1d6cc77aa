"""What scoring costs on vision-language models, in plain forwards, and how far the engines are from a backward per row.

Five families with random weights, real pictures (easy-VQA) where they are at hand. Unit of cost: one forward of the whole
model without gradients, of the same rows in the same batches, images included. The language model's parameters step, the
encoder of images is frozen, as in the paper; the accuracy is also that of all parameters.
"""

from __future__ import annotations

import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hf_datasel import Labels, OneStepTrain, Proxy
from hf_datasel.errors import DataselError
from hf_datasel.proxy.batch_size import length_buckets
from hf_datasel.proxy.label_forward import attention
from hf_datasel.proxy.losses import collate
from hf_datasel.proxy.proxy import encode
from tests.vlm import EASY_VQA, FAMILIES, PLACEHOLDERS, real_rows, save


LABELS = Labels(max_length=512)
MAX_TOKENS = 1024  # a batch
GROUPS = 4


def run(quick: bool = False) -> dict:
    """Figures: the worst family's `forwards_per_row`, the worst engine's `worst_engine_error`, and both by family."""
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    count, repeats, shape = (16, 3, (6, 4)) if quick else (32, 5, (10, 5))
    cost, groups, reading, errors, rough, refused = {}, {}, {}, {}, {}, []
    for family in FAMILIES:
        with tempfile.TemporaryDirectory() as folder:
            wide = save(family, Path(folder, "wide"), times=shape[0], layers=shape[1], side=64, vocab_size=8192)
            cost[family], groups[family], reading[family] = costs(family, wide, count, repeats)
            found, far, without = engine_errors(family, save(family, Path(folder, "small")))
        errors[family], rough[family] = found, far
        refused += without
    return {
        "forwards_per_row": round(max(cost.values()), 2),
        "forwards_per_row_by_family": rounded(cost),
        f"forwards_per_row_of_{GROUPS}_groups_by_family": rounded(groups),
        "reading_in_forwards_by_family": rounded(reading),
        "worst_engine_error": max(*errors.values(), *rough.values()),
        "exact_engines_error_by_family": errors,
        "finite_differences_error_by_family": rough,
        "passed_over": refused,
        "rows": count,
        "real_pictures": EASY_VQA.is_dir(),
    }


def rounded(figures: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 2) for name, value in figures.items()}


def rows_of(family: str, count: int) -> list[dict[str, Any]]:
    """Rows about half of whose words are the answer, as in fine-tuning data with rationales."""
    mark = PLACEHOLDERS[family]
    return [
        {
            "images": [row["image"]],
            "prompt": f"{mark} {row['question']}",
            "completion": f" Let us see: {row['question']} The answer to this question is {row['answer']}.",
        }
        for row in real_rows(count)
    ]


def columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in rows[0]}


def costs(family: str, folder: str, count: int, repeats: int) -> tuple[float, float, float]:
    """Forwards a row with one direction, with `GROUPS`, and what decoding and processing of images costs beside."""
    rows = rows_of(family, count + 8)
    proxy = Proxy(folder, trainable="language")
    anchors = [{**row, "group": str(i % GROUPS)} for i, row in enumerate(rows[:8])]
    single = OneStepTrain(proxy, rows[:8], labels=LABELS)._engines(None)[0]
    several = OneStepTrain(proxy, anchors, labels=LABELS, anchor_groups="group")._engines(None)[0]
    loaded = single.anchors.proxy
    encoded = [encode(row, loaded, LABELS) for row in rows[8:]]
    buckets = list(length_buckets([len(row.input_ids) for row in encoded], MAX_TOKENS))

    def batches() -> list[Any]:  # new ones each time: they remember their images
        return [collate([encoded[i] for i in bucket], loaded) for bucket in buckets]

    def plain() -> None:
        with torch.no_grad(), attention(loaded, "sdpa"):
            for batch in fresh:
                loaded.model(
                    input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False, **batch.media
                )

    def by(engine: Any) -> Callable[[], None]:
        def score() -> None:
            for batch in fresh:
                engine.chosen[0](batch)

        return score

    def read() -> None:
        for row in rows[8:]:
            encode(row, loaded, LABELS)

    timed: dict[str, list[float]] = {"plain": [], "single": [], "several": [], "read": []}
    for _ in range(repeats + 1):  # side by side; the first round warms up
        for name, task in (("plain", plain), ("single", by(single)), ("several", by(several)), ("read", read)):
            fresh = batches()
            began = time.perf_counter()
            task()
            timed[name].append(time.perf_counter() - began)

    def ratio(name: str) -> float:
        return statistics.median(a / b for a, b in zip(timed[name][1:], timed["plain"][1:], strict=True))

    return ratio("single"), ratio("several"), ratio("read")


def engine_errors(family: str, folder: str) -> tuple[float, float, list[str]]:
    """Largest difference from a backward pass per row, relative to the largest value: exact engines, finite differences."""
    rows, refused, worst, rough = rows_of(family, 16), [], 0.0, 0.0
    for part in ("language", "projector", "all"):
        truth = OneStepTrain(Proxy(folder, trainable=part), rows[:4], labels=LABELS, engine="per_row")
        expected = truth(columns(rows[4:]))["ost_dot"]
        for engine in ("forward_mode", "ghost", "finite_differences"):
            try:
                found = replace(truth, engine=engine)(columns(rows[4:]))["ost_dot"]
            except DataselError:
                refused.append(f"{family}: {engine} of {part}")
                continue
            error = float(np.max(np.abs(found - expected)) / np.max(np.abs(expected)))
            if engine == "finite_differences":
                rough = max(rough, error)
            else:
                worst = max(worst, error)
    return worst, rough, refused
