"""LLM judge: what a strong model says a row is worth, or whether it is right."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np

from hf_datasel.contracts import Batch, Columns
from hf_datasel.proxy import Endpoint, Proxy
from hf_datasel.proxy.endpoint import NO_REPLY, Question, Reply, replies
from hf_datasel.rows.batches import rows_of
from hf_datasel.rows.journal import resumed
from hf_datasel.rows.vision import UNREADABLE_IMAGE, UnreadableImage
from hf_datasel.scorers.judging import messages_of, read_rating, read_verdict, text_of_message
from hf_datasel.scorers.prompt_files import filled, read_prompt


NO_ANSWER, UNREAD, REJECTED = "no_answer", "unread", "rejected"


@dataclass(frozen=True)
class LLMJudge:
    """A judge's rating of a row's answer, or the share of rounds in which it accepts it. Cost: `rounds` replies a row.

    The instruction is one text for all rows; the row stands in another message, between tags it cannot write itself. Every
    reply is kept in the journal as soon as it is there, and no row is asked about twice. A reply that cannot be read is NaN
    and counted, never a number.

    Args:
        endpoint: where the judge answers.
        local: instead, a model loaded here; it is shown text alone.
        mode: `"rate"`: a number on the scale. `"verify"`: accept or reject.
        rounds: how often each row is asked about.
        agreement: with `"verify"`, which rows are scored at all: those accepted by the `"majority"` of the replies that could
            be read, or by `"unanimous"` ones, all of them read. Others are `"rejected"`.
        scale: lowest and highest rating.
        prompt: the instruction: a packaged prompt or a text file, which may name `{low}` and `{high}`; None for the mode's
            own, `judge_rate` or `judge_verify`.
        temperature: of the replies; None for 0, and 0.7 with several rounds, which would all be the same at 0.
        max_tokens: of a reply.
        seed: of the first round; the next ones count on. Endpoints are free to ignore it.
        name: begins the columns' names, so that two judges can judge one pool.

    Writes:
        `judge_rating` (mean of the ratings) or `judge_verdict` (share of accepting rounds), the score; its status: `"ok"`,
        `"rejected"`, `"unread"`, `"no_answer"`, `"unreadable_image"`, `"refused: …"` or `"no_reply: …"` (asked again the
        next time); `judge_mean`, the same number for rejected rows too; `judge_replies` (a JSON list of the texts),
        `judge_unread`, `judge_calls`, `judge_prompt_tokens`, `judge_completion_tokens`; see `judge_ledger`.

    Raises:
        ValueError: an option is out of range, not just one of `endpoint` and `local` is given, or there is no such prompt.
        DataselError: the endpoint turns everybody away, or answers nobody.
        BadRow: `local` is given and a row holds images.

    Source: verification in up to 3 rounds: https://huggingface.co/papers/2605.07488; rating: AlpaGasus,
        https://huggingface.co/papers/2307.08701 (0 to 5, 4.5 and above kept), and CoIDO (0 to 10). The wording is ours.

    Example:
        >>> judge = LLMJudge(Endpoint("Qwen/Qwen3-8B", base_url="http://localhost:8000/v1"), mode="verify", rounds=3)
        >>> judge.columns[:3]
        ('judge_verdict', 'judge_verdict_status', 'judge_mean')
    """

    endpoint: Endpoint | None = None
    local: Proxy | None = None
    mode: Literal["rate", "verify"] = "rate"
    rounds: int = 1
    agreement: Literal["majority", "unanimous"] = "majority"
    scale: tuple[float, float] = (0.0, 10.0)
    prompt: str | None = None
    temperature: float | None = None
    max_tokens: int = 512
    seed: int = 0
    name: str = "judge"

    keeps_journal = True
    algo_version = 3  # of 2: control tokens of a row as they are, and scores read that the judge repeated

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", tuple(float(end) for end in self.scale))
        self._check()
        text = read_prompt(self.prompt or f"judge_{self.mode}", "prompt")
        low, high = (f"{end:g}" for end in self.scale)
        object.__setattr__(self, "instruction", filled(text, low=low, high=high))

    def _check(self) -> None:
        if (self.endpoint is None) == (self.local is None):
            raise ValueError("`endpoint` and `local` are both given, or neither, expected one of them.")
        if self.mode not in ("rate", "verify"):
            raise ValueError(f"`mode` is {self.mode!r}, expected 'rate' or 'verify'. Name one of them.")
        if self.agreement not in ("majority", "unanimous"):
            raise ValueError(f"`agreement` is {self.agreement!r}, expected 'majority' or 'unanimous'.")
        if self.rounds < 1 or self.max_tokens < 1:
            raise ValueError(
                f"`rounds` is {self.rounds} and `max_tokens` {self.max_tokens}, expected at least 1 each."
            )
        if len(self.scale) != 2 or not self.scale[0] < self.scale[1]:
            raise ValueError(f"`scale` is {self.scale}, expected a lowest and a higher highest rating.")
        if self.temperature is not None and self.temperature < 0:
            raise ValueError(f"`temperature` is {self.temperature}, expected 0 or more.")

    @property
    def columns(self) -> tuple[str, ...]:
        """What a call writes, the score first."""
        score = f"{self.name}_{'rating' if self.mode == 'rate' else 'verdict'}"
        others = ("mean", "replies", "unread", "calls", "prompt_tokens", "completion_tokens")
        return (score, f"{score}_status", *(f"{self.name}_{other}" for other in others))

    @property
    def spec(self) -> dict[str, Any]:
        """JSON-like account of what decides the replies: not how patiently or how many at once it is asked."""
        plain = ("mode", "rounds", "agreement", "scale", "max_tokens", "seed", "name")
        judge = self.endpoint.spec if self.endpoint else self.local.spec if self.local else {}
        return {
            "scorer": "LLMJudge",
            "algo_version": self.algo_version,
            "judge": judge,
            "instruction": self.__dict__["instruction"],
            "temperature": self._temperature,
            **{name: getattr(self, name) for name in plain},
        }

    @property
    def _temperature(self) -> float:
        return (0.7 if self.rounds > 1 else 0.0) if self.temperature is None else self.temperature

    def __getstate__(self) -> dict[str, Any]:
        own = {f.name: getattr(self, f.name) for f in fields(self)}
        return {"algo_version": self.algo_version, "instruction": self.__dict__["instruction"], **own}

    def __call__(self, batch: Batch, rank: int | None = None) -> Columns:
        """Judge B rows (or one): see the class."""
        rows, single = rows_of(batch)
        if "_spec" not in self.__dict__:
            self.__dict__["_spec"] = self.spec
        status = self.columns[1]
        columns = resumed(
            self.__dict__["_spec"], rows, lambda *given: self._score(rank, *given), self.columns,
            settled=lambda its: not its[status].startswith(NO_REPLY),
        )  # fmt: skip
        return {name: values[0] for name, values in columns.items()} if single else columns

    def _score(
        self, rank: int | None, rows: Sequence[Mapping[str, Any]], missing: frozenset[int]
    ) -> Iterator[tuple[list[int], Columns]]:
        """The missing rows, a few at a time, so that a stopped run loses few replies."""
        wanted = sorted(missing)
        size = max(1, 4 * (self.endpoint.concurrency if self.endpoint else 1) // self.rounds)
        for start in range(0, len(wanted), size):
            places = wanted[start : start + size]
            asked = [self._messages(rows[place]) for place in places]
            questions = [
                Question(messages, self.max_tokens, self._temperature, self.seed + number)
                for messages in asked
                if not isinstance(messages, str)
                for number in range(self.rounds)
            ]
            found = iter(self._replies(rank, questions))
            judged = [
                self._row(messages, [] if isinstance(messages, str) else [next(found) for _ in range(self.rounds)])
                for messages in asked
            ]
            columns = dict(zip(self.columns, zip(*judged, strict=True), strict=True))
            yield places, {name: list(values) for name, values in columns.items()}

    def _messages(self, row: Mapping[str, Any]) -> list[dict[str, Any]] | str:
        """What is asked about a row, or why nothing is."""
        try:
            return messages_of(row, self.__dict__["instruction"]) or NO_ANSWER
        except UnreadableImage:
            return UNREADABLE_IMAGE

    def _replies(self, rank: int | None, questions: Sequence[Question]) -> list[Reply]:
        if self.endpoint is not None:
            return replies(self.endpoint, questions)
        from hf_datasel.proxy.chat import local_replies

        if "_loaded" not in self.__dict__ and self.local is not None:
            self.__dict__["_loaded"] = self.local.load(rank=rank)
        return local_replies(self.__dict__["_loaded"], questions)

    def _row(self, asked: list[dict[str, Any]] | str, given: Sequence[Reply]) -> tuple[Any, ...]:
        shown = "" if isinstance(asked, str) else text_of_message(asked[-1])
        values = np.array([self._value(reply, shown) for reply in given], np.float64)
        read = values[~np.isnan(values)]
        mean = float(read.mean()) if len(read) else float("nan")
        # Of all rounds: one that could not be read accepts nothing, else rows with fewer replies would come out on top.
        score = mean if self.mode == "rate" else float((values == 1.0).mean())
        status = self._status(asked, given, values)
        texts = json.dumps([reply.text for reply in given], ensure_ascii=False)
        unread = sum(reply.text is not None for reply in given) - len(read)
        tokens = [
            _known_sum([reply.prompt_tokens for reply in given]),
            _known_sum([reply.completion_tokens for reply in given]),
        ]
        calls = float(sum(reply.calls for reply in given))
        return score if status == "ok" else float("nan"), status, mean, texts, float(unread), calls, *tokens

    def _value(self, reply: Reply, asked: str) -> float:
        if reply.text is None:
            return float("nan")
        return read_rating(reply.text, *self.scale, asked) if self.mode == "rate" else read_verdict(reply.text, asked)

    def _status(self, asked: list[dict[str, Any]] | str, given: Sequence[Reply], values: np.ndarray[Any, Any]) -> str:
        if isinstance(asked, str):
            return asked
        # A round without a reply is asked again with the others: a row's score is of all its rounds.
        failed = [reply.status for reply in given if reply.status.startswith(NO_REPLY)]
        if failed:
            return failed[0]
        missing = np.isnan(values)
        if accepted(values, self.agreement) if self.mode == "verify" else not missing.all():
            return "ok"
        # Whether the rounds that could not be read would decide: then nobody rejected the row.
        if missing.all() or (missing.any() and accepted(np.where(missing, 1.0, values), self.agreement)):
            refused = [reply.status for reply in given if reply.status != "ok"]
            return refused[0] if refused else UNREAD
        return REJECTED


def _known_sum(counts: Sequence[float]) -> float:
    known = [count for count in counts if not np.isnan(count)]
    return float(sum(known)) if known else float("nan")


def accepted(verdicts: np.ndarray[Any, Any], agreement: str) -> bool:
    """Whether rounds of verdicts (1, 0, or NaN where none could be read) accept a row: most of all rounds, or all of them.

    Example:
        >>> [accepted(np.array([1.0, 1.0, 0.0]), rule) for rule in ("majority", "unanimous")]
        [True, False]
    """
    share = float((verdicts == 1.0).mean())
    return share == 1.0 if agreement == "unanimous" else share > 0.5
