"""EL2N: how far the proxy's predictions are from the answer's tokens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from hf_datasel.contracts import Batch, Columns
from hf_datasel.proxy import Proxy
from hf_datasel.rows import Labels
from hf_datasel.scorers.with_proxy import call, measured, spec_of, state_of, status_of, token_batches


@dataclass(frozen=True)
class EL2N:
    """Mean distance |softmax - onehot| over a row's target tokens, from 0 (certain and right) to sqrt(2). Cost: 1 F.

    One model stands for the paper's average over ten trained early. For the middle band, use `MiddleBand` on either score.

    Args:
        proxy: the model that scores.
        keep: which end is worth keeping: `"high"` keeps what is hard for the proxy, `"low"` what is easy.
        labels: how rows become tokens and labels; give training the same.

    Writes:
        `high_el2n` (the mean distance) or `low_el2n` (minus it), the score; its status; `el2n`, the mean distance; and
        `el2n_row_loss`, the mean loss in nats per token.

    Source: https://huggingface.co/papers/2107.07075 (images, hard rows kept); over tokens as COINCIDE's code has it, which
        does not say which end its table kept.

    Example:
        >>> EL2N(Proxy("HuggingFaceTB/SmolLM2-135M")).columns
        ('high_el2n', 'high_el2n_status', 'el2n', 'el2n_row_loss')
    """

    proxy: Proxy
    keep: Literal["high", "low"] = "high"
    labels: Labels = Labels()  # noqa: RUF009 (frozen)

    keeps_journal = True  # finished rows are on disk batch by batch, however it is called
    algo_version = 2

    def __post_init__(self) -> None:
        if self.keep not in ("high", "low"):
            raise ValueError(f"`keep` is {self.keep!r}, expected 'high' or 'low'. For the middle, use `MiddleBand`.")

    @property
    def columns(self) -> tuple[str, ...]:
        """What a call writes, the score first."""
        score = f"{self.keep}_el2n"
        return (score, f"{score}_status", "el2n", "el2n_row_loss")

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
            distances, losses = measured(self, rank, its, ("el2n", "loss"))
            score = distances if self.keep == "high" else -distances
            yield places, dict(zip(self.columns, (score, status_of(its, losses), distances, losses), strict=True))
