"""Hostile tables of scores, and settings of rules."""

from __future__ import annotations

import functools
import math
import random
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset, List, Value

from benchmarks._hostile import Cases, Try, hostile
from hf_datasel import selectors
from hf_datasel.errors import DataselError
from hf_datasel.selectors import select


NAN, INF = float("nan"), float("inf")
NUMBERS: tuple[list[Any], ...] = (
    [NAN], [None], [INF], [-INF], [0.0], [-0.0, 0.0], [1e308, -1e308], [5e-324], [1.0, NAN], [INF, -INF, NAN, None], [2.0, 1.0, None], [1e18, 1],
    ["a"], ["1.5"], [[1.0]], [True, False], [10**18, -(10**18)], [], [{"a": 1}], ["\0", ""],
)  # fmt: skip
VECTORS: tuple[list[Any], ...] = (
    [[1.0, 0.0], [0.0, 1.0]], [[0.0, 0.0]], [[NAN, 1.0]], [[INF, 1.0]], [None], [[]], [[1.0], [1.0, 2.0]], [[1e38, 1e38]], [[1e-45, 0.0]], [1.0], ["a"],
    [[["a"]]], [[1.0, None]], [[None, None]], [None, [1.0, 2.0]], [[1, 2]], [[True, False]], [[1e308, 1e308]], [["1", "2"]],
)  # fmt: skip
GROUPS: tuple[list[Any], ...] = (
    ["a", "b"],
    [None],
    ["", "\0"],
    [1, 2],
    [[1]],
    [NAN, 1.0],
    [{"a": 1}],
    ["x" * 100_000],
    [True],
    ["\u202e", "a"],
)
IDS: tuple[list[Any] | None, ...] = (None, ["same"], [None], [1.5], [[1]], ["\0"], [""], [7])
ROWS = 12
SETTINGS: dict[str, tuple[dict[str, Any], ...]] = {
    "AboveThreshold": ({"column": "s", "threshold": 0.5},),
    "Coincide": ({"embedding": "e", "fraction": 0.3},),
    "CoveredTopFraction": ({"column": "s", "embedding": "e", "fraction": 0.3}, {"column": "s", "embedding": "e", "fraction": 0.3, "shares": "utility", "loss": "w"}),
    "D2Pruning": ({"column": "s", "embedding": "e", "fraction": 0.3},),
    "FacilityLocation": ({"embedding": "e", "fraction": 0.3},),
    "Full": ({},),
    "GoalBuilder": ({"column": "s", "strata": ("g",), "count": 3, "unique": ("text",), "cap_by": "g", "cap": 2},),
    "ICONS": ({"columns": ("s", "w"), "fraction": 0.3, "vote_fraction": 0.2},),
    "KCenter": ({"embedding": "e", "fraction": 0.3},),
    "MiddleBand": ({"column": "s", "low": 0.2, "high": 0.7},),
    "NeighbourPenalty": ({"column": "s", "embedding": "e", "fraction": 0.3},),
    "Prototypes": ({"embedding": "e", "fraction": 0.3},),
    "Random": ({"fraction": 0.3}, {"count": 3, "balance": "g"}),
    "RepresentationFilter": ({"column": "s", "embedding": "e", "fraction": 0.3},),
    "S2L": ({"trajectory": "e", "fraction": 0.3, "clusters": 2},),
    "SemDeDup": ({"embedding": "e", "fraction": 0.3}, {"embedding": "e", "epsilon": 0.1}),
    "SoftQuotas": ({"column": "s", "group": "g", "weight": "w", "fraction": 0.3},),
    "SoftmaxSample": ({"column": "s", "fraction": 0.3}, {"column": "s", "tokens": 9, "length_column": "w"}),
    "TokenBudget": ({"column": "s", "tokens": 5, "length_column": "w"},),
    "TopCount": ({"column": "s", "count": 3},),
    "TopCountPerGroup": ({"column": "s", "group": "g", "count": 3},),
    "TopFraction": ({"column": "s", "fraction": 0.3}, {"column": "s", "fraction": 0.3, "drop_nonpositive": True}),
    "TopFractionPerGroup": ({"column": "s", "group": "g", "fraction": 0.3},),
    "UniformControl": ({"count": 3, "unique": ("text",), "cap_by": "g", "cap": 2},),
}  # fmt: skip


