"""NUGGETS: the share of anchors that a row, shown as a worked example before them, makes easier to answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hf_datasel.contracts import Batch, Columns, Scores
from hf_datasel.proxy import Proxy
from hf_datasel.proxy.batch_size import max_tokens
from hf_datasel.rows import Labels, check_columns, content_rows, row_digest
from hf_datasel.scorers.with_anchors import rows_spec
from hf_datasel.scorers.with_proxy import call, loaded_proxy, restore, spec_of, state_of


if TYPE_CHECKING:
    from datasets import Dataset

    from hf_datasel.proxy.in_context import InContext

TOO_LONG, ONLY_ITSELF = "demonstration_too_long", "no_anchor_but_itself"


@dataclass(frozen=True)
class Nuggets:
    """Share of the anchors whose answer gets strictly likelier with the row as an example before it, 0 to 1.

    Cost per row: 1 F of the row and A F of the anchors behind it (its keys and values are read once); once per process A F.
    There are A + 1 scores to have, so ties are many: `golden_gain` tells tied rows apart.

    Args:
        proxy: the model that scores.
        anchors: A rows of text of the target task. The paper: 100 of the pool, one near each centre of k-means (see
            `learners.tiny_validation`). A row that is an anchor itself is measured on the others.
        separator: between the row and the anchor, where they are texts. Conversations follow their chat template.
        longest: part of the proxy's context that a row may take up; longer rows are not scored.
        labels: how rows become tokens. Answers count whole: `max_length` does not apply.

    Writes:
        `golden_score`; its status: `"ok"`, or why the row has no score: it does not fit the context before every anchor
        (`"longer_than_context"`), is longer than `longest` (`"demonstration_too_long"`), is a conversation where anchors are
        texts or the other way round (`"other_format"`), asks nothing (`"no_question"`), holds images (`"holds_media"`), …;
        `golden_gain`, the mean gain in log-probability, nats per token; `anchor_gains`, each anchor's, NaN for the row
        itself and where there is no score.

    Raises:
        ValueError: `longest` is no part of 1.
        BadRow: an anchor has no answer, holds media or is longer than the context.

    Source: https://huggingface.co/papers/2312.10302, golden score; strict, and anchors by k-means, as its released code. Here
        the template and the first token are the same with and without the example, which they are not there.

    Example:
        >>> anchors = [{"prompt": "1 + 1 = ", "completion": "2"}]
        >>> Nuggets(Proxy("HuggingFaceTB/SmolLM2-135M"), anchors).columns
        ('golden_score', 'golden_score_status', 'golden_gain', 'anchor_gains')
    """

    proxy: Proxy
    anchors: Dataset | Sequence[Mapping[str, Any]]
    separator: str = "\n\n"
    longest: float = 1.0
    labels: Labels = Labels()  # noqa: RUF009 (frozen)

    columns = ("golden_score", "golden_score_status", "golden_gain", "anchor_gains")
    keeps_journal = True  # finished rows are on disk one by one, however it is called
    algo_version = 1

    def __post_init__(self) -> None:
        if not 0 < self.longest <= 1:
            raise ValueError(f"`longest` is {self.longest}, expected above 0 and at most 1, the whole context.")
        anchors = self.anchors
        if hasattr(anchors, "column_names"):
            anchors = content_rows(anchors, None, self.labels.dataset_text_field)
        object.__setattr__(self, "anchors", tuple(dict(row) for row in anchors))

    @property
    def spec(self) -> dict[str, Any]:
        """JSON-like account of what decides the numbers."""
        return {**spec_of(self), "anchors": rows_spec(self.anchors, self.labels.dataset_text_field)}

    def __getstate__(self) -> dict[str, Any]:
        return state_of(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        restore(self, state)

    def __call__(self, batch: Batch, rank: int | None = None) -> Columns:
        """Score B rows (or one): see the class."""
        return call(self, batch, rank)

    def _score(
        self, rank: int | None, rows: Sequence[Mapping[str, Any]], missing: frozenset[int]
    ) -> Iterator[tuple[list[int], Columns]]:
        """One row at a time: it meets no other row, so the numbers are its own to the last bit."""
        check_columns(list(rows[0]), self.labels)
        engine, text_field = self._engine(rank), self.labels.dataset_text_field
        digests = np.array([row_digest(row, text_field) for row in self.anchors])
        for place in sorted(missing):
            row = rows[place]
            if engine.share_of_context(row) > self.longest:
                status, gains = TOO_LONG, np.full(len(digests), np.nan)
            else:
                status, gains = engine.gains([row])
            gains[digests == row_digest(row, text_field)] = np.nan
            score, gain = golden_score(gains)
            if status == "ok" and np.isnan(score):
                status = ONLY_ITSELF
            values = (np.array([score]), [status], np.array([gain]), [gains.tolist()])
            yield [place], dict(zip(self.columns, values, strict=True))

    def _engine(self, rank: int | None) -> InContext:
        if "_asking" not in self.__dict__:
            from hf_datasel.proxy.batching import TokenBudget
            from hf_datasel.proxy.in_context import InContext

            self.__dict__["_asking"] = InContext(
                loaded_proxy(self, rank), self.anchors, self.labels, self.separator, TokenBudget(max_tokens())
            )
        engine: InContext = self.__dict__["_asking"]
        return engine


def golden_score(gains: Scores) -> tuple[float, float]:
    """Share of gains that are above 0, and their mean, both of those that were measured; NaN where none was.

    Args:
        gains: (A,) log-probability with the example minus without, NaN where it was not measured.

    Example:
        >>> golden_score(np.array([1.0, 0.0, 1.0, -2.0]))
        (0.5, 0.0)
    """
    measured = gains[~np.isnan(gains)]
    return (float((measured > 0).mean()), float(measured.mean())) if len(measured) else (float("nan"), float("nan"))
