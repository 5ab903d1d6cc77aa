"""`GoalScore`: the shares and spreads of a pool that its builder's score is measured against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.compute as pc

from hf_datasel.errors import BadRow
from hf_datasel.learners.goal_quality import check_bins, check_names, present_columns, read_finite
from hf_datasel.scorers.goal.ranking import ABLATIONS, BINS, METRICS, REQUIRED, RankedScore, moments
from hf_datasel.selectors.columns import read_column


if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class GoalScore:
    """Learns the statistics behind the goal builder's score from the columns of `GoalBins` and the descriptors.

    Cost: no forward pass; one look at each column. A pool without any descriptor is scored from its text alone, and a
    warning says so. The same score serves all goals: they differ in what the builder may pick.

    Args:
        names: column of each descriptor, where it is not the usual one: `loss_sighted`, `loss_blind`, `vds`,
            `frame_diversity`, `quality`.
        without: what to leave out of the score: any of `"vds"`, `"ppl"`, `"sc"`; see `RankedScore`.

    Raises:
        ValueError: a name or an ablation is unknown.
        BadRow: the pool has no row with a question and an answer, or not the columns of `GoalBins`.

    Source: https://huggingface.co/papers/2603.12478, 2.3, 0.C.1, Table 5 (ablations), and its released builder.

    Example:
        >>> from datasets import Dataset
        >>> from hf_datasel.scorers.goal import GoalBins
        >>> pool = Dataset.from_dict({"prompt": ["What is this?", "Why?"], "completion": ["A cat on a mat.", "So."]})
        >>> pool = pool.map(GoalBins(), batched=True)
        >>> pool.map(GoalScore().fit(pool), batched=True)["goal_score"][:]
        [-0.7062..., -0.8810...]
    """

    names: Mapping[str, str] = field(default_factory=dict)
    without: tuple[str, ...] = ()

    columns = RankedScore.columns
    needs = REQUIRED
    algo_version = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "without", tuple(self.without))
        check_names(self.names, METRICS)
        unknown = sorted(set(self.without) - set(ABLATIONS))
        if unknown:
            raise ValueError(f"`without` has {unknown}, expected any of {ABLATIONS}.")

    @property
    def reads(self) -> tuple[str, ...]:
        """Columns that it, and the scorer it returns, read beside a row's content."""
        return (*REQUIRED, *{**METRICS, **self.names}.values())

    @property
    def spec(self) -> dict[str, Any]:
        """JSON-like account of what decides the numbers, beside the rows it is fitted on."""
        return {"scorer": "GoalScore", "algo_version": self.algo_version, **asdict(self)}

    def fit(self, pool: Dataset) -> RankedScore:
        """Measure the N rows of `pool`; return the scorer that ranks them."""
        names = {**METRICS, **self.names}
        present = present_columns(pool, names)
        check_bins(pool, self.needs)
        complete = pc.equal(read_column(pool, "goal_status", "goal_status"), "ok")
        num_rows = pc.sum(complete).as_py() or 0
        if not num_rows:
            raise BadRow(
                f"`pool` has no row with a question and an answer among {len(pool)}, expected at least one. "
                f"`goal_status` says what each lacks."
            )
        counts = {name: _counts(pool, name, complete) for name in (*BINS, "goal_source")}
        return RankedScore(
            num_rows=num_rows,
            shares={name: {value: count / num_rows for value, count in counts[name].items()} for name in BINS},
            sources=counts["goal_source"],
            moments={
                metric: moments(read_finite(pool, names[metric]) if metric in present else np.array([]))
                for metric in METRICS
            },
            names=names,
            without=self.without,
        )


def _counts(pool: Dataset, name: str, complete: Any) -> dict[str, int]:
    counted = read_column(pool, name, name).filter(complete).value_counts().to_pylist()
    # In order of name, so that a shuffled pool gives the same scorer to the last byte.
    return {pair["values"]: pair["counts"] for pair in sorted(counted, key=lambda pair: str(pair["values"]))}
