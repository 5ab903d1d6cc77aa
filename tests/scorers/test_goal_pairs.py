"""Dialogues in the authors' reading: one candidate for each question with its answer."""

from __future__ import annotations

import pytest
from datasets import Dataset

from hf_datasel import GoalBins, QuestionAnswerPairs
from hf_datasel.errors import BadRow


def said(*turns, names=("role", "content")):
    return [dict(zip(names, turn, strict=True)) for turn in turns]


TURNS = [("system", "Be kind."), ("user", "<image>\nWhat \n is this?"), ("assistant", "A cat."), ("user", "Sure?"),
         ("user", "Really?"), ("assistant", "Yes."), ("user", "Why?"), ("assistant", " "), ("user", "So?")]  # fmt: skip
PAIRS = {"prompt": ["What is this?", "Really?"], "completion": ["A cat.", "Yes."]}


def test_each_question_with_its_answer_is_a_row_without_history():
    whole = {"row_id": ["a", "b"], "source": ["x", "y"], "images": [["1.png", "2.png"], []]}
    pool = Dataset.from_dict({**whole, "messages": [said(*TURNS), said(("user", "Alone?"))]})
    found = pool.map(QuestionAnswerPairs(), batched=True, remove_columns=pool.column_names)
    assert found.to_dict() == {
        **PAIRS, "row_id": ["a::t0", "a::t1"], "source": ["x", "x"], "images": [["1.png"]] * 2,
    }  # fmt: skip
    assert found.map(GoalBins(fidelity="authors"), batched=True)["goal_question_words"][:] == [3, 1]


def test_formats_agree_and_pairs_stay_pairs():
    named = {"system": "system", "user": "human", "assistant": "gpt"}
    told = said(*((named[role], text) for role, text in TURNS), names=("from", "value"))
    assert QuestionAnswerPairs()({"conversations": [told]}) == PAIRS
    prompt, completion = said(*TURNS[:5]), said(*TURNS[5:6])
    assert QuestionAnswerPairs()({"prompt": [prompt], "completion": [completion]}) == PAIRS
    asked = {"question": ["What\nis this?", ""], "answer": ["A cat.", "So."]}
    assert QuestionAnswerPairs()(asked) == {"prompt": ["What is this?"], "completion": ["A cat."]}


def test_rows_about_a_video_keep_all_their_frames():
    frames = ["1.png", "2.png", "3.png"]
    batch = {"messages": [said(*TURNS[1:3])] * 3, "images": [frames] * 3, "clip": ["v", None, ""]}
    assert [len(its) for its in QuestionAnswerPairs("clip")(batch)["images"]] == [3, 1, 1]


def test_one_row_cannot_become_several():
    with pytest.raises(BadRow, match=r"Map with batched=True"):
        QuestionAnswerPairs()({"messages": said(*TURNS)})
