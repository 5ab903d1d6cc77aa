"""Score every row roughly, and again in full those whose place relative to the cut is uncertain."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from math import erfc, sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hf_datasel.contracts import Scores
from hf_datasel.errors import BadRow
from hf_datasel.rows import content_only
from hf_datasel.runs.score import check_pool, columns_of, score, text_fields
from hf_datasel.selectors.budgets import check_fraction, rows_in
from hf_datasel.selectors.columns import read_numbers
from hf_datasel.selectors.ordering import best_first


if TYPE_CHECKING:
    from datasets import Dataset

    from hf_datasel.contracts import Scorer

logger = logging.getLogger(__name__)
STEP = 32  # rows that are scored in full at first; then a quarter more at a time
ROUGH, FULL = "rough", "full"
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Cascade:
    """A pool scored in two stages.

    Args:
        scored: the pool with the full scorer's score, its status, and `<score>_stage`: `"full"` for rows scored in full,
            `"rough"` for rows whose rough score says clearly enough on which side of the cut they are; their score is the
            rough one plus `shift`.
        share: of the pool, that the cut leaves.
        rows_in_full: how many rows were scored in full.
        noise: standard deviation of their full scores around a straight line in the rough ones.
        shift: mean of full minus rough score on them.
        expected_overlap: of the best `share` by this score with the best `share` by the full scorer alone, from the
            noise and how far each other row is from the cut.
        measured_overlap: of the best `share` by this score with the best `share` by the rough one: what the second
            stage was needed for.
    """

    scored: Dataset
    share: float
    rows_in_full: int
    noise: float
    shift: float
    expected_overlap: float
    measured_overlap: float


def cascade(
    pool: Dataset,
    rough: Scorer,
    full: Scorer,
    share: float,
    *,
    overlap: float = 0.99,
    journal: str | Path | None = None,
) -> Cascade:
    """Score a pool for one cut: `rough` for all N rows, `full` for those near the cut.

    Rows are scored in full from the cut outwards, until the others are expected to leave at least `overlap` of the kept
    rows right, and none of the outermost ones turned out to be on the other side; and rows without a rough score. The
    expectation takes the noise far from the cut to be what it is near it, and normal: a rough scorer that is right for
    most rows and far off for a few keeps less than it expects. Cost: N times the rough scorer's, and the full scorer's
    for a few rows in a hundred. The order far from the cut is the rough one.

    Args:
        pool: N rows, without the columns that the scorers write.
        rough, full: scorers of the same quantity in the same unit, such as `OneStepTrain` with engine `"bfloat16"` and
            with `"auto"`.
        share: of the pool to be kept; select with `TopFraction(score, share)`.
        overlap: least share of the kept rows that the full scorer alone would keep as well.
        journal: as `score`.

    Raises:
        BadBudget: `share` or `overlap` is not above 0 and up to 1.
        BadRow: the scorers write different scores, or none of the rows has one.

    Example:
        >>> from datasets import Dataset
        >>> from hf_datasel import ResponseLength, TopFraction, select
        >>> pool = Dataset.from_dict({"prompt": ["?"] * 100, "completion": ["x" * n for n in range(1, 101)]})
        >>> found = cascade(pool, ResponseLength(), ResponseLength(), share=0.2)
        >>> found.rows_in_full, found.measured_overlap, select(found.scored, TopFraction("response_length", 0.2)).kept.num_rows
        (32, 1.0, 20)
    """
    check_fraction("share", share)
    check_fraction("overlap", overlap)
    column = full.columns[0]
    if rough.columns[0] != column:
        raise BadRow(
            f"`rough` writes {rough.columns[0]!r} and `full` {column!r}, expected scores of the same quantity."
        )
    check_pool(pool, [full])
    if f"{column}_stage" in pool.column_names:
        raise BadRow(
            f"`pool` has a column '{column}_stage', expected none: it says which stage scored a row. Rename it."
        )
    scored = score(pool, rough, journal=journal)
    rows = content_only(pool.with_format(None), *text_fields([full]))
    keep = rows_in(share, len(pool))
    order = best_first(scored, column)
    guessed = read_numbers(scored, column)
    status = scored[f"{column}_status"][:] if f"{column}_status" in scored.column_names else None
    cut = _cut(guessed[order], keep)
    kept_by_rough = np.zeros(len(pool), bool)
    kept_by_rough[order[:keep]] = True
    unknown = np.flatnonzero(np.isnan(guessed))
    queue = np.concatenate([unknown, order[np.argsort(np.abs(guessed[order] - cut), kind="stable")]])
    values, in_full = np.full(len(pool), np.nan), np.zeros(len(pool), bool)
    done, stop = 0, len(unknown) + STEP
    while True:
        places = queue[done:stop]
        columns = columns_of(rows.select(places), full, journal)
        values[places], in_full[places] = read_numbers(columns, column), True
        if status is not None:
            for place, its in zip(places, columns[f"{column}_status"][:], strict=True):
                status[place] = its
        done += len(places)
        stop = done + max(STEP, (done - len(unknown)) // 4)
        line = _fit(guessed, values)
        merged = np.where(in_full, values, guessed + line.shift)
        wrong = _wrong_rows(guessed, in_full, line, cut)
        outermost = places[-STEP // 2 :]
        settled = _kept(merged, keep)[outermost] == kept_by_rough[outermost]
        if done == len(queue) or (1 - wrong / keep >= overlap and settled.all()):
            break
    found = Cascade(
        _with_score(scored, full, merged, status, in_full), share,
        rows_in_full=done, noise=line.noise, shift=line.shift, expected_overlap=float(1 - wrong / keep),
        measured_overlap=float((_kept(merged, keep) & kept_by_rough).sum() / keep),
    )  # fmt: skip
    logger.info("%d of %d rows scored in full; expected overlap %.4f", done, len(pool), found.expected_overlap)
    return found


def _cut(best_first: Scores, keep: int) -> float:
    """Half-way between the last score kept and the first one not kept."""
    last = best_first[min(keep, len(best_first)) - 1]
    return float((last + best_first[min(keep, len(best_first) - 1)]) / 2)


@dataclass(frozen=True)
class _Line:
    """How full scores follow rough ones: within `noise` of a straight line, whose slope is at least `least_slope`."""

    shift: float
    noise: float
    least_slope: float


def _fit(guessed: Scores, values: Scores) -> _Line:
    """Least squares over the rows scored in full. Near the cut alone: that is where it has to hold."""
    known = np.isfinite(values) & np.isfinite(guessed)
    x, y = guessed[known], values[known]
    spread = float(np.sum((x - x.mean()) ** 2)) if len(x) > 2 else 0.0
    if spread == 0:
        return _Line(0.0, float("inf"), 0.0)
    slope = float(np.sum((x - x.mean()) * y) / spread)
    noise = sqrt(float(np.sum((y - y.mean() - slope * (x - x.mean())) ** 2)) / (len(x) - 2))
    return _Line(float((y - x).mean()), noise, max(0.0, slope - 2 * noise / sqrt(spread)))


def _wrong_rows(guessed: Scores, in_full: Flags, line: _Line, cut: float) -> float:
    """How many kept rows the full scorer alone would not keep: by chance, from the distance of rough rows to the cut.

    With the smallest slope that the rows scored in full leave possible: a rough scorer that knows nothing has none, and
    no row is then far from the cut.
    """
    far = line.least_slope * np.abs(guessed[np.isfinite(guessed) & ~in_full] - cut)
    if line.noise > 0:
        far = far / line.noise
        # Each row on the wrong side of the cut has a partner on the other: a pair is one wrong row among those kept.
        return sum(erfc(distance / sqrt(2)) / 2 for distance in far[far < 8].tolist()) / 2
    return float(np.sum(far == 0)) / 2


def _kept(merged: Scores, keep: int) -> Flags:
    """True for the best `keep` rows."""
    kept = np.zeros(len(merged), bool)
    kept[np.argsort(-merged, kind="stable")[:keep]] = True  # NaN comes last
    return kept


def _with_score(scored: Dataset, full: Scorer, merged: Scores, status: list[str] | None, in_full: Flags) -> Dataset:
    from datasets import Dataset, concatenate_datasets

    column = full.columns[0]
    columns: dict[str, Any] = {column: merged, f"{column}_stage": np.where(in_full, FULL, ROUGH)}
    if status is not None:
        columns[f"{column}_status"] = status
    others = scored.remove_columns([name for name in full.columns if name in scored.column_names])
    return concatenate_datasets([others, Dataset.from_dict(columns)], axis=1)
