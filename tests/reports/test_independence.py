from __future__ import annotations

import math

import numpy as np
import pytest

from hf_datasel.errors import DataselError
from hf_datasel.reports import independence


NAN = float("nan")


def test_the_known_answers_of_the_alternating_series() -> None:
    result = independence([1, -1, 1, -1, 1, -1, 1, -1])
    # S_xy = -4, S_xx = 42, S_yy = 8.
    assert result.slope == pytest.approx(-4 / 42) == pytest.approx(-0.095238, abs=1e-6)
    assert result.r_squared == pytest.approx(16 / (42 * 8)) == pytest.approx(0.047619, abs=1e-6)
    assert result.acf[:2].tolist() == pytest.approx([-0.875, 0.75])
    assert result.band == pytest.approx(0.69296, abs=1e-5)
    # t^2 = R^2 (n - 2) / (1 - R^2) = (1 / 21) * 6 / (20 / 21), signed as the slope.
    assert result.t_statistic == pytest.approx(-math.sqrt(6 / 20))
    assert result.intercept == pytest.approx(3.5 * 4 / 42)
    assert (result.num_rows, len(result.acf), result.passed) == (8, 7, False)


def test_a_straight_line_is_all_drift() -> None:
    result = independence([1.0, 3.0, 5.0, 7.0])
    assert result.slope == pytest.approx(2) and result.r_squared == pytest.approx(1)
    assert result.intercept == pytest.approx(1)
    assert result.t_statistic > 1e6 and not result.passed


def test_dropped_rows_keep_their_positions_in_the_drift() -> None:
    # Positions 0, 2, 3, 5 on the line y = 1 + 2 x: closing the gaps would bend it.
    result = independence([1.0, NAN, 5.0, 7.0, None, 11.0])
    assert result.slope == pytest.approx(2) and result.r_squared == pytest.approx(1) and result.num_rows == 4


def test_independent_scores_pass_and_their_gate_is_the_plain_one_from_4330_rows_on() -> None:
    noise = np.random.default_rng(5).standard_normal(20_000)
    result = independence(noise)
    assert result.passed and result.acf_gate == 0.05 and len(result.acf) == 50
    assert independence(noise[:4329]).acf_gate > 0.05
    assert independence(noise[:4335]).acf_gate == 0.05


def test_on_few_rows_the_gate_is_the_noise_band_for_all_lags_together() -> None:
    noise = np.random.default_rng(6).standard_normal(100)
    # Two-sided 5 % over 50 lags: the normal quantile at 1 - 0.0005 is 3.2905.
    assert independence(noise).acf_gate == pytest.approx(3.2905 / 10, abs=1e-5)
    # Over one lag it is the ordinary 1.96.
    assert independence(noise, max_lag=1).acf_gate == pytest.approx(0.19600, abs=1e-5)


def test_a_drift_fails_by_its_size_and_not_by_its_significance() -> None:
    noise = np.random.default_rng(7).standard_normal(20_000)
    position = np.arange(20_000) / 20_000
    small, large = independence(noise + 0.2 * position), independence(noise + 0.5 * position)
    assert small.t_statistic > 5 and small.r_squared < 0.01 and small.passed
    assert large.r_squared > 0.01 and not large.passed


def test_scores_that_leak_into_the_next_row_fail() -> None:
    noise = np.random.default_rng(8).standard_normal(20_000)
    leaking = noise + 0.2 * np.roll(noise, 1)
    result = independence(leaking)
    assert result.acf[0] == pytest.approx(0.2 / 1.04, abs=0.02) and result.r_squared < 0.01
    assert result.max_autocorrelation == abs(result.acf[0]) and not result.passed


def test_the_unit_of_the_scores_changes_nothing_but_the_slope() -> None:
    scores = np.random.default_rng(9).standard_normal(500)
    plain, tiny = independence(scores), independence(scores * 1e-170)
    assert tiny.slope == pytest.approx(plain.slope * 1e-170)
    assert tiny.r_squared == pytest.approx(plain.r_squared) and np.allclose(tiny.acf, plain.acf)


@pytest.mark.filterwarnings("error")
def test_equal_scores_cannot_be_judged() -> None:
    result = independence([0.1] * 7)
    assert result.slope == 0 and math.isnan(result.r_squared) and math.isnan(result.t_statistic)
    assert np.isnan(result.acf).all() and not result.passed


@pytest.mark.parametrize("scores", [[], [NAN] * 5, [1.0, 2.0, NAN]])
def test_fewer_than_three_scores_are_refused(scores: list[float]) -> None:
    with pytest.raises(DataselError, match=r"`scores` has \d scored rows of \d, expected at least 3"):
        independence(scores)


def test_infinite_scores_are_refused_by_row() -> None:
    with pytest.raises(DataselError, match=r"infinite in 1 rows \(first: row 2\)"):
        independence([1.0, 2.0, math.inf, 3.0])
    with pytest.raises(DataselError, match="no column of numbers"):
        independence(["high", "low", "mid"])  # type: ignore[list-item]
    with pytest.raises(DataselError, match=r"shape \(2, 2\), expected \(N,\)"):
        independence(np.zeros((2, 2)))
