from __future__ import annotations

import pytest
from datasets import Dataset

from hf_datasel.errors import BadBudget
from hf_datasel.selectors import TokenBudget


SCORED = Dataset.from_dict({"s": [0.9, 0.8, 0.7, 0.6, None], "num_tokens": [30, 50, 0, 10, 1]})


@pytest.mark.parametrize(
    ("tokens", "kept"),
    [(30, [0]), (79, [0]), (80, [0, 1, 2]), (89, [0, 1, 2]), (90, [0, 1, 2, 3]), (10**9, [0, 1, 2, 3])],
)
def test_rows_are_taken_until_the_next_would_exceed_the_budget(tokens: int, kept: list[int]) -> None:
    assert TokenBudget("s", tokens).rank(SCORED).tolist() == kept


def test_a_short_row_behind_one_that_does_not_fit_is_not_taken() -> None:
    # 30 + 10 would fit into 40, but row 1 comes before row 3.
    assert TokenBudget("s", 40).rank(SCORED).tolist() == [0]


def test_a_budget_below_the_best_row_is_refused_with_its_length() -> None:
    with pytest.raises(BadBudget, match=r"`tokens` is 29, expected at least 30, the length of the best row\. Raise"):
        TokenBudget("s", 29).rank(SCORED)


def test_another_length_column_can_be_named() -> None:
    scored = Dataset.from_dict({"s": [1.0, 2.0], "num_response_tokens": [5, 6]})
    assert TokenBudget("s", 6, "num_response_tokens").rank(scored).tolist() == [1]
    with pytest.raises(
        BadBudget, match=r"`length_column` is 'num_tokens', expected a column .* 'num_response_tokens'"
    ):
        TokenBudget("s", 6).rank(scored)


@pytest.mark.parametrize("length", [None, float("nan"), -1.0])
def test_a_scored_row_without_a_length_is_refused(length: float | None) -> None:
    scored = Dataset.from_dict({"s": [1.0, 2.0], "num_tokens": [5.0, length]})
    with pytest.raises(BadBudget, match="`length_column` is 'num_tokens', which is missing or negative in 1 of 2 sc"):
        TokenBudget("s", 100).rank(scored)


def test_a_row_without_a_score_needs_no_length() -> None:
    scored = Dataset.from_dict({"s": [1.0, None], "num_tokens": [5, None]})
    assert TokenBudget("s", 5).rank(scored).tolist() == [0]


def test_no_tokens_at_all_are_refused_at_construction() -> None:
    with pytest.raises(BadBudget, match=r"`tokens` is 0, .* Give the number of tokens to keep"):
        TokenBudget("s", 0)
