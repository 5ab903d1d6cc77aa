"""The column maths of Goal-Driven Data Optimization (GDO): bins, descriptors, merged quality and the builder's score.

The order of use: `GoalBins` writes what the text and media of a row say, descriptors are added by whichever scorers and
probes there are, `learners.GoalQuality` merges them, `learners.GoalScore` ranks, `selectors.GoalBuilder` picks.

Source: https://huggingface.co/papers/2603.12478. Its equations 9 to 15 are in the authors' code only; so are all constants.
"""

from hf_datasel.scorers.goal.bins import GoalBins
from hf_datasel.scorers.goal.features import CoverageFeatures, CoveredBy
from hf_datasel.scorers.goal.leaks import LeakGuard
from hf_datasel.scorers.goal.merge import MergedQuality
from hf_datasel.scorers.goal.pairs import QuestionAnswerPairs
from hf_datasel.scorers.goal.probe import probe_descriptors
from hf_datasel.scorers.goal.ranking import RankedScore


__all__ = [
    "CoverageFeatures",
    "CoveredBy",
    "GoalBins",
    "LeakGuard",
    "MergedQuality",
    "QuestionAnswerPairs",
    "RankedScore",
    "probe_descriptors",
]
