"""`UniformControl`: the larger random subset that an optimised one has to beat."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hf_datasel.contracts import Indices
from hf_datasel.errors import BadBudget, shown
from hf_datasel.selectors.budgets import check_count, check_seed
from hf_datasel.selectors.goal import codes
from hf_datasel.selectors.goal.fill import Fill
from hf_datasel.selectors.goal.settings import as_tuple
from hf_datasel.selectors.ordering import hash_order


if TYPE_CHECKING:
    from datasets import Dataset

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class UniformControl:
    """Keeps rows in the order of a keyed hash of their ids, without copies, and says when it falls short.

    It looks at no score, so it may keep rows that a scorer could not score. Where the pool has fewer rows than `count`
    that are no copies and whose groups have room, it keeps those and logs how many are missing. (The authors fill up
    with copies then, and may keep a row twice.) A smaller count is a prefix of a larger one.

    Args:
        count: rows to keep. The paper's control has ten times the rows of the optimised subset, and 512k in its tables,
            which is ten times none of them: say the number.
        unique: columns whose combined values only one kept row may have. Rows that lack all of them are no copies.
        cap_by: column of the group, e.g. the video, of which at most `cap` rows are kept; rows without one are free.
        cap: rows of a group at most.
        exclude: column that is 1 for rows that must not be kept, e.g. `leaked`, and 0 for others.
        seed: another seed is another, independent sample.

    Raises:
        BadBudget: a number is out of range; or, when ranking, a column is missing, or every row is excluded.
        BadRow: when ranking, rows have neither a usable `row_id` nor training content to be known by.

    Source: Uni-10x of https://huggingface.co/papers/2603.12478, 2.1.

    Example:
        >>> from datasets import Dataset
        >>> pool = Dataset.from_dict({"row_id": list("abcd"), "question": ["Why?", "Why?", "How?", "Who?"]})
        >>> sorted(pool["question"][row] for row in UniformControl(10, unique=["question"]).rank(pool))
        ['How?', 'Who?', 'Why?']
    """

    count: int
    unique: tuple[str, ...] = ()
    cap_by: str | None = None
    cap: int = 8
    exclude: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check_count("count", self.count)
        check_count("cap", self.cap)
        object.__setattr__(self, "unique", as_tuple("unique", self.unique) if self.unique else ())
        check_seed(self.seed)

    @property
    def reads(self) -> tuple[str, ...]:
        """Columns the rule looks at."""
        return tuple(
            dict.fromkeys([*self.unique, *(name for name in (self.cap_by, self.exclude) if name is not None)])
        )

    def rank(self, scored: Dataset) -> Indices:
        """Row numbers of the kept rows in the order of their hashes, shape (K,)."""
        order = hash_order(scored, self.seed)
        order = order[~codes.marked(scored, self.exclude)[order]]
        if not len(order):
            raise BadBudget(
                f"`exclude` is {shown(self.exclude)}, and of {len(scored)} rows none is left, expected at least one. "
                f"Enlarge the pool."
            )
        fill = Fill(
            self.count, codes.copies(scored, self.unique), codes.groups_or_none(scored, self.cap_by, "cap_by"), self.cap,
            np.zeros(len(scored), dtype=np.bool_), 0,
        )  # fmt: skip
        fill.take("uniform", order, self.count)
        if not fill.full:
            refused = ", ".join(f"{count} by '{reason}'" for reason, count in fill.refused.items()) or "none"
            logger.warning(
                "UniformControl falls short: %d of %d rows. The pool has %d rows that may be kept; refused: %s.",
                len(fill.picked), self.count, len(order), refused,
            )  # fmt: skip
        return np.array(fill.picked, dtype=np.int64)
