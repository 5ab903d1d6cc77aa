"""EL2N: how far the proxy's predictions are from the answer's tokens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from hf_datasel.contracts import Batch, Columns, Scores
from hf_datasel.proxy import Proxy
from hf_datasel.proxy.batch_size import encoded_batches, max_tokens
from hf_datasel.proxy.proxy import encode
from hf_datasel.rows import Labels, TokenRow
from hf_datasel.rows.batches import rows_of, warn_unbatched
from hf_datasel.rows.journal import resumed


if TYPE_CHECKING:
    from hf_datasel.proxy.proxy import LoadedProxy

NAN_LOSS = "nan_loss"


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
        `row_loss`, the mean loss in nats per token.

    Source: https://huggingface.co/papers/2107.07075 (images, hard rows kept); over tokens as COINCIDE's code has it, which
        does not say which end its table kept.

    Example:
        >>> EL2N(Proxy("HuggingFaceTB/SmolLM2-135M")).columns
        ('high_el2n', 'high_el2n_status', 'el2n', 'row_loss')
    """

    proxy: Proxy
    keep: Literal["high", "low"] = "high"
    labels: Labels = Labels()  # noqa: RUF009 (frozen)

    keeps_journal = True  # finished rows are on disk batch by batch, however it is called
    algo_version = 1

    def __post_init__(self) -> None:
        if self.keep not in ("high", "low"):
            raise ValueError(f"`keep` is {self.keep!r}, expected 'high' or 'low'. For the middle, use `MiddleBand`.")

    @property
    def columns(self) -> tuple[str, ...]:
        """What a call writes, the score first."""
        score = f"{self.keep}_el2n"
        return (score, f"{score}_status", "el2n", "row_loss")

    @property
    def spec(self) -> dict[str, Any]:
        """JSON-like account of what decides the numbers."""
        return {
            "scorer": "EL2N",
            "algo_version": self.algo_version,
            "keep": self.keep,
            "labels": vars(self.labels),
            "proxy": self.proxy.spec,
        }

    def __getstate__(self) -> dict[str, Any]:
        # Fingerprints and workers see the fields alone, never the loaded model.
        return {"algo_version": self.algo_version, "proxy": self.proxy, "keep": self.keep, "labels": self.labels}

    def __call__(self, batch: Batch, rank: int | None = None) -> Columns:
        """Score B rows (or one): see the class."""
        rows, single = rows_of(batch)
        if single:
            warn_unbatched(type(self).__name__)
        if "_spec" not in self.__dict__:
            self.__dict__["_spec"] = self.spec
        spec = self.__dict__["_spec"]
        columns = resumed(spec, rows, partial(self._score, rank), self.columns, self.labels.dataset_text_field)
        return {name: values[0] for name, values in columns.items()} if single else columns

    def _score(
        self, rank: int | None, rows: Sequence[Mapping[str, Any]], missing: frozenset[int]
    ) -> Iterator[tuple[list[int], Columns]]:
        """The batches of like length that hold a missing row, and the rows that cannot be scored."""
        from hf_datasel.proxy.batching import TokenBudget
        from hf_datasel.proxy.figures import measure_figures

        proxy, budget = self._loaded_proxy(rank), self.__dict__.setdefault("_budget", TokenBudget(max_tokens()))
        read = partial(encode, proxy=proxy, labels=self.labels)
        for batch, its in encoded_batches(rows, missing, read, max_tokens()):
            scorable = [i for i, row in enumerate(its) if row.scorable]
            distances, losses = np.full(len(its), np.nan), np.full(len(its), np.nan)
            found = measure_figures(proxy, [its[i] for i in scorable], ("el2n", "loss"), budget)
            distances[scorable], losses[scorable] = found["el2n"], found["loss"]
            yield batch, self._columns(its, distances, losses)

    def _columns(self, encoded: Sequence[TokenRow], distances: Scores, losses: Scores) -> Columns:
        bad = ~np.isfinite(losses) | ~np.isfinite(distances)
        distances, losses = np.where(bad, np.nan, distances), np.where(bad, np.nan, losses)
        status = [
            NAN_LOSS if row.scorable and is_bad else row.status for row, is_bad in zip(encoded, bad, strict=True)
        ]
        values = (distances if self.keep == "high" else -distances, status, distances, losses)
        return dict(zip(self.columns, values, strict=True))

    def _loaded_proxy(self, rank: int | None) -> LoadedProxy:
        if "_loaded" not in self.__dict__:
            self.__dict__["_loaded"] = self.proxy.load(self.labels, rank)
        loaded: LoadedProxy = self.__dict__["_loaded"]
        return loaded
