from __future__ import annotations

import logging
from collections import Counter

import numpy as np
import pytest
from datasets import Dataset

from hf_datasel.errors import BadBudget
from hf_datasel.selectors import TopCountPerGroup
from hf_datasel.selectors.top_count_per_group import quotas


def shares(groups: str, count: int, scores: list[float] | None = None) -> dict[str, int]:
    scores = scores or [float(n) for n in range(len(groups))]
    pool = Dataset.from_dict({"row_id": list(range(len(groups))), "g": list(groups), "s": scores})
    return dict(Counter(pool["g"][row] for row in TopCountPerGroup("s", "g", count).rank(pool)))


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (5, {"a": 3, "b": 1, "c": 1}),
        (3, {"a": 1, "b": 1, "c": 1}),
        (2, {"b": 1, "c": 1}),
        (10, {"a": 6, "b": 3, "c": 1}),
    ],
)
def test_quotas_of_the_release(count: int, expected: dict[str, int]) -> None:
    assert shares("aaaaaabbbc", count) == expected


def test_more_groups_than_rows_to_keep() -> None:
    # Due one each; the largest falls to 0, then the smallest by size and name.
    assert quotas(np.array([4, 2, 1, 1, 3]), 2).tolist() == [0, 1, 0, 0, 1]
    assert quotas(np.array([1, 1, 1]), 1).sum() == 1


def test_the_lowest_weight_is_taken_of_each_task() -> None:
    # Weights .2, -.5, .1 of one task: the second is kept.
    pool = Dataset.from_dict({"g": list("aaa"), "coido": [-0.2, 0.5, -0.1]})
    assert TopCountPerGroup("coido", "g", 1).rank(pool).tolist() == [1]


def test_a_group_smaller_than_its_quota_gives_what_it_has(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        found = shares("aaaabbbb", 6, [1.0, float("nan"), float("nan"), float("nan"), 1.0, 2.0, 3.0, 4.0])
    assert found == {"a": 1, "b": 3}
    assert "falls short: 4 of 6 rows" in caplog.text


def test_more_than_the_pool_is_the_pool() -> None:
    assert shares("aab", 99) == {"a": 2, "b": 1}


def test_groups_are_interleaved() -> None:
    pool = Dataset.from_dict({"g": list("aaaabb"), "s": [6, 5, 4, 3, 2, 1]})
    assert TopCountPerGroup("s", "g", 6).rank(pool).tolist() == [0, 4, 1, 2, 5, 3]


@pytest.mark.parametrize("count", [0, 0.5, True])
def test_a_count_that_is_none_is_refused(count: int) -> None:
    with pytest.raises(BadBudget, match="`count` is "):
        TopCountPerGroup("s", "g", count)
