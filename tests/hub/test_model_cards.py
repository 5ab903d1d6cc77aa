"""The cards in model_cards/ are what today's templates make of the figures kept beside them."""

import json
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard

from hf_datasel.hub.card import render
from hf_datasel.recipe import load_recipe


ROOT = Path(__file__).parents[2]
KEPT = sorted((ROOT / "model_cards").glob("*.json"))
HOW = "render it again with model_cards/render.py"


@pytest.mark.parametrize("kept", KEPT, ids=lambda path: path.stem)
def test_a_card_is_what_its_template_makes_of_its_figures(kept):
    found = json.loads(kept.read_text(encoding="utf-8"))
    assert render(found["template"], found["values"]) == kept.with_suffix(".md").read_text(encoding="utf-8"), HOW


# A recipe that ends with a selection of the quickstart's pool shows how a method is run: its card would say no more.
# Nor can a recipe whose rows may not be shipped be run here.
RECIPES = {
    path: yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted((ROOT / "recipes").glob("*.yaml"))
}
TRAINING = [
    path for path, its in RECIPES.items() if "train" in its and (ROOT / "recipes" / its["pool"]["path"]).exists()
]


@pytest.mark.parametrize("recipe", TRAINING, ids=lambda path: path.stem)
def test_every_shipped_recipe_that_trains_has_cards_of_its_own_pool_and_rule(recipe):
    bound = load_recipe(recipe)
    kinds = ("dataset", "model") if bound.train else ("dataset",)
    for kind in kinds:
        found = json.loads((ROOT / "model_cards" / f"{recipe.stem}-{kind}.json").read_text(encoding="utf-8"))
        values = found["values"]
        assert values["counts"]["rows"] == len(bound.pool_rows), HOW
        assert values["rule"].startswith(type(bound.rule).__name__), HOW
        if bound.train:
            arms = [arm["arm"] for arm in values["results"]["arms"]]
            assert arms == ["before training", "selected", *bound.train.beside], HOW


@pytest.mark.parametrize("card", sorted((ROOT / "model_cards").glob("*-model.md")), ids=lambda path: path.stem)
def test_the_header_of_a_model_card_is_what_the_hub_reads(card):
    data = ModelCard.load(card).data
    assert data.library_name in ("transformers", "peft") and data.datasets and data.license


def test_no_card_says_where_it_was_made():
    for card in (ROOT / "model_cards").glob("*.*"):
        text = card.read_text(encoding="utf-8")
        assert str(ROOT) not in text and "/home/" not in text, card.name
