"""What a learner of indicator weights found: the weights, what each indicator alone gains, and the trade-off of two."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hf_datasel.errors import DataselError
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
    new_figure,
    notes,
    save,
)
from hf_datasel.reports.plots.wording import number, shortened


if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LINES = (("found", KEPT, "-"), ("uniform", INK, (0, (4, 2))), ("random", TOXIC, (0, (1, 2))))
UNITS = {"exact_match": "share of answers right"}  # of any other signal: nats per token


def plot_indicator_weights(report: Mapping[str, Any], path: str | Path) -> Path:
    """Draw a report of `IndicatorWeights` to a PNG 1600 pixels wide.

    Above, each indicator's weight beside what the best rows by it alone gain as worked examples, with lines for the weights
    found, uniform ones and a row taken blindly. Below, the objective over the trade-off of two indicators; the dot is what
    was found.

    Args:
        report: `LearnedWeights.report`, or `WeightedSum.learned`.
        path: the PNG to write.

    Returns:
        `path`.

    Raises:
        DataselError: the report is not one of `IndicatorWeights`.
        MissingExtra: matplotlib is not installed.

    Source: ours. The trade-off of semantic diversity and logical complexity is what
        https://huggingface.co/papers/2605.09665 reports (abstract).

    Example:
        >>> from tempfile import mkdtemp
        >>> report = {"weights": {"length": 0.5, "steps": 0.5}, "found": {}, "kept": "uniform: all gains are equal"}
        >>> plot_indicator_weights(report, f"{mkdtemp()}/indicator_weights.png").name
        'indicator_weights.png'
    """
    return save(figure_indicator_weights(report), path)


@house_style()
def figure_indicator_weights(report: Mapping[str, Any]) -> Figure:
    """The figure `plot_indicator_weights` saves; same arguments."""
    absent = {"weights", "found", "kept"} - set(report)
    if absent:
        raise DataselError(f"`report` lacks {sorted(absent)}, expected what `IndicatorWeights.learn` reports.")
    names, surface = list(report["weights"]), report.get("surface") or {}
    above = 1.2 + 0.34 * len(names)
    below = (2.9 if len(surface["parts"]) > 1 else 1.7) if surface else 0.0
    figure = new_figure(height=above + below)
    layout = figure.add_gridspec(2 if surface else 1, 2, height_ratios=(above, below)[: 2 if surface else 1])
    left, right = figure.add_subplot(layout[0, 0]), figure.add_subplot(layout[0, 1])
    _weights(left, report, names)
    _alone(right, report.get("objective") or {}, names, _unit(report))
    if surface:
        _surface(figure.add_subplot(layout[1, :]), report, surface)
    headline(figure, _title(report))
    footnote(figure, _intervals(report))
    return figure


def _weights(axes: Axes, report: Mapping[str, Any], names: list[str]) -> None:
    places = np.arange(len(names))
    axes.axvline(0, color=DROPPED, linewidth=0.8)
    axes.barh(places, [report["weights"][name] for name in names], height=0.55, color=KEPT, label="kept")
    learned = report["kept"] == "learned"
    if report["found"] and not learned:
        found = [report["found"][name] for name in names]
        axes.plot(found, places, "D", color=TOXIC, markersize=6, label="found", zorder=3, clip_on=False)
        notes(axes, [("■", KEPT, "kept"), ("◆", TOXIC, "found")], at_edge=False)
    _rows(axes, names, "weight")


def _alone(axes: Axes, objective: Mapping[str, float], names: list[str], unit: str) -> None:
    known = [(place, objective[name]) for place, name in enumerate(names) if name in objective]
    if known:
        axes.plot([value for _, value in known], [place for place, _ in known], "o", color=FAINT, label="alone")
        marks = [(name, color, style) for name, color, style in LINES if name in objective]
        for name, color, style in marks:
            axes.axvline(objective[name], color=color, linewidth=1.4, linestyle=style, label=name)
        shown = {"-": "━", (0, (4, 2)): "╌", (0, (1, 2)): "┈"}
        notes(
            axes,
            [*((shown[style], color, name) for name, color, style in marks), ("●", FAINT, "alone")],
            at_edge=False,
        )
    _rows(axes, names, f"gain of the best rows, {unit}")
    axes.set_yticklabels([])


def _rows(axes: Axes, names: list[str], label: str) -> None:
    axes.set_yticks(range(len(names)), [shortened(name, 28) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlabel(label)
    axes.locator_params(axis="x", nbins=5)
    grid(axes, "x")


def _surface(axes: Axes, report: Mapping[str, Any], surface: Mapping[str, Any]) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    first, second = (shortened(name, 24) for name in surface["pair"])
    table, parts = np.array(surface["objective"]), surface["parts"]
    colours = LinearSegmentedColormap.from_list("gain", ["#FFFFFF", "#BFD9EA", KEPT, "#00304F"])
    low, high = (-0.05, 1.05) if len(parts) > 1 else (0.95, 1.05)
    drawn = axes.imshow(table, origin="lower", aspect="auto", cmap=colours, extent=(-0.05, 1.05, low, high))
    axes.figure.colorbar(drawn, ax=axes, label=_unit(report), pad=0.02).ax.locator_params(nbins=5)
    at = _place(report["found"], surface["pair"])
    if at is not None:
        axes.plot(*at, "o", color=TOXIC, markeredgecolor="white", markersize=9, label="found", clip_on=False, zorder=3)
    notes(axes, [("", FAINT, "gain of the best rows over a trade-off"), ("●", TOXIC, "found")], at_edge=False)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], [f"{first}\nalone", "¼", "½", "¾", f"{second}\nalone"])
    axes.set_yticks([0, 0.5, 1] if len(parts) > 1 else [])
    if len(parts) > 1:
        axes.set_ylabel("weight of the two;\nrest as found")
    axes.tick_params(length=0)


def _place(found: Mapping[str, float], pair: list[str]) -> tuple[float, float] | None:
    """Where the weights found lie on the surface: the second's share of the two, and what they weigh of all."""
    one, other = (found.get(name, 0.0) for name in pair)
    if min(found.values(), default=-1.0) < 0:
        return None  # of weights with signs, parts do not add up
    return ((other / (one + other) if one + other > 0 else 0.5), one + other)


def _unit(report: Mapping[str, Any]) -> str:
    return UNITS.get(report.get("signal", ""), "nats per token")


def _title(report: Mapping[str, Any]) -> str:
    objective = report.get("objective") or {}
    if not objective:
        return f"Weights are {shortened(report['kept'], 70)}"
    gains = f"{number(objective['found'])} {_unit(report)}, uniform {number(objective['uniform'])}"
    kept = "Learned weights are kept" if report["kept"] == "learned" else "Uniform weights are kept"
    return f"{kept}: by those found, the best rows gain {gains}"


def _intervals(report: Mapping[str, Any]) -> list[str]:
    words = {"held_out_interval": "held-out rows", "interval": "the rows searched"}
    found = [
        f"{number(report[name][0], 2)} to {number(report[name][1], 2)} on {what}"
        for name, what in words.items()
        if name in report
    ]
    return [f"Gain over uniform, 95 % of resamples: {'; '.join(found)}."] if found else []
