"""What worked examples before a question change about its answer: log-probabilities with and without them."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from hf_datasel.contracts import Scores
from hf_datasel.errors import BadRow
from hf_datasel.proxy.batching import TokenBudget, in_batches
from hf_datasel.proxy.figures import measure_figures, read_figures
from hf_datasel.proxy.label_forward import attention, fast_attention, read_targets
from hf_datasel.proxy.losses import TokenBatch, row_values
from hf_datasel.proxy.prefix import Prefix, keeps_keys_and_values, read_prefix, shared_length, without_prefix
from hf_datasel.proxy.proxy import encode
from hf_datasel.rows.demonstrations import alike, demonstrated, with_last_answer
from hf_datasel.rows.labels import IGNORED, Labels, TokenRow
from hf_datasel.rows.vision import holds_media


if TYPE_CHECKING:
    from hf_datasel.proxy.proxy import LoadedProxy

HOLDS_MEDIA, NO_QUESTION, OTHER_FORMAT = "holds_media", "no_question", "other_format"
OTHER_ANSWER = "other_answer_tokens"
NAN_LOSS = "nan_loss"


@dataclass(frozen=True)
class InContext:
    """T questions with answers, asked of a model with and without worked examples before them.

    The chat template, the beginning-of-sequence token and the answers' tokens are the same on both sides: a question
    with examples is read by the same code as the question alone.

    Args:
        proxy: the loaded model.
        items: T rows of text, each a prompt and its completion or a dialogue, of which the last answer counts.
        labels: the options shared with training. Answers count whole, so `max_length` does not apply.
        separator: between examples of text.
        budget: padded tokens a batch, behind the examples.
        shares_prefix: read the examples once for all questions. False reads them again with each (the specification).
            Models without a cache of keys and values are always read so.

    Raises:
        BadRow: an item has no answer to a prompt, holds media or is longer than the context.
    """

    proxy: LoadedProxy
    items: Sequence[Mapping[str, Any]]
    labels: Labels
    separator: str = "\n\n"
    budget: TokenBudget = field(default_factory=lambda: TokenBudget(2048))
    shares_prefix: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "items", tuple(with_last_answer(row) for row in self.items))
        bad = [f"item {i}: {row.status}" for i, row in enumerate(self.alone) if not row.scorable]
        if bad or not self.items:
            raise BadRow(
                f"`items` has {len(bad)} of {len(self.items)} rows without an answer to measure "
                f"({'; '.join(bad[:5]) or 'no rows at all'}), expected one in every row. Remove them."
            )

    @functools.cached_property
    def alone(self) -> tuple[TokenRow, ...]:
        """The T questions and answers without examples."""
        return tuple(self.read(item) for item in self.items)

    @functools.cached_property
    def losses_alone(self) -> Scores:
        """(T,) mean loss of each answer without examples, nats per token. Cost: T F."""
        return self._losses(self.alone)

    def read(self, row: Mapping[str, Any]) -> TokenRow:
        """Tokens of a row, with targets in its last answer alone; or why it has none."""
        if holds_media(row):
            return TokenRow((), (), HOLDS_MEDIA)
        row = with_last_answer(row)
        if not row.get("prompt"):
            return TokenRow((), (), NO_QUESTION)
        whole = replace(self.labels, max_length=None, completion_only_loss=True, assistant_only_loss=False)
        return encode(row, self.proxy, whole)

    def after(self, demonstrations: Sequence[Mapping[str, Any]]) -> tuple[str, tuple[TokenRow, ...]]:
        """`"ok"` and the T questions and answers with k examples before them, or why there are none.

        Args:
            demonstrations: k rows in the items' format, put before every question in this order.
        """
        for row in demonstrations:
            read = self.read(row)
            if not read.scorable:
                return read.status, ()
        shots = [with_last_answer(row) for row in demonstrations]
        if not alike((*shots, *self.items)):
            return OTHER_FORMAT, ()
        joined = tuple(self.read(demonstrated(shots, item, self.separator)) for item in self.items)
        for asked, alone in zip(joined, self.alone, strict=True):
            if not asked.scorable:
                return asked.status, ()
            if _answer(asked) != _answer(alone):
                return OTHER_ANSWER, ()
        return "ok", joined

    def gains(self, demonstrations: Sequence[Mapping[str, Any]]) -> tuple[str, Scores]:
        """A status, and by how much k examples raise the log-probability of each of T answers: (T,), nats per token.

        NaN unless the status is `"ok"`. Cost: T F of what follows the examples, and 1 F of these.
        """
        nothing = np.full(len(self.items), np.nan)
        status, joined = self.after(demonstrations)
        if not joined:
            return status, nothing
        found: Scores = self.losses_alone - self._losses(joined)
        return ("ok", found) if np.isfinite(found).all() else (NAN_LOSS, nothing)

    def share_of_context(self, row: Mapping[str, Any]) -> float:
        """What part of the model's context one example takes up; 0 where the model names no context."""
        return len(self.read(row).input_ids) / self.proxy.context if self.proxy.context else 0.0

    def _losses(self, rows: Sequence[TokenRow]) -> Scores:
        if not self.shares_prefix or not keeps_keys_and_values(self.proxy):
            return measure_figures(self.proxy, rows, ("loss",), self.budget)["loss"]
        with torch.no_grad(), attention(self.proxy, fast_attention(self.proxy)):
            length = shared_length(rows)
            prefix = read_prefix(self.proxy, rows[0].input_ids[:length]) if length else None
            rest = [without_prefix(row, length) for row in rows]
            found = np.full(len(rows), np.nan)
            for places, batch, losses in in_batches(
                rest, self.proxy, self.budget, lambda batch: self._row_losses(batch, prefix)
            ):
                found[places] = row_values(batch.spread(losses), batch, "mean").cpu().numpy()
        return found

    def _row_losses(self, batch: TokenBatch, prefix: Prefix | None) -> torch.Tensor:
        inputs: dict[str, Any] = {}
        if prefix is not None:
            # No mask: padding stands behind every target, and causal models never look there.
            inputs = {"past_key_values": prefix.for_rows(len(batch.input_ids)), "use_cache": True}
        return read_targets(self.proxy, batch, lambda logits, targets: read_figures(logits, targets, ())[0], **inputs)[
            "loss"
        ]


def _answer(row: TokenRow) -> list[int]:
    return [label for label in row.labels if label != IGNORED]
