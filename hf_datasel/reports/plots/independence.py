"""Scores along the pool with a fitted line, and their autocorrelation."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hf_datasel.contracts import Indices, Scores
from hf_datasel.reports.independence import MAX_R_SQUARED, Independence, independence
from hf_datasel.reports.plots.style import (
    BAND,
    DROPPED,
    FAINT,
    INK,
    KEPT,
    TOXIC,
    axis_span,
    footnote,
    grid,
    headline,
    house_style,
    label_axis,
    new_figure,
    notes,
    save,
    whole_numbers,
)
from hf_datasel.reports.plots.wording import number, outside, rows, shortened
from hf_datasel.reports.scales import Scale, scale_of
from hf_datasel.reports.scored import ScoreColumn, scored_only


if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


SHUFFLE = "A sorted pool looks like this too. To tell, score it shuffled: every row must get the score it has here."


def plot_independence(
    scores: ScoreColumn,
    path: str | Path,
    max_lag: int = 50,
    name: str = "utility",
    scale: Scale | None = None,
) -> Path:
    """Draw whether scores differ along the pool to a PNG of 1600 x 720 pixels.

    Left the scores with the fitted line, right their autocorrelation with the 95 % band of white noise and, dashed,
    the gate of `reports.independence`.

    Args:
        scores: shape (N,), in the pool's order; NaN where a row was not scored.
        path: the PNG to write.
        max_lag: largest lag.
        name: of the score, for the axis.
        scale: its unit. By default what is known of `name`.

    Returns:
        `path`.

    Raises:
        DataselError: fewer than 3 rows have a score, or some are infinite.
        MissingExtra: matplotlib is not installed.

    Source: Fig. 5 of OST (https://huggingface.co/papers/2605.07488).

    Example:
        >>> from tempfile import mkdtemp
        >>> plot_independence([0.1, 0.3, -0.2, 0.4, 0.0], f"{mkdtemp()}/independence.png").name
        'independence.png'
    """
    return save(figure_independence(scores, max_lag, name, scale), path)


@house_style()
def figure_independence(
    scores: ScoreColumn,
    max_lag: int = 50,
    name: str = "utility",
    scale: Scale | None = None,
) -> Figure:
    """The figure `plot_independence` saves; same arguments."""
    values, positions, num_rows = scored_only(scores, at_least=3)
    result = independence(scores, max_lag)
    name, unit = shortened(name, 32), shortened((scale or scale_of(name)).unit, 24)
    figure = new_figure(height=3.6)
    headline(figure, _title(result))
    drift, correlation = figure.subplots(1, 2, width_ratios=[3, 2])
    # The whole line is to be seen, also where it leaves the scores behind.
    ends = result.intercept + result.slope * positions[[0, -1]].astype(np.float64)
    low, high = axis_span(np.append(values, ends))
    low, high = min(low, ends.min()), max(high, ends.max())
    _draw_drift(drift, values, positions, result, (low, high))
    label_axis(drift.yaxis, name, unit)
    _draw_acf(correlation, result)
    left_out = outside(values, low, high)
    if num_rows > len(values):
        left_out.append(f"Not scored: {rows(num_rows - len(values))}.")
    if not result.passed and not math.isnan(result.r_squared):
        left_out.append(SHUFFLE)
    footnote(figure, left_out)
    return figure


def _draw_drift(
    axes: Axes, values: Scores, positions: Indices, result: Independence, span: tuple[float, float]
) -> None:
    crowded = len(values) > 2000
    axes.plot(
        positions, values, linestyle="none", marker="o", markersize=1.6 if crowded else 3, color=FAINT if crowded else DROPPED,
        markeredgewidth=0, alpha=max(0.15, min(1.0, 3000 / len(values))),
    )  # fmt: skip
    ends = np.array([positions[0], positions[-1]])
    axes.plot(ends, result.intercept + result.slope * ends, color=KEPT, linewidth=2)
    room = 0.04 * (span[1] - span[0]) or abs(span[0]) / 10 or 0.5
    axes.set_ylim(span[0] - room, span[1] + room)
    whole_numbers(axes.xaxis)
    axes.set_xlabel("position in the pool")
    grid(axes)
    same = math.isnan(result.r_squared)
    fit = (
        "all scores are equal"
        if same
        else f"slope {number(result.slope, 2)} per row, R² = {number(result.r_squared, 2)}, t = {number(result.t_statistic, 2)}"
    )
    notes(axes, [("━", KEPT, fit)], at_edge=False)


def _draw_acf(axes: Axes, result: Independence) -> None:
    lags = np.arange(1, len(result.acf) + 1)
    axes.axhspan(-result.band, result.band, color=BAND, linewidth=0)
    axes.axhline(0, color=DROPPED, linewidth=0.8)
    for gate in (-result.acf_gate, result.acf_gate):
        axes.axhline(gate, color=TOXIC, linewidth=1.2, linestyle=(0, (4, 2)))
    axes.vlines(lags, 0, result.acf, color=INK, linewidth=2 if len(lags) <= 60 else 0.8)
    reach = 1.15 * max(result.acf_gate, 0.0 if math.isnan(result.max_autocorrelation) else result.max_autocorrelation)
    axes.set_ylim(-reach, reach)
    axes.set_xlim(0, len(lags) + 1)
    whole_numbers(axes.xaxis)
    axes.set_xlabel("lag, rows")
    axes.set_ylabel("autocorrelation")
    axes.tick_params(length=0)
    gate_note = ("┅", TOXIC, f"gate {number(result.acf_gate, 2)}")
    notes(axes, [("■", BAND, "95 % noise band"), gate_note], at_edge=False)


def _title(result: Independence) -> str:
    if math.isnan(result.r_squared):
        return "All scores are equal: nothing to judge independence by"
    found = f"R² = {number(result.r_squared, 2)}, largest |autocorrelation| = {number(result.max_autocorrelation, 2)}"
    if result.passed:
        return f"Scores do not drift along the pool: {found}"
    drifts = result.r_squared >= MAX_R_SQUARED
    return f"{'Scores differ along the pool' if drifts else 'Rows near each other score alike'}: {found}"
