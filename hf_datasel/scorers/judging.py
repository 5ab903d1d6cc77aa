"""What a judge is shown of a row, and what is read from its reply."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hf_datasel.rows.turns import turns_of
from hf_datasel.rows.vision import decoded, holds_media, images_of
from hf_datasel.scorers.goal.text import digest


if TYPE_CHECKING:
    from datasets import Dataset

NUMBER = r"[-+]?\d+(?:\.\d+)?"
ALONE = re.compile(rf"\W*?({NUMBER})(?:\s*/\s*({NUMBER}))?\W*")
NAMED = re.compile(
    # As few signs as can be before the number, so that its own stays with it.
    rf"(?:score|rating)\b\W{{0,8}}?(?:is\b|of\b)?\W{{0,4}}?({NUMBER})(?:\s*/\s*({NUMBER}))?",
    re.IGNORECASE,
)
OPENED = r"\g<0> "
YES, NO = ("accept", "accepted", "yes", "correct", "true"), ("reject", "rejected", "no", "incorrect", "false")
# What begins a turn, or ends one, for the models we know of: behind an endpoint it would be that in a row's text, too.
CONTROL = re.compile(
    r"<(?=[|\uff5c][^<>\s]{1,40}[|\uff5c]>|/?s>|(?:start|end)_of_turn>|/?think>|</?SYS>>)|\[(?=/?(?:SYSTEM_)?(?:INST|PROMPT)\])"
)
NAMED_VERDICT = re.compile(rf"\bverdict\b\W{{0,8}}({'|'.join(YES + NO)})\b", re.IGNORECASE)


def messages_of(row: Mapping[str, Any], instruction: str, text_field: str = "text") -> list[dict[str, Any]] | None:
    """The instruction as the system's message, and the row as the user's, between tags that no row can write itself.

    The instruction is the same for every row to the byte. The tags carry a digest of the row that does not occur in it. A
    row's own control tokens of chat templates, such as `<|im_start|>`, are shown with a space behind their first character.

    Args:
        row: its last answer is judged; turns before it are part of the question. Images follow the text.
        instruction: what the judge is to do.
        text_field: the column of plain text.

    Returns:
        The messages, or None where the row has no answer.

    Raises:
        UnreadableImage: an image cannot be decoded.

    Example:
        >>> print(messages_of({"prompt": "1 + 1 =", "completion": "2"}, "Rate.")[1]["content"])
        <question a4845598>
        1 + 1 =
        </question a4845598>
        <answer a4845598>
        2
        </answer a4845598>
    """
    turns = turns_of(row, text_field)
    if not turns or not turns[-1][1].strip():
        return None
    before = [f"User: {question}\nAssistant: {answer}\n" for question, answer in turns[:-1]]
    question, answer = turns[-1]
    question = f"{''.join(before)}User: {question}" if before else question
    code = tag_code(question, answer)
    text = "\n".join(
        f"<{name} {code}>\n{CONTROL.sub(OPENED, value)}\n</{name} {code}>"
        for name, value in (("question", question), ("answer", answer))
    )
    pictures = images_of(row) if holds_media(row) else []
    content: Any = text
    if pictures:
        content = [
            {"type": "text", "text": text},
            *({"type": "image_url", "image_url": {"url": data_url(picture)}} for picture in pictures),
        ]
    return [{"role": "system", "content": instruction}, {"role": "user", "content": content}]


def text_of_message(message: Mapping[str, Any]) -> str:
    """What a message says, without its images."""
    content = message["content"]
    return content if isinstance(content, str) else str(content[0]["text"])


def tag_code(*texts: str) -> str:
    """Eight hexadecimal digits that follow from the texts and occur in none of them."""
    code = digest(*texts)[:8]
    while any(code in text for text in texts):
        code = digest(code, *texts)[:8]
    return code


def data_url(image: Any) -> str:
    """An image, however it is given, as the URL of a PNG that holds it."""
    buffer = io.BytesIO()
    decoded(image).convert("RGB").save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def read_rating(reply: str, low: float, high: float, asked: str = "") -> float:
    """The number that is the first line, else one that the reply calls its score; NaN where there is none on the scale.

    Args:
        reply: of the judge.
        low, high: the scale.
        asked: the row's message: a score that stands there in the same words was repeated, not given. Not the instruction,
            which may name the very scores to choose from.

    Example:
        >>> [read_rating(reply, 0, 10) for reply in ("8\\nGood.", "Score: 7/10", "**9/10**", "N/A", "11", "8/100")]
        [8.0, 7.0, 9.0, nan, nan, nan]
        >>> read_rating("It says Score: 10. Score: 2", 0, 10, asked="Score: 10")
        2.0
    """
    said = _without_thoughts(reply)
    found = ALONE.fullmatch(said.partition("\n")[0]) or _own(NAMED, said, asked)
    if found is None:
        return float("nan")
    value, of = float(found[1]), found[2]
    return value if low <= value <= high and of in (None, _short(high)) else float("nan")


def read_verdict(reply: str, asked: str = "") -> float:
    """1 for a reply that accepts, 0 for one that rejects: its first line, or what it calls its verdict; else NaN.

    Args:
        reply: of the judge.
        asked: the row's message, as of `read_rating`.

    Example:
        >>> [read_verdict(reply) for reply in ("ACCEPT\\nSound.", "**Reject**", "Verdict: accept", "Not correct", "Maybe")]
        [1.0, 0.0, 1.0, nan, nan]
    """
    said = _without_thoughts(reply)
    line = said.partition("\n")[0].strip(" \t*_#.:!\"'`").lower()
    if line not in YES + NO:
        found = _own(NAMED_VERDICT, said, asked)
        line = found[1].lower() if found else ""
    return 1.0 if line in YES else 0.0 if line in NO else float("nan")


def _own(pattern: re.Pattern[str], said: str, asked: str) -> re.Match[str] | None:
    """The first match whose words do not stand in what was asked."""
    shown = _plain(asked)
    return next((found for found in pattern.finditer(said) if _plain(found[0]) not in shown), None)


def _plain(text: str) -> str:
    """Words and whole numbers with a space behind each: "score 1" is no part of "score 10"."""
    return "".join(f"{word} " for word in re.findall(r"\d+(?:\.\d+)?|[^\W\d]+", text.casefold()))


def _without_thoughts(reply: str) -> str:
    """What comes behind the thoughts that some models write down first."""
    return reply.rpartition("</think>")[2].strip()


def _short(number: float) -> str:
    return f"{number:g}"


def judge_ledger(
    scored: Dataset, name: str = "judge", prompt_price: float | None = None, completion_price: float | None = None
) -> dict[str, float]:
    """What judging a pool has taken: rows, calls, replies that could not be read, tokens, and money where prices are given.

    Copies of a row are asked about once and carry the same counts, so a pool with copies counts them more than once.

    Args:
        scored: N rows with the columns of `LLMJudge`.
        name: the scorer's.
        prompt_price, completion_price: of a million tokens, in whatever currency.

    Example:
        >>> from datasets import Dataset
        >>> columns = {"calls": [1.0, 2.0], "unread": [0.0, 1.0], "prompt_tokens": [90.0, 110.0], "completion_tokens": [5.0, 5.0]}
        >>> scored = Dataset.from_dict({f"judge_{key}": values for key, values in columns.items()})
        >>> judge_ledger(scored, prompt_price=1.0, completion_price=2.0)["cost"]
        0.00022
    """
    sums = {key: _sum(scored[f"{name}_{key}"][:]) for key in ("calls", "unread", "prompt_tokens", "completion_tokens")}
    ledger = {"rows": float(len(scored)), **sums}
    if prompt_price is not None and completion_price is not None:
        ledger["cost"] = (sums["prompt_tokens"] * prompt_price + sums["completion_tokens"] * completion_price) / 1e6
    return ledger


def _sum(values: Sequence[float]) -> float:
    return float(np.nansum(np.array(values, np.float64)))
