"""What must see the whole pool before it can score: returns a Scorer, never changes itself."""

from hf_datasel.learners.coido import CoIDO
from hf_datasel.learners.coverage import Coverage
from hf_datasel.learners.goal_quality import GoalQuality
from hf_datasel.learners.goal_score import GoalScore
from hf_datasel.learners.self_filter import SelfFilter


__all__ = ["CoIDO", "Coverage", "GoalQuality", "GoalScore", "SelfFilter"]
