"""YAML to a checked recipe to a run folder."""

from hf_datasel.recipe.comparing import compare
from hf_datasel.recipe.loading import load_recipe
from hf_datasel.recipe.running import Run
from hf_datasel.recipe.schema import Recipe


__all__ = ["Recipe", "Run", "compare", "load_recipe"]
