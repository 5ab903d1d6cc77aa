"""A row as the page shows it: who says what, and whatever else is known of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from hf_datasel.rows.token_text import INCOMPLETE


MOST_CHARACTERS = 6000  # of one turn
MOST_OF_A_FACT = 200
PLAIN = "text"


def said(row: Mapping[str, Any], text_field: str = PLAIN) -> list[list[Any]]:
    """Turns of a row in any of TRL's formats: `[role, text, is_answer, characters left out]`.

    A part of a message that is no text stands as `[image]`. A row without any text gives no turns.

    Example:
        >>> said({"prompt": "1 + 1 =", "completion": "2"})
        [['prompt', '1 + 1 =', 0, 0], ['completion', '2', 1, 0]]
        >>> said({"messages": [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What?"}]}]})
        [['user', '[image]\\nWhat?', 0, 0]]
    """
    dialogue = next((row[name] for name in ("messages", "conversations") if row.get(name) is not None), None)
    if row.get("completion") is not None:
        turns = [
            *_turns(row.get("prompt"), "prompt", False),
            *_turns(row["completion"], "completion", True),
        ]
    elif dialogue is not None:
        turns = _turns(dialogue, "message", None)
    else:
        turns = _turns(row.get(text_field), "text", True)
    return [
        [role, text[:MOST_CHARACTERS], int(answer), max(0, len(text) - MOST_CHARACTERS)]
        for role, text, answer in turns
    ]


def painted(texts: Any, values: Any) -> list[list[Any]] | None:
    """The target tokens of a row and their utilities, `[[texts], [values]]`; None where there are none.

    Example:
        >>> painted(["2", "</s>"], [0.00123456, -0.5]), painted([""], [math.nan])
        ([['2', '</s>'], [0.00123, -0.5]], None)
    """
    if texts is None or values is None or not any(value is not None and math.isfinite(value) for value in values):
        return None
    return [
        [str(text).replace(INCOMPLETE, "") for text in texts],
        [fact(value, 3) for value in values],
    ]


def fact(value: Any, digits: int = 4) -> Any:
    """A scalar as the page shows it: numbers to so many significant digits, long texts cut, no NaN.

    Example:
        >>> fact(0.123456), fact(float("nan")), fact(True), fact("a" * 300)[-2:]
        (0.1235, None, True, 'a…')
    """
    if isinstance(value, float):
        return float(f"{value:.{digits}g}") if math.isfinite(value) else None
    if isinstance(value, str):
        return value if len(value) <= MOST_OF_A_FACT else value[: MOST_OF_A_FACT - 1] + "…"
    return value if value is None or isinstance(value, bool | int) else str(value)[:MOST_OF_A_FACT]


def _turns(content: Any, role: str, answer: bool | None) -> list[tuple[str, str, bool]]:
    """Roles and texts of a string, or of messages; an assistant's turn is an answer where `answer` does not say."""
    if content is None:
        return []
    if isinstance(content, str):
        return [(role, content, bool(answer))]
    turns = []
    for turn in content:
        if isinstance(turn, Mapping):
            who = str(turn.get("role") or turn.get("from") or role)
            text = _text(turn["content"] if turn.get("content") is not None else turn.get("value"))
            is_answer = who in ("assistant", "gpt") if answer is None else answer
            turns.append((who, text, is_answer))
    return turns


def _text(content: Any) -> str:
    if not isinstance(content, list):
        return str(content or "")
    parts = [part for part in content if isinstance(part, Mapping)]
    return "\n".join(str(part.get("text") or f"[{part.get('type') or 'media'}]") for part in parts)
