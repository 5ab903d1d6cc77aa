from __future__ import annotations

import math

import pytest

from hf_datasel.errors import BadRow
from hf_datasel.metrics import AnswerAccuracy


def test_solutions_are_compared_by_their_final_number_alone() -> None:
    predictions = ["2 + 2 = 4\nA: 4", "My steps are wrong. #### 1,000.0", "The answer is 7", "18"]
    references = ["#### 4", "A: 1000", "#### 8", "9 + 9 = <<9+9=18>>18\n#### 18"]
    result = AnswerAccuracy().compute(predictions=predictions, references=references)
    assert result == {"answer_accuracy": 0.75, "num_unparsed": 0}


def test_what_cannot_be_read_is_wrong_and_counted() -> None:
    result = AnswerAccuracy().compute(predictions=["", "no idea", "5"], references=["5", "5", "5"])
    assert result == {"answer_accuracy": pytest.approx(1 / 3), "num_unparsed": 2}


def test_a_reference_without_a_number_is_refused_by_row() -> None:
    with pytest.raises(BadRow, match="`references` row 1 is 'none'"):
        AnswerAccuracy().compute(predictions=["5", "no idea"], references=["5", "none"])


def test_batches_add_up() -> None:
    metric = AnswerAccuracy()
    metric.add_batch(predictions=["1", "2"], references=["1", "3"])
    metric.add(prediction="4", reference="4")
    assert metric.compute()["answer_accuracy"] == pytest.approx(2 / 3)


def test_no_rows_have_no_accuracy() -> None:
    assert math.isnan(AnswerAccuracy().compute(predictions=[], references=[])["answer_accuracy"])
