"""A metric against training samples: one line for each arm, and where it is as good as its baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hf_datasel.errors import DataselError
from hf_datasel.reports.convergence import Curve, best_of, mean_curve, samples_to_reach
from hf_datasel.reports.plots.composition import COLOURS
from hf_datasel.reports.plots.style import FAINT, INK, grid, headline, house_style, label_axis, new_figure, save
from hf_datasel.reports.plots.wording import shortened


if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Lines are thin: the yellow of the palette would not be seen.
LINES = tuple(colour for colour in COLOURS if colour != "#F0E442")
DASHES = ("-", (0, (5, 2)))


def plot_convergence(
    curves: Mapping[str, Sequence[Curve]],
    path: str | Path,
    baseline: str,
    metric: str = "held-out loss",
    unit: str = "nats per token",
    lower_is_better: bool = True,
) -> Path:
    """Draw each arm's mean curve with the range of its seeds to a PNG of 1600 x 1000 pixels; a dot marks the peak match.

    Args:
        curves: by arm, one curve of (training samples, metric) for each seed.
        path: the PNG to write.
        baseline: the arm whose best value is the reference.
        metric, unit: of the axis.
        lower_is_better: direction of the metric; True for a loss.

    Returns:
        `path`.

    Raises:
        DataselError: there is no baseline, or no point after the start.
        MissingExtra: matplotlib is not installed.

    Source: after Figure 1 of https://huggingface.co/papers/2603.12478; the range of seeds is ours.

    Example:
        >>> from tempfile import mkdtemp
        >>> curves = {"Temp+": [[(0, 5.0), (10, 2.0)]], "full": [[(0, 5.0), (100, 3.0)]]}
        >>> plot_convergence(curves, f"{mkdtemp()}/convergence.png", "full").name
        'convergence.png'
    """
    return save(figure_convergence(curves, baseline, metric, unit, lower_is_better), path)


@house_style()
def figure_convergence(
    curves: Mapping[str, Sequence[Curve]],
    baseline: str,
    metric: str = "held-out loss",
    unit: str = "nats per token",
    lower_is_better: bool = True,
) -> Figure:
    """The figure `plot_convergence` saves; same arguments."""
    if baseline not in curves:
        raise DataselError(f"`baseline` is {baseline!r}, expected one of {list(curves)}.")
    if not any(samples > 0 for its in curves.values() for curve in its for samples, _ in curve):
        raise DataselError("`curves` has no point after the start, expected at least one.")
    reference, needed = best_of(mean_curve(curves[baseline]), lower_is_better)
    earliest: tuple[float, str] | None = None
    figure = new_figure(height=5.0)
    axes = figure.add_subplot()
    axes.set_xscale("log")
    axes.axhline(reference, color=INK, linewidth=1.0, linestyle=(0, (1, 2)))
    for place, (arm, its) in enumerate(curves.items()):
        _draw(axes, arm, its, place)
        met = samples_to_reach(mean_curve(its), reference, lower_is_better)
        if met and arm != baseline:
            earliest = min(earliest or (met, arm), (met, arm))
            axes.plot(met, reference, "o", color=LINES[place % len(LINES)], markersize=8, zorder=4)
    _whole_ticks(axes)
    axes.set_xlabel("training samples")
    label_axis(axes.yaxis, shortened(metric, 32), shortened(unit, 24))
    grid(axes, "both")
    figure.legend(loc="outside lower left", ncols=4, frameon=False, fontsize=8.5, columnspacing=1)
    headline(figure, _finding(earliest, needed, shortened(baseline, 20), metric))
    axes.set_title(
        f"Dotted: the best of {shortened(baseline, 24)}. A dot: where an arm is as good. Bands: all seeds.",
        loc="left", fontsize=10, color=FAINT,
    )  # fmt: skip
    return figure


def _finding(earliest: tuple[float, str] | None, needed: float, baseline: str, metric: str) -> str:
    """The arm that first is as good as the baseline at its best, and after how many samples."""
    if earliest is None:
        return f"No arm gets to the best {shortened(metric, 24)} of {baseline}"
    samples, arm = earliest
    at_best = f"{shortened(arm, 20)} matches the best of {baseline} after {samples:,.0f} samples"
    return f"{at_best}, not {needed:,.0f}" if round(samples) != round(needed) else at_best


def _draw(axes: Axes, arm: str, curves: Sequence[Curve], place: int) -> None:
    after = np.array([[point for point in curve if point[0] > 0] for curve in curves], dtype=np.float64)
    if not after.size:
        return
    samples, values = after[0, :, 0], after[:, :, 1]
    look: dict[str, Any] = {"color": LINES[place % len(LINES)]}
    dashes = DASHES[place // len(LINES) % len(DASHES)]
    axes.plot(
        samples, values.mean(axis=0), linewidth=2, linestyle=dashes, marker=".", label=shortened(arm, 19), **look
    )
    axes.fill_between(samples, values.min(axis=0), values.max(axis=0), alpha=0.14, linewidth=0, **look)


def _whole_ticks(axes: Axes) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
