from __future__ import annotations

import pytest
from datasets import Dataset

from hf_datasel.errors import BadBudget
from hf_datasel.selectors import TopCount


def test_the_best_rows_come_first() -> None:
    assert TopCount("s", 3).rank(Dataset.from_dict({"s": [0.1, 0.9, 0.5, 0.7]})).tolist() == [1, 3, 2]


def test_exactly_count_rows_even_where_the_cut_is_tied() -> None:
    scored = Dataset.from_dict({"row_id": list("cab"), "s": [1.0, 1.0, 1.0]})
    assert TopCount("s", 2).rank(scored).tolist() == [1, 2]


def test_all_scored_rows_can_be_asked_for() -> None:
    assert TopCount("s", 2).rank(Dataset.from_dict({"s": [1.0, None, 2.0]})).tolist() == [2, 0]
    assert TopCount("s", 1).rank(Dataset.from_dict({"s": [1.0]})).tolist() == [0]


def test_more_than_are_scored_is_refused_with_the_numbers() -> None:
    with pytest.raises(
        BadBudget, match=r"`count` is 3, expected at most 2: of 5 rows 2 have a 's' score and 3 are NaN\. Lower"
    ):
        TopCount("s", 3).rank(Dataset.from_dict({"s": [1.0, None, 2.0, float("nan"), None]}))


@pytest.mark.parametrize("count", [0, -1, 0.5, True])
def test_a_count_that_is_none_is_refused_at_construction(count: int) -> None:
    with pytest.raises(BadBudget, match="`count` is "):
        TopCount("s", count)
