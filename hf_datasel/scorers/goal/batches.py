"""Columns of a batch by name, for what reads columns and never the rows' media."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from hf_datasel.contracts import Scores
from hf_datasel.errors import BadRow
from hf_datasel.rows.batches import is_single_row


def columns_of(batch: Mapping[str, Any], names: Iterable[str]) -> tuple[dict[str, list[Any]], int, bool]:
    """The named columns that a batch has, its size B, and whether the call was for a single row.

    Only these columns are read: touching an image column decodes its images.

    Example:
        >>> columns_of({"a": [1, 2], "image": [None, None]}, ["a", "b"])
        ({'a': [1, 2]}, 2, False)
        >>> columns_of({"a": 1}, ["a"])
        ({'a': [1]}, 1, True)
    """
    single = is_single_row(batch)
    found = {name: [batch[name]] if single else list(batch[name]) for name in names if name in batch}
    if found:
        size = len(next(iter(found.values())))
    else:
        size = 1 if single else max((len(batch[name]) for name in list(batch)[:1]), default=0)
    return found, size, single


def numbers(values: Sequence[Any] | None, size: int, name: str) -> Scores:
    """A column as float64 of shape (B,): NaN where it is missing, not finite, or the batch has no such column.

    Raises:
        BadRow: a value is no number.

    Example:
        >>> numbers([1, None, float("inf")], 3, "ppl")
        array([ 1., nan, nan])
    """
    if values is None:
        return np.full(size, np.nan)
    try:
        found = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise BadRow(f"`{name}` holds {values[0]!r}, expected one number per row. Name a numeric column.") from error
    return np.where(np.isfinite(found), found, np.nan)


def unbatched(columns: dict[str, Any], single: bool) -> dict[str, Any]:
    """The columns as `Dataset.map` wants them back: values alone where it handed over a single row."""
    return {name: values[0] for name, values in columns.items()} if single else columns
