"""The four goals of the paper as frozen settings: one score, and four answers to what a subset must hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from hf_datasel.errors import BadBudget, shown
from hf_datasel.selectors.goal.settings import AutoBudget, Oversampling, ShareFloor, ShareRange, SourceFloors
from hf_datasel.selectors.goal_builder import GoalBuilder
from hf_datasel.selectors.uniform_control import UniformControl


# What `GoalBins` and `GoalScore` write.
STRATA = (
    "goal_bucket", "goal_duration", "goal_temporal", "goal_form", "goal_question_length", "goal_answer_length",
    "goal_source_group",
)  # fmt: skip
SEED = 42
CONTROL_TIMES = 10


@dataclass(frozen=True)
class GoalProfile:
    """What one goal asks of a subset. `rule` makes the builder of it.

    Args:
        name: of the goal.
        published_count: rows of the authors' subset, which their pool gave; yours gives another.
        budget: how the size follows from the pool.
        video_share: share of videos, at least and at most.
        temporal_share: share of temporal rows among the videos, at least.
        oversampling: reserves.
        sources: floors of the largest source groups.

    Source: presets of the released code; https://huggingface.co/papers/2603.12478, Table 6.

    Example:
        >>> goal = GOAL_PROFILES["Temp+"]
        >>> goal.video_share, goal.temporal_share, goal.budget.positive_rows
        ((0.5, 0.64), 0.38, 9000)
        >>> goal.rule(count=goal.published_count).count
        53300
    """

    name: str
    published_count: int
    budget: AutoBudget
    video_share: tuple[float, float]
    temporal_share: float
    oversampling: Oversampling
    sources: SourceFloors

    def rule(
        self, column: str = "goal_score", fidelity: Literal["corrected", "authors"] = "corrected", **changes: Any
    ) -> GoalBuilder:
        """The builder of this goal over the columns of `GoalBins` and `GoalScore`.

        Args:
            column: score to rank by.
            fidelity: `"authors"` counts `Mixed` as temporal, as all released presets do: every video is then temporal,
                and the floor says nothing (the report says so). It takes rows with the same text on other media for
                copies, leaves floors unmet where the reserves run out, and serves strata in the order they come.
                `"corrected"` counts `Temporal` alone, tells copies by text and media, and serves strata by name.
            changes: fields of `GoalBuilder` to set otherwise; a `count` or `fraction` replaces the automatic size.
        """
        if fidelity not in ("corrected", "authors"):
            raise BadBudget(f"`fidelity` is {shown(fidelity)}, expected 'corrected' or 'authors'.")
        authors = fidelity == "authors"
        sized = "count" in changes or "fraction" in changes
        fields: dict[str, Any] = {
            "strata": STRATA,
            "automatic": None if sized else self.budget,
            "modality": ShareRange("goal_bucket", ("short_video",), *self.video_share),
            "temporal": ShareFloor(
                "goal_temporal", ("Temporal", "Mixed") if authors else ("Temporal",), self.temporal_share
            ),
            "sources": self.sources,
            "oversampling": self.oversampling,
            "unique": ("goal_text_key",) if authors else ("goal_text_key", "goal_media_key"),
            "cap_by": "goal_video_id",
            "seed": SEED,
            "beyond_reserves": not authors,
            "strata_order": "first_seen" if authors else "name",
        }
        return GoalBuilder(column, **{**fields, **changes})

    def __str__(self) -> str:
        """The name."""
        return self.name


def control_of(builder: GoalBuilder, size: int, times: int = CONTROL_TIMES) -> UniformControl:
    """The uniform control of a built subset: so many times its rows, under the same rules against copies and leaks.

    Example:
        >>> control_of(GoalBuilder("s", count=50, unique=["key"]), 50)
        UniformControl(count=500, unique=('key',), cap_by=None, cap=8, exclude=None, seed=0)
    """
    return UniformControl(times * size, builder.unique, builder.cap_by, builder.cap, builder.exclude, builder.seed)


def _budget(
    count: tuple[int, int], most: float, strata: float, mass: float, tail: float, positive: tuple[int, float]
) -> AutoBudget:
    rows, multiplier = positive
    return AutoBudget(*count, 0.001, most, strata, mass, tail, "goal_vds3", rows, 0.0, multiplier)  # fmt: skip


def _floors(top: int, min_fraction: float, expected_fraction: float) -> SourceFloors:
    return SourceFloors("goal_source_group", top, min_fraction, expected_fraction)


class _Profiles(dict[str, GoalProfile]):
    """Goals by name."""

    def __missing__(self, name: object) -> GoalProfile:
        raise BadBudget(f"`goal` is {name!r}, expected one of {', '.join(self)}.")


GOAL_PROFILES = _Profiles(
    (goal.name, goal)
    for goal in (
        GoalProfile(
            "MinLoss", 12_900, _budget((12_000, 72_000), 0.014, 16, 0.93, 3.5, (2_600, 1.6)), (0.15, 0.32), 0.05,
            Oversampling(1.15, 1.45, 1.55), _floors(14, 0.0015, 0.33),
        ),
        GoalProfile(
            "Diverse", 42_900, _budget((14_000, 95_000), 0.016, 26, 0.97, 8.0, (5_000, 2.4)), (0.25, 0.45), 0.15,
            Oversampling(1.28, 1.9, 2.2), _floors(28, 0.0030, 0.45),
        ),
        GoalProfile(
            "Temp", 33_300, _budget((15_000, 90_000), 0.016, 20, 0.95, 10.0, (6_500, 2.4)), (0.35, 0.50), 0.20,
            Oversampling(1.30, 2.2, 3.0), _floors(18, 0.0022, 0.38),
        ),
        GoalProfile(
            "Temp+", 53_300, _budget((16_000, 110_000), 0.018, 22, 0.95, 16.0, (9_000, 3.2)), (0.50, 0.64), 0.38,
            Oversampling(1.35, 2.9, 4.2), _floors(16, 0.0025, 0.38),
        ),
    )
)  # fmt: skip
