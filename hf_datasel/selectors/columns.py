"""Reads columns of a scored dataset as arrays, and says what is there when a column is not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from hf_datasel.contracts import Indices, Scores
from hf_datasel.errors import BadBudget, BadRow
from hf_datasel.rows.identity import CONTENT_COLUMNS, ROW_ID, content_only, row_digest, with_row_ids


if TYPE_CHECKING:
    from datasets import Dataset


def read_column(dataset: Dataset, name: str, argument: str) -> Any:
    """One column as a pyarrow array of N values, in the dataset's row order.

    Args:
        dataset: N rows.
        name: column to read.
        argument: the rule's field that named the column, for the error message.

    Raises:
        BadBudget: there is no such column.

    Example:
        >>> from datasets import Dataset
        >>> read_column(Dataset.from_dict({"s": [1, 2, 3]}).select([2, 0]), "s", "column").to_pylist()
        [3, 1]
    """
    if name not in dataset.column_names:
        present = ", ".join(map(repr, dataset.column_names)) or "none at all"
        raise BadBudget(
            f"`{argument}` is {name!r}, expected a column of the scored dataset, which has: {present}. "
            f"Correct the name, or add the column first (a scorer adds its own through `Dataset.map`)."
        )
    values = dataset.data.column(name)
    if pa.types.is_string(values.type):
        # 32-bit offsets overflow when the chunks of a large pool are joined.
        values = values.cast(pa.large_string())
    if dataset._indices is not None:
        # Through the dataset's own slicing a shuffled pool comes as one chunk per row, hundreds of times slower.
        values = values.take(dataset._indices.column(0))
    return pa.concat_arrays(values.chunks) if values.num_chunks else pa.array([], values.type)


def read_numbers(dataset: Dataset, name: str, argument: str = "column") -> Scores:
    """One numeric column as float64 of shape (N,), with NaN for missing values.

    Raises:
        BadBudget: there is no such column, or it does not hold numbers.

    Example:
        >>> from datasets import Dataset
        >>> read_numbers(Dataset.from_dict({"s": [1, None]}), "s")
        array([ 1., nan])
    """
    values = read_column(dataset, name, argument)
    kind = values.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        if pa.types.is_null(kind):
            return np.full(len(values), np.nan)
        raise BadBudget(
            f"`{argument}` is {name!r}, which holds values of type {kind}, expected numbers. "
            f"Name a numeric column, or cast this one with `Dataset.cast_column`."
        )
    if pa.types.is_boolean(kind):
        values = values.cast(pa.int8())
    numbers: Scores = values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return numbers


def read_groups(dataset: Dataset, name: str, argument: str) -> npt.NDArray[np.int64]:
    """The group of each row as a number, shape (N,), counted from 0 in the order of the groups' names.

    Rows whose group is missing form a group of their own, the last one.

    Raises:
        BadBudget: there is no such column, or its values cannot name a group.

    Example:
        >>> from datasets import Dataset
        >>> read_groups(Dataset.from_dict({"source": ["web", "book", None, "web"]}), "source", "group")
        array([1, 0, 2, 1])
    """
    values = read_column(dataset, name, argument)
    try:
        encoded = values.dictionary_encode(null_encoding="encode")
        # Numbered by name and not by first appearance, so that ties between groups survive a shuffle.
        by_name = pc.sort_indices(encoded.dictionary).to_numpy(zero_copy_only=False)
    except (pa.ArrowNotImplementedError, pa.ArrowTypeError, AttributeError) as error:
        raise BadBudget(
            f"`{argument}` is {name!r}, which holds values of type {values.type}, expected one text or number per "
            f"row. Name another column, or add one with `Dataset.map`."
        ) from error
    codes = np.empty(len(by_name), dtype=np.int64)
    codes[by_name] = np.arange(len(by_name))
    groups: npt.NDArray[np.int64] = codes[encoded.indices.to_numpy(zero_copy_only=False)]
    return groups


def read_row_ids(dataset: Dataset) -> Any:
    """Each row's unique id as text: a pyarrow `large_string` array of N values.

    Args:
        dataset: with a `row_id` column of texts or whole numbers, or with training content to make ids from.

    Raises:
        BadRow: the ids are missing, repeated or neither text nor whole numbers, or there is nothing to tell rows by.

    Example:
        >>> from datasets import Dataset
        >>> read_row_ids(Dataset.from_dict({"row_id": [7, 8]})).to_pylist()
        ['7', '8']
    """
    dataset = identified(dataset)
    ids = _id_texts(dataset)
    if pc.count_distinct(ids).as_py() < len(ids):
        with_row_ids(dataset)  # names the value in its own words
    return ids


def identified(dataset: Dataset) -> Dataset:
    """The dataset with a `row_id` column. One that is there is left as it is: `read_row_ids` checks it, much faster.

    Raises:
        BadRow: there is neither such a column nor training content to make it from.
    """
    if ROW_ID in dataset.column_names:
        return dataset
    if not _has_content(dataset):
        raise BadRow(
            f"the scored dataset has the columns {dataset.column_names}, expected `{ROW_ID}` or training content "
            f"({', '.join(CONTENT_COLUMNS[:5])}, ...) to know its rows by. Add a `{ROW_ID}` column."
        )
    return with_row_ids(dataset)


def tie_breakers(dataset: Dataset, rows: Indices) -> Any:
    """What orders the given rows when their scores are equal: a pyarrow array of texts, or None if there is nothing.

    The `row_id` column where there is one, else a digest of each row's training content. Only these rows are read.
    """
    if ROW_ID in dataset.column_names:
        return _id_texts(dataset).take(pa.array(rows))
    if not _has_content(dataset):
        return None
    content = content_only(dataset.select(rows)).with_format(None)
    return pa.array([row_digest(row) for row in content], pa.large_string())


def _id_texts(dataset: Dataset) -> Any:
    ids = read_column(dataset, ROW_ID, ROW_ID)
    kind = ids.type
    if not len(ids):
        return pa.array([], pa.large_string())
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_integer(kind)):
        raise BadRow(
            f"`{ROW_ID}` holds values of type {kind}, expected texts or whole numbers. Cast it with "
            f"`Dataset.cast_column`, or rename it so that ids are made from the rows' content."
        )
    if ids.null_count:
        raise BadRow(
            f"`{ROW_ID}` is missing in {ids.null_count} of {len(ids)} rows, expected a unique id in each. Fill them, "
            f"or rename the column so that ids are made from the rows' content."
        )
    return ids.cast(pa.large_string())


def _has_content(dataset: Dataset) -> bool:
    return any(name in CONTENT_COLUMNS for name in dataset.column_names)
