"""A weighted sum of score columns, each turned and scaled by how it lies in the pool."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from hf_datasel.contracts import Batch, Columns, Scores
from hf_datasel.errors import BadRow
from hf_datasel.scorers.goal.batches import columns_of, numbers, unbatched
from hf_datasel.scorers.goal.merge import robust_spread


BETTER = ("high", "low", "middle")
NORMALISATIONS = ("rank", "min_max")
KEPT_VALUES = 1001  # of a column, to know another value's rank by: to a thousandth
WINSOR = (0.01, 0.99)


@dataclass(frozen=True)
class Indicator:
    """A column of numbers, and which of them are worth keeping.

    Args:
        column: of the pool, made by a scorer or your own.
        better: `"high"` or `"low"` numbers, or those in the `"middle"`: exp(-|z|), z the distance to the pool's median
            over its quartiles' distance / 1.349.

    Raises:
        ValueError: `better` is unknown.

    Example:
        >>> Indicator("row_loss", better="middle")
        Indicator(column='row_loss', better='middle')
    """

    column: str
    better: Literal["high", "low", "middle"] = "high"

    def __post_init__(self) -> None:
        if self.better not in BETTER:
            raise ValueError(f"`better` is {self.better!r}, expected one of {BETTER}.")

    @property
    def name(self) -> str:
        """What it is called in reports."""
        return self.column if self.better == "high" else f"{self.better} {self.column}"


@dataclass(frozen=True)
class Reference:
    """How a column lies in a pool.

    Args:
        median, scale: see `robust_spread`.
        values: turned so that more is better, cut at the first and last hundredth, in order; `KEPT_VALUES` at most.
    """

    median: float
    scale: float
    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Scores, indicator: Indicator) -> Reference:
        """Of a pool's column, (N,), NaN where a row has none.

        Raises:
            BadRow: it holds no number at all.
        """
        median, scale = robust_spread(values)
        turned = np.sort(oriented(values[np.isfinite(values)], indicator.better, median, scale))
        if not len(turned):
            raise BadRow(f"`{indicator.column}` is NaN in every row of the pool, expected a number in some. Drop it.")
        turned = np.clip(turned, *np.quantile(turned, WINSOR))
        if len(turned) > KEPT_VALUES:
            turned = np.quantile(turned, np.linspace(0, 1, KEPT_VALUES))
        return cls(median, scale, tuple(turned.tolist()))

    @property
    def constant(self) -> bool:
        """Whether all values of the pool are the same, so that a weight would mean nothing."""
        return self.values[0] == self.values[-1]


@dataclass(frozen=True)
class WeightedSum:
    """Weighted sum of m indicators, each on a scale from 0 to 1 of the pool that it was fitted on. Higher means keep.

    Cost: no forward pass. `learners.IndicatorWeights` learns the weights, `learners.weighted_sum` takes yours.

    Args:
        indicators: m columns, and which end of each is worth keeping.
        weights: m numbers.
        references: how each column lies in the pool.
        normalisation: `"rank"` is the share of the pool below a value (ties count half), `"min_max"` its place between the
            first and the last hundredth. A missing value counts as the pool's median.
        learned: what a learner says about the weights.

    Writes:
        `weighted_sum`, `weighted_sum_status`: `"ok"`, `"partial: "` and the columns that were missing (the score is there),
        or `"no_indicators"`, where all are (the score is NaN); `uniform_sum`, the same with equal weights, to compare with.

    Raises:
        ValueError: the lengths differ, or `normalisation` is unknown.
        BadRow: a column does not hold numbers.

    Source: a design after https://huggingface.co/papers/2605.09665 (its abstract), not a reproduction.

    Example:
        >>> scorer = WeightedSum(
        ...     (Indicator("length"), Indicator("loss", "low")), (0.75, 0.25),
        ...     (Reference(3, 1, (1, 2, 3, 4, 5)), Reference(2, 1, (-3, -2, -1))))
        >>> scorer({"length": [4, 5, None], "loss": [1.0, None, None]})["weighted_sum"]
        array([0.8125, 0.875 ,    nan])
    """

    indicators: tuple[Indicator, ...]
    weights: tuple[float, ...]
    references: tuple[Reference, ...]
    normalisation: Literal["rank", "min_max"] = "rank"
    learned: Mapping[str, Any] = field(default_factory=dict)

    columns = ("weighted_sum", "weighted_sum_status", "uniform_sum")
    algo_version = 2  # of 1: no `uniform_sum`

    def __post_init__(self) -> None:
        for name in ("indicators", "weights", "references"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not len(self.indicators) == len(self.weights) == len(self.references) > 0:
            raise ValueError(
                f"`weights` has {len(self.weights)} numbers for {len(self.indicators)} indicators and "
                f"{len(self.references)} references, expected as many of each, at least one."
            )
        if self.normalisation not in NORMALISATIONS:
            raise ValueError(f"`normalisation` is {self.normalisation!r}, expected one of {NORMALISATIONS}.")

    @property
    def reads(self) -> tuple[str, ...]:
        """Columns that it reads beside a row's content."""
        return tuple(dict.fromkeys(its.column for its in self.indicators))

    @property
    def spec(self) -> dict[str, Any]:
        """JSON-like account of what decides the numbers."""
        return {"scorer": "WeightedSum", "algo_version": self.algo_version, **asdict(self)}

    def __call__(self, batch: Batch, rank: int | None = None) -> Columns:
        """Score B rows (or one): see the class."""
        absent = sorted(set(self.reads) - set(batch))
        if absent:
            raise BadRow(f"`indicators` names {absent}, expected columns among {sorted(batch)}. Score the pool first.")
        found, size, single = columns_of(batch, self.reads)
        raw = np.stack([numbers(found[its.column], size, its.column) for its in self.indicators], axis=1)
        missing = np.isnan(raw)
        parts = np.where(missing.all(1, keepdims=True), np.nan, self.scaled(raw))
        status = [self._status(its) for its in missing]
        values = (parts @ np.array(self.weights), status, parts.mean(1))
        return unbatched(dict(zip(self.columns, values, strict=True)), single)

    def scaled(self, raw: Scores) -> Scores:
        """(B, m) indicators as they are, NaN where missing, on the scale from 0 to 1."""
        parts = zip(self.indicators, self.references, raw.T, strict=True)
        return np.stack([scaled(values, i.better, its, self.normalisation) for i, its, values in parts], axis=1)

    def _status(self, missing: npt.NDArray[np.bool_]) -> str:
        if missing.all():
            return "no_indicators"
        absent = [its.column for its, is_missing in zip(self.indicators, missing, strict=True) if is_missing]
        return f"partial: {', '.join(dict.fromkeys(absent))}" if absent else "ok"


