"""Columns of a pool as numbers that can be counted: strata, copies, groups, marks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from hf_datasel.contracts import Indices
from hf_datasel.errors import BadBudget
from hf_datasel.selectors.columns import read_column, read_groups, read_numbers
from hf_datasel.selectors.goal.fill import NOBODY


if TYPE_CHECKING:
    from datasets import Dataset

Mask = npt.NDArray[np.bool_]


def combined(scored: Dataset, names: Sequence[str], argument: str) -> Indices:
    """One number per row for its values in all the columns, shape (N,), counted from 0 in the order of their names.

    Example:
        >>> from datasets import Dataset
        >>> scored = Dataset.from_dict({"kind": ["b", "a", "b", "a"], "size": [1, 2, 1, 1]})
        >>> combined(scored, ["kind", "size"], "strata"), combined(scored, [], "strata")
        (array([2, 1, 2, 0]), array([0, 0, 0, 0]))
    """
    codes = np.zeros(len(scored), dtype=np.int64)
    for name in names:
        # Renumbered after each column, so that the product stays below N times the values of one column.
        groups = read_groups(scored, name, argument)
        codes = np.unique(codes * (int(groups.max(initial=0)) + 1) + groups, return_inverse=True)[1].astype(np.int64)
    return codes


def copies(scored: Dataset, names: Sequence[str]) -> Indices:
    """One number per row that rows with equal values in all the columns share; -1 where all values are missing."""
    if not names:
        return np.full(len(scored), NOBODY)
    keys = combined(scored, names, "unique")
    nothing = np.all([_missing(scored, name, "unique") for name in names], axis=0)
    return np.where(nothing, NOBODY, keys)


def groups_or_none(scored: Dataset, name: str | None, argument: str) -> Indices:
    """The group of each row, shape (N,); -1 where it is missing or an empty text."""
    if name is None:
        return np.full(len(scored), NOBODY)
    return np.where(_missing(scored, name, argument), NOBODY, read_groups(scored, name, argument))


def is_one_of(scored: Dataset, name: str, values: Sequence[Any], argument: str) -> Mask:
    """Whether each row's value is among the given ones, shape (N,).

    Raises:
        BadBudget: the values are of another type than the column's.
    """
    column = read_column(scored, name, argument)
    try:
        found: Mask = pc.is_in(column, value_set=pa.array(values).cast(column.type)).to_numpy(zero_copy_only=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise BadBudget(
            f"`{argument.removesuffix('.column')}.values` is {list(values)!r}, expected values of type {column.type}, "
            f"as the column {name!r} holds. Correct the values, or the column."
        ) from error
    return found


def marked(scored: Dataset, name: str | None) -> Mask:
    """Which rows a column of 0 and 1 marks, shape (N,).

    Raises:
        BadBudget: a row has no mark: nobody knows whether it may be picked.
    """
    if name is None:
        return np.zeros(len(scored), dtype=np.bool_)
    marks = read_numbers(scored, name, "exclude")
    if np.isnan(marks).any():
        raise BadBudget(
            f"`exclude` is {name!r}, which is missing in {int(np.isnan(marks).sum())} of {len(marks)} rows, expected 0 "
            f"or 1 in each. Mark all rows, or fill the column in."
        )
    found: Mask = marks != 0
    return found


def _missing(scored: Dataset, name: str, argument: str) -> Mask:
    column = read_column(scored, name, argument)
    missing = pc.is_null(column)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        missing = pc.or_(missing, pc.fill_null(pc.equal(column, ""), True))
    found: Mask = missing.to_numpy(zero_copy_only=False)
    return found
