"""One look for every figure: size, colours, fonts, and text drawn exactly as it is written."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hf_datasel.contracts import Scores
from hf_datasel.errors import MissingExtra
from hf_datasel.reports.plots.text_layout import measure_at


if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

logger = logging.getLogger(__name__)

WIDTH, DOTS_PER_INCH = 8.0, 200
"""Inches, and what makes them 1600 pixels; shown at 800, letters of 10 points still read well."""

EDGE = 0.015
"""Where titles and small print begin, as a share of the width."""

# Blue and vermillion of Okabe and Ito's palette, told apart in every common colour blindness, in print and in grey.
KEPT, TOXIC = "#0072B2", "#C44E00"
DROPPED, BAND, PALE, INK, FAINT = "#A9B2BA", "#D3D9DE", "#E4E8EB", "#1F2933", "#65717C"

_SETTINGS = {
    # Answers are full of dollar signs; without this "$5 and $6" is typeset as a formula, or fails to be.
    "text.parse_math": False,
    "text.usetex": False,
    "axes.formatter.use_mathtext": False,
    "axes.unicode_minus": True,
    "font.size": 10,
    "axes.labelsize": 10,
    "axes.labelcolor": INK,
    "axes.edgecolor": DROPPED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.axisbelow": True,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "ytick.left": False,
    "grid.color": PALE,
    "figure.dpi": 100,
    "savefig.dpi": DOTS_PER_INCH,
}

# DejaVu Sans comes with matplotlib; the others are asked only for characters it lacks, where they are installed.
_FALLBACK_FONTS = ("Noto Sans CJK SC", "Noto Sans CJK JP", "Microsoft YaHei", "PingFang SC", "Noto Emoji", "Symbola")


@contextmanager
def house_style() -> Iterator[None]:
    """Draw and save in this look whatever the user's own matplotlib settings are, and leave those as they were.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    try:
        from matplotlib import font_manager, style
    except ImportError as error:
        raise MissingExtra("Plots need matplotlib. Install it with: pip install 'hf_datasel[plots]'") from error

    installed = set(font_manager.fontManager.get_font_names())
    fonts = ["DejaVu Sans", *(name for name in _FALLBACK_FONTS if name in installed)]
    with style.context(["default", _SETTINGS | {"font.family": fonts}]):
        yield


def new_figure(height: float) -> Figure:
    """An empty figure `WIDTH` wide and `height` inches high, apart from pyplot's state and its windows.

    It lays itself out so that no label is cut off.
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    return Figure(figsize=(WIDTH, height), layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1))


def save(figure: Figure, path: str | Path) -> Path:
    """Write a figure as PNG; the same figure gives the same bytes. Missing folders are made."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with house_style(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        figure.savefig(path, format="png", metadata={"Software": None})
    lacking = {str(warning.message) for warning in caught if "missing from font" in str(warning.message)}
    for warning in caught:
        if str(warning.message) not in lacking:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    if lacking:
        # One line, where matplotlib has one per character.
        logger.warning(
            "%d characters in %s have no shape in the installed fonts and show as boxes. Install a font that has "
            "them, e.g. Noto Sans CJK.", len(lacking), path.name,
        )  # fmt: skip
    return path


def grid(axes: Axes, direction: Any = "y") -> None:
    """Faint lines to read values by, along one direction."""
    axes.grid(True, axis=direction, linewidth=0.8)
    axes.tick_params(length=0)


