"""Predictive strength: whether the losses of several models on a row rank them as benchmarks do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from hf_datasel.contracts import Batch, Columns, Scores
from hf_datasel.proxy import Proxy
from hf_datasel.proxy.batch_size import max_tokens
from hf_datasel.proxy.proxy import encode
from hf_datasel.rows import Labels, TokenRow
from hf_datasel.rows.batches import answer_text
from hf_datasel.rows.labels import OK
from hf_datasel.scorers.with_proxy import NAN_LOSS, call, state_of


if TYPE_CHECKING:
    from hf_datasel.proxy.proxy import LoadedProxy

ROWS = 64  # read at a time, whatever is missing of them


@dataclass(frozen=True)
class PredictiveStrength:
    """Share of pairs of models of which the better one on a benchmark has the lower loss on the row, 0 to 1. Cost: M F.

    Losses are in bits per character of the answer, so that models with different tokenizers compare; a row that any of
    them would cut is not scored. With few models there are few values: M (M - 1) / 2 + 1.

    Args:
        models: M models, at least 2; all stay in memory.
        benchmark: their scores on what the fine-tuned model is to be good at, higher is better. Only the order counts;
            pairs with equal scores are left out.
        labels: how rows become tokens and labels; losses are of the targets.

    Writes:
        `predictive_strength`, the score; its status: `"ok"`, `"nan_loss"`, or why one of the models cannot read the row;
        `bits_per_character`, the list of the models' losses.

    Raises:
        ValueError: there are fewer than two models, not one benchmark score for each, or no two differ.

    Source: https://huggingface.co/papers/2503.00808 (documents for pre-training, Llama models); here of answers given
        prompts.

    Example:
        >>> models = [Proxy(f"EleutherAI/pythia-{size}") for size in ("70m", "160m", "410m")]
        >>> PredictiveStrength(models, benchmark=(0.31, 0.36, 0.42)).columns[:2]
        ('predictive_strength', 'predictive_strength_status')
    """

    models: tuple[Proxy, ...]
    benchmark: tuple[float, ...]
    labels: Labels = Labels()  # noqa: RUF009 (frozen)

    columns = ("predictive_strength", "predictive_strength_status", "bits_per_character")
    keeps_journal = True
    algo_version = 2

    def __post_init__(self) -> None:
        object.__setattr__(self, "models", tuple(self.models))
        object.__setattr__(self, "benchmark", tuple(float(score) for score in self.benchmark))
        if len(self.models) < 2 or len(self.models) != len(self.benchmark) or len(set(self.benchmark)) < 2:
            raise ValueError(
                f"`models` are {len(self.models)} and `benchmark` is {self.benchmark}, expected at least two models, a score "
                f"for each, and not all the same."
            )

    @property
    def spec(self) -> dict[str, Any]:
        """JSON-like account of what decides the numbers."""
        return {
            "scorer": "PredictiveStrength",
            "algo_version": self.algo_version,
            "models": [model.spec for model in self.models],
            "benchmark": list(self.benchmark),
            "labels": vars(self.labels),
        }

    def __getstate__(self) -> dict[str, Any]:
        return state_of(self)

    def __call__(self, batch: Batch, rank: int | None = None) -> Columns:
        """Score B rows (or one): see the class."""
        return call(self, batch, rank)

    def _score(
        self, rank: int | None, rows: Sequence[Mapping[str, Any]], missing: frozenset[int]
    ) -> Iterator[tuple[list[int], Columns]]:
        for start in range(0, len(rows), ROWS):
            places = list(range(start, min(start + ROWS, len(rows))))
            if missing.isdisjoint(places):
                continue
            its = [rows[place] for place in places]
            read = [[encode(row, model, self.labels) for row in its] for model in self._loaded(rank)]
            status = [next((row.status for row in one if row.status != OK), OK) for one in zip(*read, strict=True)]
            there = [at for at, word in enumerate(status) if word == OK]
            lengths = np.array([len(answer_text(its[at], self.labels.dataset_text_field)) for at in there], np.float64)
            bits = np.full((len(its), len(self.models)), np.nan)
            for number, model in enumerate(self._loaded(rank)):
                nats = self._nats(model, [read[number][at] for at in there])
                bits[there, number] = nats / np.log(2) / lengths
            score = predictive_strength(bits, self.benchmark)
            status = [
                NAN_LOSS if word == OK and np.isnan(value) else word for word, value in zip(status, score, strict=True)
            ]
            yield places, dict(zip(self.columns, (score, status, bits.tolist()), strict=True))

    def _nats(self, model: LoadedProxy, rows: Sequence[TokenRow]) -> Scores:
        """(B,) sums of the losses of each row's targets."""
        from hf_datasel.proxy.batching import TokenBudget
        from hf_datasel.proxy.figures import measure_figures

        if not rows:
            return np.zeros(0)
        budget: TokenBudget = self.__dict__.setdefault("_budget", TokenBudget(max_tokens()))
        found = measure_figures(model, rows, ("loss", "length"), budget)
        return found["loss"] * found["length"]

    def _loaded(self, rank: int | None) -> list[LoadedProxy]:
        if "_models" not in self.__dict__:
            self.__dict__["_models"] = [model.load(self.labels, rank) for model in self.models]
        found: list[LoadedProxy] = self.__dict__["_models"]
        return found


def predictive_strength(losses: Scores, benchmark: Sequence[float]) -> Scores:
    """(B,) share of ordered pairs of models, the weaker first, whose losses fall; NaN where a loss is NaN.

    Args:
        losses: (B, M).
        benchmark: M scores; pairs with equal ones do not count.

    Example:
        >>> predictive_strength(np.array([[1.2, 1.0, 1.1]]), [1.0, 2.0, 3.0])
        array([0.66666667])
    """
    pairs = [sorted(pair, key=lambda at: benchmark[at]) for pair in combinations(range(len(benchmark)), 2)]
    pairs = [pair for pair in pairs if benchmark[pair[0]] < benchmark[pair[1]]]
    shares: Scores = np.mean([losses[:, weak] > losses[:, strong] for weak, strong in pairs], axis=0)
    return np.where(np.isnan(losses).any(axis=1), np.nan, shares)
