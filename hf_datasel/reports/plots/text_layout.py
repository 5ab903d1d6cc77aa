"""Breaks text into lines that fit a width, measured in the font they are drawn in."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable


Measure = Callable[[str], float]
"""Width of one line of text, in inches."""


def measure_at(size: float, dots_per_inch: float, weight: str = "normal") -> Measure:
    """How wide text of `size` points is in the current font, in inches, when drawn at that resolution."""
    from matplotlib.backends.backend_agg import RendererAgg
    from matplotlib.font_manager import FontProperties

    renderer = RendererAgg(1, 1, dots_per_inch)
    font = FontProperties(size=size, weight=weight)

    def width(text: str) -> float:
        with warnings.catch_warnings():
            # Said once, when the figure is saved.
            warnings.filterwarnings("ignore", message="Glyph .* missing")
            return float(renderer.get_text_width_height_descent(text, font, ismath=False)[0]) / dots_per_inch

    return width


def fitted(text: str, width: float, max_lines: int, measure: Measure) -> list[str]:
    """Lines of at most `width` inches; line breaks of the text are kept, what is over `max_lines` ends in "…".

    Args:
        text: to break; words too long for a line are cut.
        width: in inches.
        max_lines: at least 1.
        measure: width of a line.

    Example:
        >>> fitted("one two three\\n\\nfour", 8, 3, len)
        ['one two', 'three', '…']
        >>> fitted("unbreakable", 4, 9, len)
        ['unbr', 'eaka', 'ble']
    """
    lines: list[str] = []
    for paragraph in text.strip().split("\n"):
        lines += _wrapped(paragraph.rstrip(), width, max_lines + 1 - len(lines), measure)
        if len(lines) > max_lines:
            return [*lines[: max_lines - 1], _cut(lines[max_lines - 1], width, measure)]
    return lines


def _wrapped(paragraph: str, width: float, max_lines: int, measure: Measure) -> list[str]:
    """At most `max_lines` lines; what is over is left out."""
    lines = [""]
    for word in re.findall(r"\s*\S+", paragraph):
        if measure(lines[-1] + word) <= width:
            lines[-1] += word
            continue
        rest = word.lstrip() if lines[-1] else word
        lines = lines if not lines[-1] else [*lines, ""]
        while rest:
            length = _longest(rest, width, measure)
            lines[-1], rest = rest[:length], rest[length:]
            if rest:
                lines.append("")
            if len(lines) > max_lines:
                return lines[:max_lines]
        if len(lines) > max_lines:
            return lines[:max_lines]
    return lines


def _longest(word: str, width: float, measure: Measure) -> int:
    """How many characters of a word fit a line: at least one, or nothing would ever be drawn."""
    low, high = 1, len(word)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if measure(word[:middle]) <= width else (low, middle - 1)
    return low


def _cut(line: str, width: float, measure: Measure) -> str:
    """The line with " …" at its end, shortened until that fits: by whole words, unless there is only one."""
    while line and measure(line + " …") > width:
        line = (line.rpartition(" ")[0] or line[:-1]).rstrip()
    return f"{line} …" if line else "…"
