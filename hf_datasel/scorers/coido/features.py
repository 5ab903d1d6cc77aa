"""The one way from columns to what a network reads: used in training and in scoring alike, and saved with the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from hf_datasel.contracts import Scores
from hf_datasel.errors import BadRow
from hf_datasel.scorers.goal.batches import numbers


Matrix = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Features:
    """What a network reads of B rows.

    Args:
        embedding: (B, D), the embeddings side by side, each of length 1; 0 where one is missing.
        scores: (B, S), each -1 to 1 over the pool of the fit.
        embedded: (B, E), which embeddings a row has.
        measured: (B, S), which scores a row has.
    """

    embedding: Matrix
    scores: Matrix
    embedded: npt.NDArray[np.bool_]
    measured: npt.NDArray[np.bool_]

    @property
    def complete(self) -> npt.NDArray[np.bool_]:
        """(B,), rows with every embedding; where there are no embeddings, rows with a score."""
        return np.asarray(self.embedded.all(axis=1) if self.embedded.shape[1] else self.measured.any(axis=1))

    @property
    def lacking(self) -> npt.NDArray[np.bool_]:
        """(B,), rows without an embedding that others have."""
        return ~np.asarray(self.embedded.all(axis=1))

    @property
    def empty(self) -> npt.NDArray[np.bool_]:
        """(B,), rows with nothing to go by."""
        return ~np.asarray(self.embedded.any(axis=1) | self.measured.any(axis=1))


@dataclass(frozen=True)
class FeatureBuilder:
    """Makes a row's features from its columns, with the scale that the pool of the fit had. Cost: no forward pass.

    Embeddings are scaled to length 1 each. Scores are scaled to -1 to 1 over the pool of the fit, so values of other pools
    may lie beyond; a score that was constant there is 0. A missing score counts as the pool's mean, in a row that lacks an
    embedding as 0.

    Args:
        embeddings: E columns of lists of numbers.
        widths: numbers in each.
        scores: S columns of numbers.
        low, high, mean: of each score over the pool of the fit.

    Source: CoIDO (NeurIPS 2025), A.1; the scale -1 to 1 and the mean for a missing rating are those of its release.

    Example:
        >>> builder = FeatureBuilder(("e",), (2,), ("s",), (2.0,), (10.0,), (4.0,))
        >>> found = builder.build({"e": [[3.0, 4.0], None], "s": [4.0, 10.0]})
        >>> found.embedding.round(1).tolist(), found.scores.tolist(), found.complete.tolist()
        ([[0.6000000238418579, 0.800000011920929], [0.0, 0.0]], [[-0.5], [1.0]], [True, False])
    """

    embeddings: tuple[str, ...]
    widths: tuple[int, ...]
    scores: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    mean: tuple[float, ...]

    def __post_init__(self) -> None:
        for name in ("embeddings", "widths", "scores", "low", "high", "mean"):
            object.__setattr__(self, name, tuple(getattr(self, name)))

    @property
    def reads(self) -> tuple[str, ...]:
        """The columns it reads."""
        return (*self.embeddings, *self.scores)

    def build(self, batch: Mapping[str, Any]) -> Features:
        """The features of B rows.

        Raises:
            BadRow: a column is not there, or holds something else.
        """
        absent = [name for name in self.reads if name not in batch]
        if absent:
            raise BadRow(
                f"`batch` lacks {absent}, expected the columns of the fit. Add them with the scorers of the fit."
            )
        parts = [
            matrix_of(_column(batch, name), name, width)
            for name, width in zip(self.embeddings, self.widths, strict=True)
        ]
        values = [numbers_of(_column(batch, name), name) for name in self.scores]
        size = len((parts or values)[0])
        lengths = [np.linalg.norm(part, axis=1, keepdims=True) for part in parts]
        there = [np.isfinite(length) & (length > 0) for length in lengths]
        units = [
            np.divide(part, length, out=np.zeros_like(part), where=has)
            for part, length, has in zip(parts, lengths, there, strict=True)
        ]
        embedded = np.concatenate(there, axis=1) if there else np.zeros((size, 0), dtype=np.bool_)
        raw = np.stack(values, axis=1) if values else np.zeros((size, 0))
        measured = np.isfinite(raw)
        scaled = np.where(measured, self._scaled(raw), self._scaled(np.array(self.mean)[None]))
        scaled = np.where(measured | embedded.all(axis=1, keepdims=True), scaled, 0.0)
        embedding = np.concatenate(units, axis=1) if units else np.zeros((size, 0), dtype=np.float32)
        return Features(embedding, scaled.astype(np.float32), embedded, measured)

    def _scaled(self, raw: Scores) -> Scores:
        low, high = np.array(self.low), np.array(self.high)
        span = high - low
        scaled: Scores = np.where(span > 0, 2 * (raw - low) / np.where(span > 0, span, 1.0) - 1, 0.0)
        return scaled


def matrix_of(values: Any, name: str, width: int) -> Matrix:
    """A column of lists of numbers as (B, width) float32, NaN where a row has none.

    Raises:
        BadRow: it holds something else, or lists of another length.

    Example:
        >>> matrix_of([[1, 2], None], "e", 2)
        array([[ 1.,  2.],
               [nan, nan]], dtype=float32)
    """
    if isinstance(values, np.ndarray) and values.ndim == 2 and values.shape[1] == width:
        return values.astype(np.float32)
    lists = lists_of(values, name)
    there = lists.is_valid().to_numpy(zero_copy_only=False)
    known = lists.drop_null()
    if len(known) and pc.any(pc.not_equal(pc.list_value_length(known), width)).as_py():
        found = sorted(set(pc.list_value_length(known).to_pylist()))[:5]
        raise BadRow(f"`{name}` holds lists of lengths {found}, expected {width}, as in the pool of the fit.")
    matrix = np.full((len(lists), width), np.nan, dtype=np.float32)
    matrix[there] = known.flatten().to_numpy(zero_copy_only=False).astype(np.float32).reshape(-1, width)
    return matrix


def _column(batch: Mapping[str, Any], name: str) -> Any:
    """A column of a batch, from the table behind it where there is one: lists of Python numbers are a hundred times slower."""
    table = getattr(batch, "pa_table", None)
    if table is not None and type(batch).__name__ == "LazyBatch" and name in batch.keys_to_format:  # type: ignore[attr-defined]
        return table[name].combine_chunks()
    return batch[name]


def lists_of(values: Any, name: str) -> pa.Array:
    """A column of lists of numbers as an arrow array.

    Raises:
        BadRow: it holds something else.
    """
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if not isinstance(values, pa.Array):
        try:
            values = pa.array(list(values), pa.list_(pa.float32()))
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
            raise BadRow(f"`{name}` holds no lists of numbers, expected an embedding in each row.") from error
    kind = values.type
    if pa.types.is_null(kind):
        return values.cast(pa.list_(pa.float32()))
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    if not is_list or not (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)):
        raise BadRow(f"`{name}` holds values of type {kind}, expected a list of numbers in each row.")
    return values


def numbers_of(values: Any, name: str) -> Scores:
    """A column of numbers as float64 of shape (B,), NaN where missing or not finite."""
    if isinstance(values, pa.Array | pa.ChunkedArray):
        if not (
            pa.types.is_floating(values.type) or pa.types.is_integer(values.type) or pa.types.is_null(values.type)
        ):
            raise BadRow(f"`{name}` holds values of type {values.type}, expected one number per row.")
        found = values.cast(pa.float64()).to_numpy(zero_copy_only=False) if len(values) else np.zeros(0)
        return np.where(np.isfinite(found), found, np.nan)
    return numbers(values, len(values), name)
