from __future__ import annotations

import numpy as np
import pytest
from datasets import Dataset

from hf_datasel.errors import DataselError
from hf_datasel.reports import utility_curve
from hf_datasel.selectors import TopFraction


NAN = float("nan")


def test_five_rows_by_hand() -> None:
    curve = utility_curve([-1.0, 3.0, 0.5, 1.0, -0.5])
    assert curve.share.tolist() == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert curve.summed_utility.tolist() == [3.0, 4.0, 4.5, 4.0, 3.0]
    assert curve.suggested_fraction == 0.6
    # Above the chord from (0, 0) to (1, 3): 2.4, 2.8, 2.7, 1.6, 0.
    assert curve.knee_fraction == 0.4


def test_shares_are_of_all_rows_so_that_a_rule_keeps_what_was_suggested() -> None:
    scores = [0.3, NAN, -0.2, None, 0.1, NAN, 0.2, -0.1, None, NAN]
    curve = utility_curve(scores)
    assert (curve.num_rows, curve.num_not_scored, curve.suggested_fraction) == (10, 5, 0.3)
    assert curve.share.tolist() == [0.1, 0.2, 0.3, 0.4, 0.5]
    kept = TopFraction("u", curve.suggested_fraction).rank(Dataset.from_dict({"u": scores}))
    assert kept.tolist() == [0, 6, 4]


def test_the_knee_is_the_largest_distance_above_the_chord() -> None:
    scores = np.random.default_rng(1).standard_t(2, 999)
    curve = utility_curve(scores)
    above = curve.summed_utility - curve.share * curve.summed_utility[-1]
    assert curve.knee_fraction == curve.share[above.argmax()]
    assert curve.suggested_fraction == curve.share[curve.summed_utility.argmax()]


def test_a_positive_row_counts_even_where_the_sum_rounds_it_away() -> None:
    curve = utility_curve([1e9, 1e-9, -1.0])
    assert curve.summed_utility[0] == curve.summed_utility[1] and curve.suggested_fraction == 2 / 3


def test_a_zero_adds_nothing_and_is_not_suggested() -> None:
    assert utility_curve([1.0, 0.0, -1.0, 0.0]).suggested_fraction == 0.25


def test_only_toxic_rows_suggest_nothing() -> None:
    curve = utility_curve([-1.0, -3.0])
    assert curve.suggested_fraction == 0.0 and curve.knee_fraction == 0.5


@pytest.mark.parametrize("scores", [[0.1], [0.1] * 7])
def test_a_straight_curve_has_no_knee(scores: list[float]) -> None:
    curve = utility_curve(scores)
    assert curve.suggested_fraction == 1.0 and curve.knee_fraction is None


def test_without_any_score_there_is_no_curve() -> None:
    with pytest.raises(DataselError, match="0 scored rows of 2, expected at least 1"):
        utility_curve([NAN, None])
