"""How much utility the best rows hold together: where more rows stop adding, and start to cost."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from hf_datasel.contracts import Scores
from hf_datasel.reports.scored import ScoreColumn, scored_only


@dataclass(frozen=True, eq=False)
class UtilityCurve:
    """Summed utility of the best rows, over how many are kept. Made by `utility_curve`.

    Args:
        share: share of *all* N rows kept, 1/N, 2/N, … for the M scored rows, shape (M,): a fraction as the rules
            understand it.
        summed_utility: utility of that many best rows added up, in nats per token, shape (M,).
        suggested_fraction: share at which the sum peaks: all rows of positive utility. 0 where there is none.
        knee_fraction: share at which the curve is highest above the straight line between its ends: all rows of
            above-average utility. None where the curve is that line.
        num_rows: N.
        num_not_scored: N - M, rows without a utility, which are in no sum.
    """

    share: Scores = field(repr=False)
    summed_utility: Scores = field(repr=False)
    suggested_fraction: float
    knee_fraction: float | None
    num_rows: int
    num_not_scored: int


def utility_curve(scores: ScoreColumn) -> UtilityCurve:
    """Add up utilities from the best row down, and suggest where to stop.

    A suggestion and no more. A row's utility says what one step on it *alone* does to the anchor loss, to first order.
    The sum pretends that such steps add up: it counts a thousand copies of a good row a thousand times, and nothing in
    it knows that a lesson is learnt after the tenth row that teaches it. The true optimum is as a rule at a smaller
    fraction; train on a few to find it.

    Args:
        scores: utilities of shape (N,) in nats per token, higher means keep. Rows without one (NaN or None) are left
            out and counted.

    Raises:
        DataselError: no row has a score, or some are infinite.

    Source: the additive first-order view of OST, Eq. 3 (https://huggingface.co/papers/2605.07488), which fixes its
        fractions by hand; both suggestions are ours.

    Example:
        >>> curve = utility_curve([0.1, -0.2, 0.5, None])
        >>> curve.share, curve.summed_utility.round(6), curve.suggested_fraction, curve.knee_fraction
        (array([0.25, 0.5 , 0.75]), array([0.5, 0.6, 0.4]), 0.5, 0.25)
    """
    values, _, num_rows = scored_only(scores)
    best_first = np.sort(values)[::-1]
    constant = best_first[0] == best_first[-1]
    return UtilityCurve(
        share=np.arange(1, len(values) + 1) / num_rows,
        summed_utility=np.cumsum(best_first),
        # Counted, not found as the largest of the sums: a sum rounds away rows that are tiny and still positive.
        suggested_fraction=int((values > 0).sum()) / num_rows,
        # Each further row lifts the curve above the line by its utility less the average one.
        knee_fraction=None if constant else int((values > values.mean()).sum()) / num_rows,
        num_rows=num_rows,
        num_not_scored=num_rows - len(values),
    )
