"""DEITA: how complex the questions of a row are, times how good its answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hf_datasel.contracts import Batch, Columns, Scores
from hf_datasel.proxy import Proxy
from hf_datasel.proxy.batch_size import max_tokens
from hf_datasel.rows.labels import LONGER_THAN_CONTEXT
from hf_datasel.rows.turns import turns_of
from hf_datasel.scorers.prompt_files import filled, read_prompt, without_marks
from hf_datasel.scorers.with_proxy import call, state_of


if TYPE_CHECKING:
    from hf_datasel.proxy.proxy import LoadedProxy

DIGITS = ("1", "2", "3", "4", "5", "6")
ROWS = 64  # scored at a time, whatever is missing of them
NO_QUESTION, NAN_LOGITS = "no_question", "nan_logits"


@dataclass(frozen=True)
class Deita:
    """Sum over the turns of a row of complexity times quality, each from 1 to 6. Cost: 2 F a turn, of two scorer models.

    Each model is asked for a digit, and its opinion is the expected value over the six digits where its answer would begin:
    no text is generated. Long dialogues win, as published. Keep with `RepresentationFilter` for the whole method.

    Args:
        complexity: the model that reads the question, as `hkust-nlp/deita-complexity-scorer`.
        quality: the model that reads question and answer, as `hkust-nlp/deita-quality-scorer`. Both stay in memory.
        complexity_prompt: a packaged prompt or a text file with `{question}`. The models were tuned on just these spaces.
        quality_prompt: the same with `{question}` and `{answer}`.

    Writes:
        `deita`, the score; its status: `"ok"`, `"no_question"`, `"longer_than_context"` (of either model, in any turn) or
        `"nan_logits"`; `deita_complexity` and `deita_quality`, their means over the turns; `deita_turns`, how many.
        (The release takes 3 where it cannot read a score.)

    Raises:
        ValueError: a prompt is missing or lacks a field; or, when called, the digits are no tokens of a model.

    Source: https://huggingface.co/papers/2312.15685; prompts and expected value as its released scorers need them.

    Example:
        >>> Deita(Proxy("hkust-nlp/deita-complexity-scorer"), Proxy("hkust-nlp/deita-quality-scorer")).columns[:2]
        ('deita', 'deita_status')
    """

    complexity: Proxy
    quality: Proxy
    complexity_prompt: str = "deita_complexity"
    quality_prompt: str = "deita_quality"

    columns = ("deita", "deita_status", "deita_complexity", "deita_quality", "deita_turns")
    keeps_journal = True
    algo_version = 2  # of 1: rows could write the headings of the prompts, and special tokens

    def __post_init__(self) -> None:
        asked = read_prompt(self.complexity_prompt, "complexity_prompt", "question")
        judged = read_prompt(self.quality_prompt, "quality_prompt", "question", "answer")
        object.__setattr__(self, "prompts", (asked, judged))

    @property
    def spec(self) -> dict[str, Any]:
        """JSON-like account of what decides the numbers: the prompts by their text, wherever they were read."""
        return {
            "scorer": "Deita",
            "algo_version": self.algo_version,
            "complexity": self.complexity.spec,
            "quality": self.quality.spec,
            "prompts": list(self.__dict__["prompts"]),
        }

    def __getstate__(self) -> dict[str, Any]:
        return {"prompts": self.__dict__["prompts"], **state_of(self)}

    def __call__(self, batch: Batch, rank: int | None = None) -> Columns:
        """Score B rows (or one): see the class."""
        return call(self, batch, rank)

    def _score(
        self, rank: int | None, rows: Sequence[Mapping[str, Any]], missing: frozenset[int]
    ) -> Iterator[tuple[list[int], Columns]]:
        asked, judged = self.__dict__["prompts"]
        for start in range(0, len(rows), ROWS):
            places = list(range(start, min(start + ROWS, len(rows))))
            if missing.isdisjoint(places):
                continue
            turns = [[turn for turn in turns_of(rows[place]) if turn[0].strip()] for place in places]
            flat = [turn for its in turns for turn in its]
            complexity = self._opinions("complexity", rank, asked, [{"question": q} for q, _ in flat])
            quality = self._opinions("quality", rank, judged, [{"question": q, "answer": a} for q, a in flat])
            opinions = np.stack([complexity[0], quality[0]])
            yield places, self._columns([len(its) for its in turns], opinions, complexity[1] | quality[1])

    def _opinions(
        self, which: str, rank: int | None, template: str, texts: Sequence[Mapping[str, str]]
    ) -> tuple[Scores, npt.NDArray[np.bool_]]:
        """(B,) expected digits, and which of the prompts are longer than the model reads."""
        from hf_datasel.proxy.batching import TokenBudget
        from hf_datasel.proxy.chat import as_plain_text
        from hf_datasel.proxy.next_token import next_token_logits

        proxy = self._loaded(which, rank)
        # A row that writes what the prompt is made of would answer in the model's place.
        prompts = [
            filled(
                template,
                **{name: as_plain_text(without_marks(text, template), proxy.tokenizer) for name, text in its.items()},
            )
            for its in texts
        ]
        encoded = [proxy.tokenizer(text=prompt)["input_ids"] for prompt in prompts]
        too_long = np.array([proxy.context is not None and len(ids) >= proxy.context for ids in encoded], np.bool_)
        there = np.flatnonzero(~too_long)
        found = np.full(len(prompts), np.nan)
        if len(there):
            budget: TokenBudget = self.__dict__.setdefault("_budget", TokenBudget(max_tokens()))
            logits = next_token_logits(proxy, [encoded[at] for at in there], digit_tokens(proxy, which), budget)
            found[there] = expected_digit(logits)
        return found, too_long

    def _loaded(self, which: str, rank: int | None) -> LoadedProxy:
        models: dict[Proxy, LoadedProxy] = self.__dict__.setdefault("_models", {})
        proxy: Proxy = getattr(self, which)
        if proxy not in models:
            models[proxy] = proxy.load(rank=rank)
        return models[proxy]

    def _columns(self, counts: Sequence[int], opinions: Scores, too_long: npt.NDArray[np.bool_]) -> Columns:
        score, status = np.full(len(counts), np.nan), [NO_QUESTION] * len(counts)
        means = np.full((2, len(counts)), np.nan)
        for row, (count, end) in enumerate(zip(counts, np.cumsum(counts), strict=True)):
            turns = slice(end - count, end)
            if too_long[turns].any():
                status[row] = LONGER_THAN_CONTEXT
            elif count:
                both = opinions[:, turns]
                score[row], means[:, row] = evolved(*both), both.mean(axis=1)
                status[row] = NAN_LOGITS if np.isnan(score[row]) else "ok"
        return dict(zip(self.columns, (score, status, *means, np.array(counts, np.float64)), strict=True))


def expected_digit(logits: Scores) -> Scores:
    """(B,) mean of 1 to 6, weighed by the softmax over the six logits (B, 6) of their tokens.

    Example:
        >>> expected_digit(np.array([[0.0] * 6, [0, 0, 0, np.log(3), 0, 0]]))
        array([3.5  , 3.625])
    """
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    digits: Scores = (weights * np.arange(1.0, 7.0)).sum(axis=1) / weights.sum(axis=1)
    return digits


def evolved(complexity: Scores, quality: Scores) -> float:
    """Sum over turns of complexity times quality.

    Example:
        >>> evolved(np.array([2.0, 3.0]), np.array([4.0, 5.0]))
        23.0
    """
    return float(np.dot(complexity, quality))


def digit_tokens(proxy: LoadedProxy, argument: str) -> list[int]:
    """Ids of the tokens "1" to "6": each tokenizer has its own.

    Raises:
        ValueError: one of them is no token.
    """
    vocabulary = proxy.tokenizer.get_vocab()
    missing = [digit for digit in DIGITS if digit not in vocabulary]
    if missing:
        raise ValueError(
            f"`{argument}` is a model whose vocabulary lacks {missing} as tokens, expected all of '1' to '6'. Take a model "
            f"that writes digits one by one."
        )
    return [vocabulary[digit] for digit in DIGITS]
