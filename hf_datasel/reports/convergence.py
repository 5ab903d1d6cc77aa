"""When a training on a selection is as good as a larger one ever gets: the peak match and the reduction factor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


Curve = Sequence[tuple[float, float]]  # (training samples, metric), in the order of training


def samples_to_reach(curve: Curve, reference: float, lower_is_better: bool = True) -> float | None:
    """Training samples after which a curve first is as good as `reference`; None if it never is.

    Between two measured points the curve is taken for straight.

    Args:
        curve: (samples, metric) pairs in the order of training, the first best at 0 samples.
        reference: a value of the metric.
        lower_is_better: direction of the metric; True for a loss.

    Source: the "Peak Match" column of https://huggingface.co/papers/2603.12478, Table 1. How the paper reads off its
        curves is not said.

    Example:
        >>> samples_to_reach([(0, 5.0), (10, 3.0), (20, 2.0)], 2.5)
        15.0
        >>> samples_to_reach([(0, 5.0), (10, 3.0)], 2.5) is None
        True
    """
    sign = 1.0 if lower_is_better else -1.0
    before: tuple[float, float] | None = None
    for samples, value in curve:
        gap = sign * (value - reference)
        if gap <= 0:
            if before is None or gap == 0:
                return float(samples)
            return float(before[0] + (samples - before[0]) * before[1] / (before[1] - gap))
        before = (samples, gap)
    return None


def best_of(curve: Curve, lower_is_better: bool = True) -> tuple[float, float]:
    """The best value of a curve, and after how many training samples it first comes.

    Example:
        >>> best_of([(0, 5.0), (10, 3.0), (20, 3.0)])
        (3.0, 10.0)
    """
    samples, value = min(curve, key=lambda point: point[1] if lower_is_better else -point[1])
    return float(value), float(samples)


def mean_curve(curves: Sequence[Curve]) -> list[tuple[float, float]]:
    """The mean over seeds, whose curves are measured after the same samples.

    Example:
        >>> mean_curve([[(0, 1.0), (5, 3.0)], [(0, 1.0), (5, 2.0)]])
        [(0.0, 1.0), (5.0, 2.5)]
    """
    values = np.array(curves, dtype=np.float64)
    return [(float(samples), float(value)) for samples, value in values.mean(axis=0)]


def matches(
    curves: Mapping[str, Sequence[Curve]], baseline: str, lower_is_better: bool = True
) -> list[dict[str, Any]]:
    """For each arm but the baseline: when it is as good as the baseline's best, and how many times fewer samples that is.

    The reference is the best value of the baseline's mean curve. Each seed of an arm is matched with it, and so is the
    arm's mean curve.

    Args:
        curves: by arm, one curve for each seed.
        baseline: the arm to match.
        lower_is_better: direction of the metric.

    Returns:
        One line an arm: `best` and `reference` (values), `gain` (positive is better), `samples` and `reduction` of the mean
        curve (None where it never gets there), `by_seed` (samples of each seed), `reached` (how many seeds do).

    Example:
        >>> runs = {"Temp+": [[(0, 5.0), (10, 2.0)]], "full": [[(0, 5.0), (100, 3.0)]]}
        >>> line, = matches(runs, "full")
        >>> round(line["samples"], 3), line["reduction"], line["gain"]
        (6.667, 15.0, 1.0)
    """
    reference, reference_samples = best_of(mean_curve(curves[baseline]), lower_is_better)
    lines = []
    for arm, its in curves.items():
        if arm == baseline:
            continue
        mean = mean_curve(its)
        samples = samples_to_reach(mean, reference, lower_is_better)
        by_seed = [samples_to_reach(curve, reference, lower_is_better) for curve in its]
        best = best_of(mean, lower_is_better)[0]
        lines.append({
            "arm": arm, "baseline": baseline, "reference": reference, "reference_samples": reference_samples,
            "best": best, "gain": (reference - best) if lower_is_better else (best - reference), "samples": samples,
            "reduction": reference_samples / samples if samples else None, "by_seed": by_seed,
            "reached": sum(found is not None for found in by_seed), "seeds": len(by_seed),
        })  # fmt: skip
    return lines
