"""`ForGoal`: the subset that one of the paper's four goals asks for, by the goal's name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from hf_datasel.contracts import Indices
from hf_datasel.errors import BadBudget
from hf_datasel.selectors.goal.report import GoalBuild
from hf_datasel.selectors.goal_profiles import GOAL_PROFILES, STRATA


if TYPE_CHECKING:
    from datasets import Dataset

    from hf_datasel.selectors.goal_builder import GoalBuilder


@dataclass(frozen=True)
class ForGoal:
    """Keeps what a goal asks for: `GOAL_PROFILES[goal].rule(...)` as a rule that a recipe can name.

    Args:
        goal: `"MinLoss"`, `"Diverse"`, `"Temp"` or `"Temp+"`.
        column: score to rank by, higher is better.
        count, fraction: rows, or their share of the candidates; without either the size follows from the pool.
        exclude: column that is 1 for rows that must not be picked, e.g. `leaked`, and 0 for others.
        fidelity: the reading of the released presets; see `GoalProfile.rule`.

    Raises:
        BadBudget: there is no such goal, both sizes are given, or a value is out of range; or, when ranking, a column
            of `GoalBins` or the score is missing.

    Source: https://huggingface.co/papers/2603.12478, 2.3 and Table 6.

    Example:
        >>> ForGoal("Temp+", fraction=0.2).builder.modality.low
        0.5
        >>> ForGoal("Temporal")
        Traceback (most recent call last):
        hf_datasel.errors.BadBudget: `goal` is 'Temporal', expected one of MinLoss, Diverse, Temp, Temp+.
    """

    goal: str
    column: str = "goal_score"
    count: int | None = None
    fraction: float | None = None
    exclude: str | None = None
    fidelity: Literal["corrected", "authors"] = "corrected"

    def __post_init__(self) -> None:
        _ = self.builder  # what is wrong is said at once

    @property
    def builder(self) -> GoalBuilder:
        """The goal's builder."""
        sizes = {name: getattr(self, name) for name in ("count", "fraction") if getattr(self, name) is not None}
        return GOAL_PROFILES[self.goal].rule(self.column, self.fidelity, exclude=self.exclude, **sizes)

    @property
    def reads(self) -> tuple[str, ...]:
        """Columns the rule looks at."""
        return self.builder.reads

    def rank(self, scored: Dataset) -> Indices:
        """Row numbers of the picked rows, in the order they were picked."""
        self._check(scored)
        return self.builder.rank(scored)

    def build(self, scored: Dataset) -> GoalBuild:
        """The subset of N scored rows, with the stage of every pick and the report."""
        self._check(scored)
        return self.builder.build(scored)

    def _check(self, scored: Dataset) -> None:
        bins = (*STRATA, "goal_text_key", "goal_media_key", "goal_video_id")
        absent = [name for name in bins if name not in scored.column_names]
        if absent:
            raise BadBudget(
                f"the scored dataset lacks {absent}, expected the columns of `GoalBins`. Add them: "
                f"`pool.map(GoalBins(), batched=True)`."
            )
