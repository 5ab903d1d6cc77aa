"""Of all the rows I could fine-tune on, which should I?

Score a dataset, select from it, train on what was kept, publish it. Importing this package imports neither torch nor
transformers: every name below loads its module when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from hf_datasel.proxy import Proxy
    from hf_datasel.recipe import Recipe
    from hf_datasel.rows import Labels, refuse_overlap, stratified, with_row_ids
    from hf_datasel.runs import run, score
    from hf_datasel.scorers import OneStepTrain, ResponseLength
    from hf_datasel.selectors import (
        AboveThreshold,
        Full,
        MiddleBand,
        Random,
        Selection,
        SelectionDiff,
        TokenBudget,
        TopCount,
        TopFraction,
        TopFractionPerGroup,
        select,
    )
    from hf_datasel.training import TargetTraining, WarmUp

__version__ = "0.1.0.dev0"

_HOMES = {
    "Proxy": "proxy",
    "Recipe": "recipe",
    "Labels": "rows",
    "refuse_overlap": "rows",
    "stratified": "rows",
    "with_row_ids": "rows",
    "score": "runs",
    "OneStepTrain": "scorers",
    "ResponseLength": "scorers",
    "AboveThreshold": "selectors",
    "Full": "selectors",
    "MiddleBand": "selectors",
    "Random": "selectors",
    "Selection": "selectors",
    "SelectionDiff": "selectors",
    "TokenBudget": "selectors",
    "TopCount": "selectors",
    "TopFraction": "selectors",
    "TopFractionPerGroup": "selectors",
    "select": "selectors",
    "TargetTraining": "training",
    "WarmUp": "training",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'hf_datasel' has no attribute {name!r}, expected one of {__all__}")
    return getattr(importlib.import_module(f"hf_datasel.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
