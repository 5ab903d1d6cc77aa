"""Question, answer and words of a row, whatever its format."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any, Literal, TypeAlias

from hf_datasel.errors import BadRow


Fidelity: TypeAlias = Literal["corrected", "authors"]
FIDELITIES = ("corrected", "authors")

ASCII_WORD = re.compile(r"[A-Za-z0-9_]+")
# Chinese and Japanese put no space between words: there each character counts as one.
UNSPACED = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
ANY_WORD = re.compile(rf"[{UNSPACED}]|[^\W{UNSPACED}]+")
MEDIA_TAG = re.compile(r"<(?:image|video)(?:[_ ]?\d+)?>", re.IGNORECASE)


def check_fidelity(fidelity: str) -> None:
    """Refuse what is neither reading of the method.

    Raises:
        ValueError: `fidelity` is unknown.
    """
    if fidelity not in FIDELITIES:
        raise ValueError(
            f"`fidelity` is {fidelity!r}, expected 'corrected' or 'authors'. Take 'corrected', unless you compare with "
            f"the released code."
        )


def normalised(text: str) -> str:
    """Text with media tags removed, trimmed, and every run of white space (newlines too) made one space.

    Example:
        >>> normalised("<image>\\n What  is\\tthis? ")
        'What is this?'
    """
    return " ".join(MEDIA_TAG.sub(" ", text).split())


def words(text: str, fidelity: Fidelity = "corrected") -> list[str]:
    """Words in lower case: runs of letters, digits and underscores.

    `"authors"` knows ASCII only, so text in another script has no words at all. `"corrected"` knows every letter of
    Unicode, and counts Chinese and Japanese by character. On ASCII text the two agree.

    Example:
        >>> words("Where's the café?"), words("Where's the café?", "authors")
        (['where', 's', 'the', 'café'], ['where', 's', 'the', 'caf'])
        >>> len(words("这是什么")), len(words("这是什么", "authors"))
        (4, 0)
    """
    pattern = ASCII_WORD if fidelity == "authors" else ANY_WORD
    return pattern.findall(text.lower())


def question_and_answer(row: Mapping[str, Any]) -> tuple[str, str]:
    """What the user asks and what the assistant says, as text; turns of a dialogue are joined by newlines.

    Reads `prompt` and `completion` (texts or messages), else `messages` or `conversations` (`role`/`content` or
    `from`/`value`; contents may be lists of parts), else `question` and `answer`, else `text`, which has no question.

    Raises:
        BadRow: the row has none of these.

    Example:
        >>> parts = [{"type": "image"}, {"type": "text", "text": "What is this?"}]
        >>> turns = [{"role": "user", "content": parts}, {"from": "gpt", "value": "A cat."}]
        >>> question_and_answer({"messages": turns})
        ('What is this?', 'A cat.')
    """
    if row.get("completion") is not None:
        return _joined(row.get("prompt")), _joined(row["completion"])
    for name in ("messages", "conversations"):
        if row.get(name) is not None:
            return _joined(row[name], ("user", "human")), _joined(row[name], ("assistant", "gpt"))
    if row.get("answer") is not None:
        return _joined(row.get("question")), _joined(row["answer"])
    if row.get("text") is not None:
        return "", _joined(row["text"])
    if any(name in row for name in ("completion", "messages", "conversations", "answer", "text")):
        return "", ""  # the column is there, this row's value is missing
    raise BadRow(
        f"`row` has the columns {sorted(row)}, expected `prompt` and `completion`, `messages`, `conversations`, "
        f"`question` and `answer`, or `text`. Rename yours."
    )


def _joined(value: Any, roles: tuple[str, ...] = ()) -> str:
    """The text of a string, of a list of content parts, or of the turns of the given roles (all, if none are)."""
    if value is None or isinstance(value, str):
        return value or ""
    if not isinstance(value, Sequence):
        raise BadRow(f"`row` holds {value!r} where text or messages are expected. Cast the column to strings.")
    texts = []
    for part in value:
        if "role" in part or "from" in part:
            if not roles or (part.get("role") or part.get("from")) in roles:
                texts.append(_joined(part["content"] if part.get("content") is not None else part.get("value")))
        elif part.get("text"):
            texts.append(str(part["text"]))
    return "\n".join(texts)


def digest(*texts: str) -> str:
    """16 hexadecimal digits that name the texts: the same in every process, whatever the hash seed.

    Example:
        >>> digest("ab", "c") == digest("a", "bc")
        False
    """
    hasher = blake2b(digest_size=8)
    for text in texts:
        encoded = text.encode("utf-8", "surrogatepass")
        hasher.update(len(encoded).to_bytes(8, "little") + encoded)
    return hasher.hexdigest()
