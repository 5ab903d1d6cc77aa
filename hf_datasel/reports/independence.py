"""Do scores differ along the pool? A leaked step or a drifting proxy shows here, and so does a sorted pool."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from statistics import NormalDist

import numpy as np

from hf_datasel.contracts import Scores
from hf_datasel.reports.scored import ScoreColumn, scored_only


MAX_R_SQUARED = 0.01
MAX_AUTOCORRELATION = 0.05


@dataclass(frozen=True, eq=False)
class Independence:
    """How scores differ along the pool. Made by `independence`.

    Args:
        num_rows: M, the scored rows that were judged.
        slope: change of the score from one position to the next, in the score's unit per row.
        intercept: the fitted score at position 0.
        r_squared: share of the scores' variance that a straight drift explains, from 0 to 1.
        t_statistic: of the slope, with M - 2 degrees of freedom. Reported, never gated on.
        acf: autocorrelation at lags 1, 2, …, of shape (number of lags,), each from -1 to 1.
        band: half-width of the 95 % band of white noise for any one lag, 1.96 / sqrt(M).
        acf_gate: what no lag may reach.
        passed: whether both gates were met.
    """

    num_rows: int
    slope: float
    intercept: float
    r_squared: float
    t_statistic: float
    acf: Scores = field(repr=False)
    band: float
    acf_gate: float
    passed: bool

    @property
    def max_autocorrelation(self) -> float:
        """The largest absolute autocorrelation at any lag; NaN where all scores are equal."""
        return float(np.max(np.abs(self.acf)))


def independence(scores: ScoreColumn, max_lag: int = 50) -> Independence:
    """Fit a straight drift to scores in the pool's order, and correlate them with themselves at lags 1 to `max_lag`.

    Scorers go through the pool from first to last, so what leaks from one row to the next leaves a trace here. The
    reverse does not hold: a pool that is sorted, by source or by length, fails the gates with scores that each row has for
    itself. To tell the two apart, score the pool shuffled: every row must get the score it has now.

    The gates are on *effect sizes*: `r_squared` < 0.01 and every |autocorrelation| < 0.05. The t statistic is reported
    and not gated on: at the paper's 351,157 rows its R² of 0.003 has t = 32, overwhelming and without consequence.

    On small pools chance alone exceeds these numbers. For the autocorrelation the gate used is therefore
    max(0.05, z / sqrt(M)), with z the two-sided 5 % point of the normal distribution divided among the lags
    (Bonferroni): about 3.3 / sqrt(M) for 50 lags, so it is 0.05 from 4,300 rows on. Below, passing means only that
    nothing sticks out of the noise. The gate on R² is not widened: with fewer than about 400 rows, independent
    scores fail it more than once in twenty times, and `t_statistic` says whether to believe it.

    Args:
        scores: shape (N,), in the pool's order, in which they were computed. Rows without a score (NaN or None) are dropped: the drift
            is fitted over the positions the others had, lags count scored rows only.
        max_lag: largest lag; at most one less than the number of scored rows is used.

    Returns:
        Where all scores are equal there is nothing to judge: `r_squared`, `t_statistic` and `acf` are NaN, and
        `passed` is False.

    Raises:
        DataselError: fewer than 3 rows have a score, or some are infinite.

    Source: OST appendix C.2 and Fig. 5 (https://huggingface.co/papers/2605.07488) for the two checks; both gates are
        our choice, the paper names none.

    Example:
        >>> result = independence([1, -1, 1, -1, 1, -1, 1, -1], max_lag=2)
        >>> round(result.slope, 6), round(result.r_squared, 6), result.acf, result.passed
        (-0.095238, 0.047619, array([-0.875,  0.75 ]), False)
    """
    values, positions, _ = scored_only(scores, at_least=3)
    num_rows = len(values)
    lags = max(1, min(max_lag, num_rows - 1))
    x, y = positions - positions.mean(), values - values.mean()
    if np.ptp(values) == 0:
        # The mean of equal floats can differ from them in the last bit, and would make noise look like a signal.
        y = np.zeros(num_rows)
    # Scaled to 1 so that squares of tiny utilities do not underflow; every ratio below is blind to it.
    scale = float(np.max(np.abs(y))) or 1.0
    y = y / scale
    s_xx, s_xy, s_yy = float(x @ x), float(x @ y), float(y @ y)
    slope = scale * s_xy / s_xx
    r_squared = s_xy**2 / (s_xx * s_yy) if s_yy else math.nan
    acf = np.array([y[:-lag] @ y[lag:] for lag in range(1, lags + 1)]) / (s_yy or math.nan)
    gate = max(MAX_AUTOCORRELATION, NormalDist().inv_cdf(1 - 0.025 / lags) / math.sqrt(num_rows))
    return Independence(
        num_rows=num_rows,
        slope=slope,
        intercept=float(values.mean() - slope * positions.mean()),
        r_squared=r_squared,
        t_statistic=_t_statistic(r_squared, slope, num_rows),
        acf=acf,
        band=1.96 / math.sqrt(num_rows),
        acf_gate=gate,
        passed=bool(r_squared < MAX_R_SQUARED and np.max(np.abs(acf)) < gate),
    )


def _t_statistic(r_squared: float, slope: float, num_rows: int) -> float:
    unexplained = 1 - r_squared
    size = math.sqrt(r_squared * (num_rows - 2) / unexplained) if unexplained > 0 else math.inf
    return math.copysign(size, slope) if not math.isnan(r_squared) else math.nan
