"""Every scorer, learner and rule has an export, a recipe and a line in docs/methods.md; the failure says what to write."""

import inspect
import re
from pathlib import Path

import pytest
import yaml

import hf_datasel
from hf_datasel import learners, scorers, selectors


ROOT = Path(__file__).parents[2]
RECIPES = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted((ROOT / "recipes").glob("*.yaml"))]
METHODS = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
SCORERS = {name: getattr(scorers, name) for name in scorers.__all__ if inspect.isclass(getattr(scorers, name))}
LEARNERS = {name: getattr(learners, name) for name in learners.__all__ if inspect.isclass(getattr(learners, name))}
RULES = {
    name: thing
    for name in selectors.__all__
    if inspect.isclass(thing := getattr(selectors, name)) and hasattr(thing, "rank")
}
EVERY = {**SCORERS, **LEARNERS, **RULES}
# What a recipe on packaged rows cannot run, and why.
WITHOUT_RECIPE = {
    "QualityClassifier": "called from Python: what it fits is the `model` of `PreSelect`, which has a recipe",
    "WeightedSum": "what the learner `IndicatorWeights` returns",
}


def used():
    """Names of classes in the recipes: scorers, and rules of selections and of arms beside them."""
    for recipe in RECIPES:
        for spec in recipe["score"]["scorers"]:
            yield from spec
        yield from recipe["select"]
        for spec in recipe.get("train", {}).get("beside", {}).values():
            yield from spec


@pytest.mark.parametrize("name", [*EVERY])
def test_it_can_be_imported_from_the_front_door(name):
    assert name in hf_datasel.__all__, f"add {name} to __all__ and _ROOMS in hf_datasel/__init__.py"
    assert getattr(hf_datasel, name) is EVERY[name]


@pytest.mark.parametrize("name", [*EVERY])
def test_a_shipped_recipe_uses_it(name):
    if name not in WITHOUT_RECIPE:
        assert name in set(used()), f"write recipes/<method>.yaml with {name}: copy recipes/perplexity_low.yaml"


def test_what_has_no_recipe_has_none():
    assert not set(WITHOUT_RECIPE) & set(used()), "these have a recipe: take them out of WITHOUT_RECIPE"
    assert set(WITHOUT_RECIPE) <= {*EVERY}


@pytest.mark.parametrize("name", [*EVERY])
def test_it_has_a_test_of_its_own(name):
    rooms = (ROOT / "tests" / room for room in ("scorers", "learners", "selectors"))
    texts = [path.read_text(encoding="utf-8") for room in rooms for path in room.glob("test_*.py")]
    assert any(len(re.findall(rf"\b{name}\b", text)) > 1 for text in texts), (
        f"work out {name} by hand in a test in its room"
    )


@pytest.mark.parametrize(("name", "thing"), EVERY.items())
def test_the_method_index_names_its_file(name, thing):
    file = "/".join(thing.__module__.split(".")[1:]) + ".py"
    assert f"`{file}`" in METHODS, f"add a line about {name} to docs/methods.md, with `{file}`"


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_method_index_names_the_recipe(path):
    assert f"`recipes/{path.name}`" in METHODS, f"name `recipes/{path.name}` in docs/methods.md"


def test_the_method_index_says_all_of_every_method():
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in METHODS.splitlines() if line.startswith("| ")]
    names, *methods = [row for row in rows if len(row) > 4]
    assert names == [
        "method", "paper", "file", "recipe", "needs", "cost per row", "fidelity", "known differences",
    ]  # fmt: skip
    for row in methods:
        assert len(row) == len(names) and all(row), f"the line of {row[0]} has an empty cell; write – for none"
        assert row[6] in ("paper", "release", "after", "definition", "ours"), f"{row[0]}: see the words of the page"
