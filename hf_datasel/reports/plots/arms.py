"""Results of training arms: every seed a dot, every arm a range."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hf_datasel.contracts import Scores
from hf_datasel.errors import DataselError
from hf_datasel.reports.plots.style import (
    FAINT,
    INK,
    KEPT,
    footnote,
    grid,
    headline,
    house_style,
    label_axis,
    new_figure,
    notes,
    save,
)
from hf_datasel.reports.plots.wording import number, shortened


if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class _Arm:
    name: str
    values: Scores

    @property
    def mean(self) -> float:
        return float(self.values.mean())


def plot_arms(
    results: Sequence[Mapping[str, Any]],
    path: str | Path,
    metric: str = "answer accuracy",
    unit: str = "",
    lower_is_better: bool = False,
    before: float | None = None,
) -> Path:
    """Draw a metric per training arm, all seeds shown, to a PNG 1600 pixels wide; the best mean is on top.

    Args:
        results: one mapping per run with `arm`, `seed` and `value`. A value of NaN or None is a failed run: counted,
            not drawn.
        path: the PNG to write.
        metric: its name, for title and axis.
        unit: of the values, for the axis, where the name does not say it.
        lower_is_better: direction of the metric; True for a loss.
        before: value of the metric before any training, which has no seeds: a dashed line, or words where it lies so far
            off that it would squeeze the arms into one spot.

    Returns:
        `path`.

    Raises:
        DataselError: no run has a value, or a result lacks one of its three keys.
        MissingExtra: matplotlib is not installed.

    Source: ours. A mean alone hides that arms often differ by less than their seeds do.

    Example:
        >>> from tempfile import mkdtemp
        >>> runs = [{"arm": "top 20 %", "seed": 0, "value": 0.41}, {"arm": "full", "seed": 0, "value": 0.38}]
        >>> plot_arms(runs, f"{mkdtemp()}/arms.png").name
        'arms.png'
    """
    return save(figure_arms(results, metric, unit, lower_is_better, before), path)


@house_style()
def figure_arms(
    results: Sequence[Mapping[str, Any]],
    metric: str = "answer accuracy",
    unit: str = "",
    lower_is_better: bool = False,
    before: float | None = None,
) -> Figure:
    """The figure `plot_arms` saves; same arguments."""
    arms, num_failed = _arms(results, lower_is_better)
    metric, unit = shortened(metric, 40), shortened(unit, 24)
    figure = new_figure(height=1.5 + 0.42 * len(arms))
    axes = figure.add_subplot()
    for place, arm in enumerate(arms):
        _draw_arm(axes, place, arm, best=place == 0)
    axes.set_yticks(range(len(arms)), [shortened(arm.name, 32) for arm in arms])
    axes.set_ylim(len(arms) - 0.4, -0.6)
    everything = np.concatenate([arm.values for arm in arms])
    in_sight = before is not None and _in_sight(before, everything)
    if before is not None and in_sight:
        axes.axvline(before, color=INK, linewidth=1.2, linestyle=(0, (4, 2)), zorder=1)
        everything = np.append(everything, before)
    room = 0.06 * float(np.ptp(everything)) or abs(float(everything[0])) / 10 or 0.5
    axes.set_xlim(everything.min() - room, everything.max() + room)
    label_axis(axes.xaxis, metric, unit, f"{'lower' if lower_is_better else 'higher'} is better")
    grid(axes, "x")
    headline(figure, _title(arms, metric, lower_is_better))
    legend = [("●", FAINT, "one seed"), ("┃", FAINT, "mean of seeds")]
    if before is not None:
        legend.append(("┆" if in_sight else "", INK, _against(before, arms, lower_is_better, in_sight)))
    notes(axes, legend)
    if num_failed:
        footnote(figure, [f"No value from {num_failed} of {len(results)} runs."])
    return figure


def _arms(results: Sequence[Mapping[str, Any]], lower_is_better: bool) -> tuple[list[_Arm], int]:
    """Arms with at least one value, the best mean first, equal ones by name; and how many runs have none."""
    values: dict[str, list[float]] = {}
    for position, result in enumerate(results):
        missing = {"arm", "seed", "value"} - set(result)
        if missing:
            raise DataselError(
                f"`results` number {position} lacks {sorted(missing)}, expected the keys 'arm', 'seed' and 'value'. "
                f"Give one mapping per run."
            )
        value = math.nan if result["value"] is None else float(result["value"])
        if math.isfinite(value):
            values.setdefault(str(result["arm"]), []).append(value)
    if not values:
        raise DataselError(f"`results` has {len(results)} runs and none with a value, expected at least one.")
    arms = [_Arm(name, np.array(runs)) for name, runs in values.items()]
    arms.sort(key=lambda arm: (arm.mean if lower_is_better else -arm.mean, arm.name))
    return arms, len(results) - sum(len(arm.values) for arm in arms)


def _in_sight(before: float, values: Scores) -> bool:
    """Whether the axis may reach to `before`: the arms keep at least half of it."""
    low, high = float(values.min()), float(values.max())
    return low <= before <= high or max(low - before, before - high) <= high - low


def _against(before: float, arms: list[_Arm], lower_is_better: bool, in_sight: bool) -> str:
    """The value before training in words, and how many arms end up no better."""
    where = "" if in_sight else f", off the axis to the {'left' if before < arms[0].values.min() else 'right'}"
    worse = sum((arm.mean >= before) if lower_is_better else (arm.mean <= before) for arm in arms)
    found = f"; {worse} arm{'s' * (worse != 1)} no better" if worse else ""
    return f"before training {_rounded(before)}{where}{found}"


def _draw_arm(axes: Axes, place: int, arm: _Arm, best: bool) -> None:
    color = KEPT if best else FAINT
    axes.plot([arm.values.min(), arm.values.max()], [place, place], color=color, linewidth=2, alpha=0.45)
    axes.plot(
        arm.values, np.full(len(arm.values), place), linestyle="none", marker="o", markersize=6, color=color,
        markeredgecolor="white", markeredgewidth=0.8, label=arm.name, zorder=3,
    )  # fmt: skip
    axes.plot(arm.mean, place, marker="|", markersize=17, markeredgewidth=2, color=color, zorder=4)
    seeds = "1 seed" if len(arm.values) == 1 else f"{len(arm.values)} seeds"
    axes.annotate(
        f"{_rounded(arm.mean)}  ({seeds})", (1.015, place), xycoords=("axes fraction", "data"), va="center",
        color=KEPT if best else INK, fontsize=9, fontweight="bold" if best else "normal",
    )  # fmt: skip


def _rounded(mean: float) -> str:
    """Three significant digits with their zeros, so that means line up: 0.500, 2.00, but 1234."""
    return number(mean) if abs(mean) >= 100 else f"{mean:#.3g}".replace("-", "\u2212")


def _title(arms: list[_Arm], metric: str, lower_is_better: bool) -> str:
    best, others = arms[0], arms[1:]
    if not others:
        return f"{shortened(best.name, 32)}: mean {metric} {_rounded(best.mean)}"
    if best.mean == others[0].mean:
        return f"No single best arm: the best mean {metric} is {_rounded(best.mean)}, more than once"
    found = f"{shortened(best.name, 24)} has the {'lowest' if lower_is_better else 'highest'} mean {metric}"
    if min(len(arm.values) for arm in arms) == 1:
        return f"{found}; too few seeds to tell"
    rest = np.concatenate([arm.values for arm in others])
    ahead = best.values.max() < rest.min() if lower_is_better else best.values.min() > rest.max()
    return f"{found}, {'with every seed' if ahead else 'within the spread of seeds'}"
