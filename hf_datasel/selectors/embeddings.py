"""Reads a column of embeddings, in an order that a shuffle of the pool does not change."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from hf_datasel.contracts import Indices
from hf_datasel.errors import BadBudget
from hf_datasel.selectors.columns import read_column
from hf_datasel.selectors.ordering import by_id


if TYPE_CHECKING:
    from datasets import Dataset

Vectors: TypeAlias = npt.NDArray[np.float32]

logger = logging.getLogger(__name__)


def read_embeddings(
    scored: Dataset, name: str, among: Indices | None = None, unit: bool = True, argument: str = "embedding"
) -> tuple[Indices, Vectors]:
    """Row numbers, by row id, and embeddings of the rows that have one: shapes (n,) and (n, D), float32.

    Rows whose embedding is missing, not finite or, where directions are compared, all zeros, are left out; a warning says
    how many.

    Args:
        scored: N rows.
        name: column of lists of D numbers.
        among: row numbers to read; None for all.
        unit: scale to length 1, so that a product is a cosine.
        argument: of the rule that names the column, for messages.

    Raises:
        BadBudget: there is no such column, it does not hold lists of one length, or no row has an embedding.

    Example:
        >>> from datasets import Dataset
        >>> rows, vectors = read_embeddings(Dataset.from_dict({"text": ["b", "a"], "e": [[0.0, 0.0], [3.0, 4.0]]}), "e")
        >>> rows.tolist(), vectors.tolist()
        ([1], [[0.6000000238418579, 0.800000011920929]])
    """
    values = read_column(scored, name, argument)
    there = ~values.is_null().to_numpy(zero_copy_only=False)
    vectors = np.full((len(values), 1), np.nan, dtype=np.float32)
    if there.any():
        found = _as_matrix(values.drop_null(), name, argument)
        vectors = np.full((len(values), found.shape[1]), np.nan, dtype=np.float32) if not there.all() else found
        vectors[there] = found
    rows = np.arange(len(values), dtype=np.int64) if among is None else among
    lengths = np.linalg.norm(vectors[rows].astype(np.float64), axis=1)
    usable = np.isfinite(lengths) & ((lengths > 0) | (not unit))
    if not usable.any():
        raise BadBudget(
            f"`{argument}` is {name!r}, which is missing, not finite or zero in all {len(rows)} rows that could be kept, "
            f"expected at least one that is usable. Make the column again."
        )
    if not usable.all():
        logger.warning("%d of %d rows have no usable %r and cannot be kept.", (~usable).sum(), len(rows), name)
    length_of = np.ones(len(values))
    length_of[rows] = lengths
    rows = by_id(scored, rows[usable])
    vectors = vectors[rows]
    return rows, np.asarray(vectors / length_of[rows, None], dtype=np.float32) if unit else vectors


def _as_matrix(values: pa.Array, name: str, argument: str) -> Vectors:
    kind = values.type
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    if not is_list or not (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)):
        raise BadBudget(
            f"`{argument}` is {name!r}, which holds values of type {kind}, expected a list of numbers per row. Name a "
            f"column of embeddings."
        )
    lengths = pc.unique(pc.list_value_length(values)).to_pylist()
    if len(lengths) != 1 or not lengths[0]:
        raise BadBudget(
            f"`{argument}` is {name!r}, which holds lists of lengths {sorted(lengths)[:5]}, expected one length of at least "
            f"1. Embed all rows with the same model."
        )
    flat = values.flatten().to_numpy(zero_copy_only=False)
    with np.errstate(over="ignore"):  # infinite then, and left out as such
        matrix: Vectors = flat.astype(np.float32).reshape(-1, lengths[0])
    return matrix
