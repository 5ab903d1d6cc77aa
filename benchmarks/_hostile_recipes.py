"""Hostile recipes and command lines."""

from __future__ import annotations

import functools
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from benchmarks._hostile import TEXTS, Cases, Try, bomb, hostile, mutated
from hf_datasel.recipe import load_recipe
from hf_datasel.recipe.loading import check_recipe


RECIPES = Path(__file__).parents[1] / "recipes"
TEXT_FILES: tuple[bytes, ...] = (
    b"", b"\0", b"\xff\xfe\x00", b"\x80abc", b"pool: \xed\xa0\x80", b"&a [*a]", b"pool: &a {path: *a}", b"a: &a [*a, *a]",
    b"[" * 10_000, b"[" * 10_000 + b"]" * 10_000, b"{a: " * 10_000, b"- " * 10_000, b"? " * 10_000, b"!!python/object/apply:os.system [id]",
    b"pool: !!python/name:os.system", b"!!binary x", b"!!int x", b"!!float x", b"!!bool x", b"!!timestamp x", b"2024-99-99",
    b"a: 2024-13-45", b"a: " + b"9" * 5000, b"!!set {a, b}", b"!!omap [a: 1]", b"!!pairs [a: 1]", b"? [a, b]\n: 1", b"? {a: 1}\n: 1",
    b"1: 2\n3: 4", b"2026-01-01: x", b"null: 1", b".nan: 1", b"pool: 1\npool: 2", b"<<: 1", b"<<: [1]", b"pool: {<<: *x}", b"%YAML 9.9\n---\na: b",
    b"--- a\n--- b", b"a: b: c", b"\ta: 1", b"a: 'b", b"x: !<tag:yaml.org,2002:str> 1", b"a: |\n" + b" x" * 500_000, b"@", b"`", b"%",
    b"'" + b"A" * 1_000_000 + b"'", b"a: \"\\ud800\"", b"a: \"\\U99999999\"", b"a: \"\\x0\"", b"*a", b"&a", b"# only a remark",
    "\ufeffpool: 1".encode(), "pool: \u2028".encode(), b"pool: {path: !!binary aGVsbG8=}\nscore: {scorers: []}\nselect: {Full: {}}",
)  # fmt: skip
BOMB = "\n".join(
    ["a0: &a0 [lol, lol]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 40)), "select: *a39"]
)


@functools.cache
def recipes() -> dict[str, dict[str, Any]]:
    """The shipped ones, by name."""
    return {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(RECIPES.glob("*.yaml"))}


def small_world(folder: Path) -> Path:
    """The files that recipes name, with a few rows each."""
    for path in RECIPES.rglob("*"):
        place = folder / path.relative_to(RECIPES)
        if path.is_dir():
            place.mkdir(parents=True, exist_ok=True)
        elif path.suffix == ".jsonl":
            lines = path.read_text(encoding="utf-8").splitlines()
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text("\n".join(lines[:12]) + "\n", encoding="utf-8")
        elif path.suffix != ".yaml":
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)
    (folder / "fifo.jsonl").unlink(missing_ok=True)
    os.mkfifo(folder / "fifo.jsonl")
    (folder / "folder.jsonl").mkdir(exist_ok=True)
    (folder / "loop.jsonl").symlink_to(folder / "loop.jsonl")
    check_recipe(recipes()["quickstart"], folder)  # what it imports takes longer than an input may
    return folder


def recipe_values(count: int, draw: random.Random, folder: Path) -> Iterator[tuple[Any, Try]]:
    """Shipped recipes with one or two parts made hostile."""
    small_world(folder)
    known = recipes()
    for number in range(count):
        name = sorted(known)[number % len(known)]
        values = mutated(draw, known[name])
        if isinstance(values, dict) and values and draw.random() < 0.3:
            values = _again(draw, values)
        if isinstance(values, dict):
            yield values, functools.partial(_checked, values, folder)


def _again(draw: random.Random, values: dict[Any, Any]) -> dict[Any, Any]:
    """Another part too, of a section that is still as it was."""
    key = draw.choice(sorted(values, key=str))
    return {**values, key: bomb() if draw.random() < 0.1 else hostile(draw)}


def _checked(values: dict[str, Any], folder: Path) -> None:
    check_recipe(values, folder)


