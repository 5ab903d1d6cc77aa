"""Response length: the baseline that is hard to beat and says little. Copy this file to add a scorer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hf_datasel.contracts import Batch, Columns
from hf_datasel.rows.batches import answer_text, rows_of


@dataclass(frozen=True)
class ResponseLength:
    """Length of the answer in characters; longer means keep. Cost: no forward pass.

    The answer is the `completion`, the assistant's turns of `messages`, or the whole `text`. A row without one, or with
    white space alone, gets NaN and the status `"no_answer"`.

    Writes: `response_length`, `response_length_status`.

    Source: https://huggingface.co/papers/2402.04833 (longest responses as a baseline). Characters, not tokens, so
        that no tokenizer decides the order.

    Example:
        >>> ResponseLength()({"prompt": ["1 + 1", "2 + 2"], "completion": ["2", ""]})["response_length"]
        array([ 1., nan])
    """

    columns = ("response_length", "response_length_status")
    algo_version = 3

    @property
    def spec(self) -> dict[str, str | int]:
        """JSON-like account of what decides the numbers."""
        return {"scorer": "ResponseLength", "algo_version": self.algo_version}

    def __call__(self, batch: Batch, rank: int | None = None) -> Columns:
        """Score B rows (or one): see the class."""
        rows, single = rows_of(batch)
        answers = [answer_text(row) for row in rows]
        lengths = np.array([len(text) if text.strip() else np.nan for text in answers], dtype=np.float64)
        status = ["no_answer" if np.isnan(length) else "ok" for length in lengths]
        columns: Columns = {"response_length": lengths, "response_length_status": status}
        return {name: values[0] for name, values in columns.items()} if single else columns
