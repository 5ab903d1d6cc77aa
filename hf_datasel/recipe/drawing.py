"""The plots of a run and of a study."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hf_datasel.recipe.arms import UNTRAINED
from hf_datasel.recipe.reporting import composition_plot, score_column
from hf_datasel.recipe.schema import Recipe
from hf_datasel.reports.scales import scale_of
from hf_datasel.reports.utility_curve import utility_curve


if TYPE_CHECKING:
    from datasets import Dataset

    from hf_datasel.selectors import Selection

MOST_COLOURS = 9  # of the composition's palette
NOT_ALWAYS = ("independence.png", "utility_curve.png", "arms.png", "composition-*.png", "indicator_weights.png")


def draw(
    recipe: Recipe, scored: Dataset, selections: Mapping[str, Selection], results: Mapping[str, Any], folder: Path
) -> None:
    """The plots of a run's card; those of an earlier run that this one has no use for are removed."""
    from hf_datasel.reports import plots

    for stale in (path for pattern in NOT_ALWAYS for path in folder.glob(pattern)):
        stale.unlink()
    chosen = next(iter(selections.values()))
    column = score_column(recipe)
    scale = scale_of(column, chosen.scorers)
    scores = np.asarray(scored[column][:], dtype=np.float64)
    plots.plot_histogram(
        scores, folder / "histogram.png", chosen.threshold, name=column, kept=chosen.mask, scale=scale
    )
    if results["independence"]:
        plots.plot_independence(scores, folder / "independence.png", name=column, scale=scale)
    if results["curve"]:
        total = float(np.nansum(scores[chosen.mask]))
        plots.plot_utility_curve(
            utility_curve(scores),
            folder / "utility_curve.png",
            chosen.num_kept / chosen.num_rows,
            column,
            scale,
            total,
        )
    kept, dropped = scored.select(chosen.indices), scored.select(np.flatnonzero(~chosen.mask))
    plots.plot_rows(kept, dropped, folder / "rows.png", column=column, scale=scale)
    for table in results["composition"]:
        if table["plot"]:
            draw_composition(table, folder)
    if results["weights"]:
        plots.plot_indicator_weights(results["weights"], folder / "indicator_weights.png")
    if results["trained"]:
        _draw_arms(results, folder)


def draw_composition(table: Mapping[str, Any], folder: Path) -> None:
    """A table of `reporting.composition` as bars; the rarest values are joined where the palette has no more colours."""
    from hf_datasel.reports.plots import plot_composition

    lines = sorted(table["lines"], key=lambda line: -line["shares"][0])
    room = MOST_COLOURS if len(lines) <= MOST_COLOURS else MOST_COLOURS - 1
    named, rest = lines[:room], lines[room:]
    bars = {}
    for place, arm in enumerate(table["arms"]):
        bars[arm] = {str(line["value"]): float(line["shares"][place]) for line in named}
        if rest:
            bars[arm][f"{len(rest)} others"] = float(sum(line["shares"][place] for line in rest))
    plot_composition(bars, folder / composition_plot(table), table["column"])


def _draw_arms(results: Mapping[str, Any], folder: Path) -> None:
    from hf_datasel.reports.plots import plot_arms

    points = [
        {"arm": result["arm"], "seed": result["seed"], "value": result["heldout_loss"]}
        for result in results["trained"]
        if result["arm"] != UNTRAINED
    ]
    before = next((its["heldout_loss"] for its in results["trained"] if its["arm"] == UNTRAINED), None)
    plot_arms(points, folder / "arms.png", "held-out loss", "nats per token", lower_is_better=True, before=before)
