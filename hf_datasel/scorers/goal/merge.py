"""The merge: descriptors of a row, each measured against the pool, become one `goal_quality`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from hf_datasel.contracts import Batch, Columns, Scores
from hf_datasel.scorers.goal.batches import columns_of, numbers, unbatched
from hf_datasel.scorers.goal.text import Fidelity


# What each column is called where nothing else is said; `names=` of the learner says otherwise.
SIGNALS = {
    "vds": "video_dependence",
    "frame_diversity": "frame_diversity",
    "ppl": "answer_difficulty",
    "amm": "optical_flow",
    "tnc": "temporal_necessity",
    "sc": "self_consistency",
    "coverage": "coverage",
}
SPREAD = ("vds", "frame_diversity", "ppl", "amm")  # measured against the pool
WHOLE_POOL = "all"


def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)), without overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * np.asarray(x)))


def robust_spread(values: Scores) -> tuple[float, float]:
    """Median and scale of what is there of a column: the distance of the quartiles over 1.349, at least 1e-6.

    Where nothing is there, (0, 1e-6).

    Example:
        >>> median, scale = robust_spread(np.array([1.0, 2.0, 3.0, 4.0, 5.0, np.nan]))
        >>> median, round(scale, 6)
        (3.0, 1.48258)
        >>> robust_spread(np.array([0.0, 0.0, 0.0, 0.0, 7.0]))  # constant in three quarters: no scale to speak of
        (0.0, 1e-06)
    """
    values = values[np.isfinite(values)]
    if not len(values):
        return 0.0, 1e-6
    low, median, high = np.quantile(values, (0.25, 0.5, 0.75))
    return float(median), max(max(float(high - low), 1e-6) / 1.349, 1e-6)


def consistency_guess(z_vds: Any, z_ppl: Any) -> Any:
    """What the merge puts in place of a self-consistency that was not measured: shape as given, 0 to 1.

    Example:
        >>> round(float(consistency_guess(1.0, -0.5)), 6)
        0.622459
    """
    return sigmoid(0.6 * np.asarray(z_vds) - 0.2 * np.abs(z_ppl))


def merged_quality(
    *, z_vds: Any, z_frame_diversity: Any, z_ppl: Any, z_amm: Any, tnc: Any, sc: Any, coverage: Any
) -> Any:
    """One quality of many descriptors, 0 to 1; higher means keep.

    It rewards dependence on the video with change between frames, agreement of sampled answers, medium difficulty and
    medium motion, and questions that need time. Coverage counts 0.10 c + 0.06 (1 - c), a net weight of 0.04.

    Args:
        z_vds, z_frame_diversity, z_ppl, z_amm: robust z, (x - median) / scale, shape (N,) or a number.
        tnc: temporal necessity, 0 to 1.
        sc: self-consistency, 0 to 1; NaN or negative where it was not measured, and then guessed from vds and ppl.
        coverage: exp(-distance to the nearest centre), 0 to 1.

    Source: merge of the released code; https://huggingface.co/papers/2603.12478, 2.2.

    Example:
        >>> found = merged_quality(
        ...     z_vds=1.0, z_frame_diversity=0.5, z_ppl=-0.5, z_amm=2.0, tnc=1.0, sc=0.6, coverage=np.exp(-0.7)
        ... )
        >>> round(float(found), 6)
        0.637939
    """
    sc, coverage = np.asarray(sc, dtype=np.float64), np.asarray(coverage)
    agreement = np.where(sc >= 0, sc, consistency_guess(z_vds, z_ppl))
    return (
        0.28 * sigmoid(np.asarray(z_vds) + np.asarray(z_frame_diversity))
        + 0.18 * agreement
        + 0.14 * np.exp(-np.abs(z_ppl))
        + 0.12 * np.exp(-np.abs(z_amm))
        + 0.12 * np.asarray(tnc)
        + 0.10 * coverage
        + 0.06 * (1 - coverage)
    )


@dataclass(frozen=True)
class MergedQuality:
    """Descriptors merged to one quality, 0 to 1, against the pool that `learners.GoalQuality` saw. Higher means keep.

    Cost: no forward pass.

    Args:
        spreads: median and scale of each signal in each bucket: `{bucket: {signal: (median, scale)}}`. One bucket named
            `all` stands for the whole pool.
        names: column of each signal.
        fidelity: `"corrected"` takes a missing descriptor as neutral (z = 0, temporal necessity and coverage 0.5);
            `"authors"` takes its value as 0, which the pool's median and scale then make anything of.

    Writes:
        `goal_quality`, `goal_quality_status`: `"ok"`, `"partial: "` and what was missing (the score is there), or
        `"no_descriptors"` or `"unknown_bucket"` (the score is NaN).

    Raises:
        BadRow: a descriptor column does not hold numbers.

    Source: https://huggingface.co/papers/2603.12478, 2.2, and its released merge.

    Example:
        >>> scorer = MergedQuality({"all": {name: (0.0, 1.0) for name in SPREAD}})
        >>> row = {"video_dependence": [1.0], "frame_diversity": [0.5], "answer_difficulty": [-0.5], "optical_flow": [2.0],
        ...        "temporal_necessity": [1.0], "self_consistency": [0.6], "coverage": [float(np.exp(-0.7))]}
        >>> found = scorer(row)
        >>> found["goal_quality"].round(6), found["goal_quality_status"]
        (array([0.637939]), ['ok'])
    """

    spreads: Mapping[str, Mapping[str, tuple[float, float]]]
    names: Mapping[str, str] = field(default_factory=lambda: dict(SIGNALS))
    fidelity: Fidelity = "corrected"

    columns = ("goal_quality", "goal_quality_status")
    algo_version = 1

    @property
    def reads(self) -> tuple[str, ...]:
        """Columns that it reads beside a row's content."""
        return ("goal_bucket", *self.names.values())

    @property
    def spec(self) -> dict[str, Any]:
        """JSON-like account of what decides the numbers."""
        return {"scorer": "MergedQuality", "algo_version": self.algo_version, **asdict(self)}

    def __call__(self, batch: Batch, rank: int | None = None) -> Columns:
        """Merge the descriptors of B rows (or one): see the class."""
        found, size, single = columns_of(batch, (*self.names.values(), "goal_bucket"))
        signals = {signal: numbers(found.get(name), size, name) for signal, name in self.names.items()}
        signals["sc"] = np.where(signals["sc"] >= 0, signals["sc"], np.nan)
        buckets = found.get("goal_bucket", [None] * size)
        spreads = [self.spreads.get(WHOLE_POOL, self.spreads.get(str(bucket))) for bucket in buckets]
        known = np.array([spread is not None for spread in spreads], dtype=bool)
        missing = {signal: np.isnan(values) for signal, values in signals.items()}
        nothing = np.all([missing[signal] for signal in self.names], axis=0)
        quality = merged_quality(
            **{f"z_{signal}": self._z(signal, signals[signal], spreads) for signal in SPREAD},
            tnc=self._filled(signals["tnc"]),
            sc=signals["sc"],
            coverage=self._filled(signals["coverage"]),
        )
        status = [
            "unknown_bucket" if not known[i] else "no_descriptors" if nothing[i] else self._status(missing, i)
            for i in range(size)
        ]
        return unbatched(
            {"goal_quality": np.where(known & ~nothing, quality, np.nan), "goal_quality_status": status}, single
        )

    def _z(self, signal: str, values: Scores, spreads: list[Any]) -> Scores:
        medians, scales = np.array([spread[signal] if spread else (0.0, 1.0) for spread in spreads]).reshape(-1, 2).T
        z: Scores = (np.nan_to_num(values) - medians) / scales
        return z if self.fidelity == "authors" else np.where(np.isnan(values), 0.0, z)

    def _filled(self, values: Scores) -> Scores:
        return np.where(np.isnan(values), 0.0 if self.fidelity == "authors" else 0.5, values)

    def _status(self, missing: Mapping[str, Any], row: int) -> str:
        absent = [self.names[signal] for signal in self.names if missing[signal][row]]
        return f"partial: {', '.join(absent)}" if absent else "ok"
