"""Lexical diversity: how many of an answer's words are different ones."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from hf_datasel.contracts import Batch, Columns
from hf_datasel.rows.batches import answer_text, rows_of


WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class LexicalDiversity:
    """Different words over all words of the answer, above 0 to 1; more means keep. Cost: no forward pass.

    Words are runs of letters, digits and underscores, in lower case. Long answers repeat words and score lower: alone, this
    keeps the short ones.

    Writes:
        `lexical_diversity`, `lexical_diversity_status` (`"ok"` or `"no_words"`).

    Source: the type-token ratio.

    Example:
        >>> LexicalDiversity()({"prompt": ["So?"] * 2, "completion": ["The cat saw the dog.", "!"]})["lexical_diversity"]
        array([0.8, nan])
    """

    columns = ("lexical_diversity", "lexical_diversity_status")
    algo_version = 2

    @property
    def spec(self) -> dict[str, str | int]:
        """JSON-like account of what decides the numbers."""
        return {"scorer": "LexicalDiversity", "algo_version": self.algo_version}

    def __call__(self, batch: Batch, rank: int | None = None) -> Columns:
        """Score B rows (or one): see the class."""
        rows, single = rows_of(batch)
        words = [WORD.findall(answer_text(row).lower()) for row in rows]
        shares = np.array([len(set(its)) / len(its) if its else np.nan for its in words], dtype=np.float64)
        status = ["ok" if its else "no_words" for its in words]
        columns: Columns = dict(zip(self.columns, (shares, status), strict=True))
        return {name: values[0] for name, values in columns.items()} if single else columns
