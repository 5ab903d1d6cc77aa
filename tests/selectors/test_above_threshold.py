from __future__ import annotations

import pytest
from datasets import Dataset

from hf_datasel.errors import BadBudget
from hf_datasel.selectors import AboveThreshold


SCORED = Dataset.from_dict({"row_id": list("dcba"), "u": [0.2, 0.5, None, 0.5]})


def test_a_score_at_the_threshold_is_not_above_it() -> None:
    assert AboveThreshold("u", 0.2).rank(SCORED).tolist() == [3, 1]
    assert AboveThreshold("u", 0.19).rank(SCORED).tolist() == [3, 1, 0]


def test_a_threshold_nothing_passes_keeps_nothing() -> None:
    assert AboveThreshold("u", 0.5).rank(SCORED).tolist() == []


def test_an_infinite_score_passes_and_an_unscored_row_never_does() -> None:
    scored = Dataset.from_dict({"u": [float("nan"), float("inf"), -1e300]})
    assert AboveThreshold("u", float("-inf")).rank(scored).tolist() == [1, 2]


@pytest.mark.parametrize("threshold", [float("nan"), "0", None, True])
def test_a_threshold_that_is_no_number_is_refused_at_construction(threshold: float) -> None:
    with pytest.raises(BadBudget, match=r"`threshold` is .*, expected a number\. Give"):
        AboveThreshold("u", threshold)