def label_axis(axis: Axis, name: str, unit: str, remark: str = "") -> None:
    """Label an axis whose limits are set: name, unit and, where numbers are tiny or huge, their power of ten.

    Utilities are around 1e-7 at the paper's learning rate; matplotlib would set "1e-7" apart in a corner.
    """
    from matplotlib.ticker import ScalarFormatter

    low, high = axis.get_view_interval()
    size = max(abs(low), abs(high))
    power = math.floor(math.log10(size)) if size > 0 else 0
    power = 0 if -4 < power < 6 else power
    ticks = ScalarFormatter(useOffset=False)
    ticks.set_scientific(power != 0)
    ticks.set_powerlimits((power, power))
    axis.set_major_formatter(ticks)
    axis.get_offset_text().set_visible(False)
    factor = "10" + str(power).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")) + " " if power else ""
    parts = [part for part in (name, factor + unit) if part]
    # Upright figures are half as high as they are wide: a long label takes two lines there.
    upright_and_long = axis is axis.axes.yaxis and len(name + factor + unit) > 34
    axis.set_label_text((",\n" if upright_and_long else ", ").join(parts) + (f"; {remark}" if remark else ""))


def whole_numbers(axis: Axis) -> None:
    """Ticks at whole numbers only: there is no half a row."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(nbins=6, integer=True))


def headline(figure: Figure, title: str) -> None:
    """A bold title at the left edge of the figure: what it shows, or finds."""
    figure.suptitle(title, x=EDGE, ha="left", fontsize=title_size(title), fontweight="bold")


def title_size(title: str) -> float:
    """Points for a bold title: 12, or fewer where it would run off the figure."""
    room = 0.97 * WIDTH - 2 * EDGE * WIDTH
    return 12.0 * min(1.0, room / max(room / 2, measure_at(12.0, DOTS_PER_INCH, "bold")(title)))


def notes(axes: Axes, pieces: list[tuple[str, str, str]], at_edge: bool = True) -> None:
    """A line over the axes, each piece in its colour: it serves as the legend.

    Args:
        axes: over which.
        pieces: (mark, its colour, text) from left to right; an empty mark is left out.
        at_edge: begin at the left edge of the figure, under its title, and not at the axes'.
    """
    from matplotlib.offsetbox import AnchoredOffsetbox, HPacker, TextArea
    from matplotlib.transforms import blended_transform_factory

    packed: list[Any] = []
    for mark, color, text in pieces:
        # Pale colours are for areas; as letters nobody could read them.
        parts = [(mark, color), (text, INK if color in (DROPPED, BAND) else color)]
        areas: list[Any] = [
            TextArea(part, textprops={"color": shade, "fontsize": 10}) for part, shade in parts if part
        ]
        packed.append(HPacker(children=areas, pad=0, sep=4, align="baseline"))
    line = HPacker(children=packed, pad=0, sep=16, align="baseline")
    left = axes.figure.transFigure if at_edge else axes.transAxes
    box = AnchoredOffsetbox(
        "lower left", child=line, frameon=False, pad=0, borderpad=0, bbox_to_anchor=(EDGE if at_edge else 0, 1.015),
        bbox_transform=blended_transform_factory(left, axes.transAxes),
    )  # fmt: skip
    # The layout would shrink the axes by a box that reaches past them; a blank title keeps its place free instead.
    box.set_in_layout(False)
    axes.add_artist(box)
    axes.set_title(" ", pad=5)


def footnote(figure: Figure, notes: list[str]) -> None:
    """Small print under a figure: what it leaves out."""
    if notes:
        figure.supxlabel("\n".join(notes), x=EDGE, ha="left", fontsize=8.5, color=FAINT)


def axis_span(values: Scores) -> tuple[float, float]:
    """Ends of an axis for M values, of shape (M,): the 0.5th and 99.5th percentile where tails are heavy, else all.

    Heavy means that the tails would take more than a third of the axis and squeeze what is between them.

    Example:
        >>> axis_span(np.arange(1000.0))
        (0.0, 999.0)
        >>> axis_span(np.append(np.arange(1000.0), 1e6))
        (5.0, 995.0)
    """
    low, high = float(values.min()), float(values.max())
    inner_low, inner_high = (float(end) for end in np.percentile(values, [0.5, 99.5]))
    # Between equal percentiles there is nothing to look at: all but a few scores are the same.
    heavy = inner_high > inner_low and high - low > 1.5 * (inner_high - inner_low)
    return (inner_low, inner_high) if heavy else (low, high)
