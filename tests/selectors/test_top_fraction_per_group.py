from __future__ import annotations

from collections import Counter

import pytest
from datasets import Dataset

from hf_datasel.errors import BadBudget
from hf_datasel.selectors import TopFractionPerGroup


NAN = float("nan")


def grouped(**sizes: int) -> Dataset:
    """Groups of these sizes; earlier groups score higher throughout, earlier rows of a group too."""
    names = [name for name, size in sizes.items() for _ in range(size)]
    return Dataset.from_dict({"row_id": list(range(len(names))), "g": names, "s": list(range(len(names), 0, -1))})


def shares(pool: Dataset, fraction: float) -> dict[str, int]:
    return dict(Counter(pool["g"][row] for row in TopFractionPerGroup("s", "g", fraction).rank(pool)))


@pytest.mark.parametrize(
    ("sizes", "fraction", "expected"),
    [
        ({"a": 10, "b": 20}, 0.5, {"a": 5, "b": 10}),
        ({"a": 10, "b": 3}, 0.3, {"a": 3}),  # due 3.0 and 0.9, but floor(3.9) = 3 in all
        ({"a": 7, "b": 5, "c": 3}, 0.5, {"a": 4, "b": 2, "c": 1}),  # due 3.5, 2.5, 1.5 of 7: the tie goes to a by name
        ({"c": 7, "b": 5, "a": 3}, 0.5, {"c": 3, "b": 2, "a": 2}),
        ({"a": 9, "b": 8}, 0.2, {"a": 2, "b": 1}),  # due 1.8, 1.6 of 3
        ({"a": 1, "b": 1, "c": 1}, 0.1, {"a": 1}),  # at least one row in all
        ({"a": 100, "b": 100}, 0.29, {"a": 29, "b": 29}),  # 28.999999999999996 in binary
        ({"a": 4, "b": 2}, 1.0, {"a": 4, "b": 2}),
    ],
)
def test_group_sizes_by_largest_remainder(sizes: dict[str, int], fraction: float, expected: dict[str, int]) -> None:
    assert shares(grouped(**sizes), fraction) == expected


def test_within_a_group_the_best_are_kept_whatever_other_groups_score() -> None:
    scored = Dataset.from_dict({"g": list("aabb"), "s": [100.0, 200.0, 0.1, 0.2]})
    assert TopFractionPerGroup("s", "g", 0.5).rank(scored).tolist() == [1, 3]


def test_the_ranking_interleaves_by_quantile_then_score() -> None:
    # Quantiles of a: 1/12 3/12 5/12 7/12 9/12 11/12; of b: 1/6 3/6 5/6; of c: 1/2, tied with the second of b.
    pool = grouped(a=6, b=3, c=1)
    assert TopFractionPerGroup("s", "g", 1.0).rank(pool).tolist() == [0, 6, 1, 2, 7, 9, 3, 4, 8, 5]


def test_every_prefix_is_within_one_row_of_the_proportions() -> None:
    pool = grouped(a=50, b=30, c=20)
    ranking = TopFractionPerGroup("s", "g", 0.6).rank(pool)
    assert len(ranking) == 60
    for length in range(1, 61):
        counts = Counter(pool["g"][row] for row in ranking[:length])
        for name, size in (("a", 50), ("b", 30), ("c", 20)):
            assert abs(counts[name] - length * size / 100) <= 1, (length, name)


def test_the_share_is_of_all_rows_of_a_group_and_nobody_inherits_what_it_cannot_give() -> None:
    scored = Dataset.from_dict({"g": list("aaaabbbb"), "s": [NAN, NAN, NAN, 1.0, 5.0, 6.0, 7.0, 8.0]})
    assert sorted(TopFractionPerGroup("s", "g", 0.5).rank(scored).tolist()) == [3, 6, 7]


def test_a_group_without_scores_does_not_take_the_only_seat() -> None:
    scored = Dataset.from_dict({"g": list("aaab"), "s": [NAN, NAN, NAN, 1.0]})
    assert TopFractionPerGroup("s", "g", 0.25).rank(scored).tolist() == [3]


def test_rows_without_a_group_are_a_group() -> None:
    scored = Dataset.from_dict({"g": [None, None, "a", "a"], "s": [1.0, 2.0, 3.0, 4.0]})
    assert sorted(TopFractionPerGroup("s", "g", 0.5).rank(scored).tolist()) == [1, 3]


def test_whole_shares_are_nested_and_prefixes() -> None:
    pool = grouped(a=40, b=20)
    quarter, half = (TopFractionPerGroup("s", "g", fraction).rank(pool).tolist() for fraction in (0.25, 0.5))
    assert half[: len(quarter)] == quarter


def test_one_row_is_a_pool() -> None:
    assert TopFractionPerGroup("s", "g", 0.1).rank(grouped(a=1)).tolist() == [0]


def test_a_missing_group_column_is_named_as_the_group() -> None:
    with pytest.raises(BadBudget, match=r"`group` is 'source', expected a column .* 'row_id', 'g', 's'"):
        TopFractionPerGroup("s", "source", 0.5).rank(grouped(a=2))


def test_a_fraction_out_of_range_is_refused_at_construction() -> None:
    with pytest.raises(BadBudget, match="`fraction` is 0, "):
        TopFractionPerGroup("s", "g", 0)
