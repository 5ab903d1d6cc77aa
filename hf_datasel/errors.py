"""Every error a user of this package can meet, by name.

A message puts the argument in backticks, then the value seen, what was expected, and what to do.
"""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable


LONGEST_LINE = 2000  # characters


class DataselError(Exception):
    """Base of all errors this package raises on purpose.

    Lines are clipped in their middle: a value may be a whole book, and what was expected stands behind it.

    Example:
        >>> len(str(DataselError("`text` is " + "A" * 1_000_000 + ", expected less.")))
        2000
    """

    def __str__(self) -> str:
        return "\n".join(_clipped(line, LONGEST_LINE) for line in super().__str__().split("\n"))


class BadRow(DataselError):
    """A row, or a dataset's columns, cannot be read as training data."""


class BadRecipe(DataselError):
    """A recipe names something that does not exist, or gives it a wrong value. Lists every problem at once."""


class BadBudget(DataselError):
    """A rule asks for something its scored dataset cannot give."""


class OverlapError(DataselError):
    """Anchors also occur in the pool or in an evaluation set."""


class NoStep(DataselError):
    """A simulated step changed no weight, so its utility would be rounding noise."""


class PublishError(DataselError):
    """Nothing was published, unless the message says that it may have been."""


class MissingExtra(DataselError, ImportError):
    """An optional dependency is needed and not installed."""


def shown(value: object) -> str:
    """A value as a message shows it, however long, deep or many times within itself.

    Example:
        >>> shown("A" * 1000)[-6:], shown([[[[[["x"]]]]]]), shown({"b": 1, "a": 2})
        ("AAAAA'", '[[[[[[...]]]]]]', "{'b': 1, 'a': 2}")
    """
    try:
        return _clipped(_SHORT.repr(value), 300)
    except (ValueError, RecursionError):  # a whole number of more than 4300 digits has no text
        return f"a very large {type(value).__name__}"


def close_to(name: object, known: Iterable[str]) -> str:
    """What a message adds where a name was perhaps misspelt; empty where none of the known ones is like it.

    Example:
        >>> close_to("wrter", ["text", "writer"]), close_to(5, ["text"])
        (' Did you mean `writer`?', '')
    """
    # Comparing takes the square of a name's length.
    found = difflib.get_close_matches(name, list(known), n=1) if isinstance(name, str) and len(name) < 200 else []
    return f" Did you mean `{found[0]}`?" if found else ""


class _Short(reprlib.Repr):
    """Python's own, with keys in the order given."""

    def repr_dict(self, x: dict[object, object], level: int) -> str:
        if level <= 0 and x:
            return "{...}"
        parts = [f"{self.repr1(key, level - 1)}: {self.repr1(its, level - 1)}" for key, its in list(x.items())[:10]]
        return "{" + ", ".join(parts + ["..."] * (len(x) > 10)) + "}"


_SHORT = _Short()
_SHORT.maxlevel, _SHORT.maxlist, _SHORT.maxtuple, _SHORT.maxset = 5, 10, 10, 10
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 300


def _clipped(text: str, length: int) -> str:
    if len(text) <= length:
        return text
    return f"{text[: length * 3 // 5]} … {text[len(text) - (length - length * 3 // 5 - 3) :]}"
