"""One file per way to give a row a number. Every scorer is a callable for `Dataset.map`."""

from hf_datasel.scorers.aum import AUM
from hf_datasel.scorers.el2n import EL2N
from hf_datasel.scorers.ifd import IFD
from hf_datasel.scorers.lexical_diversity import LexicalDiversity
from hf_datasel.scorers.logical_complexity import LogicalComplexity
from hf_datasel.scorers.nuggets import Nuggets
from hf_datasel.scorers.one_step_train import OneStepTrain
from hf_datasel.scorers.optical_flow import OpticalFlow
from hf_datasel.scorers.perplexity import Perplexity
from hf_datasel.scorers.probe import Probe
from hf_datasel.scorers.response_length import ResponseLength
from hf_datasel.scorers.self_consistency import SelfConsistency
from hf_datasel.scorers.weighted_sum import WeightedSum


__all__ = [
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
]
