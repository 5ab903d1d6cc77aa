"""Batched or not, lazily or not: the same rows."""

from __future__ import annotations

from typing import Any

import pytest

from hf_datasel.errors import BadRow
from hf_datasel.rows.batches import answer_text, rows_of, warn_unbatched


TURN = {"role": "user", "content": "hi"}
ANSWER = {"role": "assistant", "content": "ho"}
ROWS: dict[str, list[dict[str, Any]]] = {
    "text": [{"text": "a", "score": 1.0}, {"text": "b", "score": 2.0}],
    "messages": [{"messages": [TURN, ANSWER]}, {"messages": [TURN]}],
    "conversations": [{"conversations": [{"from": "user", "value": "hi"}]}] * 2,
    "prompt_completion": [{"prompt": "1 + 1 = ", "completion": "2"}, {"prompt": "", "completion": "3"}],
    "prompt_completion_chat": [{"prompt": [TURN], "completion": [ANSWER]}] * 2,
    "input_ids": [{"input_ids": [1, 2], "labels": [-100, 2]}, {"input_ids": [3], "labels": [3]}],
    "other_text_field": [{"story": "a"}, {"story": "b"}],
    "user_ids": [{"row_id": "x", "images": [], "story": "a"}, {"row_id": "y", "images": [], "story": "b"}],
}


def handed_over(dataset: Any) -> dict[str, list[Any]]:
    """What `rows_of` makes of each call by `Dataset.map`, with the type of the argument."""
    seen: dict[str, list[Any]] = {"single": [], "batched": []}

    def remember(batch: Any, how: str) -> None:
        seen[how].append((type(batch).__name__, *rows_of(batch)))

    dataset.map(remember, fn_kwargs={"how": "single"})
    dataset.map(remember, fn_kwargs={"how": "batched"}, batched=True)
    return seen


@pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS)
def test_lazy_rows_and_batches(rows: list[dict[str, Any]]) -> None:
    from datasets import Dataset

    dataset = Dataset.from_list(rows)
    assert handed_over(dataset) == {
        "single": [("LazyRow", [row], True) for row in dataset],
        "batched": [("LazyBatch", list(dataset), False)],
    }


@pytest.mark.parametrize("name", ["text", "prompt_completion", "other_text_field"])
def test_a_dataset_with_a_format_hands_over_dicts(name: str) -> None:
    from datasets import Dataset

    dataset = Dataset.from_list(ROWS[name])
    assert handed_over(dataset.with_format("numpy")) == {
        "single": [("dict", [row], True) for row in dataset],
        "batched": [("dict", list(dataset), False)],
    }


@pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS)
def test_plain_dicts(rows: list[dict[str, Any]]) -> None:
    assert rows_of(rows[0]) == ([rows[0]], True)
    for size in (1, 2):
        columns = {name: [row[name] for row in rows[:size]] for name in rows[0]}
        assert rows_of(columns) == (rows[:size], False)


def test_nothing_is_a_batch_of_no_rows() -> None:
    assert rows_of({}) == rows_of({"text": []}) == ([], False)


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(BadRow, match=r"different lengths \{'text': 2, 'score': 1\}, expected B values"):
        rows_of({"text": ["a", "b"], "score": [1.0]})


def test_unbatched_use_is_remarked_upon() -> None:
    with pytest.warns(UserWarning, match="`Surprise` was called row by row.*batched=True"):
        warn_unbatched("Surprise")


@pytest.mark.parametrize(
    ("row", "answer"),
    [
        ({"prompt": "1 + 1 =", "completion": " 2"}, " 2"),
        ({"prompt": [TURN], "completion": [ANSWER]}, "ho"),
        ({"messages": [TURN, ANSWER, TURN, {"role": "assistant", "content": None}, ANSWER]}, "ho\nho"),
        ({"conversations": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "ho"}]}, "ho"),
        ({"messages": [TURN, {"role": "assistant", "content": [{"type": "text", "text": "ho"}]}]}, "ho"),
        ({"text": "whole"}, "whole"),
        ({"text": None}, ""),
    ],
)
def test_answer_text(row: dict[str, Any], answer: str) -> None:
    assert answer_text(row) == answer
