"""Every scorer and every rule has an export, a recipe and a line in docs/methods.md; the failure says what to write."""

import inspect
from pathlib import Path

import pytest
import yaml

import hf_datasel
from hf_datasel import scorers, selectors


ROOT = Path(__file__).parents[2]
RECIPES = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted((ROOT / "recipes").glob("*.yaml"))]
METHODS = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
SCORERS = {name: getattr(scorers, name) for name in scorers.__all__ if inspect.isclass(getattr(scorers, name))}
RULES = {
    name: thing
    for name in selectors.__all__
    if inspect.isclass(thing := getattr(selectors, name)) and hasattr(thing, "rank")
}
# What a recipe on packaged rows cannot run, and why.
WITHOUT_RECIPE = {
    "S2L": "reads loss trajectories, which a callback writes while a proxy trains",
    "SentenceEmbedding": "needs a sentence-transformers model, and none is packaged; recipes take `Embedding`",
    "WeightedSum": "what the learner `IndicatorWeights` returns; its recipe runs it",
}


def used():
    """Names of classes in the recipes: scorers, and rules of selections and of arms beside them."""
    for recipe in RECIPES:
        for spec in recipe["score"]["scorers"]:
            yield from spec
        yield from recipe["select"]
        for spec in recipe.get("train", {}).get("beside", {}).values():
            yield from spec


@pytest.mark.parametrize("name", [*SCORERS, *RULES])
def test_it_can_be_imported_from_the_front_door(name):
    assert name in hf_datasel.__all__, f"add {name} to __all__ and _ROOMS in hf_datasel/__init__.py"
    assert getattr(hf_datasel, name) is {**SCORERS, **RULES}[name]


@pytest.mark.parametrize("name", [*SCORERS, *RULES])
def test_a_shipped_recipe_uses_it(name):
    if name not in WITHOUT_RECIPE:
        assert name in set(used()), f"write recipes/<method>.yaml with {name}: copy recipes/perplexity_low.yaml"


def test_what_has_no_recipe_has_none():
    assert not set(WITHOUT_RECIPE) & set(used()), "these have a recipe: take them out of WITHOUT_RECIPE"
    assert set(WITHOUT_RECIPE) <= {*SCORERS, *RULES}


@pytest.mark.parametrize(("name", "thing"), {**SCORERS, **RULES}.items())
def test_the_method_index_names_its_file(name, thing):
    file = "/".join(thing.__module__.split(".")[1:]) + ".py"
    assert f"`{file}`" in METHODS, f"add a line about {name} to docs/methods.md, with `{file}`"


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_method_index_names_the_recipe(path):
    assert f"`recipes/{path.name}`" in METHODS, f"name `recipes/{path.name}` in docs/methods.md"
