"""How many rows a subset gets where nobody says."""

from __future__ import annotations

from math import ceil, floor
from typing import Any

import numpy as np
import numpy.typing as npt

from hf_datasel.selectors.budgets import exact
from hf_datasel.selectors.goal.settings import AutoBudget


def automatic_size(counts: npt.NDArray[np.int64], budget: AutoBudget, positive_share: float | None) -> dict[str, Any]:
    """The size of a subset, and how it came about.

    With p_s the share of stratum s of N rows: eff = exp(-sum p_s ln p_s); n_eff = ceil(eff * multiplier); p_tail is the
    share of the stratum at which the cumulative share, largest first, reaches the coverage mass; n_tail =
    ceil(tail_rows / p_tail). The size is the largest of min_count, min_fraction * N, n_eff and n_tail, and at most
    max_count, max_fraction * N and N. If less than positive_rows of it are to be expected positive, it grows to
    positive_rows / positive_share, at most by positive_multiplier and within the same bounds.

    Args:
        counts: rows of each stratum, shape (S,).
        budget: the settings.
        positive_share: share of measured rows that are positive; None where nothing was measured.

    Returns:
        `size` (at least 1) and the steps to it: `effective_strata`, `by_strata`, `tail_share`, `by_tail`, `before_positive`,
        `positive_share`, `bound_by` (the wish that decided it).

    Source: the released builder of https://huggingface.co/papers/2603.12478.

    Example:
        >>> budget = AutoBudget(min_count=10, max_count=400, max_fraction=0.5, strata_multiplier=16, coverage_mass=0.93,
        ...                     tail_rows=3.5, positive_rows=20, positive_multiplier=1.6)
        >>> steps = automatic_size(np.array([500, 300, 150, 50]), budget, None)
        >>> steps["by_strata"], steps["by_tail"], steps["size"]
        (51, 24, 51)
        >>> automatic_size(np.array([500, 300, 150, 50]), budget, 0.2)["size"]
        82
    """
    counts = np.sort(counts[counts > 0])[::-1]
    num_rows = int(counts.sum())
    shares = counts / num_rows
    effective = float(np.exp(-(shares * np.log(shares)).sum()))
    # Whole numbers and exact fractions, so that no share misses its mark by a rounding error.
    reached = np.cumsum(counts) >= ceil(exact(budget.coverage_mass) * num_rows)
    tail_count = int(counts[int(reached.argmax())])
    wishes = {
        "min_count": budget.min_count,
        "min_fraction": ceil(exact(budget.min_fraction) * num_rows),
        "by_strata": ceil(effective * max(1.0, budget.strata_multiplier) - 1e-9),
        "by_tail": ceil(exact(max(1.0, budget.tail_rows)) * num_rows / tail_count),
    }
    bounds = {
        "max_count": budget.max_count,
        "max_fraction": floor(exact(budget.max_fraction) * num_rows),
        "pool": num_rows,
    }
    bound_by, size = max(wishes.items(), key=lambda wish: wish[1])
    before = min(size, *bounds.values())
    grown = before
    if positive_share:
        wanted = ceil(exact(budget.positive_rows) / exact(positive_share))
        most = ceil(exact(max(1.0, budget.positive_multiplier)) * before)
        grown = min(max(before, wanted), most, *bounds.values())
    if grown > before:
        bound_by = "positive_rows"
    elif before < size:
        bound_by = min(bounds, key=lambda name: bounds[name])
    return {
        "size": max(1, grown), "bound_by": bound_by, **wishes, **bounds, "effective_strata": effective,
        "tail_share": tail_count / num_rows, "before_positive": before, "positive_share": positive_share,
    }  # fmt: skip
