"""Numbers, counts and other people's texts, as figures print them."""

from __future__ import annotations

import unicodedata

from hf_datasel.contracts import Scores


def outside(values: Scores, low: float, high: float) -> list[str]:
    """Says how many of M values an axis from `low` to `high` does not show; nothing where it shows all.

    Example:
        >>> import numpy as np
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
    """Text with its line breaks and every character that has a shape; all others show as their escapes.

    That includes marks that turn the direction of writing, which would show a row in another order than it has.

    Example:
        >>> printable("costs $5\\tand\\x00")
        'costs $5    and\\\\x00'
    """
    text = text.replace("\r\n", "\n").expandtabs(4)
    return "".join(repr(char)[1:-1] if _has_no_shape(char) else char for char in text)


def _has_no_shape(char: str) -> bool:
    turns = unicodedata.bidirectional(char) in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
    return char != "\n" and (turns or unicodedata.category(char) in ("Cc", "Cs", "Co", "Cn"))


def shortened(text: str, limit: int) -> str:
    """One line of at most `limit` characters.

    Example:
        >>> shortened("top 20 %\\nof the pool", 12)
        'top 20 % of…'
    """
    line = " ".join(printable(text).split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"
