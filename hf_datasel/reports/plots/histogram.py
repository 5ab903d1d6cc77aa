"""Histogram of scores with the selection threshold: what was kept, what was dropped, what would do harm."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hf_datasel.contracts import Scores
from hf_datasel.errors import DataselError
from hf_datasel.reports.plots.style import (
    DROPPED,
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
from hf_datasel.reports.plots.wording import number, outside, percent, rows, shortened
from hf_datasel.reports.scales import Scale, scale_of
from hf_datasel.reports.scored import ScoreColumn, scored_only


if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Mask = npt.NDArray[np.bool_]


def plot_histogram(
    scores: ScoreColumn,
    path: str | Path,
    threshold: float | None = None,
    as_loss_change: bool = False,
    kept: npt.ArrayLike | None = None,
    name: str = "utility",
    scale: Scale | None = None,
) -> Path:
    """Draw the distribution of scores to a PNG of 1600 x 800 pixels.

    Where tails are heavy the axis ends at the 0.5th and 99.5th percentile, and the figure says how many rows lie
    beyond.

    Args:
        scores: shape (N,), higher means keep; NaN where a row was not scored.
        path: the PNG to write.
        threshold: lowest kept score, `selection.threshold`. Without it and `kept` nothing is shaded as dropped.
        as_loss_change: show the negated scores, L_new - L_base, lower is better, as the paper's figure does. For
            display only: `threshold` stays in the unit of the scores.
        kept: which rows were kept, booleans of shape (N,), `selection.mask`. By default those that reach the
            threshold, which is wrong where a rule cut through equal scores, or ranks within groups.
        name: of the score, for title and axis.
        scale: its unit, and whether scores below 0 do harm: their share is then stated. By default what is known of `name`.

    Returns:
        `path`.

    Raises:
        DataselError: no row has a score, some are infinite, or `kept` has another length.
        MissingExtra: matplotlib is not installed.

    Source: Fig. 4 of OST (https://huggingface.co/papers/2605.07488). It plots the opposite sign of the paper's own
        Eq. 2; the default here is Eq. 2, and `as_loss_change` gives the figure.

    Example:
        >>> from tempfile import mkdtemp
        >>> plot_histogram([0.3, -0.1, 0.2, None], f"{mkdtemp()}/scores.png", threshold=0.2).name
        'scores.png'
    """
    return save(figure_histogram(scores, threshold, as_loss_change, kept, name, scale), path)


@house_style()
def figure_histogram(
    scores: ScoreColumn,
    threshold: float | None = None,
    as_loss_change: bool = False,
    kept: npt.ArrayLike | None = None,
    name: str = "utility",
    scale: Scale | None = None,
) -> Figure:
    """The figure `plot_histogram` saves; same arguments."""
    values, positions, num_rows = scored_only(scores)
    mask = _kept(values, positions, num_rows, threshold, kept)
    scale = scale or scale_of(name)
    toxic_below = 0.0 if scale.toxic_below_zero else None
    low, high = _span(values, threshold, toxic_below)
    edges = bin_edges(values, low, high, anchor=threshold if threshold is not None else toxic_below)
    sign = -1 if as_loss_change else 1
    name, unit = shortened(name, 32), shortened(scale.unit, 24)
    shown = f"loss change (\u2212{name})" if as_loss_change else name

    figure = new_figure(height=4.0)
    axes = figure.add_subplot()
    _draw_bars(axes, values, edges, mask, sign)
    for where, color in ((toxic_below, TOXIC), (threshold, INK)):
        if where is not None and edges[0] <= where <= edges[-1]:
            axes.axvline(sign * where, color=color, linewidth=1.2, linestyle=(0, (4, 2)))
    ends = sorted((sign * float(edges[0]), sign * float(edges[-1])))
    axes.set_xlim(*ends)
    whole_numbers(axes.yaxis)
    axes.set_ylabel("rows")
    grid(axes)
    axes.tick_params(axis="x", length=3)
    label_axis(axes.xaxis, shown, unit, f"{'lower' if as_loss_change else 'higher'} is better")
    headline(figure, _title(values, mask, sign, shown, unit))
    if mask is not None or toxic_below is not None:
        notes(axes, _notes(values, mask, threshold, toxic_below, sign))
    left_out = outside(sign * values, *ends)
    if num_rows > len(values):
        left_out.append(f"Not scored: {rows(num_rows - len(values))}.")
    footnote(figure, left_out)
    return figure


def bin_edges(values: Scores, low: float, high: float, anchor: float | None = None) -> Scores:
    """Edges of equal bins that cover `low` to `high`, shape (bins + 1,); one of them is exactly `anchor`.

    The width is Freedman and Diaconis's, held between 9 and 80 bins. With the threshold on an edge no bar is partly
    kept.

    Example:
        >>> bin_edges(np.array([0.0, 1.8]), 0.0, 1.8, anchor=1.0).round(3).tolist()[-5:]
        [1.0, 1.2, 1.4, 1.6, 1.8]
    """
    if high - low <= max(1e-12 * max(abs(low), abs(high)), 1e-200):
        # Closer than an axis can tell apart; matplotlib would widen it, and leave the bars too thin to see.
        reach = abs(low) / 10 or 0.5
        low, high = low - reach, high + reach
    quarter, three_quarters = np.percentile(values, [25, 75])
    width = 2 * (three_quarters - quarter) / len(values) ** (1 / 3)
    bins = min(80, max(9, round((high - low) / width))) if width > 0 else 9
    width = (high - low) / bins
    anchor = anchor if anchor is not None and low <= anchor <= high else low
    # The tolerance saves a bin of rounding error at either end; the ends are then put where they must be.
    before, after = np.ceil((anchor - low) / width - 1e-9), np.ceil((high - anchor) / width - 1e-9)
    edges: Scores = anchor + width * np.arange(-before, after + 1)
    edges[0], edges[-1] = min(edges[0], low), max(edges[-1], high)
    return edges


def _kept(
    values: Scores, positions: Any, num_rows: int, threshold: float | None, kept: npt.ArrayLike | None
) -> Mask | None:
    """Which of the M scored rows were kept; None where nothing was selected."""
    if kept is None:
        return None if threshold is None else values >= threshold
    mask: Mask = np.asarray(kept, dtype=bool)
    if mask.shape != (num_rows,):
        raise DataselError(
            f"`kept` has the shape {mask.shape}, expected ({num_rows},): one boolean per row of `scores`. Pass "
            f"`selection.mask`."
        )
    scored: Mask = mask[positions]
    return scored


def _span(values: Scores, threshold: float | None, toxic_below: float | None) -> tuple[float, float]:
    """Ends of the axis; the threshold and the toxic limit are shown wherever there are scores on both their sides."""
    low, high = axis_span(values)
    marks = [mark for mark in (threshold, toxic_below) if mark is not None and values.min() <= mark <= values.max()]
    return min([low, *marks]), max([high, *marks])


def _draw_bars(axes: Axes, values: Scores, edges: Scores, mask: Mask | None, sign: int) -> None:
    mask = np.ones(len(values), dtype=bool) if mask is None else mask
    # Counted before the sign is turned: a bin includes its lower edge only, and the threshold itself is kept.
    kept, dropped = (np.histogram(part, edges)[0] for part in (values[mask], values[~mask]))
    look: dict[str, Any] = {"width": np.diff(edges), "edgecolor": "white", "linewidth": 0.4}
    centres = sign * (edges[:-1] + edges[1:]) / 2
    axes.bar(centres, dropped, color=DROPPED, label="dropped", **look)
    axes.bar(centres, kept, bottom=dropped, color=KEPT, label="kept", **look)
    axes.set_ylim(0, 1.08 * (kept + dropped).max())


def _title(values: Scores, mask: Mask | None, sign: int, shown: str, unit: str) -> str:
    if mask is None:
        return f"Median {shown} of {rows(len(values))}: {number(sign * np.median(values))} {unit}".rstrip()
    if not mask.any():
        return f"None of {rows(len(values))} kept"
    share, lowest = percent(int(mask.sum()), len(values)), values[mask].min()
    passed_over = int((values[~mask] > lowest).sum())
    if passed_over:
        # A rule with groups or constraints draws no one line through the scores.
        how = "lie below the highest" if sign < 0 else "score above the lowest"
        return f"{share} of rows kept, not simply the best: {passed_over:,} dropped rows {how} kept"
    return f"{share} of rows kept: {shown} of at {'most' if sign < 0 else 'least'} {number(sign * lowest)} {unit}".rstrip()


def _notes(
    values: Scores, mask: Mask | None, threshold: float | None, toxic_below: float | None, sign: int
) -> list[tuple[str, str, str]]:
    pieces = []
    if mask is not None:
        num_kept = int(mask.sum())
        pieces += [("■", KEPT, f"{num_kept:,} kept"), ("■", DROPPED, f"{len(values) - num_kept:,} dropped")]
    if threshold is not None:
        pieces.append(("┆", INK, f"lowest kept {number(sign * threshold)}"))
    if toxic_below is not None:
        num_toxic = int((values < toxic_below).sum())
        side = f"{'above' if sign < 0 else 'below'} {number(sign * toxic_below)}"
        pieces.append(("┆", TOXIC, f"{num_toxic:,} toxic, {side} ({percent(num_toxic, len(values))})"))
    return pieces
