from __future__ import annotations

from typing import Any

import pytest

from hf_datasel.errors import BadRow
from hf_datasel.reports.row_text import prompt_and_answer


SYSTEM, USER, ASSISTANT = ({"role": role, "content": role[0].upper()} for role in ("system", "user", "assistant"))
PICTURE = {"role": "user", "content": [{"type": "image", "text": None}, {"type": "text", "text": "What is it?"}]}


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"prompt": "p", "completion": "c", "messages": None}, ("p", "c")),
        ({"prompt": [USER], "completion": [ASSISTANT]}, ("U", "A")),
        ({"messages": [USER, ASSISTANT]}, ("U", "A")),
        ({"messages": [SYSTEM, USER, ASSISTANT, USER, ASSISTANT]}, ("system: S\nuser: U\nassistant: A\nuser: U", "A")),
        ({"messages": [USER]}, ("U", "")),
        ({"messages": [PICTURE, ASSISTANT]}, ("[image]\nWhat is it?", "A")),
        ({"messages": [USER, {"role": "assistant", "content": None}]}, ("U", "")),
        ({"text": "all of it"}, ("", "all of it")),
    ],
)
def test_every_format_reads_as_prompt_and_answer(row: dict[str, Any], expected: tuple[str, str]) -> None:
    assert prompt_and_answer(row) == expected


def test_a_row_without_text_is_refused() -> None:
    with pytest.raises(BadRow, match=r"\['answer', 'question'\], expected `messages`"):
        prompt_and_answer({"question": "q", "answer": "a"})
