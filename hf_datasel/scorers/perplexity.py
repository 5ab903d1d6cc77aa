"""Perplexity of the answer given its prompt, under the proxy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from hf_datasel.contracts import Batch, Columns
from hf_datasel.proxy import Proxy
from hf_datasel.rows import Labels
from hf_datasel.scorers.with_proxy import call, measured, spec_of, state_of, status_of, token_batches


@dataclass(frozen=True)
class Perplexity:
    """Mean negative log-likelihood of a row's target tokens, in nats per token. Cost: 1 F.

    For the middle band, use `MiddleBand` on either score.

    Args:
        proxy: the model that scores.
        keep: which end is worth keeping: `"low"` keeps what the proxy finds likely, `"high"` what surprises it.
        labels: how rows become tokens and labels; give training the same.

    Writes:
        `low_perplexity` (minus the mean loss) or `high_perplexity` (the mean loss), the score; its status; `row_loss`
        (the mean loss) and `perplexity`, its exponential (infinite where it overflows).

    Source: the PPL baseline of CoIDO (NeurIPS 2025), Tab. 1, where lower is better; https://huggingface.co/papers/2309.04564
        compares low, middle and high. Of the targets only: the perplexity of the whole text is another number.

    Example:
        >>> Perplexity(Proxy("HuggingFaceTB/SmolLM2-135M")).columns
        ('low_perplexity', 'low_perplexity_status', 'row_loss', 'perplexity')
    """

    proxy: Proxy
    keep: Literal["low", "high"] = "low"
    labels: Labels = Labels()  # noqa: RUF009 (frozen)

    keeps_journal = True  # finished rows are on disk batch by batch, however it is called
    algo_version = 1

    def __post_init__(self) -> None:
        if self.keep not in ("low", "high"):
            raise ValueError(f"`keep` is {self.keep!r}, expected 'low' or 'high'. For the middle, use `MiddleBand`.")

    @property
    def columns(self) -> tuple[str, ...]:
        """What a call writes, the score first."""
        score = f"{self.keep}_perplexity"
        return (score, f"{score}_status", "row_loss", "perplexity")

    @property
    def spec(self) -> dict[str, Any]:
        """JSON-like account of what decides the numbers."""
        return spec_of(self)

    def __getstate__(self) -> dict[str, Any]:
        return state_of(self)

    def __call__(self, batch: Batch, rank: int | None = None) -> Columns:
        """Score B rows (or one): see the class."""
        return call(self, batch, rank)

    def _score(
        self, rank: int | None, rows: Sequence[Mapping[str, Any]], missing: frozenset[int]
    ) -> Iterator[tuple[list[int], Columns]]:
        """The batches of like length that hold a missing row, and the rows that cannot be scored."""
        for places, its in token_batches(self, rank, rows, missing):
            (losses,) = measured(self, rank, its, ("loss",))
            with np.errstate(over="ignore"):
                perplexity = np.exp(losses)
            score = losses if self.keep == "high" else -losses
            yield places, dict(zip(self.columns, (score, status_of(its, losses), losses, perplexity), strict=True))
