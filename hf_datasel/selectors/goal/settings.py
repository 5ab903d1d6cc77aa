"""What can be asked of a goal builder, one frozen dataclass per wish."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from hf_datasel.errors import BadBudget, shown
from hf_datasel.selectors.budgets import check_count, is_number


@dataclass(frozen=True)
class AutoBudget:
    """A size that follows from how a pool spreads over its strata. See `goal.budget.automatic_size` for the formula.

    Args:
        min_count, max_count: the size is at least and at most this many rows; the upper end wins.
        min_fraction, max_fraction: the same as shares of the pool.
        strata_multiplier: rows for each effective stratum (the exponential of the entropy of the strata's shares).
        coverage_mass: the largest strata that hold this share of the pool are to be covered ...
        tail_rows: ... so that the smallest of them is due this many rows.
        positive: column of a second score whose positive rows the subset should be able to hold, or none.
        positive_rows: how many of those; a pool with few of them gets a larger subset.
        positive_threshold: a row is positive above this.
        positive_multiplier: the subset grows at most by this factor for them.

    Raises:
        BadBudget: a value is out of range.
    """

    min_count: int = 15_000
    max_count: int = 120_000
    min_fraction: float = 0.001
    max_fraction: float = 0.020
    strata_multiplier: float = 24.0
    coverage_mass: float = 0.95
    tail_rows: float = 12.0
    positive: str | None = None
    positive_rows: int = 8_000
    positive_threshold: float = 0.0
    positive_multiplier: float = 3.0

    def __post_init__(self) -> None:
        for argument in ("min_count", "max_count", "positive_rows"):
            check_count(f"automatic.{argument}", getattr(self, argument))
        for argument in ("min_fraction", "max_fraction", "coverage_mass"):
            check_share(f"automatic.{argument}", getattr(self, argument))
        for argument in ("strata_multiplier", "tail_rows", "positive_multiplier"):
            check_factor(f"automatic.{argument}", getattr(self, argument), least=0.0)


@dataclass(frozen=True)
class ShareRange:
    """Between which shares of the subset rows of one kind may lie.

    Args:
        column: tells the kind of a row.
        values: the values that count, e.g. `("short_video",)`.
        low, high: shares of the subset, 0 to 1; None stands for the share in the pool. Where they contradict each
            other once they are whole rows, the lower end wins.

    Raises:
        BadBudget: a share is out of range, they are not in order, or there are no values.
    """

    column: str
    values: tuple[Any, ...]
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", as_tuple("modality.values", self.values))
        for argument in ("low", "high"):
            if getattr(self, argument) is not None:
                check_share(f"modality.{argument}", getattr(self, argument))


@dataclass(frozen=True)
class ShareFloor:
    """The least share, among the rows of the modality (of the subset, where none is set), of rows of one kind.

    Args:
        column: tells the kind of a row.
        values: the values that count, e.g. `("Temporal",)`.
        low: share, 0 to 1; None stands for the share in the pool.

    Raises:
        BadBudget: the share is out of range, or there are no values.
    """

    column: str
    values: tuple[Any, ...]
    low: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", as_tuple("temporal.values", self.values))
        if self.low is not None:
            check_share("temporal.low", self.low)


@dataclass(frozen=True)
class SourceFloors:
    """The least number of rows of each of the largest sources. See `goal.quotas.source_floors` for the formula.

    Args:
        column: names the source of a row.
        top: how many sources, by rows in the pool.
        min_fraction: each gets at least this share of the subset ...
        expected_fraction: ... and this share of what it would get in proportion; but never more than in proportion.

    Raises:
        BadBudget: a value is out of range.
    """

    column: str
    top: int = 16
    min_fraction: float = 0.0020
    expected_fraction: float = 0.35

    def __post_init__(self) -> None:
        check_count("sources.top", self.top, unit="sources")
        check_share("sources.min_fraction", self.min_fraction)
        check_share("sources.expected_fraction", self.expected_fraction)


@dataclass(frozen=True)
class Oversampling:
    """How many times its quota each stratum keeps in reserve, for stages that take more than the quota.

    Args:
        base: of any stratum, at least 1.
        modality: of strata with rows of the modality, where that is larger.
        temporal: of strata with such rows of the temporal kind, where that is larger.

    Raises:
        BadBudget: a factor is below 1.
    """

    base: float = 1.35
    modality: float = 2.4
    temporal: float = 3.5

    def __post_init__(self) -> None:
        for argument in ("base", "modality", "temporal"):
            check_factor(f"oversampling.{argument}", getattr(self, argument), least=1.0)


def check_share(argument: str, value: object) -> None:
    """Refuse what is no share.

    Raises:
        BadBudget: the value is not a number from 0 to 1.
    """
    if not is_number(value) or not 0 <= value <= 1:
        raise BadBudget(f"`{argument}` is {shown(value)}, expected a share from 0 to 1. Give 0.25 for a quarter.")


def check_factor(argument: str, value: object, least: float) -> None:
    """Refuse what is no finite factor of at least `least`.

    Raises:
        BadBudget: the value is no such number.
    """
    if not is_number(value) or not least <= value < float("inf"):
        raise BadBudget(f"`{argument}` is {shown(value)}, expected a number of at least {least:g}.")


def as_tuple(argument: str, values: object) -> tuple[Any, ...]:
    """Values as a tuple: JSON and YAML bring lists back.

    Raises:
        BadBudget: they are a text, nothing to iterate, or none at all.
    """
    if isinstance(values, str) or not isinstance(values, Iterable) or not (found := tuple(values)):
        raise BadBudget(f"`{argument}` is {shown(values)}, expected a list of at least one value.")
    return found
