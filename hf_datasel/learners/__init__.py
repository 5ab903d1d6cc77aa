"""What must see the whole pool before it can score: returns a Scorer, never changes itself."""

from hf_datasel.learners.cluster_rarity import ClusterRarity
from hf_datasel.learners.coido import CoIDO
from hf_datasel.learners.coverage import Coverage
from hf_datasel.learners.data_whisperer import DataWhisperer
from hf_datasel.learners.goal_quality import GoalQuality
from hf_datasel.learners.goal_score import GoalScore
from hf_datasel.learners.indicator_weights import IndicatorWeights
from hf_datasel.learners.influence_function import InfluenceFunction
from hf_datasel.learners.leave_one_out import LeaveOneOut
from hf_datasel.learners.loss_trajectory import LossTrajectory
from hf_datasel.learners.miss import MISS
from hf_datasel.learners.quality_classifier import QualityClassifier
from hf_datasel.learners.self_filter import SelfFilter
from hf_datasel.learners.semantic_diversity import SemanticDiversity
from hf_datasel.learners.tiny_validation import tiny_validation
from hf_datasel.learners.tive import TIVE
from hf_datasel.learners.weighted_sum import weighted_sum


__all__ = [
    "MISS",
    "TIVE",
    "ClusterRarity",
    "CoIDO",
    "Coverage",
    "DataWhisperer",
    "GoalQuality",
    "GoalScore",
    "IndicatorWeights",
    "InfluenceFunction",
    "LeaveOneOut",
    "LossTrajectory",
    "QualityClassifier",
    "SelfFilter",
    "SemanticDiversity",
    "tiny_validation",
    "weighted_sum",
]