def oriented(values: Scores, better: str, median: float, scale: float) -> Scores:
    """Numbers turned so that more is better."""
    if better == "middle":
        closeness: Scores = np.exp(-np.abs((values - median) / scale))
        return closeness
    return values if better == "high" else -values


def scaled(values: Scores, better: str, reference: Reference, normalisation: str) -> Scores:
    """(B,) numbers on the scale from 0 to 1; the pool's median where one is missing.

    Example:
        >>> scaled(np.array([1.0, 2.0, np.nan]), "high", Reference(2, 1, (1, 2, 2, 3)), "rank").round(3)
        array([0. , 0.5, 0.5])
        >>> scaled(np.array([1.0, 2.5, 9.0]), "low", Reference(2, 1, (-3, -2, -1)), "min_max")
        array([1.  , 0.25, 0.  ])
    """
    known = np.array(reference.values)
    turned = oriented(values, better, reference.median, reference.scale)
    turned = np.clip(np.where(np.isnan(turned), np.median(known), turned), known[0], known[-1])
    if reference.constant:
        return np.full(len(values), 0.5)
    if normalisation == "min_max":
        places: Scores = (turned - known[0]) / (known[-1] - known[0])
        return places
    below, upto = np.searchsorted(known, turned, "left"), np.searchsorted(known, turned, "right")
    ranks: Scores = np.clip((below + upto - 1) / 2 / (len(known) - 1), 0.0, 1.0)
    return ranks
