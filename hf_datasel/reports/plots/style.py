"""One look for every figure: size, colours, fonts, and text drawn exactly as it is written."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hf_datasel.contracts import Scores
from hf_datasel.errors import MissingExtra


if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


WIDTH = 8.0
"""Inches. At 200 dots per inch a figure is 1600 pixels wide, and 10 points read well when it is shown at 800."""

# Blue and vermillion of Okabe and Ito's palette, told apart in every common colour blindness, in print and in grey.
KEPT, TOXIC = "#0072B2", "#C44E00"
DROPPED, INK, FAINT, PALE = "#A9B2BA", "#1F2933", "#65717C", "#E4E8EB"

_SETTINGS = {
    # Answers are full of dollar signs; without this "$5 and $6" is typeset as a formula, or fails to be.
    "text.parse_math": False,
    "text.usetex": False,
    "axes.formatter.use_mathtext": False,
    "axes.unicode_minus": True,
    "font.size": 10,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
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
    "savefig.dpi": 200,
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


def new_figure(height: float, layout: str | None = "constrained") -> Figure:
    """An empty figure `WIDTH` wide and `height` inches high, apart from pyplot's state and its windows."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), layout=layout)
    if layout == "constrained":
        figure.get_layout_engine().set(w_pad=0.12, h_pad=0.1)
    return figure


def save(figure: Figure, path: str | Path) -> Path:
    """Write a figure as PNG; the same figure gives the same bytes. Missing folders are made."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with house_style():
        figure.savefig(path, format="png", metadata={"Software": None})
    return path


def grid(axes: Axes, direction: Any = "y") -> None:
    """Faint lines to read values by, along one direction."""
    axes.grid(True, axis=direction, linewidth=0.8)
    axes.tick_params(length=0)


def titles(axes: Axes, title: str, notes: list[tuple[str, str, str]] | None = None) -> None:
    """A bold title over a line of notes, each in its colour: they serve as the legend.

    Args:
        axes: where to.
        title: what the figure shows, or finds.
        notes: (mark, its colour, text) from left to right.
    """
    from matplotlib.offsetbox import AnchoredOffsetbox, HPacker, TextArea

    # Eighty bold letters of 12 points fill the width.
    size = min(12.0, 12.0 * 80 / max(1, len(title)))
    axes.set_title(title, pad=27 if notes else 10, fontsize=size)
    pieces = []
    for mark, color, text in notes or []:
        parts = [
            TextArea(mark, textprops={"color": color, "fontsize": 10}),
            TextArea(text, textprops={"color": INK if color == DROPPED else color, "fontsize": 10}),
        ]
        pieces.append(HPacker(children=parts, pad=0, sep=4, align="baseline"))
    if pieces:
        line = HPacker(children=pieces, pad=0, sep=16, align="baseline")
        above = {"bbox_to_anchor": (0, 1.015), "bbox_transform": axes.transAxes}
        box = AnchoredOffsetbox("lower left", child=line, frameon=False, pad=0, borderpad=0, **above)
        box.set_in_layout(False)
        axes.add_artist(box)


def footnote(figure: Figure, notes: list[str]) -> None:
    """Small print under a figure: what it leaves out."""
    if notes:
        figure.supxlabel("  ".join(notes), x=0.012, ha="left", fontsize=8.5, color=FAINT)


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


def outside(values: Scores, low: float, high: float) -> list[str]:
    """Says how many of M values an axis from `low` to `high` does not show; nothing where it shows all.

    Example:
        >>> outside(np.array([-9.0, 0.0, 1.0, 9.0]), 0.0, 5.0)
        ['Beyond the axis: 1 row below, 1 above.']
    """
    below, above = int((values < low).sum()), int((values > high).sum())
    if not below and not above:
        return []
    return [f"Beyond the axis: {rows(below)} below, {above:,} above."]


def rows(count: int) -> str:
    """A number of rows in words.

    Example:
        >>> rows(1), rows(351157)
        ('1 row', '351,157 rows')
    """
    return "1 row" if count == 1 else f"{count:,} rows"


def number(value: float, digits: int = 3) -> str:
    """A number to `digits` significant digits, with a real minus.

    Example:
        >>> number(-0.0028349), number(-0.0)
        ('−0.00283', '0')
    """
    return f"{value + 0.0:.{digits}g}".replace("-", "\u2212")


def percent(part: int, whole: int) -> str:
    """A share of rows; never 0 % or 100 % unless it is.

    Example:
        >>> percent(60, 300), percent(1, 50000), percent(0, 5), percent(49999, 50000)
        ('20 %', '< 0.1 %', '0 %', '> 99.9 %')
    """
    share = 100 * part / whole
    if 0 < share < 0.1:
        return "< 0.1 %"
    if 99.9 < share < 100:
        return "> 99.9 %"
    return f"{share:.1f}".removesuffix(".0") + " %"


def printable(text: str) -> str:
    """Text with its line breaks and every character that has a shape; control characters show as their escapes.

    Example:
        >>> printable("costs $5\\tand\\x00")
        'costs $5    and\\\\x00'
    """
    text = text.replace("\r\n", "\n").expandtabs(4)
    return "".join(
        char if char == "\n" or unicodedata.category(char) not in ("Cc", "Cs", "Co", "Cn") else repr(char)[1:-1]
        for char in text
    )


def shortened(text: str, limit: int) -> str:
    """One line of at most `limit` characters.

    Example:
        >>> shortened("top 20 %\\nof the pool", 12)
        'top 20 % of…'
    """
    line = " ".join(printable(text).split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"
