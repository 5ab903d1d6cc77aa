"""Instruction-following difficulty: how little the prompt helps the proxy with the answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from hf_datasel.contracts import Batch, Columns, Scores
from hf_datasel.proxy import Proxy
from hf_datasel.rows import Labels, TokenRow
from hf_datasel.rows.labels import IGNORED, NO_LABELS, SCORABLE
from hf_datasel.scorers.with_proxy import NAN_LOSS, call, loaded_proxy, measured, spec_of, state_of, token_batches


NO_PROMPT = "no_prompt"
SEVERAL_ANSWERS = "several_answers"
ABOVE_ONE = "above_one"
CERTAIN_WITHOUT_PROMPT = "certain_without_prompt"
CERTAIN = 1e-6  # nats per token; a ratio to less is rounding noise


@dataclass(frozen=True)
class IFD:
    """Loss of the answer after its prompt, relative to its loss alone; high is hard to follow. Cost: 2 F.

    Both losses are means over the same tokens. Alone, the answer stands behind the tokenizer's beginning-of-sequence
    token; where there is none, its first token, which nothing comes before, counts in neither mean. Defined for one
    answer to one prompt: rows without a prompt or with several answers are not scored.

    Args:
        proxy: the model that scores. The paper trains it briefly on the pool first.
        ratio: what is divided: the mean `"loss"`es, as in the paper, or their exponentials, the `"perplexity"`s, as in
            Superfiltering. The two do not rank alike.
        drop_above_one: do not score rows whose answer is likelier without the prompt: it does not belong to them.
        labels: how rows become tokens and labels; give training the same.

    Writes:
        `ifd_loss_ratio` or `ifd_perplexity_ratio`, the score; its status (`"above_one"` where the row was left out);
        `loss_ratio` and `perplexity_ratio` (no unit, of every row); `ifd_row_loss` and `ifd_answer_loss`, the losses with and
        without the prompt, in nats per token.

    Source: https://huggingface.co/papers/2308.12032, Eq. 4 (loss ratio, above 1 removed, the highest kept);
        https://huggingface.co/papers/2402.00530 (perplexity ratio, small proxies without training).

    Example:
        >>> IFD(Proxy("HuggingFaceTB/SmolLM2-135M")).columns[:4]
        ('ifd_loss_ratio', 'ifd_loss_ratio_status', 'loss_ratio', 'perplexity_ratio')
    """

    proxy: Proxy
    ratio: Literal["loss", "perplexity"] = "loss"
    drop_above_one: bool = True
    labels: Labels = Labels()  # noqa: RUF009 (frozen)

    keeps_journal = True  # finished rows are on disk batch by batch, however it is called
    algo_version = 2

    def __post_init__(self) -> None:
        if self.ratio not in ("loss", "perplexity"):
            raise ValueError(f"`ratio` is {self.ratio!r}, expected 'loss' or 'perplexity'. Name one of them.")

    @property
    def columns(self) -> tuple[str, ...]:
        """What a call writes, the score first."""
        score = f"ifd_{self.ratio}_ratio"
        return (score, f"{score}_status", "loss_ratio", "perplexity_ratio", "ifd_row_loss", "ifd_answer_loss")

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
        begin = loaded_proxy(self, rank).tokenizer.bos_token_id
        for places, its in token_batches(self, rank, rows, missing):
            pairs = [with_and_without_prompt(row, begin) for row in its]
            (row_loss,), (answer_loss,) = (measured(self, rank, part, ("loss",)) for part in zip(*pairs, strict=True))
            yield places, self._columns([after_prompt.status for after_prompt, _ in pairs], row_loss, answer_loss)

    def _columns(self, status: list[str], row_loss: Scores, answer_loss: Scores) -> Columns:
        bad = ~np.isfinite(row_loss) | ~np.isfinite(answer_loss)
        row_loss, answer_loss = np.where(bad, np.nan, row_loss), np.where(bad, np.nan, answer_loss)
        loss_ratio, perplexity_ratio = ratios(row_loss, answer_loss)
        is_certain = ~bad & np.isnan(loss_ratio)
        is_dropped = self.drop_above_one & ~np.isnan(loss_ratio) & (row_loss > answer_loss)
        score = np.where(is_dropped, np.nan, loss_ratio if self.ratio == "loss" else perplexity_ratio)
        reasons = ((bad, NAN_LOSS), (is_certain, CERTAIN_WITHOUT_PROMPT), (is_dropped, ABOVE_ONE))
        for i, was in enumerate(status):
            if was in SCORABLE:
                status[i] = next((reason for holds, reason in reasons if holds[i]), was)
        values = (score, status, loss_ratio, perplexity_ratio, row_loss, answer_loss)
        return dict(zip(self.columns, values, strict=True))


def ratios(row_loss: Scores, answer_loss: Scores) -> tuple[Scores, Scores]:
    """Ratio of the losses with and without the prompt, and of their exponentials; NaN where the latter loss is near 0.

    Args:
        row_loss: (B,) mean loss after the prompt, nats per token.
        answer_loss: (B,) of the same tokens alone.

    Example:
        >>> ratios(np.log([2.0]), np.log([8.0]))
        (array([0.33333333]), array([0.25]))
    """
    certain = answer_loss < CERTAIN
    with np.errstate(over="ignore"):
        loss_ratio = row_loss / np.where(certain, np.nan, answer_loss)
        return loss_ratio, np.where(np.isnan(loss_ratio), np.nan, np.exp(row_loss - answer_loss))


def with_and_without_prompt(row: TokenRow, bos: int | None) -> tuple[TokenRow, TokenRow]:
    """The row, and its answer alone, with losses on the same tokens; or twice a row that says why there is no such pair.

    Args:
        row: T tokens.
        bos: id of the token that texts begin with, if there is one.

    Example:
        >>> with_and_without_prompt(TokenRow((1, 5, 6, 7), (-100, -100, 6, 7), "ok"), bos=1)[1]
        TokenRow(input_ids=(1, 6, 7), labels=(-100, 6, 7), status='ok')
    """
    if not row.scorable:
        return row, row
    places = [place for place, label in enumerate(row.labels) if label != IGNORED]
    first = places[0]
    # A beginning-of-sequence token in front is no prompt.
    if first <= (1 if row.input_ids[0] == bos else 0):
        return (TokenRow((), (), NO_PROMPT),) * 2
    if places[-1] - first >= len(places):
        return (TokenRow((), (), SEVERAL_ANSWERS),) * 2
    if bos is not None:
        return row, TokenRow((bos, *row.input_ids[first:]), (IGNORED, *row.labels[first:]), row.status)
    if len(places) == 1:
        return (TokenRow((), (), NO_LABELS),) * 2
    labels = (*row.labels[:first], IGNORED, *row.labels[first + 1 :])
    return replace(row, labels=labels), TokenRow(row.input_ids[first:], labels[first:], row.status)
