"""Hostile input for everything that reads what others wrote, and who says whether the answer was a good one.

A parser answers well with a `DataselError`, or with a result that holds no made-up score. Any other exception, a hang and a
score that nothing in the input accounts for are crashes. Inputs are drawn from a seed: the same one, the same inputs.
"""

from __future__ import annotations

import contextlib
import datetime
import io
import logging
import random
import reprlib
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from hf_datasel.errors import DataselError


SECONDS = 60  # for one input, on a machine that has other work
CLIPPED = 2000  # characters of an input in a report

TEXTS = (
    "", " ", "\0", "a\0b", "\ud800", "\udfff\ud83d", "\u202eabc", "\ufeff", "e\u0301" * 50, "\x1b[31m", "\r\n", "\u2028",
    "../../etc/passwd", "a/../../b", "/", "/dev/zero", "/dev/stdin", "/proc/self/mem", "file:///etc/passwd", "~", ".", "..",
    "http://127.0.0.1:9/x", "s3://bucket/x", "-", "--help", "{{7*7}}", "{% for %}", "%s%n", "$HOME", "`id`", "nan", "-inf",
    "1e400", "null", "</s>", "<image>", "<|im_end|>", "\u0661\u0662", "\uff11\uff10", "0x10", "1_000", "x" * 300, "y/" * 3000,
    "A" * 1_000_000, "\U0001f0a1" * 100_000, "[" * 5000, "[0-", "(", "prompt", "text", "row_id", "__class__", "constructor",
)  # fmt: skip
NUMBERS = (
    0, -1, 1, 2**31, 2**63, -(2**63) - 1, 2**64, 10**400, 10**5000, float("nan"), float("inf"), float("-inf"), -0.0, 1e308,
    5e-324, 0.1, True, False, 1j,
)  # fmt: skip


def deep(levels: int, kind: str = "list") -> Any:
    """Containers within containers."""
    value: Any = "x"
    for _ in range(levels):
        value = [value] if kind == "list" else {"a": value}
    return value


def cyclic(kind: str = "list") -> Any:
    """A container that holds itself."""
    if kind == "list":
        value: Any = []
        value.append(value)
    else:
        value = {}
        value["a"] = value
    return value


def bomb(levels: int = 60) -> Any:
    """A few lists that stand for 2^60 values: each holds the one before it twice. Only aliases of YAML make such."""
    value: Any = ["lol"]
    for _ in range(levels):
        value = [value, value]
    return value


CONTAINERS: tuple[Callable[[], Any], ...] = (
    list, dict, lambda: [[]], lambda: [None], lambda: {"": None}, lambda: {1: 2}, lambda: {None: 1}, lambda: {"\0": "\0"},
    lambda: deep(50), lambda: deep(5000), lambda: deep(5000, "dict"), cyclic, lambda: cyclic("dict"),
    lambda: list(range(1000)), lambda: [[1], "a", None, {"b": 1.5}], lambda: {"type": "text", "text": None},
    lambda: {"bytes": b"", "path": None}, lambda: {"bytes": None, "path": "../../etc/passwd"}, lambda: [1, 2, 3],
    lambda: [{"role": "user", "content": "x"}], lambda: [{"role": None, "content": [None]}], lambda: ["a", "b"],
)  # fmt: skip
OBJECTS: tuple[Callable[[], Any], ...] = (
    lambda: b"\xff\xfe", object, set, lambda: (1, 2), lambda: datetime.date(2026, 1, 1), lambda: datetime.datetime.min,
    lambda: Path("/etc"), lambda: 3 + 4j, lambda: type, lambda: iter(()), lambda: slice(3),
)  # fmt: skip


def hostile(draw: random.Random, objects: bool = True) -> Any:
    """One value that nobody expects, plain (as YAML or JSON can give it) unless `objects`."""
    kind = draw.random()
    if kind < 0.4:
        return draw.choice(TEXTS)
    if kind < 0.6:
        return draw.choice(NUMBERS)
    if kind < 0.65:
        return None
    if kind < 0.75:
        return "".join(
            chr(draw.choice((draw.randrange(128), draw.randrange(0x110000)))) for _ in range(draw.randrange(30))
        )
    if objects and kind < 0.82:
        return draw.choice(OBJECTS)()
    return draw.choice(CONTAINERS)()


