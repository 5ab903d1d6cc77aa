from __future__ import annotations

import math

import pytest

from hf_datasel.metrics import RankAgreement


NAN = float("nan")


def agreement(one: list[float | None], other: list[float | None]) -> dict[str, float]:
    result: dict[str, float] = RankAgreement().compute(predictions=one, references=other)
    return result


def test_one_swap_among_four() -> None:
    # Spearman: 1 - 6 (0 + 1 + 1 + 0) / (4 * 15). Kendall: 5 pairs agree, 1 does not, of 6.
    result = agreement([1, 2, 3, 4], [1, 3, 2, 4])
    assert result == {"spearman": pytest.approx(0.8), "kendall": pytest.approx(4 / 6), "num_dropped": 0}


def test_ties_count_neither_way() -> None:
    # tau-b: 2 pairs agree, 1 of 3 is tied on the left: 2 / sqrt(2 * 3). Mid-ranks 1.5, 1.5, 3 against 1, 2, 3.
    result = agreement([1, 1, 2], [1, 2, 3])
    assert result["kendall"] == pytest.approx(2 / math.sqrt(6))
    assert result["spearman"] == pytest.approx(1.5 / math.sqrt(1.5 * 2))


def test_only_the_order_matters() -> None:
    result = agreement([1e-9, 2e-9, 5e-7], [-100.0, 0.0, 3.0])
    assert result["spearman"] == pytest.approx(1) and result["kendall"] == pytest.approx(1)
    assert agreement([1, 2, 3], [3, 2, 1])["kendall"] == pytest.approx(-1)


def test_rows_that_either_side_has_not_scored_are_dropped_and_counted() -> None:
    result = agreement([1, 2, NAN, 3, 9], [1, 3, 5, 2, None])
    assert result == {"spearman": pytest.approx(0.5), "kendall": pytest.approx(1 / 3), "num_dropped": 2}


@pytest.mark.parametrize(("one", "other"), [([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]), ([1.0], [1.0]), ([], [])])
@pytest.mark.filterwarnings("error")
def test_without_an_order_there_is_no_agreement(one: list[float | None], other: list[float | None]) -> None:
    result = agreement(one, other)
    assert math.isnan(result["spearman"]) and math.isnan(result["kendall"])
