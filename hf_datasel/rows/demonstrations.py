"""Rows put before another row as worked examples, in the format that they share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def alike(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether all rows, as `prompt` and `completion`, are of text, or all are conversations."""
    return len({isinstance(row[part], str) for row in rows for part in ("prompt", "completion")}) == 1


def demonstrated(
    demonstrations: Sequence[Mapping[str, Any]], query: Mapping[str, Any], separator: str
) -> dict[str, Any]:
    """The query with k worked examples before its prompt; its completion is still all there is to answer.

    Conversations become one conversation, so that the chat template is applied once, as it is to the query alone; a system
    turn that is the first one again is said once. Texts follow one another with the separator between.

    Args:
        demonstrations: k rows as `prompt` and `completion` (see `with_last_answer`).
        query: one more; all are of text, or all conversations (see `alike`).
        separator: between texts; conversations need none.

    Example:
        >>> shot = {"prompt": "1 + 1 = ", "completion": "2"}
        >>> demonstrated([shot], {"prompt": "2 + 2 = ", "completion": "4"}, " ; ")
        {'prompt': '1 + 1 = 2 ; 2 + 2 = ', 'completion': '4'}
    """
    if isinstance(query["prompt"], str):
        before = "".join(f"{row['prompt']}{row['completion']}{separator}" for row in demonstrations)
        return {"prompt": before + query["prompt"], "completion": query["completion"]}
    turns = [turn for row in demonstrations for part in ("prompt", "completion") for turn in row[part]]
    turns += query["prompt"]
    # Many templates refuse a system turn that does not come first.
    again = turns[0] if turns[0].get("role") == "system" else None
    return {**query, "prompt": turns[:1] + [turn for turn in turns[1:] if turn != again]}


def with_last_answer(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row as `prompt` and `completion`, its media as they are; as it is where it asks nothing (`text` alone).

    Example:
        >>> turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
        >>> with_last_answer({"messages": turns, "images": []})["completion"]
        [{'role': 'assistant', 'content': 'Hello'}]
    """
    if "completion" in row:
        return {name: value for name, value in row.items() if name not in ("messages", "conversations", "text")}
    name = next((name for name in ("messages", "conversations") if name in row), None)
    if name is None:
        return dict(row)
    others = {key: value for key, value in row.items() if key not in ("messages", "conversations", "text")}
    turns = [_plain_turn(turn) for turn in row[name] or []]
    last = next((place for place in reversed(range(len(turns))) if turns[place]["role"] == "assistant"), None)
    if last is None or last == 0:  # nothing is answered, or nothing asked
        return {**others, "prompt": None, "completion": None}
    return {**others, "prompt": turns[:last], "completion": turns[last : last + 1]}


def _plain_turn(turn: Mapping[str, Any]) -> dict[str, Any]:
    """A turn with `role` and `content`, whichever way a dialogue is written down."""
    if "role" in turn:
        return dict(turn)
    role = {"human": "user", "gpt": "assistant"}.get(str(turn.get("from")), str(turn.get("from")))
    return {"role": role, "content": turn.get("value")}
