"""One file per rule that picks rows from scored columns; no model, no torch.

A rule says which rows, `select` applies it to a scored dataset, a `Selection` is what comes out.

Example:
    >>> from datasets import Dataset
    >>> scored = Dataset.from_dict({"text": ["a", "b", "c", "d"], "utility": [0.2, -0.1, 0.7, 0.4]})
    >>> select(scored, TopFraction("utility", 0.5)).kept["text"][:]
    ['c', 'd']
"""

from hf_datasel.selectors.above_threshold import AboveThreshold
from hf_datasel.selectors.coincide import Coincide
from hf_datasel.selectors.comparison import SelectionDiff
from hf_datasel.selectors.covered_top_fraction import CoveredTopFraction
from hf_datasel.selectors.d2_pruning import D2Pruning
from hf_datasel.selectors.facility_location import FacilityLocation
from hf_datasel.selectors.for_goal import ForGoal
from hf_datasel.selectors.full import Full
from hf_datasel.selectors.goal.report import GoalBuild
from hf_datasel.selectors.goal.settings import AutoBudget, Oversampling, ShareFloor, ShareRange, SourceFloors
from hf_datasel.selectors.goal_builder import GoalBuilder
from hf_datasel.selectors.goal_profiles import GOAL_PROFILES, GoalProfile, control_of
from hf_datasel.selectors.icons import ICONS
from hf_datasel.selectors.k_center import KCenter
from hf_datasel.selectors.middle_band import MiddleBand
from hf_datasel.selectors.neighbour_penalty import NeighbourPenalty
from hf_datasel.selectors.prototypes import Prototypes
from hf_datasel.selectors.random_rows import Random
from hf_datasel.selectors.representation_filter import RepresentationFilter
from hf_datasel.selectors.s2l import S2L
from hf_datasel.selectors.selection import Selection, select
from hf_datasel.selectors.semdedup import SemDeDup
from hf_datasel.selectors.soft_quotas import SoftQuotas
from hf_datasel.selectors.softmax_sample import SoftmaxSample
from hf_datasel.selectors.token_budget import TokenBudget
from hf_datasel.selectors.top_count import TopCount
from hf_datasel.selectors.top_count_per_group import TopCountPerGroup
from hf_datasel.selectors.top_fraction import TopFraction
from hf_datasel.selectors.top_fraction_per_group import TopFractionPerGroup
from hf_datasel.selectors.uniform_control import UniformControl


__all__ = [
    "GOAL_PROFILES",
    "ICONS",
    "S2L",
    "AboveThreshold",
    "AutoBudget",
    "Coincide",
    "CoveredTopFraction",
    "D2Pruning",
    "FacilityLocation",
    "ForGoal",
    "Full",
    "GoalBuild",
    "GoalBuilder",
    "GoalProfile",
    "KCenter",
    "MiddleBand",
    "NeighbourPenalty",
    "Oversampling",
    "Prototypes",
    "Random",
    "RepresentationFilter",
    "Selection",
    "SelectionDiff",
    "SemDeDup",
    "ShareFloor",
    "ShareRange",
    "SoftQuotas",
    "SoftmaxSample",
    "SourceFloors",
    "TokenBudget",
    "TopCount",
    "TopCountPerGroup",
    "TopFraction",
    "TopFractionPerGroup",
    "UniformControl",
    "control_of",
    "select",
]
