"""What must see the whole pool before it can score: returns a Scorer, never changes itself."""

from hf_datasel.learners.cluster_rarity import ClusterRarity
from hf_datasel.learners.coverage import Coverage
from hf_datasel.learners.data_whisperer import DataWhisperer
from hf_datasel.learners.goal_quality import GoalQuality
from hf_datasel.learners.goal_score import GoalScore
from hf_datasel.learners.indicator_weights import IndicatorWeights
from hf_datasel.learners.semantic_diversity import SemanticDiversity
from hf_datasel.learners.tiny_validation import tiny_validation
from hf_datasel.learners.weighted_sum import weighted_sum


__all__ = [
    "ClusterRarity",
    "Coverage",
    "DataWhisperer",
    "GoalQuality",
    "GoalScore",
    "IndicatorWeights",
    "SemanticDiversity",
    "tiny_validation",
    "weighted_sum",
]
