"""A row as questions and answers, whatever its format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hf_datasel.errors import BadRow, shown


ASKS, ANSWERS = ("user", "human"), ("assistant", "gpt")


def turns_of(row: Mapping[str, Any], text_field: str = "text") -> list[tuple[str, str]]:
    """Pairs of what is asked and what is answered, in order; a row of plain text is one answer to nothing.

    Neighbouring turns of one side are joined by newlines, a question without an answer is left out, system prompts and tool
    calls too. Of contents in parts, the texts are read.

    Args:
        row: `prompt` and `completion` (texts or messages), `messages` or `conversations`, or plain text.
        text_field: the column of plain text.

    Raises:
        BadRow: there is none of these columns, or one holds neither text nor messages.

    Example:
        >>> turns_of({"prompt": "1 + 1 =", "completion": "2"})
        [('1 + 1 =', '2')]
        >>> chat = [("user", "Hi"), ("assistant", "Hello"), ("user", "Who"), ("user", "are you?"), ("assistant", "A model")]
        >>> turns_of({"messages": [{"role": role, "content": text} for role, text in chat]})
        [('Hi', 'Hello'), ('Who\\nare you?', 'A model')]
        >>> turns_of({"text": "Once upon a time"})
        [('', 'Once upon a time')]
    """
    if row.get("completion") is not None:
        said = [*_said(row.get("prompt"), "user"), *_said(row["completion"], "assistant")]
    else:
        known = ("prompt", "completion", "messages", "conversations", text_field)
        if not any(name in row for name in known):
            raise BadRow(
                f"`pool` has the columns {sorted(name if isinstance(name, str) else shown(name) for name in row)}: none with text was found. Expected `prompt` with `completion`, "
                f"`messages`, `conversations` or `{text_field}`; rename yours to one of these."
            )
        dialogue = next((row[name] for name in ("messages", "conversations") if row.get(name) is not None), None)
        said = _said(row.get(text_field), "assistant") if dialogue is None else _said(dialogue, "user")
    turns: list[tuple[str, str]] = []
    question: list[str] = []
    answer: list[str] = []
    for role, text in [*said, ("user", "")]:
        if role in ASKS and answer:
            turns.append(("\n".join(question), "\n".join(answer)))
            question, answer = [], []
        if text and role in ASKS + ANSWERS:
            (answer if role in ANSWERS else question).append(text)
    return turns


def text_of(row: Mapping[str, Any], of: str) -> str:
    """A row's questions, its answers, or both, turn by turn.

    Example:
        >>> text_of({"prompt": "1 + 1 =", "completion": " 2"}, "row")
        '1 + 1 =\\n 2'
    """
    parts = [turn if of == "row" else turn[:1] if of == "prompt" else turn[1:] for turn in turns_of(row)]
    return "\n".join(text for turn in parts for text in turn if text.strip())


def _said(value: Any, role: str) -> list[tuple[str, str]]:
    """Roles and texts of a string, or of messages."""
    if value is None or isinstance(value, str):
        return [(role, value)] if value else []
    if not isinstance(value, Sequence):
        raise BadRow(f"`pool` holds {shown(value)} where text or messages are expected. Cast the column to strings.")
    return [
        (
            _role(turn.get("role") or turn.get("from")),
            _text(turn["content"] if turn.get("content") is not None else turn.get("value")),
        )
        for turn in value
        if isinstance(turn, Mapping)
    ]


def _role(role: Any) -> str:
    return role if isinstance(role, str) else ""


def _text(content: Any) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, Sequence):
        raise BadRow(
            f"`content` of a message is {shown(content)}, expected text or a list of parts. Cast it to strings."
        )
    texts = [part.get("text") for part in content if isinstance(part, Mapping)]
    return "\n".join(text for text in texts if isinstance(text, str) and text)
