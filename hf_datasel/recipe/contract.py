"""What a comparison keeps fixed over its recipes, and how long its protocols train."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import ceil
from typing import Any

from hf_datasel.recipe.schema import Recipe, TrainSection
from hf_datasel.training.protocols import Protocol


FULL, UNIFORM, RANDOM = "full", "uniform 10x", "random"


def train_of(recipe: Recipe) -> TrainSection:
    """The section `train`, which the contract asks for."""
    assert recipe.train is not None  # noqa: S101 (the contract was checked)
    return recipe.train


def under(recipe: Recipe, protocol: Protocol, rows: int) -> Recipe:
    """The recipe trained under a protocol: its own settings where it names this one.

    Else A makes the passes of `train.target.epochs`, and B takes as many steps as these passes over the whole pool do.

    Args:
        recipe: with a `train` section.
        protocol: `"A"` or `"B"`.
        rows: N, of the pool.
    """
    train = train_of(recipe)
    if train.target.protocol == protocol:
        return recipe
    sft = train.target.sft
    batch = int(sft.get("per_device_train_batch_size", 8)) * int(sft.get("gradient_accumulation_steps", 1))
    steps = ceil(train.target.epochs * rows / batch)
    return replace(recipe, train=replace(train, target=replace(train.target, protocol=protocol, steps=steps)))


def contract_problems(recipes: Mapping[str, Recipe]) -> list[str]:
    """What recipes differ in that a comparison must keep fixed."""
    if not recipes:
        return ["`recipes` is empty, expected at least one."]
    problems = [
        f"`{name}` has no `train` section, expected one. Add it, or leave this recipe out."
        for name, its in recipes.items()
        if its.train is None
    ]
    problems += [f"`{name}` is the name of a baseline, expected another." for name in recipes if _is_baseline(name)]
    first, *others = recipes
    for name in others if not problems else ():
        for section, values in _contract(recipes[name]).items():
            wanted = _contract(recipes[first])[section]
            if values != wanted:
                problems.append(
                    f"`{name}` has another {section} than `{first}`, expected the same: {_difference(wanted, values)}."
                )
    return problems


def _is_baseline(name: str) -> bool:
    return name in (FULL, UNIFORM) or name.split(" ")[0] == RANDOM


def _contract(recipe: Recipe) -> dict[str, Any]:
    fixed = recipe.resolved
    section = {key: value for key, value in fixed["train"].items() if key not in ("beside", "target")}
    return {"pool": fixed["pool"], "target": fixed["train"]["target"], "train section": section}


def _difference(one: Any, other: Any) -> str:
    keys = [key for key in {**one, **other} if one.get(key) != other.get(key)]
    return ", ".join(f"{key} {other.get(key)!r} instead of {one.get(key)!r}" for key in keys)
