"""AUM: by how much the proxy prefers the answer's tokens to the next best."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from hf_datasel.contracts import Batch, Columns
from hf_datasel.proxy import Proxy
from hf_datasel.rows import Labels
from hf_datasel.scorers.with_proxy import call, measured, spec_of, state_of, status_of, token_batches


@dataclass(frozen=True)
class AUM:
    """Mean margin of a row's target tokens over the strongest other token. Cost: 1 F.

    High is easy, and rightly labelled; low is hard or wrong. One model stands for the paper's average over epochs.

    Args:
        proxy: the model that scores.
        keep: which end is worth keeping: `"high"` keeps what the proxy is sure of, `"low"` what it would say otherwise.
        margin: of `"probability"`, in [-1, 1], or of `"logit"`, without bounds.
        labels: how rows become tokens and labels; give training the same.

    Writes:
        `high_aum` (the mean margin) or `low_aum` (minus it), the score; its status; `aum`, the mean margin; and `aum_row_loss`,
        the mean loss in nats per token.

    Source: https://huggingface.co/papers/2001.10528 (logits, low margins removed as wrong labels); over tokens and of
        probabilities as COINCIDE's code has it for D2 Pruning.

    Example:
        >>> AUM(Proxy("HuggingFaceTB/SmolLM2-135M")).columns
        ('high_aum', 'high_aum_status', 'aum', 'aum_row_loss')
    """

    proxy: Proxy
    keep: Literal["high", "low"] = "high"
    margin: Literal["probability", "logit"] = "probability"
    labels: Labels = Labels()  # noqa: RUF009 (frozen)

    keeps_journal = True  # finished rows are on disk batch by batch, however it is called
    algo_version = 2

    def __post_init__(self) -> None:
        if self.keep not in ("high", "low"):
            raise ValueError(f"`keep` is {self.keep!r}, expected 'high' or 'low'. For the middle, use `MiddleBand`.")
        if self.margin not in ("probability", "logit"):
            raise ValueError(f"`margin` is {self.margin!r}, expected 'probability' or 'logit'. Name one of them.")

    @property
    def columns(self) -> tuple[str, ...]:
        """What a call writes, the score first."""
        score = f"{self.keep}_aum"
        return (score, f"{score}_status", "aum", "aum_row_loss")

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
        figure = "aum" if self.margin == "logit" else "probability_margin"
        for places, its in token_batches(self, rank, rows, missing):
            margins, losses = measured(self, rank, its, (figure, "loss"))
            score = margins if self.keep == "high" else -margins
            yield places, dict(zip(self.columns, (score, status_of(its, losses), margins, losses), strict=True))
