"""`weighted_sum`: indicators of a pool on one scale, with weights of yours or the same for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from hf_datasel.contracts import Scores
from hf_datasel.errors import BadRow
from hf_datasel.learners.goal_quality import read_finite
from hf_datasel.scorers.weighted_sum import Indicator, Reference, WeightedSum


if TYPE_CHECKING:
    from datasets import Dataset


def weighted_sum(
    pool: Dataset,
    indicators: Sequence[Indicator],
    weights: Sequence[float] | None = None,
    normalisation: Literal["rank", "min_max"] = "rank",
    learned: Mapping[str, Any] | None = None,
) -> WeightedSum:
    """The scorer that adds up indicators, each measured against the N rows of a pool. Cost: a sort of each column.

    Args:
        pool: N rows with the columns of the indicators.
        indicators: m of them.
        weights: m numbers; None for the same for all.
        normalisation: see `WeightedSum`.
        learned: what a learner says about the weights.

    Raises:
        BadRow: there is no indicator, or one has no number in any row.
        BadBudget: a column is not there.

    Example:
        >>> from datasets import Dataset
        >>> pool = Dataset.from_dict({"steps": [1, 2, 3], "loss": [0.5, 1.5, 1.0]})
        >>> pool.map(weighted_sum(pool, [Indicator("steps"), Indicator("loss", "low")]), batched=True)["weighted_sum"][:]
        [0.5, 0.25, 0.75]
    """
    if not indicators:
        raise BadRow("`indicators` is empty, expected at least one. Name a column of numbers.")
    references = tuple(Reference.of(read_finite(pool, its.column), its) for its in indicators)
    same = (1 / len(indicators),) * len(indicators)
    return WeightedSum(
        tuple(indicators), same if weights is None else tuple(weights), references, normalisation, dict(learned or {})
    )


def scaled_indicators(pool: Dataset, scorer: WeightedSum) -> tuple[Scores, Scores]:
    """(N, m) indicators as they are, NaN where missing, and on the scale from 0 to 1."""
    raw = np.stack([read_finite(pool, its.column) for its in scorer.indicators], axis=1)
    return raw, scorer.scaled(raw)
