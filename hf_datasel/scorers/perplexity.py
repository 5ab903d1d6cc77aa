"""Perplexity of the answer given its prompt, under the proxy."""

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
        return {
            "scorer": "Perplexity",
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
            losses = np.full(len(its), np.nan)
            found = measure_figures(proxy, [its[i] for i in scorable], ("loss",), budget)
            losses[scorable] = found["loss"]
            yield batch, self._columns(its, losses)

    def _columns(self, encoded: Sequence[TokenRow], losses: Scores) -> Columns:
        losses = np.where(np.isfinite(losses), losses, np.nan)
        status = [
            NAN_LOSS if row.scorable and np.isnan(loss) else row.status
            for row, loss in zip(encoded, losses, strict=True)
        ]
        with np.errstate(over="ignore"):
            values = (losses if self.keep == "high" else -losses, status, losses, np.exp(losses))
        return dict(zip(self.columns, values, strict=True))

    def _loaded_proxy(self, rank: int | None) -> LoadedProxy:
        if "_loaded" not in self.__dict__:
            self.__dict__["_loaded"] = self.proxy.load(self.labels, rank)
        loaded: LoadedProxy = self.__dict__["_loaded"]
        return loaded
