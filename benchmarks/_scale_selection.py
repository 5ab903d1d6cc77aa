"""The way of a scored dataset on disk to a saved selection and back, each step watched. Part of `scale`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset
from datasets.arrow_writer import ArrowWriter

from benchmarks._memory import Watch
from hf_datasel import TopFraction, TopFractionPerGroup, select
from hf_datasel.selectors import Selection


PART = 100_000
GROUPS = 100


def write_scored(path: Path, rows: int) -> None:
    """An Arrow file as `score` leaves one, without the rows' content: ids, a score (NaN in 1 of 100), a status, a source."""
    draw = np.random.default_rng(0)
    with ArrowWriter(path=str(path)) as writer:
        for start in range(0, rows, PART):
            count = min(PART, rows - start)
            scores = draw.normal(size=count)
            scores[::100] = np.nan
            digits = draw.integers(0, 2**64, count, dtype=np.uint64).tobytes().hex()
            columns = {
                "row_id": [digits[16 * n : 16 * n + 16] for n in range(count)],
                "utility": scores,
                "utility_status": np.where(np.isnan(scores), "nan_loss", "ok"),
                "source": [f"source {number}" for number in (GROUPS * draw.random(count) ** 2).astype(int)],
            }
            writer.write_table(pa.table({name: pa.array(values) for name, values in columns.items()}))


def main() -> None:
    """Figures of every step, as JSON."""
    folder, rows = Path(sys.argv[1]), int(sys.argv[2])
    path = folder / f"scored-{rows}.arrow"
    write_scored(path, rows)
    pool = Dataset.from_file(str(path))
    figures: dict[str, Any] = {"bytes_a_row_of_scores": round(path.stat().st_size / rows, 1)}

    def step(name: str, task: Callable[[], Any]) -> Any:
        with Watch() as watch:
            found = task()
        figures[name] = watch.figures
        return found

    step("select_per_group", lambda: select(pool, TopFractionPerGroup("utility", "source", 0.2)).num_kept)
    selection = step("select", lambda: select(pool, TopFraction("utility", 0.2)))
    assert selection.num_kept == rows // 5 and selection.num_not_scored == rows // 100
    step("save", lambda: selection.save(folder / "selection"))
    loaded = step("load", lambda: Selection.load(folder / "selection"))
    again = step("apply", lambda: loaded.apply(pool))
    assert np.array_equal(again.indices, selection.indices) and again.row_ids.equals(selection.row_ids)
    step("membership", lambda: again.membership)  # what `Dataset.filter` hashes and sends to workers
    size = sum(its.stat().st_size for its in (folder / "selection").iterdir())
    figures["bytes_a_row_of_selection"] = round(size / rows, 1)
    held = selection.row_ids.nbytes + selection.scores.nbytes + selection.indices.nbytes
    figures["bytes_a_row_of_selection_in_memory"] = round(held / rows, 1)
    path.unlink()
    print(json.dumps(figures))
