"""`Full`: the control that keeps everything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hf_datasel.contracts import Indices


if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class Full:
    """Keeps every row, in pool order: without a score no row is better than another.

    Example:
        >>> from datasets import Dataset
        >>> Full().rank(Dataset.from_dict({"text": list("abc")}))
        array([0, 1, 2])
    """

    def rank(self, scored: Dataset) -> Indices:
        """All row numbers, shape (N,)."""
        return np.arange(len(scored), dtype=np.int64)
