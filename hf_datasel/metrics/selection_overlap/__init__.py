"""`evaluate.load` finds the metric here by the name of the folder."""

from hf_datasel.metrics.selection_overlap.selection_overlap import SelectionOverlap


__all__ = ["SelectionOverlap"]
