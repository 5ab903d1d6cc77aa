"""`Random`: the control every other rule is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hf_datasel.contracts import Indices
from hf_datasel.errors import BadBudget, shown
from hf_datasel.selectors.budgets import check_count, check_fraction, check_seed, rows_in
from hf_datasel.selectors.columns import read_groups
from hf_datasel.selectors.ordering import hash_order, place_within


if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class Random:
    """Keeps rows in the order of a keyed hash of their ids: random, yet the same wherever and however it runs.

    Neither row order nor other rows nor the number of processes change where a row stands, and a smaller budget is a
    prefix of a larger one. It looks at no score, so it may keep rows that a scorer could not score.

    Args:
        fraction: share of the pool to keep, above 0 and up to 1: floor(fraction * N) rows, at least 1.
        count: number of rows to keep. Give either this or `fraction`.
        seed: another seed is another, independent sample.
        balance: column that names each row's group. The groups give equally many rows, as far as their sizes permit;
            what a small group cannot give is shared out equally among the others. Every prefix is balanced too.

    Raises:
        BadBudget: not exactly one of `fraction` and `count` is given, or it is out of range; or, when ranking, `count`
            exceeds the pool, or the `balance` column is missing or holds lists or records.
        BadRow: when ranking, rows have neither a usable `row_id` nor training content to be known by.

    Source:
        Equal shares: the "random-balanced" draw of https://github.com/hamishivi/automated-instruction-selection.

    Example:
        >>> from datasets import Dataset
        >>> pool = Dataset.from_dict({"row_id": list("abcde"), "source": ["web"] * 4 + ["book"]})
        >>> Random(count=3, seed=42).rank(pool)
        array([...])
        >>> 4 in Random(0.4, seed=42, balance="source").rank(pool)
        True
    """

    fraction: float | None = None
    count: int | None = None
    seed: int = 0
    balance: str | None = None

    def __post_init__(self) -> None:
        if (self.fraction is None) == (self.count is None):
            raise BadBudget(
                f"`fraction` is {shown(self.fraction)} and `count` is {shown(self.count)}, expected exactly one of them. "
                f"Give Random(0.2) or Random(count=1000)."
            )
        if self.fraction is not None:
            check_fraction("fraction", self.fraction)
        else:
            check_count("count", self.count)
        check_seed(self.seed)

    def rank(self, scored: Dataset) -> Indices:
        """Row numbers of the kept rows in the order of their hashes, shape (K,)."""
        order = hash_order(scored, self.seed)
        if self.balance is not None:
            # By rounds: every group's first row, then every group's second, ...
            turn = place_within(read_groups(scored, self.balance, "balance")[order])
            order = order[np.argsort(turn, kind="stable")]
        return order[: self._num_kept(len(scored))]

    def _num_kept(self, num_rows: int) -> int:
        if self.fraction is not None:
            return rows_in(self.fraction, num_rows)
        count = self.count or 0
        if count > num_rows:
            raise BadBudget(
                f"`count` is {count}, expected at most {num_rows}, the rows of the pool. Lower it, or use Full()."
            )
        return count
