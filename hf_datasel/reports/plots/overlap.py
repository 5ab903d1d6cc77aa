"""How far selections share their rows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hf_datasel.errors import DataselError
from hf_datasel.reports.plots.style import INK, KEPT, headline, house_style, new_figure, save
from hf_datasel.reports.plots.wording import shortened


if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_overlap(overlap: Mapping[str, Mapping[str, float]], path: str | Path) -> Path:
    """Draw a matrix of Jaccard indices to a PNG 1600 pixels wide.

    Args:
        overlap: by arm and arm, from 0 (no row in common) to 1 (the same rows).
        path: the PNG to write.

    Returns:
        `path`.

    Raises:
        DataselError: there is no arm, or an index is missing or out of range.
        MissingExtra: matplotlib is not installed.

    Example:
        >>> from tempfile import mkdtemp
        >>> plot_overlap({"a": {"a": 1.0, "b": 0.2}, "b": {"a": 0.2, "b": 1.0}}, f"{mkdtemp()}/overlap.png").name
        'overlap.png'
    """
    return save(figure_overlap(overlap), path)


@house_style()
def figure_overlap(overlap: Mapping[str, Mapping[str, float]]) -> Figure:
    """The figure `plot_overlap` saves; same arguments."""
    from matplotlib.colors import LinearSegmentedColormap

    names = list(overlap)
    try:
        values = np.array([[overlap[one][other] for other in names] for one in names], dtype=np.float64)
    except KeyError as error:
        raise DataselError(f"`overlap` has no index for {error}, expected one for each two of {names}.") from error
    if not names or not ((values >= 0) & (values <= 1)).all():
        raise DataselError(f"`overlap` is {values.tolist()}, expected at least one arm and indices from 0 to 1.")
    figure = new_figure(height=1.6 + 0.5 * len(names))
    axes = figure.add_subplot()
    axes.imshow(values, cmap=LinearSegmentedColormap.from_list("kept", ["white", KEPT]), vmin=0, vmax=1, aspect="auto")
    for row, column in np.ndindex(values.shape):
        colour = "white" if values[row, column] > 0.55 else INK
        axes.text(column, row, f"{values[row, column]:.2f}", ha="center", va="center", color=colour)
    axes.set_xticks(range(len(names)), [shortened(name, 13) for name in names], rotation=30, ha="right")
    axes.set_yticks(range(len(names)), [shortened(name, 24) for name in names])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    headline(figure, "How far the arms share their rows (Jaccard index)")
    return figure
