"""Questions and answers of every format."""

import pytest

from hf_datasel.rows.turns import turns_of


def said(*turns):
    return [{"role": role, "content": text} for role, text in turns]


@pytest.mark.parametrize(
    ("row", "turns"),
    [
        ({"prompt": "a", "completion": "b"}, [("a", "b")]),
        ({"prompt": said(("user", "a"), ("assistant", "b"), ("user", "c")), "completion": said(("assistant", "d"))}, [("a", "b"), ("c", "d")]),
        ({"messages": said(("system", "s"), ("user", "a"), ("assistant", "b"))}, [("a", "b")]),
        ({"messages": said(("assistant", "b"), ("user", "c"))}, [("", "b")]),
        ({"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}, [("a", "b")]),
        ({"messages": [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "a"}]}, *said(("assistant", "b"))]}, [("a", "b")]),
        ({"text": "t"}, [("", "t")]),
        ({"prompt": "a", "completion": ""}, []),
        ({"prompt": None, "completion": None, "messages": None}, []),
    ],
)  # fmt: skip
def test_turns(row, turns):
    assert turns_of(row) == turns
