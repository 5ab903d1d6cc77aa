"""Reads a column of scores for a report: which rows have one, and in what order they came."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from hf_datasel.contracts import Indices, Scores
from hf_datasel.errors import DataselError


ScoreColumn: TypeAlias = Sequence[float | None] | npt.NDArray[np.generic]
"""Shape (N,): a list, an array or a column of a `Dataset`. NaN or None where a row was not scored."""


def scored_only(scores: ScoreColumn, at_least: int = 1, argument: str = "scores") -> tuple[Scores, Indices, int]:
    """The scores that are there, their positions among the N rows, and N.

    Args:
        scores: shape (N,).
        at_least: how many scored rows the caller needs.
        argument: the caller's name for `scores`, for the error message.

    Returns:
        Values of shape (M,), their positions of shape (M,), and N.

    Raises:
        DataselError: `scores` are no numbers of shape (N,), some are infinite, or fewer than `at_least` are there.

    Example:
        >>> scored_only([0.5, None, -0.1])
        (array([ 0.5, -0.1]), array([0, 2]), 3)
    """
    try:
        values = np.asarray(scores if isinstance(scores, np.ndarray) else list(scores), dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataselError(
            f"`{argument}` is no column of numbers ({error}), expected one number per row, NaN where there is none."
        ) from error
    if values.ndim != 1:
        raise DataselError(f"`{argument}` has the shape {values.shape}, expected (N,): one number per row.")
    infinite = np.flatnonzero(np.isinf(values))
    if len(infinite):
        raise DataselError(
            f"`{argument}` is infinite in {len(infinite)} rows (first: row {infinite[0]}), expected finite numbers or "
            f"NaN. Find out why these rows overflow, or set them to NaN."
        )
    positions: Indices = np.flatnonzero(~np.isnan(values))
    if len(positions) < at_least:
        raise DataselError(
            f"`{argument}` has {len(positions)} scored rows of {len(values)}, expected at least {at_least}. The column "
            f"`<score>_status` says why rows were not scored."
        )
    return values[positions], positions, len(values)
