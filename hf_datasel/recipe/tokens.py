"""A recipe is copied into the run folder and published: no token may stand in it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from hf_datasel.errors import BadRecipe


# As the Hub's and OpenAI's begin; the latter's form is that of many servers' keys.
TOKEN = re.compile(r"\b(?:hf_[A-Za-z0-9]{20,}|sk-[A-Za-z0-9_-]{20,})")


def refuse_tokens(values: Mapping[str, Any], name: str) -> None:
    """Say where a recipe holds what looks like a token, without repeating it.

    Args:
        values: the recipe's sections.
        name: of the recipe.

    Raises:
        BadRecipe: it holds one.

    Example:
        >>> refuse_tokens({"train": {"target": {"sft": {"hub_token": "hf_" + "x" * 30}}}}, "mine.yaml")
        Traceback (most recent call last):
        hf_datasel.errors.BadRecipe: `train.target.sft.hub_token` of 'mine.yaml' holds what looks like a token, expected none:
        a recipe is copied into the run folder and goes along when it is published. Remove it there; set HF_TOKEN or log in
        with `hf auth login`, and for a judge name the environment variable with its key as `key_variable`.
    """
    places = _places(values, "")
    if places:
        raise BadRecipe(
            f"`{'`, `'.join(places)}` of {name!r} holds what looks like a token, expected none: a recipe is copied into the run "
            f"folder and goes along when it is published. Remove it there; set HF_TOKEN or log in with `hf auth login`, and for "
            f"a judge name the environment variable with its key as `key_variable`."
        )


def _places(value: Any, place: str) -> list[str]:
    if isinstance(value, Mapping):
        return [
            found
            for key, part in value.items()
            for found in _places(part, f"{place}.{TOKEN.sub('…', str(key))}" if place else str(key))
        ]
    if isinstance(value, list | tuple):
        return [found for number, part in enumerate(value) for found in _places(part, f"{place}[{number}]")]
    return [place] if isinstance(value, str) and TOKEN.search(value) else []
