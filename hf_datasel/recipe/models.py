"""Models that a recipe names: whether there can be such a one, as far as can be told without going to the network."""

from __future__ import annotations

import os

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils._validators import validate_repo_id

from hf_datasel.recipe.schema import ScoreSection, TrainSection


CONFIGURATIONS = ("config.json", "adapter_config.json", "params.json")


def check_models(score: ScoreSection | None, train: TrainSection | None, problems: list[str]) -> None:
    """Folders that are not there or hold no model, and ids that the Hub cannot know.

    Args:
        score, train: the sections, paths in them looked up; None for one with faults of its own.
        problems: gets one line per fault.
    """
    named = {"train.target.target": train.target.target if train else None}
    if score and score.proxy:
        named |= {"score.proxy.model": score.proxy.model, "score.proxy.adapter": score.proxy.adapter}
    for place, model in named.items():
        fault = model_fault(model) if model is not None else None
        if fault is not None:
            problems.append(f"`{place}` is {model!r}, {fault}")


def model_fault(model: str) -> str | None:
    """What is wrong with the name of a model, or None.

    Example:
        >>> model_fault("HuggingFaceTB/SmolLM2-135M"), model_fault("./nowhere")
        (None, 'which is no folder, expected one with a model, or a Hub id. Correct the path.')
    """
    if os.path.isdir(model):
        if any(os.path.isfile(os.path.join(model, name)) for name in CONFIGURATIONS):
            return None
        return "a folder without config.json, expected one that `save_pretrained` wrote."
    if model.startswith((".", "/", "~")) or model.count("/") > 1:
        return "which is no folder, expected one with a model, or a Hub id. Correct the path."
    try:
        validate_repo_id(model)
    except HFValidationError:
        return "expected a folder with a model, or a Hub id (NAMESPACE/NAME of letters, digits, '-', '_' and '.')."
    return None
