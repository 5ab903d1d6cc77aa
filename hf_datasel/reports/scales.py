"""What the numbers of a score mean: their unit, and whether those below zero harm. Plots, cards and terminal ask here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Scale:
    """How to read a score.

    Args:
        unit: of its numbers; empty where they have none, or it is not known.
        toxic_below_zero: whether zero parts rows that help from rows that harm. Without it, nothing may be said of the
            sign of a score, nor of sums of it.
    """

    unit: str = ""
    toxic_below_zero: bool = False


NATS = "nats per token"
SCALES = {
    "utility": Scale(NATS, toxic_below_zero=True),
    "ost_utility": Scale(NATS, toxic_below_zero=True),
    "ost_utility_vote": Scale("share of anchor groups"),
    "projected_utility": Scale(NATS, toxic_below_zero=True),
    "influence": Scale(NATS, toxic_below_zero=True),
    "leave_one_out": Scale(NATS, toxic_below_zero=True),
    "ost_row_loss": Scale(NATS),
    "low_perplexity": Scale(NATS),
    "high_perplexity": Scale(NATS),
    "video_dependence": Scale(NATS),
    "response_length": Scale("characters"),
    "optical_flow": Scale("pixels"),
}


def scale_of(column: str, specs: Sequence[Mapping[str, Any]] = ()) -> Scale:
    """What is known of the numbers in a column of scores; of a column nobody knows, nothing.

    Args:
        column: of the score.
        specs: of the scorers that wrote it. A setting can change what `ost_utility` is.

    Example:
        >>> scale_of("ost_utility")
        Scale(unit='nats per token', toxic_below_zero=True)
        >>> scale_of("ost_utility", [{"scorer": "OneStepTrain", "normalize": "cosine"}])
        Scale(unit='', toxic_below_zero=True)
        >>> scale_of("goal_score")
        Scale(unit='', toxic_below_zero=False)
    """
    one_step: Mapping[str, Any] = next((spec for spec in specs if spec.get("scorer") == "OneStepTrain"), {})
    if (
        column.startswith("ost_utility_") and column != "ost_utility_vote"
    ):  # of one group of anchors, their mean, least
        column, one_step = "ost_utility", {**one_step, "group_score": "mean"}
    if column == "ost_utility" and one_step.get("group_score") == "vote":
        column = "ost_utility_vote"
    if column == "ost_utility" and one_step.get("normalize") == "cosine":
        return Scale(toxic_below_zero=True)
    return SCALES.get(column, Scale())
