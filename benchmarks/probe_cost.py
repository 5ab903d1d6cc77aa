"""Do descriptors cost no more than the forwards of their probe and a tenth?

A Qwen3-VL with random weights (wide enough that its forwards, and not Python, take the time), real pictures of easy-VQA where they are at hand and
drawn ones elsewhere. Side by side in one run, in the same batches: the plain forwards that `Probe` states for its losses (one with
images, one without), made from rows that are read already; the pass itself, which also decodes and tokenises, without a journal; and the
descriptors that need no model, over `MERGED` times as many rows, since a pool is never so small that the start of six passes counts. The rows have
one picture each, so flow finds nothing to do: what it takes for a row of 8 frames stands apart. So do samples and verdicts: they write answers.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset

from hf_datasel import Coverage, CoverageFeatures, GoalBins, GoalQuality, GoalScore, Labels, OpticalFlow, Probe, Proxy
from hf_datasel import score as score_pool
from hf_datasel.proxy.batch_size import length_buckets, max_tokens
from hf_datasel.proxy.label_forward import attention
from hf_datasel.proxy.losses import collate
from hf_datasel.proxy.proxy import encode
from hf_datasel.rows.demonstrations import with_last_answer
from hf_datasel.rows.vision import without_media
from hf_datasel.scorers.with_proxy import loaded_proxy
from tests.vlm import EASY_VQA, PLACEHOLDERS, real_rows, save


FAMILY = "qwen3_vl"
LABELS = Labels(max_length=512)
MERGED = 20
MEASURED = ("video_dependence", "loss_sighted", "loss_blind", "answer_difficulty", "temporal_necessity")


def run(quick: bool = False) -> dict:
    """Figures by size of the probe: `descriptors_over_plain_forwards_…`, medians of side-by-side ratios."""
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    os.environ["HF_DATASEL_JOURNAL"] = "off"  # a pass that finds its rows finished costs nothing
    sizes = {"small": (16, 2, 4, 3)} if quick else {"medium": (48, 5, 12, 6), "large": (32, 3, 20, 8)}
    return {
        "aimed_at": 1.1,
        "real_pictures": EASY_VQA.is_dir(),
        **{name: costs(*size) for name, size in sizes.items()},
    }


def costs(count: int, repeats: int, times: int, layers: int) -> dict:
    """Ratios and seconds for a probe of 32 times `times` hidden units."""
    pool = Dataset.from_list(rows_of(count))
    with tempfile.TemporaryDirectory() as folder:
        proxy = Proxy(save(FAMILY, Path(folder), times=times, layers=layers, side=64, vocab_size=8192))
        probe = Probe(proxy, LABELS, samples=0, verdict="keywords")
        writing = Probe(proxy, LABELS, samples=3, max_new_tokens=8, verdict="probe")
        batch = pool[:]
        many = Dataset.from_list(rows_of(count * MERGED))
        once = score_pool(pool, GoalBins(), probe)
        measured = {name: list(once[name][:]) * MERGED for name in MEASURED}
        plain = plain_forwards(probe, batch)
        tasks = {"plain": plain, "probe": lambda: probe(batch), "merge": lambda: merge(many, measured)}
        # The first round warms up.
        rounds = [{name: timed(task) for name, task in tasks.items()} for _ in range(repeats + 1)][1:]
        writing({name: values[:2] for name, values in batch.items()})
        answers = timed(lambda: writing(batch))[0] / timed(plain)[0]
    found: dict = {"rows": count, "repeats": repeats, "hidden_units": 32 * times, "layers": layers}
    for place, clock in enumerate(("wall", "processor")):
        base = [its["plain"][place] for its in rounds]
        probed = [its["probe"][place] / one for its, one in zip(rounds, base, strict=True)]
        both = [
            ratio + its["merge"][place] / MERGED / one for ratio, its, one in zip(probed, rounds, base, strict=True)
        ]
        beside = [(its["probe"][place] + its["merge"][place] / MERGED - its["plain"][place]) / count for its in rounds]
        found |= {
            f"probe_over_plain_forwards_{clock}": round(statistics.median(probed), 3),
            f"descriptors_over_plain_forwards_{clock}": round(statistics.median(both), 3),
            f"range_of_descriptors_{clock}": [round(min(both), 3), round(max(both), 3)],
            f"milliseconds_of_both_forwards_a_row_{clock}": round(1e3 * statistics.median(base) / count, 1),
            f"milliseconds_beside_them_a_row_{clock}": round(1e3 * statistics.median(beside), 1),
        }
    found["milliseconds_of_flow_a_row_of_8_frames_processor"] = round(1e3 * flow_of_frames(), 1)
    return {**found, "with_3_samples_of_8_tokens_and_verdicts_wall": round(answers, 2)}


def timed(task: Any) -> tuple[float, float]:
    """Seconds by the clock on the wall, and seconds of the processor, which other work on the machine disturbs less."""
    wall, processor = time.perf_counter(), time.process_time()
    task()
    return time.perf_counter() - wall, time.process_time() - processor


def rows_of(count: int) -> list[dict[str, Any]]:
    """Rows about half of whose words are the answer, as in fine-tuning data with rationales."""
    mark = PLACEHOLDERS[FAMILY]
    return [
        {
            "images": [{"bytes": row["image"], "path": None}],
            "prompt": f"{mark} {row['question']}",
            "completion": f" Let us see: {row['question']} The answer to this question is {row['answer']}.",
        }
        for row in real_rows(count)
    ]


def plain_forwards(probe: Probe, batch: dict[str, list[Any]]) -> Any:
    """One forward of every row with its images and one without, in batches of like length, nothing else."""
    loaded = loaded_proxy(probe, None)
    rows = [dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True)]
    asked = [with_last_answer(row) for row in rows]
    kinds = [
        [encode(row, loaded, LABELS) for row in asked],
        [encode(without_media(row, loaded.reader), loaded, LABELS) for row in asked],
    ]

    def batches() -> list[Any]:
        return [
            collate([encoded[i] for i in bucket], loaded)
            for encoded in kinds
            for bucket in length_buckets([len(row.input_ids) for row in encoded], max_tokens())
        ]

    def task() -> None:
        with torch.no_grad(), attention(loaded, "sdpa"):
            for its in batches():
                loaded.model(input_ids=its.input_ids, attention_mask=its.attention_mask, use_cache=False, **its.media)

    return task


def merge(pool: Dataset, measured: dict[str, list[Any]]) -> None:
    """All that needs no model: bins, flow, features, coverage, quality, score."""
    described = score_pool(pool, GoalBins(), OpticalFlow(), CoverageFeatures())
    for name, values in measured.items():
        described = described.add_column(name, values)
    score_pool(described, Coverage(clusters=8), GoalQuality(), GoalScore())


def flow_of_frames(frames: int = 8) -> float:
    """Seconds of the processor, on one core, for the optical flow of one row of frames."""
    import cv2
    import numpy as np

    cv2.setNumThreads(1)
    draw = np.random.default_rng(0)
    row = {"images": [[draw.integers(0, 255, (224, 224, 3), np.uint8) for _ in range(frames)]]}
    flow = OpticalFlow()
    return statistics.median(timed(lambda: flow(row))[1] for _ in range(5))
