"""`evaluate.load` finds the metric here by the name of the folder."""

from hf_datasel.metrics.answer_accuracy.answer_accuracy import AnswerAccuracy


__all__ = ["AnswerAccuracy"]
