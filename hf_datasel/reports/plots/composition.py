"""What selections are made of: a bar of shares for the pool and for each selection."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from hf_datasel.errors import DataselError
from hf_datasel.reports.plots.style import FAINT, INK, headline, house_style, new_figure, save
from hf_datasel.reports.plots.wording import shortened


if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's palette, told apart in every common colour blindness, dark and light by turns.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#8C96A0", "#1F2933")
DARK = ("#0072B2", "#009E73", "#D55E00", "#1F2933")
NARROW = 0.015  # a share below this has no room for its number: it stands beside the bar, with its name


def plot_composition(shares: Mapping[str, Mapping[str, float]], path: str | Path, of: str) -> Path:
    """Draw the shares of each value of a column, a bar for each selection, to a PNG 1600 pixels wide.

    Args:
        shares: `{selection: {value: share}}`, in the order to draw, the pool among them; shares of one bar sum to 1.
        path: the PNG to write.
        of: what the values are, for the title.

    Returns:
        `path`.

    Raises:
        DataselError: there is nothing to draw, or more values than can be told apart.
        MissingExtra: matplotlib is not installed.

    Source: ours.

    Example:
        >>> from tempfile import mkdtemp
        >>> bars = {"pool": {"image": 0.8, "video": 0.2}, "Temp+": {"image": 0.5, "video": 0.5}}
        >>> plot_composition(bars, f"{mkdtemp()}/modality.png", "modality").name
        'modality.png'
    """
    return save(figure_composition(shares, of), path)


@house_style()
def figure_composition(shares: Mapping[str, Mapping[str, float]], of: str) -> Figure:
    """The figure `plot_composition` saves; same arguments."""
    values = list(dict.fromkeys(value for bar in shares.values() for value in bar))
    if not 1 <= len(values) <= len(COLOURS):
        raise DataselError(f"`shares` has {len(values)} values, expected 1 to {len(COLOURS)}. Join the rare ones.")
    rows = -(-len(values) // 4)
    figure = new_figure(height=1.2 + 0.42 * len(shares) + 0.25 * rows)
    axes = figure.add_subplot()
    for place, bar in enumerate(shares.values()):
        left, beside = 0.0, []
        for value, colour in zip(values, COLOURS, strict=False):
            share = bar.get(value, 0.0)
            axes.barh(place, share, left=left, height=0.72, color=colour, edgecolor="white", linewidth=0.8)
            if share >= NARROW:
                shade = "white" if colour in DARK else INK
                axes.text(
                    left + share / 2, place, f"{100 * share:.0f}", ha="center", va="center", color=shade, fontsize=9
                )
            elif share:
                beside.append(f"{shortened(value, 14)} {100 * share:.1f}")
            left += share
        if beside:
            text = shortened(", ".join(beside), 30)
            axes.annotate(text, (1.01, place), annotation_clip=False, va="center", fontsize=8, color=FAINT)
    axes.set_yticks(range(len(shares)), [shortened(name, 28) for name in shares])
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    for value, colour in zip(values, COLOURS, strict=False):
        axes.barh(0, 0, color=colour, label=shortened(value, 19))
    figure.legend(loc="outside lower left", ncols=4, frameon=False, fontsize=8.5, handlelength=1, columnspacing=1)
    headline(figure, f"Shares of {shortened(of, 40)}, % of the rows of each selection")
    return figure
