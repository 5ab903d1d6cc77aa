"""Which rows of a pool are kept, in the form `Dataset.filter` can hash, send to workers and call."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hf_datasel.contracts import Batch
from hf_datasel.errors import DataselError
from hf_datasel.rows.identity import ROW_ID


@dataclass(frozen=True, eq=False)
class Membership:
    """Two arrays and a call: 5 bytes per row, whatever the rows hold.

    Args:
        mask: whether each row of the pool is kept, shape (N,).
        checksums: of each row's id, shape (N,).

    Example:
        >>> membership = Membership(np.array([True, False]), checksums(["a", "b"]))
        >>> membership({"row_id": ["a", "b"]}, [0, 1])
        [True, False]
    """

    mask: npt.NDArray[np.bool_]
    checksums: npt.NDArray[np.uint32]

    def __call__(self, batch: Batch, indices: Sequence[int] | int | None) -> list[bool] | bool:
        """Whether each row of a batch is kept; one answer for a single row number.

        Raises:
            DataselError: `indices` is missing, or the rows are not the pool's.
        """
        if indices is None:
            raise DataselError(
                "`indices` is missing, expected the rows' numbers. Call "
                "`scored.filter(selection, with_indices=True, batched=True)`."
            )
        rows = np.atleast_1d(np.asarray(indices, dtype=np.int64))
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(self.mask):
            raise DataselError(
                f"`indices` reaches row {rows.max()}, expected less than {len(self.mask)}, the rows of the pool this "
                f"selection was made from. Filter that dataset, or call `selection.apply(other)` first."
            )
        self._check_ids(batch, rows)
        # `filter` takes a list for a truth value where it asks for one row, and would keep everything.
        return bool(self.mask[rows[0]]) if np.ndim(indices) == 0 else self.mask[rows].tolist()

    def _check_ids(self, batch: Batch, rows: npt.NDArray[np.int64]) -> None:
        # With `input_columns=` or another format than Python's there may be no ids to look at.
        if not isinstance(batch, Mapping) or ROW_ID not in batch:
            return
        ids: Any = batch[ROW_ID]
        ids = ids.tolist() if hasattr(ids, "tolist") else ids
        ids = ids if isinstance(ids, list) else [ids]
        strangers = np.flatnonzero(checksums(ids) != self.checksums[rows])
        if len(strangers):
            first = strangers[0]
            raise DataselError(
                f"`{ROW_ID}` of row {rows[first]} is {ids[first]!r}, expected the id this row had in the pool the "
                f"selection was made from: the dataset differs in rows or order. Filter that pool, or call "
                f"`selection.apply(other)` first."
            )


def checksums(row_ids: Any) -> npt.NDArray[np.uint32]:
    """CRC-32 of each id as text: enough to notice another dataset, small enough to send to workers.

    Example:
        >>> checksums(["7"]) == checksums([7])
        array([ True])
    """
    return np.fromiter((zlib.crc32(str(row_id).encode()) for row_id in _texts(row_ids)), dtype=np.uint32)


def _texts(row_ids: Any) -> Iterator[Any]:
    """The ids one by one; those of an Arrow array many at a time, since one of its scalars takes longer than a checksum."""
    for start in range(0, len(row_ids), 65_536):
        part = row_ids[start : start + 65_536]
        yield from part.to_pylist() if hasattr(part, "to_pylist") else part