def mutated(draw: random.Random, value: Any, objects: bool = True) -> Any:
    """A copy of plain values with one part replaced, renamed, doubled or left out."""
    places = list(_places(value, ()))
    place = draw.choice(places)
    if not place:
        return hostile(draw, objects)
    copy = _copied(value)
    holder = copy
    for key in place[:-1]:
        holder = holder[key]
    what = draw.random()
    if what < 0.7:
        holder[place[-1]] = hostile(draw, objects)
    elif what < 0.8:
        holder[place[-1]] = [holder[place[-1]]]
    elif what < 0.9 and isinstance(holder, dict):
        name = hostile(draw, objects)
        holder[name if isinstance(name, str | int | float | None) else "extra"] = holder.pop(place[-1])
    else:
        del holder[place[-1]]
    return copy


def _places(value: Any, place: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    yield place
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _places(part, (*place, key))
    elif isinstance(value, list):
        for key, part in enumerate(value):
            yield from _places(part, (*place, key))


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(part) for key, part in value.items()}
    return [_copied(part) for part in value] if isinstance(value, list) else value


Try: TypeAlias = Callable[[], "str | None"]  # hands an input over; says what was made up, if anything
Cases: TypeAlias = Callable[[int, random.Random, Path], Iterator[tuple[Any, Try]]]  # inputs, how each is tried


@dataclass(frozen=True)
class Crash:
    """An input that was answered badly."""

    parser: str
    given: str
    said: str


@dataclass(frozen=True)
class Attack:
    """What came of it.

    Args:
        inputs: tried, by parser.
        refused: of these, answered with a `DataselError`.
        seconds: taken, by parser.
        crashes: what was answered badly.
    """

    inputs: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    crashes: list[Crash] = field(default_factory=list)


class Hang(BaseException):
    """An input took too long. No `Exception`, so that nobody takes it for a bad file."""


def parsers() -> dict[str, Cases]:
    """All that is attacked, by name."""
    from benchmarks import _hostile_files, _hostile_recipes, _hostile_rows, _hostile_tables

    rooms = (_hostile_recipes, _hostile_rows, _hostile_files, _hostile_tables)
    return {name: cases for room in rooms for name, cases in room.PARSERS.items()}


def attack(count: int, seed: int, only: Sequence[str] | None = None) -> Attack:
    """Try inputs on every parser.

    Args:
        count: of inputs for each parser, beside those that are always tried.
        seed: decides the inputs.
        only: names of parsers; None for all.
    """
    found = Attack()
    for name, cases in parsers().items():
        if only is not None and name not in only:
            continue
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder, _quiet():
            for given, attempt in cases(count, random.Random(f"{name} {seed}"), Path(folder)):  # noqa: S311 (no secret)
                found.inputs[name] = found.inputs.get(name, 0) + 1
                was_refused, said = outcome(attempt)
                found.refused[name] = found.refused.get(name, 0) + was_refused
                if said is not None:
                    found.crashes.append(Crash(name, shown(given), said))
        found.seconds[name] = time.monotonic() - began
    return found


def outcome(attempt: Try) -> tuple[bool, str | None]:
    """Whether an input was refused in so many words, and what was wrong with the answer."""
    try:
        with _limited():
            return False, attempt()
    except DataselError as error:
        return True, _fault_of(error)
    except Hang:
        return False, f"no answer within {SECONDS} s"
    except Exception as error:  # noqa: BLE001 (that is what is looked for)
        last = error.__traceback__
        while last is not None and last.tb_next is not None:
            last = last.tb_next
        place = f"{Path(last.tb_frame.f_code.co_filename).name}:{last.tb_lineno}" if last is not None else "?"
        return False, f"{type(error).__name__} in {place}: {str(error)[:CLIPPED]}"


def _fault_of(error: DataselError) -> str | None:
    """A refusal must be short enough to read, and name what it is about."""
    said = str(error)
    if len(said) > 20_000:
        return f"a message of {len(said)} characters: {said[:CLIPPED]}"
    return None if "`" in said else f"a message that names no argument: {said[:CLIPPED]}"


def shown(given: Any) -> str:
    """An input for a report, however large or deep."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = CLIPPED // 2
    try:
        return short.repr(given)[:CLIPPED]
    except Exception as error:  # noqa: BLE001 (a number of five thousand digits has no text)
        return f"{type(given).__name__} without a text ({type(error).__name__})"


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def late(*_: Any) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without a terminal, yet with streams that encode as one does, and nothing on standard input."""
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    streams = sys.stdin, sys.stdout, sys.stderr
    sys.stdin = io.StringIO()
    sys.stdout = io.TextIOWrapper(io.BytesIO(), "utf-8")
    sys.stderr = io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace")
    try:
        yield
    finally:
        sys.stdin, sys.stdout, sys.stderr = streams
        logging.disable(level)
