"""Who is due how many rows: quotas in proportion, floors of sources, reserves of strata."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor

import numpy as np
import numpy.typing as npt

from hf_datasel.selectors.budgets import exact
from hf_datasel.selectors.goal.settings import SourceFloors


Counts = npt.NDArray[np.int64]
FLOORS_MOST = exact(0.7)  # share of the subset that floors together may claim


def largest_remainder(counts: Counts, size: int) -> Counts:
    """`size` rows shared out in proportion to the counts, in whole rows; ties of remainders go to the first.

    Example:
        >>> largest_remainder(np.array([5, 3, 2, 1]), 7)
        array([3, 2, 1, 1])
    """
    total = int(counts.sum())
    quotas, remainders = np.divmod(counts * size, total)
    largest_first = np.argsort(-remainders, kind="stable")
    quotas[largest_first[: size - int(quotas.sum())]] += 1
    return np.asarray(quotas, dtype=np.int64)


def reserves(quotas: Counts, factors: npt.NDArray[np.float64]) -> Counts:
    """How many of its best rows each stratum keeps in reserve: ceil(quota * factor); none where the quota is 0.

    Example:
        >>> reserves(np.array([3, 1, 0]), np.array([1.35, 3.5, 3.5]))
        array([5, 4, 0])
    """
    return np.array(
        [ceil(exact(factor) * int(quota)) for quota, factor in zip(quotas, factors, strict=True)], np.int64
    )


@dataclass(frozen=True)
class Floor:
    """The least number of rows of one group.

    Args:
        group: its number.
        required: rows; what is asked before `enforced` says whether it is.
        expected: rows in proportion to the pool.
        enforced: whether the floor holds: it does not where it asks for more than the whole rows of `expected`.
    """

    group: int
    required: int
    expected: float
    enforced: bool


def source_floors(counts: Counts, size: int, settings: SourceFloors) -> list[Floor]:
    """Floors of the largest groups, largest first; ties go to the first.

    Each of the `top` groups is to get max(1, ceil(size * min_fraction), ceil(expected_fraction * expected)) rows, with
    expected = size * count / N, if that is no more than floor(expected). If all of these together exceed seven tenths
    of the subset, they are scaled down to that, to whole rows of at least 1.

    Args:
        counts: rows of each group in the pool, shape (G,).
        size: rows of the subset.
        settings: of the floors.

    Source: the released builder of https://huggingface.co/papers/2603.12478.

    Example:
        >>> floors = source_floors(np.array([600, 300, 95, 5]), 100, SourceFloors("source", 4, 0.05, 0.45))
        >>> [(floor.group, floor.required, floor.enforced) for floor in floors]
        [(0, 27, True), (1, 14, True), (2, 5, True), (3, 5, False)]
    """
    total = int(counts.sum())
    least = max(1, ceil(exact(settings.min_fraction) * size))
    floors = []
    for group in np.argsort(-counts, kind="stable")[: settings.top]:
        count = int(counts[group])
        if not count:
            continue
        required = max(least, ceil(exact(settings.expected_fraction) * size * count / total))
        floors.append(Floor(int(group), required, size * count / total, required <= size * count // total))
    claimed = sum(floor.required for floor in floors if floor.enforced)
    most = floor(FLOORS_MOST * size)
    if claimed <= most:
        return floors
    return [
        Floor(its.group, max(1, its.required * most // claimed) if its.enforced else its.required, its.expected, its.enforced)
        for its in floors
    ]  # fmt: skip
