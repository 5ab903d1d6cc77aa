"""Self-consistency: how far several sampled answers of one model agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np

from hf_datasel.contracts import Batch, Columns
from hf_datasel.errors import BadRow
from hf_datasel.scorers.goal.batches import columns_of, unbatched
from hf_datasel.scorers.goal.text import Fidelity, check_fidelity, words


@dataclass(frozen=True)
class SelfConsistency:
    """Mean overlap of the words of answers sampled for the same question, 0 to 1. Higher means keep.

    Overlap is Jaccard's: words in both over words in either, each word once; two answers without a word agree. Cost: no
    forward pass here; the paper samples 5 answers of up to 32 tokens at temperature 0.8, top_p 0.9.

    Args:
        samples: column with the list of sampled answers of each row.
        fidelity: `"authors"` knows words of ASCII only; see `scorers.goal.text.words`.

    Writes:
        `self_consistency`, `self_consistency_status`: `"ok"`, or `"no_samples"` or `"one_sample"`, and the score is NaN.
        (The authors write -1; the merge takes either for not measured.)

    Raises:
        BadRow: there is no such column, or it does not hold lists of texts.

    Source: https://huggingface.co/papers/2603.12478, Eq. 6.

    Example:
        >>> scorer = SelfConsistency()
        >>> scorer({"sampled_answers": [["the man walks", "a man walks", "the man runs"], ["a man"]]})["self_consistency"]
        array([0.4, nan])
    """

    samples: str = "sampled_answers"
    fidelity: Fidelity = "corrected"

    columns = ("self_consistency", "self_consistency_status")
    algo_version = 1

    def __post_init__(self) -> None:
        check_fidelity(self.fidelity)

    @property
    def reads(self) -> tuple[str, ...]:
        """Columns that it reads beside a row's content."""
        return (self.samples,)

    needs = reads

    @property
    def spec(self) -> dict[str, Any]:
        """JSON-like account of what decides the numbers."""
        return {"scorer": "SelfConsistency", "algo_version": self.algo_version, **asdict(self)}

    def __call__(self, batch: Batch, rank: int | None = None) -> Columns:
        """Score B rows (or one): see the class."""
        if self.samples not in batch:
            raise BadRow(
                f"`samples` is {self.samples!r}, expected a column of lists of answers among {sorted(batch)}."
            )
        _, _, single = columns_of(batch, ())
        # A list of texts is one row; a list of lists, or of rows without samples, is a batch.
        values = batch[self.samples]
        single = single or any(isinstance(item, str) for item in values or ())
        rows = [self._row(item) for item in ([values] if single else values)]
        return unbatched(
            {
                "self_consistency": np.array([score for score, _ in rows], dtype=np.float64),
                "self_consistency_status": [status for _, status in rows],
            },
            single,
        )

    def _row(self, samples: Any) -> tuple[float, str]:
        if samples is not None and (isinstance(samples, str) or not all(isinstance(text, str) for text in samples)):
            raise BadRow(f"`{self.samples}` holds {samples!r}, expected a list of texts in each row.")
        if not samples:
            return float("nan"), "no_samples"
        if len(samples) == 1:
            return float("nan"), "one_sample"
        return agreement([frozenset(words(text, self.fidelity)) for text in samples]), "ok"


def agreement(answers: Sequence[frozenset[str]]) -> float:
    """Mean Jaccard overlap of all pairs of two or more sets of words.

    Example:
        >>> agreement([frozenset("ab"), frozenset("ab"), frozenset("cd")])
        0.3333333333333333
        >>> agreement([frozenset(), frozenset()])
        1.0
    """
    pairs = [len(a & b) / len(a | b) if a | b else 1.0 for a, b in combinations(answers, 2)]
    return float(np.mean(pairs))
