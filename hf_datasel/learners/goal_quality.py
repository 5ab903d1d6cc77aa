"""`GoalQuality`: how each descriptor is spread over a pool, so that they can be merged to one quality."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from hf_datasel.contracts import Scores
from hf_datasel.errors import BadRow
from hf_datasel.scorers.goal.merge import SIGNALS, SPREAD, WHOLE_POOL, MergedQuality, robust_spread
from hf_datasel.scorers.goal.text import Fidelity, check_fidelity
from hf_datasel.selectors.columns import read_column, read_numbers


if TYPE_CHECKING:
    from datasets import Dataset

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class GoalQuality:
    """Learns the spread of each descriptor over the pool. Cost: no forward pass; a sort of each column.

    Args:
        names: column of each descriptor, where it is not the usual one: `vds`, `frame_diversity`, `ppl`, `amm` (flow),
            `tnc` (temporal necessity), `sc` (self-consistency), `coverage`.
        fidelity: `"corrected"` measures each bucket (`goal_bucket`) apart and leaves missing values out. `"authors"`
            pools them and takes missing values as 0: where three quarters of a pool are images, flow and frame diversity
            have no spread, so that every video gets 0 for its motion and 1 for its video dependence, whatever they are.
            The authors measure at most 800,000 rows drawn at random; here all are.

    Raises:
        ValueError: `fidelity` or a name is unknown.
        BadRow: the pool is empty, or has none of the descriptor columns; or, corrected, no `goal_bucket`.

    Source: https://huggingface.co/papers/2603.12478, 2.2, and its released merge.

    Example:
        >>> from datasets import Dataset
        >>> pool = Dataset.from_dict({"goal_bucket": ["short_video"] * 4, "optical_flow": [0.1, 0.4, 0.5, 2.0]})
        >>> pool.map(GoalQuality().fit(pool), batched=True)["goal_quality"][:]  # medium motion is best
        [0.5608..., 0.6161..., 0.6161..., 0.5126...]
    """

    names: Mapping[str, str] = field(default_factory=dict)
    fidelity: Fidelity = "corrected"

    columns = MergedQuality.columns
    algo_version = 1

    def __post_init__(self) -> None:
        check_fidelity(self.fidelity)
        check_names(self.names, SIGNALS)

    @property
    def reads(self) -> tuple[str, ...]:
        """Columns that it, and the scorer it returns, read beside a row's content."""
        return ("goal_bucket", *{**SIGNALS, **self.names}.values())

    @property
    def needs(self) -> tuple[str, ...]:
        """Those of `reads` that must be there."""
        return () if self.fidelity == "authors" else ("goal_bucket",)

    @property
    def spec(self) -> dict[str, Any]:
        """JSON-like account of what decides the numbers, beside the rows it is fitted on."""
        return {"scorer": "GoalQuality", "algo_version": self.algo_version, **asdict(self)}

    def fit(self, pool: Dataset) -> MergedQuality:
        """Measure the N rows of `pool`; return the scorer that merges them."""
        names = {**SIGNALS, **self.names}
        present = present_columns(pool, names)
        check_bins(pool, self.needs)
        if not present:
            raise BadRow(
                f"`pool` has none of the descriptor columns {sorted(names.values())}, expected at least one. Add them "
                f"first, or say in `names` what yours are called."
            )
        signals = {
            signal: read_finite(pool, names[signal]) if signal in present else np.full(len(pool), np.nan)
            for signal in SPREAD
        }
        if self.fidelity == "authors":
            buckets = {WHOLE_POOL: np.ones(len(pool), dtype=bool)}
            signals = {signal: np.nan_to_num(values) for signal, values in signals.items()}
        else:
            column = np.array(read_column(pool, "goal_bucket", "goal_bucket").to_pylist(), dtype=object)
            buckets = {str(bucket): column == bucket for bucket in sorted(set(column.tolist()), key=str)}
        spreads = {
            bucket: {signal: robust_spread(values[rows]) for signal, values in signals.items()}
            for bucket, rows in buckets.items()
        }
        return MergedQuality(spreads, names, self.fidelity)


def check_names(names: Mapping[str, str], known: Mapping[str, str]) -> None:
    """Refuse a name for what there is not.

    Raises:
        ValueError: `names` has another key.
    """
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise ValueError(f"`names` has {unknown}, expected keys among {sorted(known)}. Correct the keys.")


def present_columns(pool: Dataset, names: Mapping[str, str]) -> set[str]:
    """Keys whose column the pool has; says which it lacks.

    Raises:
        BadRow: the pool has no rows.
    """
    if not len(pool):
        raise BadRow("`pool` has no rows, expected at least one.")
    present = {key for key, name in names.items() if name in pool.column_names}
    if absent := sorted(name for key, name in names.items() if key not in present):
        logger.warning("`pool` has no column %s: those descriptors count as not measured in every row.", absent)
    return present


def check_bins(pool: Dataset, needed: Sequence[str]) -> None:
    """Refuse a pool without the columns that `GoalBins` writes.

    Raises:
        BadRow: some of the needed columns are not there.
    """
    absent = [name for name in needed if name not in pool.column_names]
    if absent:
        raise BadRow(
            f"`pool` lacks {absent}, expected the columns of `GoalBins`. Put GoalBins() before it, or call "
            f"`pool.map(GoalBins(), batched=True)`."
        )


def read_finite(pool: Dataset, name: Any) -> Scores:
    """A numeric column of shape (N,), NaN where it is missing or infinite."""
    values = read_numbers(pool, name)
    return np.where(np.isfinite(values), values, np.nan)
