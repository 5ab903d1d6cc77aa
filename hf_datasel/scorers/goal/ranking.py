"""The builder's score: text, pool statistics and descriptors of a row as one number to rank by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import log
from typing import Any

import numpy as np

from hf_datasel.contracts import Batch, Columns, Scores
from hf_datasel.errors import BadRow
from hf_datasel.scorers.goal.batches import columns_of, numbers, unbatched


BINS = (
    "goal_duration", "goal_temporal", "goal_form", "goal_question_length", "goal_answer_length", "goal_source_group",
)  # fmt: skip
COUNTS = ("goal_question_words", "goal_answer_words", "goal_distinct_words")
REQUIRED = ("goal_status", "goal_bucket", "goal_source", *BINS, *COUNTS)
METRICS = {
    "loss_sighted": "loss_sighted",
    "loss_blind": "loss_blind",
    "vds": "video_dependence",
    "frame_diversity": "frame_diversity",
    "quality": "goal_quality",
}
ABLATIONS = ("vds", "ppl", "sc")
CAP = 4.0  # of a z


def text_quality(question_words: Any, answer_words: Any, distinct_words: Any) -> Any:
    """Q: how far the lengths are from 14 and 16 words, and how much an answer repeats itself; at most 0.

    Example:
        >>> round(float(text_quality(9, 10, 10)), 6)
        -1.029337
    """
    asked, answered = np.maximum(question_words, 1), np.maximum(answer_words, 1)
    repeats = np.maximum(0.0, 0.55 - np.asarray(distinct_words) / answered)
    return -np.abs(np.log(asked) - log(14)) - 1.25 * np.abs(np.log(answered) - log(16)) - 1.2 * repeats


def medium_difficulty(question_words: Any, answer_words: Any) -> Any:
    """D: 1 where question and half the answer have 22 words, falling off to 0 on both sides.

    Example:
        >>> round(float(medium_difficulty(9, 10)), 6)
        0.868161
    """
    z = np.abs(np.log(np.maximum(1.0, np.asarray(question_words) + 0.5 * np.asarray(answer_words))) - log(22))
    return np.exp(-(z**2) / (2 * 0.85**2))


def temporal_bonus(tags: Sequence[str]) -> Scores:
    """T: 1 for `Temporal`, 0.2 for `Mixed`, -0.5 for any other.

    Example:
        >>> temporal_bonus(["Temporal", "Mixed", "Static"])
        array([ 1. ,  0.2, -0.5])
    """
    return np.array([{"Temporal": 1.0, "Mixed": 0.2}.get(tag, -0.5) for tag in tags])


def base_score(quality: Any, difficulty: Any, alignment: Any, bonus: Any, rarity: Any, is_video: Any) -> Any:
    """The base term before it is squashed, of videos (with the temporal bonus) and of everything else.

    Example:
        >>> terms = (-1.029337, 0.868161, -1.497866, 1.0, float(np.log(10)))
        >>> round(float(base_score(*terms, True)), 5), round(float(base_score(*terms, False)), 5)
        (-0.74409, -1.39703)
    """
    shared = 0.85 * np.asarray(difficulty) + 0.90 * np.asarray(alignment) + 0.15 * np.asarray(rarity)
    return shared + np.where(
        is_video, 1.00 * np.asarray(quality) + 0.55 * np.asarray(bonus), 1.10 * np.asarray(quality)
    )


def moments(values: Scores) -> tuple[float, float]:
    """Mean and sample deviation of what is there of a column; the deviation is 1 where there is none to speak of.

    Example:
        >>> moments(np.array([1.0, 3.0, np.nan])), moments(np.array([2.0, 2.0])), moments(np.array([]))
        ((2.0, 1.4142135623730951), (2.0, 1.0), (0.0, 1.0))
    """
    # Sorted, since a sum in another order differs in its last bits, and a shuffled pool must give the same picks.
    values = np.sort(values[np.isfinite(values)])
    if not len(values):
        return 0.0, 1.0
    variance = float(values.var(ddof=1)) if len(values) > 1 else 0.0
    return float(values.mean()), variance**0.5 if variance > 1e-12 else 1.0


def clipped_z(values: Scores, mean: float, deviation: float) -> Scores:
    """Standard z, between -4 and 4; NaN stays NaN.

    Example:
        >>> clipped_z(np.array([1.0, 99.0, np.nan]), 0.0, 2.0)
        array([0.5, 4. , nan])
    """
    return np.clip((values - mean) / deviation, -CAP, CAP)


def video_dependence_z(z_sighted: Scores, z_blind: Scores, z_frame_diversity: Scores, z_vds: Scores) -> Scores:
    """How much a row needs its video: from both losses and frame diversity if all are there, else from their difference.

    Args:
        z_sighted, z_blind, z_frame_diversity, z_vds: clipped z, shape (N,); NaN where missing.

    Returns:
        shape (N,); 0 where there is nothing to tell it by.

    Example:
        >>> nan = np.full(4, np.nan)
        >>> z = np.array([1.0, 1.0, np.nan, np.nan])
        >>> video_dependence_z(-z[[0, 2, 2, 2]], z, z[[0, 1, 2, 2]], np.array([0.0, 2.0, 3.0, np.nan]))
        array([3. , 2.5, 3. , 0. ])
    """
    full = -z_sighted + z_blind + z_frame_diversity
    halves = z_vds + 0.5 * z_frame_diversity
    found = np.where(np.isnan(full), np.where(np.isnan(halves), z_vds, halves), full)
    return np.where(np.isnan(found), 0.0, found)


def final_score(
    base: Any, vds3: Any, z_quality: Any, is_video: Any, has_metrics: Any, without: Sequence[str] = ()
) -> Any:
    """The score that ranks, shape (N,).

    Videos: 0.35 b + 0.95 v + 0.35 q, or 0.35 b - 0.15 where no descriptor was measured. Others: 0.90 b + 0.15 q. Here
    b = tanh(base / 3), and v and q are the two z, between -4 and 4, over 4.

    Args:
        base: from `base_score`.
        vds3: from `video_dependence_z`.
        z_quality: clipped z of `goal_quality`; NaN counts 0.
        is_video, has_metrics: truth values.
        without: ablations: `"vds"` takes v out, `"sc"` the whole of q. (`"ppl"` acts on the base.)

    Source: https://huggingface.co/papers/2603.12478, Eq. 9 to 15, coefficients from the released builder.

    Example:
        >>> found = [final_score(-0.744092, 4.0, 1.5, True, True, without) for without in ((), ("vds",), ("sc",))]
        >>> [round(float(score), 6) for score in found], round(float(final_score(-0.744092, 0, 0, True, False)), 6)
        ([0.996177, 0.046177, 0.864927], -0.235073)
    """
    b = np.tanh(np.asarray(base) / 3)
    measured = np.asarray(has_metrics)
    v = 0.0 if "vds" in without else np.where(measured, np.clip(vds3, -CAP, CAP) / CAP, 0.0)
    q = 0.0 if "sc" in without else np.where(measured, np.nan_to_num(np.clip(z_quality, -CAP, CAP)) / CAP, 0.0)
    video = 0.35 * b + 0.95 * np.asarray(v) + 0.35 * np.asarray(q) - np.where(measured, 0.0, 0.15)
    return np.where(is_video, video, 0.90 * b + 0.15 * np.asarray(q))


@dataclass(frozen=True)
class RankedScore:
    """The score that a goal builder ranks by, against the pool that `learners.GoalScore` saw. Higher means keep.

    Cost: no forward pass. Videos and other rows stand on different scales by design: the builder fills quotas of each.

    Args:
        num_rows: N, rows of the pool that have a question and an answer.
        shares: share of the pool of each value of each bin: `{column: {value: share}}`.
        sources: rows of each source, by its full name.
        moments: mean and deviation of each descriptor: `{metric: (mean, deviation)}`.
        names: column of each descriptor.
        without: ablations of the paper's Table 5: `"vds"` drops video dependence, `"ppl"` the text prior Q (which is what
            the released switch of that name does), `"sc"` the whole quality term.

    Writes:
        `goal_score`, `goal_score_status` (`"ok"`, `"no_metrics"`: the score is there, from text alone; `"no_question"`,
        `"no_answer"`: it is NaN), `goal_base` (before it is squashed), `goal_vds3` (NaN where no descriptor was measured).

    Raises:
        BadRow: the columns of `GoalBins` are not there.

    Source: https://huggingface.co/papers/2603.12478, Eq. 9 to 15; see `final_score` and `base_score`.
    """

    num_rows: int
    shares: Mapping[str, Mapping[str, float]]
    sources: Mapping[str, int]
    moments: Mapping[str, tuple[float, float]]
    names: Mapping[str, str] = field(default_factory=lambda: dict(METRICS))
    without: tuple[str, ...] = ()

    columns = ("goal_score", "goal_score_status", "goal_base", "goal_vds3")
    algo_version = 1

    @property
    def reads(self) -> tuple[str, ...]:
        """Columns that it reads beside a row's content."""
        return (*REQUIRED, *self.names.values())

    @property
    def spec(self) -> dict[str, Any]:
        """JSON-like account of what decides the numbers."""
        return {"scorer": "RankedScore", "algo_version": self.algo_version, **asdict(self)}

    def __call__(self, batch: Batch, rank: int | None = None) -> Columns:
        """Score B rows (or one): see the class."""
        found, size, single = columns_of(batch, self.reads)
        absent = [name for name in REQUIRED if name not in found]
        if absent:
            raise BadRow(
                f"`batch` lacks {absent}, expected the columns of `GoalBins`. Call `pool.map(GoalBins(), batched=True)`."
            )
        status = np.array(found["goal_status"])
        complete = status == "ok"
        is_video = np.array([bucket == "short_video" for bucket in found["goal_bucket"]], dtype=bool)
        measured = {metric: numbers(found.get(name), size, name) for metric, name in self.names.items()}
        has_metrics = ~np.all([np.isnan(values) for values in measured.values()], axis=0)
        base = self._base(found, is_video)
        z = {metric: clipped_z(values, *self.moments[metric]) for metric, values in measured.items()}
        vds3 = video_dependence_z(z["loss_sighted"], z["loss_blind"], z["frame_diversity"], z["vds"])
        score = final_score(base, vds3, z["quality"], is_video, has_metrics, self.without)
        columns = {
            "goal_score": np.where(complete, score, np.nan),
            "goal_score_status": np.where(complete, np.where(has_metrics, "ok", "no_metrics"), status).tolist(),
            "goal_base": np.where(complete, base, np.nan),
            "goal_vds3": np.where(complete & has_metrics, vds3, np.nan),
        }
        return unbatched(columns, single)

    def _base(self, found: Mapping[str, Sequence[Any]], is_video: Any) -> Scores:
        question, answer, distinct = (np.array(found[name], dtype=np.float64) for name in COUNTS)
        quality = 0.0 if "ppl" in self.without else text_quality(question, answer, distinct)
        logs = [[log(max(self.shares[name].get(value, 0.0), 1e-9)) for value in found[name]] for name in BINS]
        rarity = [log((self.num_rows + 1) / (self.sources.get(source, 0) + 1)) for source in found["goal_source"]]
        base: Scores = base_score(
            quality, medium_difficulty(question, answer), np.mean(logs, axis=0), temporal_bonus(found["goal_temporal"]),
            np.array(rarity), is_video,
        )  # fmt: skip
        return base
