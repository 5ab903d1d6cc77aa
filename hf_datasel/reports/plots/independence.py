"""Scores in processing order with their drift, and their autocorrelation."""

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
from hf_datasel.reports.scored import ScoreColumn, scored_only


if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_independence(
    scores: ScoreColumn,
    path: str | Path,
    max_lag: int = 50,
    name: str = "utility",
    unit: str = "nats per token",
) -> Path:
    """Draw whether scores depend on processing order to a PNG of 1600 x 720 pixels.

    Left the scores with the fitted drift, right their autocorrelation with the 95 % band of white noise and, dashed,
    the gate of `reports.independence`.

    Args:
        scores: shape (N,), in the order they were computed; NaN where a row was not scored.
        path: the PNG to write.
        max_lag: largest lag.
        name: of the score, for the axis.
        unit: of the score, for the axis.

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
    return save(figure_independence(scores, max_lag, name, unit), path)


@house_style()
def figure_independence(
    scores: ScoreColumn,
    max_lag: int = 50,
    name: str = "utility",
    unit: str = "nats per token",
) -> Figure:
    """The figure `plot_independence` saves; same arguments."""
    values, positions, num_rows = scored_only(scores, at_least=3)
    result = independence(scores, max_lag)
    name, unit = shortened(name, 32), shortened(unit, 24)
    figure = new_figure(height=3.6)
    headline(figure, _title(result))
    drift, correlation = figure.subplots(1, 2, width_ratios=[3, 2])
    low, high = axis_span(values)
    _draw_drift(drift, values, positions, result, (low, high))
    label_axis(drift.yaxis, name, unit)
    _draw_acf(correlation, result)
    left_out = outside(values, low, high)
    if num_rows > len(values):
        left_out.append(f"Not scored: {rows(num_rows - len(values))}.")
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
    axes.set_xlabel("position in processing order")
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
        return f"No sign of dependence on order: {found}"
    drifts = result.r_squared >= MAX_R_SQUARED
    return f"{'Scores drift' if drifts else 'Scores depend on earlier ones'}: {found}"
