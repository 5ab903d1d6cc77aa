"""One file per way to give a row a number. Every scorer is a callable for `Dataset.map`."""

from hf_datasel.scorers.aum import AUM
from hf_datasel.scorers.clip import CLIPFeatures, CLIPScore
from hf_datasel.scorers.deita import Deita
from hf_datasel.scorers.el2n import EL2N
from hf_datasel.scorers.embedding import Embedding
from hf_datasel.scorers.ifd import IFD
from hf_datasel.scorers.less import LESS
from hf_datasel.scorers.lexical_diversity import LexicalDiversity
from hf_datasel.scorers.llm_judge import LLMJudge
from hf_datasel.scorers.logical_complexity import LogicalComplexity
from hf_datasel.scorers.nuggets import Nuggets
from hf_datasel.scorers.one_step_train import OneStepTrain
from hf_datasel.scorers.optical_flow import OpticalFlow
from hf_datasel.scorers.perplexity import Perplexity
from hf_datasel.scorers.pre_select import PreSelect
from hf_datasel.scorers.predictive_strength import PredictiveStrength
from hf_datasel.scorers.probe import Probe
from hf_datasel.scorers.projected_one_step_train import ProjectedOneStepTrain
from hf_datasel.scorers.qurating import QuRating
from hf_datasel.scorers.response_length import ResponseLength
from hf_datasel.scorers.reward import Reward
from hf_datasel.scorers.self_consistency import SelfConsistency
from hf_datasel.scorers.sentence_embedding import SentenceEmbedding
from hf_datasel.scorers.weighted_sum import WeightedSum


__all__ = [
    "AUM",
    "EL2N",
    "IFD",
    "LESS",
    "CLIPFeatures",
    "CLIPScore",
    "Deita",
    "Embedding",
    "LLMJudge",
    "LexicalDiversity",
    "LogicalComplexity",
    "Nuggets",
    "OneStepTrain",
    "OpticalFlow",
    "Perplexity",
    "PreSelect",
    "PredictiveStrength",
    "Probe",
    "ProjectedOneStepTrain",
    "QuRating",
    "ResponseLength",
    "Reward",
    "SelfConsistency",
    "SentenceEmbedding",
    "WeightedSum",
]
