"""YAML, read as something that somebody else wrote: text, numbers, lists and mappings of a sensible size, or one clear refusal."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from hf_datasel.errors import BadRecipe, shown


LARGEST_FILE = 16 << 20  # bytes
MOST_VALUES, MOST_LEVELS = 100_000, 40
LARGEST_NUMBER = 2**63  # of a whole number; torch, numpy and Arrow take none beyond


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, which takes the last of two equal keys without a word: this one refuses them."""

    def compose_mapping_node(self, anchor: Any) -> Any:
        node = super().compose_mapping_node(anchor)
        seen = set()
        # Here, and not where values are made: there, a mapping that merges another (`<<`) may hold the other's keys already.
        for key, _ in node.value:
            name = (key.tag, key.value) if isinstance(key, yaml.ScalarNode) else None
            if name in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {shown(key.value)} is there twice", key.start_mark
                )
            seen |= {name} - {None}
        return node


def read_file(path: Path) -> Any:
    """What a YAML file holds.

    Raises:
        BadRecipe: there is no such file, it is too large, or no YAML.
    """
    if not os.path.exists(path):
        raise BadRecipe(f"`recipe` {str(path)!r} does not exist, expected a YAML file.")
    # A pipe would be waited for, and a device read for ever.
    if not os.path.isfile(path) or os.path.getsize(path) > LARGEST_FILE:
        raise BadRecipe(f"`recipe` {str(path)!r} is no file of up to {LARGEST_FILE >> 20} MiB, expected a YAML file.")
    try:
        return parsed(path.read_text(encoding="utf-8"), f"`recipe` {str(path)!r}")
    except OSError as error:
        raise BadRecipe(f"`recipe` {str(path)!r} cannot be read ({error.strerror}), expected a YAML file.") from error
    except UnicodeDecodeError as error:
        raise BadRecipe(f"`recipe` {str(path)!r} is not YAML: {error}. Save it as UTF-8.") from error


def parsed(text: str, what: str) -> Any:
    """The value of a YAML text.

    Args:
        text: YAML.
        what: begins the message of an error.

    Raises:
        BadRecipe: it is no YAML, or holds what no recipe needs (see `not_plain`).

    Example:
        >>> parsed("[1, two, null]", "`--set`")
        [1, 'two', None]
    """
    try:
        value = yaml.load(text, _Loader)  # noqa: S506 (a safe loader)
    except RecursionError as error:
        raise BadRecipe(f"{what} is nested too deep, expected at most {MOST_LEVELS} levels.") from error
    except (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
        # Of a tag or a date that does not fit, PyYAML raises whatever Python does.
        raise BadRecipe(f"{what} is not YAML: {error}") from error
    fault = not_plain(value)
    if fault is not None:
        raise BadRecipe(f"{what}: {fault}")
    return value


def not_plain(value: Any) -> str | None:
    """What makes a value unfit for a recipe, or None: text, numbers, lists and mappings are fit, as many as a file can mean.

    Aliases make a few lines stand for more values than memory holds, or for a list within itself.

    Example:
        >>> not_plain({"fraction": 0.2, "since": {2024: "x"}})
        '`since` has the key 2024, expected text. Put it in quotes.'
    """
    for number, (place, part, levels) in enumerate(_parts(value)):
        if number >= MOST_VALUES or levels >= MOST_LEVELS:
            return (
                f"`{place[:100]}` lies among more than {MOST_VALUES} values or {MOST_LEVELS} levels, expected fewer. Look for an alias (`*name`) that "
                f"multiplies what it stands for."
            )
        fault = _fault(part)
        if fault is not None:
            return f"`{place[:100] or 'recipe'}` {fault}"
    return None


def _parts(value: Any) -> Iterator[tuple[str, Any, int]]:
    """Every value with its dotted place and its level, outer ones first."""
    waiting = [("", value, 0)]
    while waiting:
        place, part, level = waiting.pop()
        yield place, part, level
        if isinstance(part, dict):
            waiting += [(f"{place}.{key}".lstrip("."), its, level + 1) for key, its in part.items()]
        elif isinstance(part, list | tuple):
            waiting += [(f"{place}[{number}]", its, level + 1) for number, its in enumerate(part)]


def _fault(part: Any) -> str | None:
    if isinstance(part, dict):
        odd = [key for key in part if not isinstance(key, str) or _unwritable(key)]
        return f"has the key {shown(odd[0])}, expected text. Put it in quotes." if odd else None
    if isinstance(part, str):
        return f"is {shown(part)}, expected text that can be written as UTF-8." if _unwritable(part) else None
    if isinstance(part, int) and abs(part) >= LARGEST_NUMBER:
        return "is a whole number of more than 63 bits, expected a smaller one."
    if part is None or isinstance(part, int | float | list | tuple):
        return None
    return f"is {shown(part)}, a {type(part).__name__}, expected text, a number, a list or a mapping. Put it in quotes if it is text."


def _unwritable(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False
