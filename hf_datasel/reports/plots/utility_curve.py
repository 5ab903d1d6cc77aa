"""Summed utility over the share of rows kept, with the peak and the knee."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hf_datasel.reports.plots.style import (
    DROPPED,
    FAINT,
    INK,
    KEPT,
    TOXIC,
    footnote,
    grid,
    headline,
    house_style,
    label_axis,
    new_figure,
    notes,
    save,
)
from hf_datasel.reports.plots.wording import percent, rows, shortened
from hf_datasel.reports.scales import Scale, scale_of
from hf_datasel.reports.utility_curve import UtilityCurve


if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Labels may lie on lines of the grid, and on the dashed one of the chosen fraction.
_BACKGROUND = {"facecolor": "white", "edgecolor": "none", "pad": 1.0}


def plot_utility_curve(
    curve: UtilityCurve,
    path: str | Path,
    chosen_fraction: float | None = None,
    name: str = "utility",
    scale: Scale | None = None,
    chosen_sum: float | None = None,
) -> Path:
    """Draw how much utility the best rows hold together to a PNG of 1600 x 800 pixels.

    Args:
        curve: from `utility_curve`.
        path: the PNG to write.
        chosen_fraction: the share of rows a rule kept, marked where given.
        name: of the score, for the axis.
        scale: its unit. By default what is known of `name`.
        chosen_sum: what the rows kept add up to. By default the curve's own value, right where a rule keeps the best.

    Returns:
        `path`.

    Raises:
        MissingExtra: matplotlib is not installed.

    Source: ours; see `reports.utility_curve` for what the curve leaves out.

    Example:
        >>> from tempfile import mkdtemp
        >>> from hf_datasel.reports import utility_curve
        >>> plot_utility_curve(utility_curve([0.5, 0.1, -0.2]), f"{mkdtemp()}/curve.png", chosen_fraction=0.34).name
        'curve.png'
    """
    return save(figure_utility_curve(curve, chosen_fraction, name, scale, chosen_sum), path)


@house_style()
def figure_utility_curve(
    curve: UtilityCurve,
    chosen_fraction: float | None = None,
    name: str = "utility",
    scale: Scale | None = None,
    chosen_sum: float | None = None,
) -> Figure:
    """The figure `plot_utility_curve` saves; same arguments."""
    name, unit = shortened(name, 32), shortened((scale or scale_of(name)).unit, 24)
    figure = new_figure(height=4.0)
    axes = figure.add_subplot()
    share, summed = np.append(0.0, 100 * curve.share), np.append(0.0, curve.summed_utility)
    axes.axhline(0, color=DROPPED, linewidth=0.8)
    axes.plot(share, summed, color=KEPT, linewidth=2.2, marker="o" if len(share) < 30 else None, markersize=4)
    axes.set_xlim(0, 100)
    chosen = None
    if chosen_fraction is not None:
        on_curve = float(np.interp(100 * chosen_fraction, share, summed))
        chosen = (100 * chosen_fraction, on_curve if chosen_sum is None else chosen_sum)
    low, high = (float(end([*summed, *chosen[1:]] if chosen else summed)) for end in (min, max))
    room = (high - low) or 1.0
    axes.set_ylim(low - 0.06 * room, high + 0.16 * room)
    _mark(axes, curve, chosen)
    axes.set_xlabel("best rows kept, % of the pool")
    label_axis(axes.yaxis, f"summed {name}", unit)
    grid(axes)
    axes.tick_params(axis="x", length=3)
    headline(figure, _title(curve, name))
    notes(
        axes, [("", FAINT, "First-order sums: they ignore that rows repeat each other. A suggestion, not an optimum.")]
    )
    if curve.num_not_scored:
        footnote(figure, [f"Not scored: {rows(curve.num_not_scored)} of {curve.num_rows:,}, in no sum."])
    return figure


def _mark(axes: Axes, curve: UtilityCurve, chosen: tuple[float, float] | None) -> None:
    """Point out peak, knee and choice: above the curve, beside it and on the axis, so that labels do not meet."""
    if chosen is not None:
        where, height = chosen
        axes.plot(
            [where, where], [axes.get_ylim()[0], height], color=INK, linewidth=1.2, linestyle=(0, (4, 2)), zorder=1.5
        )
        axes.plot(
            where,
            height,
            "o",
            markersize=8,
            color="white",
            markeredgecolor=INK,
            label="chosen",
            zorder=3,
            clip_on=False,
        )
        side: dict[str, Any] = {"xytext": (-6, 5), "ha": "right"} if where > 80 else {"xytext": (6, 5), "ha": "left"}
        foot: dict[str, Any] = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
        on_curve = np.interp(where, 100 * curve.share, curve.summed_utility)
        remark = "" if np.isclose(height, on_curve) or height > on_curve else ", not simply the best"
        axes.annotate(f"chosen: {where:.3g} %{remark}", (where, 0), bbox=_BACKGROUND, zorder=4, **foot, **side)
    peak = curve.suggested_fraction
    if peak > 0:
        side = {"ha": "center"} if 0.1 < peak < 0.9 else {"ha": "left" if peak < 0.5 else "right"}
        _point(axes, curve, "peak", peak, xytext=(0, 9), **side)
    if curve.knee_fraction is not None:
        falls = curve.summed_utility[-1] < 0
        # The curve rises from the left: there is room above it, unless the axis or the peak's label is in the way.
        free = not falls and curve.knee_fraction > 0.16 and peak - curve.knee_fraction > 0.08
        side = {"xytext": (9, 4), "va": "bottom"} if falls else {"xytext": (9, -13), "va": "top"}
        side = {"xytext": (-8, 4), "va": "bottom", "ha": "right"} if free else {**side, "ha": "left"}
        _point(axes, curve, "knee", curve.knee_fraction, **side)


def _point(axes: Axes, curve: UtilityCurve, label: str, fraction: float, **placed: Any) -> None:
    count = round(fraction * curve.num_rows)
    at = (100 * fraction, float(curve.summed_utility[count - 1]))
    color = TOXIC if label == "peak" else INK
    axes.plot(*at, marker="o", markersize=8, color=color, label=label, zorder=3, clip_on=False)
    text = f"{label}: {percent(count, curve.num_rows)}"
    axes.annotate(text, at, textcoords="offset points", color=color, bbox=_BACKGROUND, zorder=4, **placed)


def _title(curve: UtilityCurve, name: str) -> str:
    count = round(curve.suggested_fraction * curve.num_rows)
    if not count:
        return f"No row has a positive {name}: every row kept lowers the sum"
    if count == len(curve.share):
        return f"Every scored row has a positive {name}: the sum never falls"
    return f"Summed {name} peaks with {percent(count, curve.num_rows)} of the pool: {rows(count)} are above 0"
