"""How scoring runs: over every row, resumable, on one process or many."""

from hf_datasel.rows.journal import Journal, spec_key
from hf_datasel.runs.cascade import Cascade, cascade
from hf_datasel.runs.gradients import store_gradients
from hf_datasel.runs.runners import Runner
from hf_datasel.runs.score import score


__all__ = ["Cascade", "Journal", "Runner", "cascade", "score", "spec_key", "store_gradients"]
