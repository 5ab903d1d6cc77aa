from __future__ import annotations

from collections.abc import Callable

import pytest
from datasets import Dataset

from hf_datasel.errors import BadBudget
from hf_datasel.selectors import TopFraction


NAN = float("nan")


@pytest.mark.parametrize(
    ("utilities", "kept"),
    [
        # The quadratic toy of One-Step-Train: samples (3,0), (3,4), (1,0), (0,1), (-1,0) at step sizes 0.1 and 0.2.
        ([0.255, 0.175, 0.095, -0.005, -0.105], [0, 1]),
        ([0.42, 0.10, 0.18, -0.02, -0.22], [0, 2]),
    ],
)
def test_the_papers_toy_keeps_the_samples_worked_out_by_hand(utilities: list[float], kept: list[int]) -> None:
    assert TopFraction("u", 0.4).rank(Dataset.from_dict({"u": utilities})).tolist() == kept


def test_the_fraction_is_of_all_rows_not_of_the_scored_ones() -> None:
    scored = Dataset.from_dict({"u": [NAN, 1.0, NAN, 2.0, 3.0, 4.0, NAN, 5.0, NAN, NAN]})
    assert TopFraction("u", 0.3).rank(scored).tolist() == [7, 5, 4]


def test_fewer_scored_rows_than_the_budget_are_all_kept() -> None:
    assert TopFraction("u", 1.0).rank(Dataset.from_dict({"u": [NAN, 1.0, None, 2.0]})).tolist() == [3, 1]


def test_dropping_nonpositive_does_not_refill_the_budget() -> None:
    scored = Dataset.from_dict({"u": [0.3, 0.0, -0.1, 0.2, -0.4]})
    assert TopFraction("u", 0.8).rank(scored).tolist() == [0, 3, 1, 2]
    assert TopFraction("u", 0.8, drop_nonpositive=True).rank(scored).tolist() == [0, 3]
    assert TopFraction("u", 0.2, drop_nonpositive=True).rank(scored).tolist() == [0]


def test_a_pool_of_only_toxic_rows_leaves_nothing_when_they_are_dropped() -> None:
    assert TopFraction("u", 0.5, drop_nonpositive=True).rank(Dataset.from_dict({"u": [-1.0, 0.0]})).tolist() == []


def test_at_least_one_row_is_kept() -> None:
    assert TopFraction("u", 0.001).rank(Dataset.from_dict({"u": [1.0, 3.0, 2.0]})).tolist() == [1]
    assert TopFraction("u", 0.001).rank(Dataset.from_dict({"u": [1.0]})).tolist() == [0]


def test_a_tie_at_the_cut_is_decided_by_row_id() -> None:
    scored = Dataset.from_dict({"row_id": list("dbca"), "u": [1.0, 1.0, 1.0, 1.0]})
    assert TopFraction("u", 0.5).rank(scored).tolist() == [3, 1]


def test_copies_of_a_row_are_all_kept_when_the_budget_has_room() -> None:
    scored = Dataset.from_dict({"text": ["x", "y", "x"], "u": [0.5, 0.1, 0.5]})
    assert TopFraction("u", 0.67).rank(scored).tolist() == [0, 2]


def test_the_ids_kept_do_not_depend_on_the_hash_seed(in_new_process: Callable[..., str]) -> None:
    code = (
        "from datasets import Dataset; from hf_datasel.selectors import TopFraction, select\n"
        "rows = {'text': [str(i % 40) for i in range(60)], 'u': [float(i % 3) for i in range(60)]}\n"
        "print(select(Dataset.from_dict(rows), TopFraction('u', 0.5)).ids)"
    )
    assert in_new_process(code, hash_seed=1) == in_new_process(code, hash_seed=2)


@pytest.mark.parametrize("fraction", [0, 1.5, 20, "0.2"])
def test_a_fraction_out_of_range_is_refused_at_construction(fraction: float) -> None:
    with pytest.raises(BadBudget, match="`fraction` is "):
        TopFraction("u", fraction)
