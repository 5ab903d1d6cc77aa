"""`Probe`: what a model says of a row with its images or frames, and without them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from hf_datasel.contracts import Batch, Columns
from hf_datasel.proxy import Proxy
from hf_datasel.proxy.batch_size import encoded_batches, max_tokens
from hf_datasel.proxy.proxy import encode
from hf_datasel.rows import Labels, TokenRow, row_digest
from hf_datasel.rows.demonstrations import with_last_answer
from hf_datasel.rows.labels import IGNORED
from hf_datasel.rows.vision import cut_media, holds_media, without_media
from hf_datasel.scorers.goal.probe import (
    answer_difficulty,
    keyword_necessity,
    temporal_necessity,
    video_dependence,
)
from hf_datasel.scorers.goal.text import normalised, question_and_answer
from hf_datasel.scorers.with_proxy import NAN_LOSS, call, loaded_proxy, measured, spec_of, state_of


if TYPE_CHECKING:
    from hf_datasel.proxy.proxy import LoadedProxy

NO_MEDIA, NO_QUESTION = "no_media", "no_question"
VERDICTS = ("probe", "keywords", "none")
VERDICT_TOKENS = 3
# The wording of the release is not in the paper: this one is ours.
ASKED = (
    "To answer the question below about a video, must one know the order of events, or how something changes over time? "
    "Reply with one word, Temporal or Static.\nQuestion: {question}"
)


@dataclass(frozen=True)
class Probe:
    """How much the images or frames of a row help to answer it, in nats per token. Higher means keep.

    The loss of the answer without media (blind) minus the loss with them (sighted). The same pass gives the answer's
    difficulty, a verdict whether the question needs time, and answers for `SelfConsistency` to compare. Cost: 1 F sighted,
    1 F blind (rows with media alone), 1 F of the question for a verdict, 1 F of the prompt and `max_new_tokens` steps of
    `samples` rows for the samples. Media are decoded once.

    The answer is the completion, or the last turn of the assistant in a dialogue; all before it is the prompt. Its tokens
    are the same in both losses.

    Args:
        proxy: any vision-language model; for a pool of text, any causal language model.
        labels: `max_length` and the rest of how rows become tokens. Losses are of the answer alone, whatever it says.
        samples: answers to sample, 0 for none.
        temperature, top_p: of the sampling.
        max_new_tokens: of a sampled answer.
        verdict: who says whether a question needs time: `"probe"` is asked, question only, no media; `"keywords"` looks
            for words of time, without a model; `"none"`.
        seed: of the sampling, with the row's content: neither batches nor processes change an answer.

    Writes:
        `video_dependence`, the score; its status: `"ok"`; `"truncated"`, measured on what is left of the answer;
        `"no_media"`, and the score is 0, since blind and sighted are one; else why the row has no losses, and they are NaN.
        `loss_sighted`, `loss_blind` (nats per token), `answer_difficulty` (exponential of the sighted loss),
        `temporal_verdict` (text), `temporal_verdict_by` (`"probe"`, `"keywords"`, null where there is none),
        `temporal_necessity` (1, 0, 0.5 undecided, NaN not asked), `sampled_answers` (list of texts, null where none).

    Raises:
        ValueError: a setting is out of range.
        BadRow: the columns are of no known format, or hold media that the model cannot read.

    Source: https://huggingface.co/papers/2603.12478, Eq. 4 to 7; 5 samples at temperature 0.8, top_p 0.9, 32 tokens, and a
        greedy verdict of 3 tokens from its released code. How that code words the question is not known here.

    Example:
        >>> Probe(Proxy("Qwen/Qwen3-VL-8B-Instruct", dtype="bfloat16")).columns[:4]
        ('video_dependence', 'video_dependence_status', 'loss_sighted', 'loss_blind')
    """

    proxy: Proxy
    labels: Labels = Labels()  # noqa: RUF009 (frozen)
    samples: int = 5
    temperature: float = 0.8
    top_p: float = 0.9
    max_new_tokens: int = 32
    verdict: Literal["probe", "keywords", "none"] = "probe"
    seed: int = 42

    columns = (
        "video_dependence", "video_dependence_status", "loss_sighted", "loss_blind", "answer_difficulty",
        "temporal_verdict", "temporal_verdict_by", "temporal_necessity", "sampled_answers",
    )  # fmt: skip
    keeps_journal = True
    algo_version = 1

    def __post_init__(self) -> None:
        if self.samples < 0:
            raise ValueError(f"`samples` is {self.samples}, expected 0 (none) or more; 2 are the least to compare.")
        if self.max_new_tokens < 1:
            raise ValueError(f"`max_new_tokens` is {self.max_new_tokens}, expected at least 1.")
        if not self.temperature > 0:
            raise ValueError(
                f"`temperature` is {self.temperature}, expected above 0: at 0 all samples of a row would be the same."
            )
        if not 0 < self.top_p <= 1:
            raise ValueError(f"`top_p` is {self.top_p}, expected above 0 and at most 1, which draws from all tokens.")
        if self.verdict not in VERDICTS:
            raise ValueError(f"`verdict` is {self.verdict!r}, expected one of {VERDICTS}.")

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
        """The batches of like length that hold a missing row, and the rows that have no loss."""
        proxy = loaded_proxy(self, rank)
        asked = [with_last_answer(row) for row in rows]
        for places, sighted in encoded_batches(asked, missing, partial(self._read, proxy), max_tokens()):
            columns = self._losses(rank, [asked[place] for place in places], sighted)
            wanted = [place in missing for place in places]  # what the journal knows is not asked again
            verdicts = [
                self._verdict(proxy, rows[place]) if want else None for place, want in zip(places, wanted, strict=True)
            ]
            columns["temporal_verdict"] = verdicts
            columns["temporal_verdict_by"] = [None if said is None else self.verdict for said in verdicts]
            columns["temporal_necessity"] = np.array([temporal_necessity(said) for said in verdicts])
            columns["sampled_answers"] = [
                self._samples(proxy, rows[place], row) if want else None
                for place, row, want in zip(places, sighted, wanted, strict=True)
            ]
            yield places, columns

    def _read(self, proxy: LoadedProxy, row: Mapping[str, Any]) -> TokenRow:
        if row.get("text") is not None:
            return TokenRow((), (), NO_QUESTION)
        return encode(row, proxy, replace(self.labels, completion_only_loss=True, assistant_only_loss=False))

    def _losses(
        self, rank: int | None, rows: Sequence[Mapping[str, Any]], sighted: Sequence[TokenRow]
    ) -> dict[str, Any]:
        proxy = loaded_proxy(self, rank)
        seeing = [holds_media(row) for row in rows]
        blind = [
            self._blind(proxy, row, seen) if has else seen
            for row, seen, has in zip(rows, sighted, seeing, strict=True)
        ]
        (with_media,) = measured(self, rank, sighted, ("loss",))
        without = np.where(seeing, np.nan, with_media)
        places = [place for place, has in enumerate(seeing) if has]
        (without[places],) = measured(self, rank, [blind[place] for place in places], ("loss",))
        dependence = video_dependence(without, with_media)
        status = []
        for has, seen, unseen, found in zip(seeing, sighted, blind, dependence, strict=True):
            if not seen.scorable:
                status.append(seen.status)
            elif not unseen.scorable:
                status.append(f"blind_{unseen.status}")
            else:
                status.append(NAN_LOSS if np.isnan(found) else seen.status if has else NO_MEDIA)
        return {
            "video_dependence": dependence,
            "video_dependence_status": status,
            "loss_sighted": with_media,
            "loss_blind": without,
            "answer_difficulty": answer_difficulty(with_media),
        }

    def _blind(self, proxy: LoadedProxy, row: Mapping[str, Any], sighted: TokenRow) -> TokenRow:
        """The row without its media, and with the targets that it has with them: both losses are of the same tokens."""
        if not sighted.scorable:
            return sighted
        read = Labels(None, completion_only_loss=True, eos_token=self.labels.eos_token)
        found = encode(without_media(row, proxy.reader), proxy, read)
        first = next((place for place, label in enumerate(found.labels) if label != IGNORED), 0)
        stop = first + sighted.num_targets
        media = cut_media(dict(found.media), stop)  # a processor may count tokens of images where there are none
        return replace(found, input_ids=found.input_ids[:stop], labels=found.labels[:stop], media=media)

    def _verdict(self, proxy: LoadedProxy, row: Mapping[str, Any]) -> str | None:
        question = normalised(question_and_answer(row)[0])
        if self.verdict == "none" or not question:
            return None
        if self.verdict == "keywords":
            return "Temporal" if keyword_necessity(question) else "Static"
        prompt, answer = ASKED.format(question=question), "Temporal"
        chat = proxy.tokenizer.chat_template is not None
        asking = {
            "prompt": [{"role": "user", "content": prompt}] if chat else f"{prompt}\nReply:",
            "completion": [{"role": "assistant", "content": answer}] if chat else f" {answer}",
        }
        asking |= {"images": []} if hasattr(proxy.reader, "image_processor") else {}
        encoded = encode(asking, proxy, Labels(None, eos_token=self.labels.eos_token))
        # A question longer than the model reads gets no verdict.
        return self._written(proxy, encoded, np.zeros((1, VERDICT_TOKENS)), 0.0)[0] if encoded.scorable else None

    def _samples(self, proxy: LoadedProxy, row: Mapping[str, Any], sighted: TokenRow) -> list[str] | None:
        if not self.samples or not sighted.scorable:
            return None
        seed = blake2b(f"{self.seed} {row_digest(row)}".encode(), digest_size=8).digest()
        draw = np.random.default_rng(int.from_bytes(seed, "little"))
        return self._written(proxy, sighted, draw.random((self.samples, self.max_new_tokens)), self.temperature)

    def _written(
        self, proxy: LoadedProxy, row: TokenRow, draws: npt.NDArray[np.float64], temperature: float
    ) -> list[str]:
        from hf_datasel.proxy.sampling import prompt_of, write_answers

        return write_answers(proxy, prompt_of(row), draws, temperature, self.top_p)
