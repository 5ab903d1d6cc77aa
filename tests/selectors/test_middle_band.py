from __future__ import annotations

import pytest
from datasets import Dataset

from hf_datasel.errors import BadBudget
from hf_datasel.selectors import MiddleBand


TEN = Dataset.from_dict({"s": list(range(10))})  # quantiles 0.05, 0.15, ... 0.95


@pytest.mark.parametrize(
    ("low", "high", "kept"),
    [
        (0.4, 0.6, [5, 4]),
        (0.3, 0.7, [5, 4, 6, 3]),
        (0.35, 0.65, [5, 4, 6]),  # the lower end is open, the upper one closed
        (0.34, 0.71, [5, 4, 6, 3]),  # the middle is 0.525
        (0.31, 0.65, [4, 5, 3, 6]),  # the middle is 0.48
        (0.0, 0.3, [1, 2, 0]),
        (0.7, 1.0, [8, 9, 7]),
        (0.0, 1.0, [5, 4, 6, 3, 7, 2, 8, 1, 9, 0]),
    ],
)
def test_bands_of_ten_rows_by_hand(low: float, high: float, kept: list[int]) -> None:
    assert MiddleBand("s", low, high).rank(TEN).tolist() == kept


@pytest.mark.parametrize("num_rows", [1, 2, 7, 100, 1001])
def test_bands_that_meet_share_no_row_and_miss_none(num_rows: int) -> None:
    pool = Dataset.from_dict({"s": list(range(num_rows))})
    kept: list[int] = []
    for low, high in ((0.0, 0.1), (0.1, 0.29), (0.29, 0.7), (0.7, 1.0)):
        try:
            kept += MiddleBand("s", low, high).rank(pool).tolist()
        except BadBudget:
            assert num_rows < 10
    assert sorted(kept) == list(range(num_rows))


def test_a_narrower_band_around_the_same_middle_is_a_prefix() -> None:
    pool = Dataset.from_dict({"s": list(range(101))})
    widest = MiddleBand("s", 0.0, 1.0).rank(pool).tolist()
    for half in (0.05, 0.1, 0.125, 0.25, 0.4):
        band = MiddleBand("s", 0.5 - half, 0.5 + half).rank(pool).tolist()
        assert widest[: len(band)] == band


def test_the_band_is_of_the_scored_rows() -> None:
    scored = Dataset.from_dict({"s": [None, 1.0, float("nan"), 2.0, 3.0, None, 4.0]})
    assert MiddleBand("s", 0.25, 0.75).rank(scored).tolist() == [4, 3]


def test_tied_rows_have_neighbouring_quantiles_in_order_of_row_id() -> None:
    scored = Dataset.from_dict({"row_id": list("badc"), "s": [1.0] * 4})
    # Best first is a, b, c, d: the middle two are b and c.
    assert MiddleBand("s", 0.25, 0.75).rank(scored).tolist() == [0, 3]


def test_a_band_that_holds_no_row_is_refused() -> None:
    with pytest.raises(BadBudget, match=r"`low` is 0.8 and `high` 0.9, a band that holds none of 1 scored rows"):
        MiddleBand("s", 0.8, 0.9).rank(Dataset.from_dict({"s": [1.0]}))


@pytest.mark.parametrize(
    ("low", "high", "complaint"),
    [
        (-0.1, 0.5, "`low` is -0.1, expected a quantile from 0 to 1"),
        (0.1, 1.5, "`high` is 1.5, expected a quantile from 0 to 1"),
        (float("nan"), 0.5, "`low` is nan, expected a quantile"),
        ("0.1", 0.5, "`low` is '0.1', expected a quantile"),
        (0.6, 0.4, "`low` is 0.6, expected less than `high`, 0.4"),
        (0.5, 0.5, "`low` is 0.5, expected less than `high`, 0.5"),
    ],
)
def test_ends_that_make_no_band_are_refused_at_construction(low: float, high: float, complaint: str) -> None:
    with pytest.raises(BadBudget, match=complaint):
        MiddleBand("s", low, high)
