"""`ICONS`: the rows that most target tasks vote for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from hf_datasel.contracts import Indices, Scores
from hf_datasel.errors import BadBudget, shown
from hf_datasel.selectors.budgets import check_fraction, rows_in
from hf_datasel.selectors.columns import read_numbers
from hf_datasel.selectors.ordering import by_id


if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class ICONS:
    """Keeps the rows with the most votes. A task votes for the rows at or above its own percentile of influence.

    Ties by the mean, over tasks, of a row's percentile among the scored rows of the pool; then by row id. The votes do not
    depend on the scale of a task's influence. Where `vote_fraction` is given, a smaller fraction is a prefix of a larger.

    Args:
        columns: one score a task, higher is better: those that `LESS(gradient="sgd", anchor_groups=...)` writes. Rows
            that lack one of them are never kept.
        fraction: share of the pool to keep, above 0 and up to 1.
        vote_fraction: share of the scored rows that a task votes for; None for `fraction`, as the paper has it.

    Raises:
        BadBudget: a fraction is out of range or there are no columns; or, when ranking, a column is missing or no row has
            all of them.

    Source: ICONS (https://huggingface.co/papers/2501.00654): percentile 100 - p with p = 20, votes, the best p %. The
        release breaks ties by place in memory; here by mean percentile.

    Example:
        >>> from datasets import Dataset
        >>> scored = Dataset.from_dict({"text": list("abcd"), "ocr": [0.9, 0.8, 0.1, 0.2], "chart": [0.7, 0.1, 0.9, 0.3]})
        >>> ICONS(("ocr", "chart"), 0.5).rank(scored)
        array([0, 2])
    """

    columns: tuple[str, ...]
    fraction: float
    vote_fraction: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.columns, list | tuple) or not self.columns:
            raise BadBudget(f"`columns` is {shown(self.columns)}, expected at least one score column in a list.")
        object.__setattr__(self, "columns", tuple(self.columns))
        check_fraction("fraction", self.fraction)
        if self.vote_fraction is not None:
            check_fraction("vote_fraction", self.vote_fraction)

    @property
    def reads(self) -> tuple[str, ...]:
        """Columns the rule looks at."""
        return self.columns

    def rank(self, scored: Dataset) -> Indices:
        """Row numbers of the kept rows, most votes first, shape (K,)."""
        influence = np.stack([read_numbers(scored, name, "columns") for name in self.columns], axis=1)
        rows = np.flatnonzero(~np.isnan(influence).any(axis=1)).astype(np.int64)
        if not len(rows):
            raise BadBudget(
                f"`columns` are {self.columns}, of which each of {len(scored)} rows lacks one, expected a row with a score "
                f"for every task. Look at the status columns for why, or score the pool again."
            )
        rows = by_id(scored, rows)
        votes, percentile = ballots(
            influence[rows], self.fraction if self.vote_fraction is None else self.vote_fraction
        )
        order = np.lexsort((-percentile, -votes))  # stable: equals stay in the order of their ids
        return rows[order[: rows_in(self.fraction, len(scored))]]


def ballots(influence: Scores, fraction: float) -> tuple[npt.NDArray[np.int64], Scores]:
    """Votes of each of n rows, and its mean percentile over tasks, 0 to 1.

    Args:
        influence: (n, tasks).
        fraction: of the rows that a task votes for, by linear percentiles.

    Example:
        >>> ballots(np.array([[0.9, 0.7], [0.8, 0.1], [0.1, 0.9], [0.2, 0.3]]), 0.5)[0]
        array([2, 1, 1, 0])
    """
    votes = (influence >= np.quantile(influence, 1 - fraction, axis=0)).sum(axis=1)
    below = [np.searchsorted(np.sort(column), column, side="left") for column in influence.T]
    # Rounded, so that sums of the same places are equal whatever their order.
    return votes, np.round(np.mean(below, axis=0) / max(1, len(influence) - 1), 12)
