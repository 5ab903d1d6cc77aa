"""One file per rule that picks rows from scored columns; no model, no torch.

A rule says which rows, `select` applies it to a scored dataset, a `Selection` is what comes out.

Example:
    >>> from datasets import Dataset
    >>> scored = Dataset.from_dict({"text": ["a", "b", "c", "d"], "utility": [0.2, -0.1, 0.7, 0.4]})
    >>> select(scored, TopFraction("utility", 0.5)).kept["text"][:]
    ['c', 'd']
"""

from hf_datasel.selectors.above_threshold import AboveThreshold
from hf_datasel.selectors.comparison import SelectionDiff
from hf_datasel.selectors.full import Full
from hf_datasel.selectors.middle_band import MiddleBand
from hf_datasel.selectors.random_rows import Random
from hf_datasel.selectors.selection import Selection, select
from hf_datasel.selectors.token_budget import TokenBudget
from hf_datasel.selectors.top_count import TopCount
from hf_datasel.selectors.top_fraction import TopFraction
from hf_datasel.selectors.top_fraction_per_group import TopFractionPerGroup


__all__ = [
    "AboveThreshold",
    "Full",
    "MiddleBand",
    "Random",
    "Selection",
    "SelectionDiff",
    "TokenBudget",
    "TopCount",
    "TopFraction",
    "TopFractionPerGroup",
    "select",
]
