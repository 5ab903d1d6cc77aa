"""`evaluate.load` finds the metric here by the name of the folder."""

from hf_datasel.metrics.detection_auroc.detection_auroc import DetectionAuroc


__all__ = ["DetectionAuroc"]
