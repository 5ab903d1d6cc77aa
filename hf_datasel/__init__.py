"""Of all the rows I could fine-tune on, which should I?

Score a dataset, select from it, train on what was kept, publish it. Importing this package imports neither torch nor
transformers: every name below loads its module when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from hf_datasel.hub import Published, Source, load_selection, publish, publish_model
    from hf_datasel.learners import (
        ClusterRarity,
        Coverage,
        DataWhisperer,
        GoalQuality,
        GoalScore,
        IndicatorWeights,
        SemanticDiversity,
        tiny_validation,
        weighted_sum,
    )
    from hf_datasel.proxy import Proxy
    from hf_datasel.recipe import Recipe, Run, load_recipe
    from hf_datasel.rows import Labels, refuse_overlap, stratified, with_row_ids
    from hf_datasel.runs import Cascade, cascade, score
    from hf_datasel.scorers import (
        AUM,
        EL2N,
        IFD,
        LexicalDiversity,
        LogicalComplexity,
        Nuggets,
        OneStepTrain,
        OpticalFlow,
        Perplexity,
        Probe,
        ResponseLength,
        SelfConsistency,
        WeightedSum,
    )
    from hf_datasel.scorers.goal import CoverageFeatures, GoalBins, LeakGuard, probe_descriptors
    from hf_datasel.scorers.weighted_sum import Indicator
    from hf_datasel.selectors import (
        GOAL_PROFILES,
        AboveThreshold,
        AutoBudget,
        Coincide,
        CoveredTopFraction,
        D2Pruning,
        FacilityLocation,
        Full,
        GoalBuilder,
        KCenter,
        MiddleBand,
        Oversampling,
        Prototypes,
        Random,
        RepresentationFilter,
        Selection,
        SelectionDiff,
        SemDeDup,
        ShareFloor,
        ShareRange,
        SourceFloors,
        TokenBudget,
        TopCount,
        TopFraction,
        TopFractionPerGroup,
        UniformControl,
        select,
    )
    from hf_datasel.training import TargetTraining, WarmUp
    from hf_datasel.training.loss_trajectory import LossTrajectoryCallback
    from hf_datasel.training.proxy_scoring import ProxyScoringCallback

__version__ = "0.1.0.dev0"

__all__ = [
    "AUM",
    "EL2N",
    "GOAL_PROFILES",
    "IFD",
    "AboveThreshold",
    "AutoBudget",
    "Cascade",
    "ClusterRarity",
    "Coincide",
    "Coverage",
    "CoverageFeatures",
    "CoveredTopFraction",
    "D2Pruning",
    "DataWhisperer",
    "FacilityLocation",
    "Full",
    "GoalBins",
    "GoalBuilder",
    "GoalQuality",
    "GoalScore",
    "Indicator",
    "IndicatorWeights",
    "KCenter",
    "Labels",
    "LeakGuard",
    "LexicalDiversity",
    "LogicalComplexity",
    "LossTrajectoryCallback",
    "MiddleBand",
    "Nuggets",
    "OneStepTrain",
    "OpticalFlow",
    "Oversampling",
    "Perplexity",
    "Probe",
    "Prototypes",
    "Proxy",
    "ProxyScoringCallback",
    "Published",
    "Random",
    "Recipe",
    "RepresentationFilter",
    "ResponseLength",
    "Run",
    "Selection",
    "SelectionDiff",
    "SelfConsistency",
    "SemDeDup",
    "SemanticDiversity",
    "ShareFloor",
    "ShareRange",
    "Source",
    "SourceFloors",
    "TargetTraining",
    "TokenBudget",
    "TopCount",
    "TopFraction",
    "TopFractionPerGroup",
    "UniformControl",
    "WarmUp",
    "WeightedSum",
    "cascade",
    "load_recipe",
    "load_selection",
    "probe_descriptors",
    "publish",
    "publish_model",
    "refuse_overlap",
    "score",
    "select",
    "stratified",
    "tiny_validation",
    "weighted_sum",
    "with_row_ids",
]

_ROOMS = {
    "hub": ["Published", "Source", "load_selection", "publish", "publish_model"],
    "learners": [
        "ClusterRarity",
        "Coverage",
        "DataWhisperer",
        "GoalQuality",
        "GoalScore",
        "IndicatorWeights",
        "SemanticDiversity",
        "tiny_validation",
        "weighted_sum",
    ],
    "proxy": ["Proxy"],
    "recipe": ["Recipe", "Run", "load_recipe"],
    "rows": ["Labels", "refuse_overlap", "stratified", "with_row_ids"],
    "runs": ["Cascade", "cascade", "score"],
    "scorers": [
        "AUM",
        "EL2N",
        "IFD",
        "LexicalDiversity",
        "LogicalComplexity",
        "Nuggets",
        "OneStepTrain",
        "OpticalFlow",
        "Perplexity",
        "Probe",
        "ResponseLength",
        "SelfConsistency",
        "WeightedSum",
    ],
    "scorers.weighted_sum": ["Indicator"],
    "scorers.goal": ["CoverageFeatures", "GoalBins", "LeakGuard", "probe_descriptors"],
    "selectors": [
        "GOAL_PROFILES",
        "AboveThreshold",
        "AutoBudget",
        "Coincide",
        "CoveredTopFraction",
        "D2Pruning",
        "FacilityLocation",
        "KCenter",
        "Prototypes",
        "RepresentationFilter",
        "SemDeDup",
        "Full",
        "GoalBuilder",
        "MiddleBand",
        "Oversampling",
        "Random",
        "Selection",
        "SelectionDiff",
        "ShareFloor",
        "ShareRange",
        "SourceFloors",
        "TokenBudget",
        "TopCount",
        "TopFraction",
        "TopFractionPerGroup",
        "UniformControl",
        "select",
    ],
    "training": ["TargetTraining", "WarmUp"],
    # Callbacks subclass transformers' own, which imports torch; the rest of the room does not need it.
    "training.loss_trajectory": ["LossTrajectoryCallback"],
    "training.proxy_scoring": ["ProxyScoringCallback"],
}
_HOMES = {name: room for room, names in _ROOMS.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'hf_datasel' has no attribute {name!r}, expected one of {__all__}")
    return getattr(importlib.import_module(f"hf_datasel.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
