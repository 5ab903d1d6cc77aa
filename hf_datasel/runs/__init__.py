"""How scoring runs: over every row, with a journal that makes it resumable."""

from hf_datasel.runs.journal import Journal, spec_key
from hf_datasel.runs.score import score


__all__ = ["Journal", "score", "spec_key"]
