"""What a builder did: which wishes are met, by which stages, and how far the subset is from the pool."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hf_datasel.contracts import Indices


@dataclass(frozen=True)
class Constraint:
    """A wish and what became of it.

    Args:
        name: of the wish.
        required: rows it asks for.
        achieved: rows there are.
        met: whether that is enough (or, for an upper end, not too many).
        note: what there is to know beside it.
    """

    name: str
    required: int
    achieved: int
    met: bool
    note: str = ""


@dataclass(frozen=True, eq=False)
class GoalBuild:
    """A subset, how each of its rows came in, and how well it does what was asked.

    Args:
        indices: row numbers of the K picked rows, in the order they were picked.
        stages: the stage that picked each, shape (K,) of texts.
        report: JSON-like: `size` and how it came about, `pool` (candidates, unscored, excluded), `constraints`, `stages`
            (rows by stage), `refused` (looks that a rule against copies or a cap turned down), `strata` (how many have
            no quota, and the share of the pool in them), `divergence` (of subset and pool, by column, in bits from 0,
            alike, to 1, apart).

    Example:
        >>> build = GoalBuild(np.array([2]), ["stratum_quota"], {"constraints": [vars(Constraint("rows", 2, 1, False))]})
        >>> build.unmet
        ['rows: 1 of 2']
    """

    indices: Indices
    stages: list[str]
    report: dict[str, Any]

    @property
    def unmet(self) -> list[str]:
        """The wishes that are not met, in words."""
        return [
            f"{its['name']}: {its['achieved']} of {its['required']}" + (f" ({its['note']})" if its["note"] else "")
            for its in self.report["constraints"]
            if not its["met"]
        ]

    def __str__(self) -> str:
        """The report as text."""
        lines = [f"{len(self.indices)} rows; size by {self.report['size']['bound_by']}"]
        for its in self.report["constraints"]:
            mark = "met  " if its["met"] else "UNMET"
            note = f"  ({its['note']})" if its["note"] else ""
            lines.append(f"  {mark} {its['name']}: {its['achieved']} for {its['required']}{note}")
        lines += [f"  stage {name}: {count}" for name, count in self.report["stages"].items()]
        lines += [f"  divergence of {name}: {bits:.4f} bits" for name, bits in self.report["divergence"].items()]
        return "\n".join(lines)


def stage_counts(stages: list[str]) -> dict[str, int]:
    """Rows by stage, in the order the stages came; floors of sources one by one.

    Example:
        >>> stage_counts(["a", "a", "b"])
        {'a': 2, 'b': 1}
    """
    return dict(Counter(stages))


def divergence(codes: Indices, candidates: Indices, picked: Indices) -> float:
    """Jensen-Shannon divergence of a column in the subset and in the pool: bits, 0 (alike) to 1 (nothing in common).

    Args:
        codes: the column as numbers from 0, shape (N,).
        candidates: row numbers of the pool that count.
        picked: row numbers of the subset.

    Example:
        >>> codes = np.array([0, 0, 1, 1])
        >>> divergence(codes, np.arange(4), np.array([1, 2])), round(divergence(codes, np.array([0]), np.array([3])), 6)
        (0.0, 1.0)
    """
    if not len(picked) or not len(candidates):
        return float("nan")
    size = int(codes.max(initial=0)) + 1
    p = np.bincount(codes[picked], minlength=size) / len(picked)
    q = np.bincount(codes[candidates], minlength=size) / len(candidates)
    middle = (p + q) / 2
    return max(0.0, float((_bits(p, middle) + _bits(q, middle)) / 2))


def _bits(p: npt.NDArray[np.float64], q: npt.NDArray[np.float64]) -> float:
    there = p > 0
    return float((p[there] * np.log2(p[there] / q[there])).sum())
