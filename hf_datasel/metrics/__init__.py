"""Numbers that say how good a score or a selection is, as `evaluate.Metric` modules.

Nothing here imports `evaluate` until a metric is first used. Every metric also loads by its folder, offline:
`evaluate.load(path("answer_accuracy"))`.

Example:
    >>> from hf_datasel.metrics import SelectionOverlap
    >>> SelectionOverlap().compute(predictions=["a", "b", "c"], references=["b", "c", "d", "e"])["jaccard"]
    0.4
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_datasel.errors import DataselError
from hf_datasel.metrics.answers import final_answer


if TYPE_CHECKING:
    from hf_datasel.metrics.answer_accuracy import AnswerAccuracy
    from hf_datasel.metrics.detection_auroc import DetectionAuroc
    from hf_datasel.metrics.rank_agreement import RankAgreement
    from hf_datasel.metrics.selection_overlap import SelectionOverlap

_HOMES = {
    "AnswerAccuracy": "answer_accuracy",
    "DetectionAuroc": "detection_auroc",
    "RankAgreement": "rank_agreement",
    "SelectionOverlap": "selection_overlap",
}

__all__ = ["AnswerAccuracy", "DetectionAuroc", "RankAgreement", "SelectionOverlap", "final_answer", "path"]


def path(name: str) -> str:
    """Folder of a metric in the installed package, for `evaluate.load`.

    Args:
        name: the metric's folder, e.g. `"answer_accuracy"`.

    Raises:
        DataselError: there is no such metric.

    Example:
        >>> path("answer_accuracy").endswith("answer_accuracy")
        True
    """
    if name not in _HOMES.values():
        raise DataselError(f"`name` is {name!r}, expected one of {sorted(_HOMES.values())}. Correct it.")
    return str(Path(__file__).parent / name)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'hf_datasel.metrics' has no attribute {name!r}, expected one of {__all__}")
    return getattr(importlib.import_module(f"hf_datasel.metrics.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