def recipe_files(count: int, draw: random.Random, folder: Path) -> Iterator[tuple[Any, Try]]:
    """Files of bytes: broken YAML, YAML that is too deep, shipped recipes with bytes changed."""
    small_world(folder)
    path = folder / "recipe.yaml"
    for content in TEXT_FILES:
        yield content, functools.partial(_loaded, path, content)
    yield BOMB, functools.partial(_within_memory, folder, BOMB)
    sources = [path.read_bytes() for path in sorted(RECIPES.glob("*.yaml"))]
    for _ in range(count):
        content = bytearray(draw.choice(sources))
        for _ in range(draw.randrange(1, 6)):
            at = draw.randrange(len(content))
            what = draw.random()
            if what < 0.4:
                content[at] = draw.randrange(256)
            elif what < 0.7:
                content[at:at] = draw.choice((b"\0", b"[", b"{", b"&a ", b"*a", b"\t", b"!!python/object:x ", b"\n", b": ", b"- ", b"'", b"\xff"))  # fmt: skip
            else:
                del content[at : at + draw.randrange(40)]
        yield bytes(content), functools.partial(_loaded, path, bytes(content))


def _loaded(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    load_recipe(path)


def _within_memory(folder: Path, text: str) -> str | None:
    """A process of its own, with 3 GiB of addresses: what grows beyond is ended there."""
    (folder / "bomb.yaml").write_text(text, encoding="utf-8")
    program = (
        "import sys, resource; from hf_datasel.recipe import load_recipe; from hf_datasel.errors import DataselError\n"
        "resource.setrlimit(resource.RLIMIT_DATA, (3 << 30,) * 2)\n"
        "try: load_recipe(sys.argv[1])\n"
        "except DataselError as error: print(len(str(error)))\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", program, str(folder / "bomb.yaml")], capture_output=True, text=True, timeout=60, check=False
    )  # fmt: skip
    if done.returncode:
        return f"exit code {done.returncode}: {done.stderr[-300:]}"
    said = [int(line) for line in done.stdout.split()]
    return None if said[0] < 20_000 else f"a message of {said[0]} characters"


def command_lines(count: int, draw: random.Random, folder: Path) -> Iterator[tuple[Any, Try]]:
    """Arguments of `datasel`, most with `--set`; nothing is scored."""
    small_world(folder)
    known = recipes()
    for name, values in known.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    places = [
        ".".join(map(str, place))
        for values in known.values()
        for place in _dotted(values, ())
    ]  # fmt: skip
    for _ in range(count):
        recipe = str(folder / f"{draw.choice(sorted(known))}.yaml")
        what = draw.random()
        if what < 0.6:
            value = draw.choice((draw.choice(TEXTS), "[", "{a: ", "&a [*a]", "!!python/name:os.system", "[" * 3000, "2024-99-99", "- 1"))  # fmt: skip
            place = draw.choice(places) if draw.random() < 0.8 else draw.choice(TEXTS)
            arguments = [draw.choice(("run", "score", "select", "train")), recipe, "--set", f"{place}={value}"]
        elif what < 0.75:
            arguments = [draw.choice(("run", "compare")), draw.choice((recipe, *TEXTS))]
        elif what < 0.85:
            arguments = ["report", draw.choice((*TEXTS, str(folder), recipe))]
        else:
            arguments = [draw.choice(("run", "compare", *TEXTS)), recipe, *(draw.choice((*TEXTS, "--processes", "--runner", "--points")) for _ in range(2))]  # fmt: skip
        if arguments[0] != "report":
            arguments.append("--dry-run")
        yield arguments, functools.partial(_commanded, arguments)


def _dotted(value: Any, place: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    if isinstance(value, dict):
        for key, part in value.items():
            yield (*place, key)
            yield from _dotted(part, (*place, key))


def _commanded(arguments: list[str]) -> str | None:
    from hf_datasel.cli import main

    try:
        code: Any = main(arguments)
    except SystemExit as ended:  # argparse says how it is used
        code = ended.code
    sys.stdout.flush()
    return None if code in (0, 1, 2) else f"exit code {code}"


PARSERS: dict[str, Cases] = {
    "recipe values": recipe_values,
    "recipe files": recipe_files,
    "command line": command_lines,
}
