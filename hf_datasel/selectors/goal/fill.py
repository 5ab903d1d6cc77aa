"""The staged fill: rows are admitted one after another, stage after stage, until the subset is full."""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt

from hf_datasel.contracts import Indices


NOBODY = -1  # code of a row without a key or a group: nothing holds it back
CHUNK = 65_536


class Fill:
    """What is picked so far, and what may still be.

    Admission is sequential by nature (a row that one cap refuses leaves its text to the next), so it is a loop over
    plain numbers: about a microsecond a row that is looked at.

    Args:
        target: rows at which the fill is full.
        keys: of each of the N rows, a number that its copies share; -1 for none.
        groups: of each row, the number of the group that `group_cap` holds for; -1 for none.
        group_cap: rows of a group at most.
        limited: whether a row counts towards `limit`, shape (N,).
        limit: such rows at most.

    Example:
        >>> none = np.full(4, NOBODY)
        >>> fill = Fill(3, np.array([0, 0, 1, 2]), none, 1, np.zeros(4, bool), 0)
        >>> fill.take("best", np.array([0, 1, 2]), 2)
        >>> fill.take("rest", np.array([1, 3]), 9)
        >>> fill.picked, fill.stages, dict(fill.refused)
        ([0, 2, 3], ['best', 'best', 'rest'], {'copy': 2})
    """

    def __init__(
        self,
        target: int,
        keys: Indices,
        groups: Indices,
        group_cap: int,
        limited: npt.NDArray[np.bool_],
        limit: int,
    ) -> None:
        self.target, self.group_cap, self.limit = target, group_cap, limit
        self.keys, self.groups, self.limited = keys, groups, limited
        self.picked: list[int] = []
        self.stages: list[str] = []
        self.refused: Counter[str] = Counter()
        self.num_limited = 0
        self._row_used = bytearray(len(keys))
        self._key_used = bytearray(int(keys.max(initial=0)) + 1)
        self._group_size: Counter[int] = Counter()

    @property
    def full(self) -> bool:
        """Whether the target is reached."""
        return len(self.picked) >= self.target

    def take(self, stage: str, rows: Indices, wanted: int) -> None:
        """Admit up to `wanted` of the rows, in their order. What is refused is counted by reason, once per look."""
        wanted = min(wanted, self.target - len(self.picked))
        for start in range(0, len(rows), CHUNK):
            part = rows[start : start + CHUNK]
            columns = (part, self.keys[part], self.groups[part], self.limited[part])
            for row, key, group, limited in zip(*(column.tolist() for column in columns), strict=True):
                if wanted <= 0:
                    return
                if self._row_used[row]:
                    continue
                if key >= 0 and self._key_used[key]:
                    self.refused["copy"] += 1
                elif limited and self.num_limited >= self.limit:
                    self.refused["modality is full"] += 1
                elif group >= 0 and self._group_size[group] >= self.group_cap:
                    self.refused["group is full"] += 1
                else:
                    self._admit(stage, row, key, group, limited)
                    wanted -= 1

    def _admit(self, stage: str, row: int, key: int, group: int, limited: bool) -> None:
        self.picked.append(row)
        self.stages.append(stage)
        self._row_used[row] = 1
        self.num_limited += limited
        if key >= 0:
            self._key_used[key] = 1
        if group >= 0:
            self._group_size[group] += 1
