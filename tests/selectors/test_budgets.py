"""Fractions mean what people write, not what binary makes of it."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from hf_datasel.errors import BadBudget
from hf_datasel.selectors.budgets import check_count, check_fraction, exact, rows_in


@pytest.mark.parametrize(
    ("fraction", "num_rows", "expected"),
    [
        (0.1, 351_157, 35_115),  # the pool of the One-Step-Train paper
        (0.2, 351_157, 70_231),
        (0.3, 351_157, 105_347),
        (0.5, 351_157, 175_578),
        (0.29, 100, 29),  # 28.999999999999996 in binary
        (0.07, 100, 7),  # 7.000000000000001
        (0.57, 10_000_000, 5_700_000),
        (1 / 3, 300, 100),
        (0.7 + 0.1, 10, 8),  # 0.7999999999999999
        (0.999, 1000, 999),
        (1, 7, 7),
        (0.01, 5, 1),
        (1e-10, 5, 1),
        (np.float32(0.1), 100, 10),
    ],
)
def test_rows_in_a_fraction(fraction: float, num_rows: int, expected: int) -> None:
    assert rows_in(fraction, num_rows) == expected


def test_every_count_comes_back_from_its_own_fraction() -> None:
    for num_rows in (7, 100, 351_157, 9_999_991):
        counts = np.unique(np.linspace(1, num_rows, 200).astype(int))
        assert [rows_in(count / num_rows, num_rows) for count in counts] == counts.tolist()


def test_exact_is_what_was_written() -> None:
    assert exact(0.1) == Fraction(1, 10)
    assert exact(1 / 3) == Fraction(1, 3)


@pytest.mark.parametrize("value", [0, 0.0, -0.2, 1.0001, 20, float("nan"), float("inf"), True, "0.2", None])
def test_what_is_no_fraction_is_refused(value: object) -> None:
    with pytest.raises(BadBudget, match=r"`fraction` is .*, expected a number above 0 and up to 1\. Give 0\.2"):
        check_fraction("fraction", value)


@pytest.mark.parametrize("value", [0, -3, 2.0, True, "3", None, float("nan")])
def test_what_is_no_count_is_refused(value: object) -> None:
    with pytest.raises(
        BadBudget, match=r"`tokens` is .*, expected a whole number of at least 1\. Give the number of t"
    ):
        check_count("tokens", value, unit="tokens")


def test_numpy_numbers_are_numbers() -> None:
    check_fraction("fraction", np.float32(0.5))
    check_count("count", np.int64(3))