def table(draw: random.Random, rows: int) -> dict[str, Any]:
    """Columns of scores, weights, vectors, groups and ids, one or two of them hostile."""
    found: dict[str, Any] = {
        "text": [f"text {row}" for row in range(rows)], "s": [float(row % 5) - 1 for row in range(rows)], "w": [row % 4 + 1 for row in range(rows)],
        "e": [[math.cos(row), math.sin(row)] for row in range(rows)], "g": ["ab"[row % 2] for row in range(rows)],
    }  # fmt: skip
    kinds: dict[str, Any] = {"s": NUMBERS, "w": NUMBERS, "e": VECTORS, "g": GROUPS, "row_id": IDS}
    for name in draw.sample(sorted(kinds), draw.choice((1, 1, 2, 3))):
        values = draw.choice(kinds[name])
        found[name] = (
            None if values is None else [values[row % len(values)] if values else None for row in range(rows)]
        )
    return {name: values for name, values in found.items() if values is not None}


def tables(count: int, draw: random.Random, folder: Path) -> Iterator[tuple[Any, Try]]:
    """Every rule on tables it did not expect."""
    ready = [(name, settings) for name, kinds in SETTINGS.items() for settings in kinds]
    for number in range(count):
        name, settings = ready[number % len(ready)]
        columns = table(draw, draw.choice((0, 1, 2, ROWS, ROWS, ROWS)))
        try:
            scored = Dataset.from_dict(columns)
        except Exception:  # noqa: BLE001, S112 (Arrow's own refusal: such a table cannot be)
            continue
        if draw.random() < 0.1:
            scored = scored.remove_columns(draw.choice(scored.column_names))
        if draw.random() < 0.1 and scored.features.get("e") == List(Value("float64")):
            scored = scored.cast_column("e", List(Value("float16")))
        yield (name, columns), functools.partial(_ranked, getattr(selectors, name)(**settings), scored)


def budgets(count: int, draw: random.Random, folder: Path) -> Iterator[tuple[Any, Try]]:
    """Every rule with settings of other types and sizes, on a good table."""
    rows = range(ROWS)
    scored = Dataset.from_dict(
        {"text": [f"text {row}" for row in rows], "s": [float(row % 5) - 1 if row % 6 else NAN for row in rows], "w": [row % 4 + 1 for row in rows],
         "e": [[math.cos(row), math.sin(row)] for row in rows], "g": ["ab"[row % 2] for row in rows]}
    )  # fmt: skip
    ready = [(name, settings) for name, kinds in SETTINGS.items() for settings in kinds]
    for number in range(count):
        name, settings = ready[number % len(ready)]
        rule = getattr(selectors, name)
        changed = draw.choice([field.name for field in fields(rule)] or [""])
        given = {**settings, changed: hostile(draw)} if changed else {}
        yield (name, given), functools.partial(_built, rule, given, scored)


def _built(rule: Any, given: dict[str, Any], scored: Dataset) -> str | None:
    try:
        built = rule(**given)
    except (TypeError, ValueError) as error:  # a constructor's own, if it names the argument
        if "`" in str(error) and len(str(error)) < 20_000:
            raise DataselError(str(error)) from error
        raise
    return _ranked(built, scored)


def _ranked(rule: Any, scored: Dataset) -> str | None:
    found = select(scored, rule)
    kept = found.indices.tolist()
    if len(set(kept)) < len(kept) or not all(0 <= row < len(scored) for row in kept):
        return f"rows {kept} of {len(scored)}"
    column = getattr(rule, "column", None)
    if column is not None:
        values = np.array([NAN if value is None else value for value in scored[column]], np.float64)
        if np.isnan(values[kept]).any():
            return "a kept row without a score"
    fraction, budget = getattr(rule, "fraction", None), getattr(rule, "count", None)
    if (
        isinstance(fraction, float)
        and len(kept) > max(1, math.ceil(fraction * len(scored))) + 2
        and not getattr(rule, "group", None)
    ):
        return f"{len(kept)} of {len(scored)} rows for fraction {fraction}"
    if isinstance(budget, int) and not getattr(rule, "group", None) and len(kept) > budget:
        return f"{len(kept)} rows for count {budget}"
    return None


PARSERS: dict[str, Cases] = {"score tables": tables, "settings of rules": budgets}
