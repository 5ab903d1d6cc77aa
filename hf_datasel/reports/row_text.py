"""A row as two texts a person can read: what is asked, and what is to be learnt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hf_datasel.errors import BadRow


def prompt_and_answer(row: Mapping[str, Any]) -> tuple[str, str]:
    """Prompt and answer of a row in any format TRL's SFT trains on as text.

    The last assistant turn is the answer and all before it the prompt, with roles where there is more than one turn.
    Images and other media appear as `[image]`. A plain `text` row is all answer.

    Raises:
        BadRow: the row has none of `messages`, `prompt`, `completion` and `text`.

    Example:
        >>> prompt_and_answer({"prompt": "1 + 1", "completion": "2"})
        ('1 + 1', '2')
        >>> prompt_and_answer({"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo"}]})
        ('Hi', 'Yo')
    """
    if row.get("messages") is not None:
        turns = list(row["messages"])
        answer = turns.pop() if turns and turns[-1].get("role") == "assistant" else None
        return _readable(turns), _readable([answer] if answer else [])
    if row.get("prompt") is not None or row.get("completion") is not None:
        return _readable(row.get("prompt")), _readable(row.get("completion"))
    if row.get("text") is not None:
        return "", str(row["text"])
    raise BadRow(
        f"a row has the columns {sorted(row)}, expected `messages`, `prompt` and `completion`, or `text`. Rename its "
        f"columns with `Dataset.rename_columns`."
    )


def _readable(content: Any) -> str:
    """Text of a string, of turns, or of the parts of one turn."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    turns = [turn for turn in content if turn is not None]
    texts = [_parts(turn.get("content")) for turn in turns]
    if len(turns) == 1:
        return texts[0]
    return "\n".join(f"{turn.get('role', '?')}: {text}" for turn, text in zip(turns, texts, strict=True))


def _parts(content: Any) -> str:
    if not isinstance(content, list):
        return str(content or "")
    return "\n".join(str(part.get("text") or f"[{part.get('type', 'media')}]") for part in content)
