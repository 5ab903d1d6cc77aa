"""Response length: the sheet's case, and every format of a row."""

import numpy as np
import pytest
from datasets import Dataset

from hf_datasel import ResponseLength, TopCount, score, select


def test_known_answer():
    # Answers of 3, 7 and 5: the two longest are rows 1 and 2.
    pool = Dataset.from_dict({"prompt": ["a long question", "b", "c"], "completion": ["one", "seventy", "fifty"]})
    scored = score(pool, ResponseLength())
    assert scored["response_length"][:] == [3.0, 7.0, 5.0]
    assert select(scored, TopCount("response_length", 2)).indices.tolist() == [1, 2]


def say(*turns, role="role", content="content", names=("user", "assistant")):
    return [{role: names[place % 2], content: text} for place, text in enumerate(turns)]


@pytest.mark.parametrize(
    ("row", "length"),
    [
        ({"text": "Once"}, 4),
        ({"prompt": say("Hi"), "completion": [{"role": "assistant", "content": "Hello"}]}, 5),
        ({"messages": say("Hi", "Hello")}, 5),
        ({"messages": say("Hi", "Hello", "Who?", "Me.")}, len("Hello\nMe.")),
        ({"conversations": say("Hi", "Hello", role="from", content="value", names=("human", "gpt"))}, 5),
        ({"messages": say("Hi", [{"type": "text", "text": "Hello"}])}, 5),
        ({"messages": say("Hi")}, np.nan),
        ({"prompt": "Hi", "completion": ""}, np.nan),
        ({"prompt": "Hi", "completion": None}, np.nan),
    ],
)
def test_it_is_of_the_answer_alone_whatever_the_format(row, length):
    found = ResponseLength()({name: [value] for name, value in row.items()})
    assert found["response_length"] == pytest.approx([length], nan_ok=True)
    assert found["response_length_status"] == ["no_answer" if np.isnan(length) else "ok"]
