"""What an arm costs, selection and training together, against how good it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hf_datasel.errors import DataselError
from hf_datasel.reports.plots.convergence import LINES
from hf_datasel.reports.plots.style import FAINT, grid, headline, house_style, label_axis, new_figure, save
from hf_datasel.reports.plots.wording import shortened


if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_pareto(
    arms: Mapping[str, tuple[float, Sequence[float]]],
    path: str | Path,
    cost: str = "FLOPs of selection and training",
    metric: str = "held-out loss",
    unit: str = "nats per token",
    lower_is_better: bool = True,
) -> Path:
    """Draw each arm's mean metric and range of seeds over its cost to a PNG of 1600 x 960 pixels.

    A line joins the arms that no other arm beats at the same or a lower cost.

    Args:
        arms: by name, the cost (above 0) and the metric of each seed.
        path: the PNG to write.
        cost: what the cost is, with its unit.
        metric, unit: of the other axis.
        lower_is_better: direction of the metric; True for a loss.

    Returns:
        `path`.

    Raises:
        DataselError: there is no arm, or a cost is not above 0.
        MissingExtra: matplotlib is not installed.

    Source: ours; the papers give cost and result in tables (https://huggingface.co/papers/2605.07488, Table 3).

    Example:
        >>> from tempfile import mkdtemp
        >>> arms = {"best 20 %": (2e9, [3.1, 3.0]), "full": (1e10, [3.2, 3.1])}
        >>> plot_pareto(arms, f"{mkdtemp()}/pareto.png").name
        'pareto.png'
    """
    return save(figure_pareto(arms, cost, metric, unit, lower_is_better), path)


@house_style()
def figure_pareto(
    arms: Mapping[str, tuple[float, Sequence[float]]],
    cost: str = "FLOPs of selection and training",
    metric: str = "held-out loss",
    unit: str = "nats per token",
    lower_is_better: bool = True,
) -> Figure:
    """The figure `plot_pareto` saves; same arguments."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    if not arms or not all(its > 0 for its, _ in arms.values()):
        raise DataselError(f"`arms` costs {[its for its, _ in arms.values()]}, expected at least one, all above 0.")
    means = {name: sum(values) / len(values) for name, (_, values) in arms.items()}
    best = unbeaten({name: (its, means[name]) for name, (its, _) in arms.items()}, lower_is_better)
    figure = new_figure(height=4.8)
    axes = figure.add_subplot()
    axes.set_xscale("log")
    axes.plot([arms[name][0] for name in best], [means[name] for name in best], color=FAINT, linewidth=1, zorder=1)
    for place, (name, (its, values)) in enumerate(arms.items()):
        colour = LINES[place % len(LINES)]
        axes.plot([its, its], [min(values), max(values)], color=colour, linewidth=2, alpha=0.5, zorder=2)
        face = colour if name in best else "white"
        axes.plot(
            its, means[name], "o", color=colour, markerfacecolor=face, markersize=8, linestyle="none", zorder=3,
            label=shortened(name, 24),
        )  # fmt: skip
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0e}".replace("e+", "e")))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(cost)
    label_axis(axes.yaxis, shortened(metric, 32), shortened(unit, 24))
    grid(axes, "both")
    figure.legend(loc="outside lower left", ncols=4, frameon=False, fontsize=8.5, columnspacing=1)
    headline(figure, f"Unbeaten at their cost: {shortened(', '.join(best), 70)}")
    direction = "Lower" if lower_is_better else "Higher"
    axes.set_title(
        f"{direction} is better. A full dot: unbeaten. Bars: all seeds.", loc="left", fontsize=10, color=FAINT
    )
    return figure


def unbeaten(arms: Mapping[str, tuple[float, float]], lower_is_better: bool = True) -> list[str]:
    """Arms that no other is as good as at a lower cost, or better than at the same, the cheapest first.

    Args:
        arms: by name, cost and metric.
        lower_is_better: direction of the metric.

    Example:
        >>> unbeaten({"a": (1.0, 3.0), "b": (2.0, 3.0), "c": (3.0, 2.0), "d": (3.0, 2.5)})
        ['a', 'c']
    """
    sign = 1.0 if lower_is_better else -1.0
    found: list[str] = []
    for name in sorted(arms, key=lambda name: (arms[name][0], sign * arms[name][1])):
        if not found or sign * arms[name][1] < sign * arms[found[-1]][1]:
            found.append(name)
    return found
