"""Exact nearest neighbours, in blocks."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from hf_datasel.contracts import Scores
from hf_datasel.selectors.embeddings import Vectors


Places: TypeAlias = npt.NDArray[np.int64]

BLOCK = 4096


def nearest(vectors: Vectors, k: int) -> tuple[npt.NDArray[np.int64], Scores]:
    """The k nearest other rows of each row, nearest first, and their squared Euclidean distances: both (n, min(k, n - 1)).

    Cost: n^2 x D / 2 multiplications; `BLOCK`^2 numbers at a time. Rows equally far come in their own order.

    Args:
        vectors: (n, D).
        k: neighbours.

    Example:
        >>> nearest(np.array([[0.0], [1.0], [10.0]], dtype=np.float32), 1)
        (array([[1], [0], [1]]), array([[ 1.],
               [ 1.],
               [81.]]))
    """
    n = len(vectors)
    k = min(k, n - 1)
    ids = np.full((n, k), n, dtype=np.int64)
    gaps = np.full((n, k), np.inf, dtype=np.float32)
    if not k:
        return ids, gaps.astype(np.float64)
    squares = np.einsum("nd,nd->n", vectors, vectors)[:, None]
    ones = np.ones_like(squares)
    # |a|^2 + |b|^2 - 2ab as one product: passes over a block of distances cost as much as a third of it.
    left, right = np.hstack([-2 * vectors, squares, ones]), np.hstack([vectors, ones, squares])
    starts = range(0, n, BLOCK)
    # Blocks on the diagonal first: they give every row a bound that few rows of the other blocks pass.
    for first, second in [(at, at) for at in starts] + [(a, b) for a in starts for b in starts if a < b]:
        distance = left[first : first + BLOCK] @ right[second : second + BLOCK].T
        if first == second:
            np.fill_diagonal(distance, np.inf)
            # The k-th smallest as a first bound: without one, all of the block would be sorted.
            place = min(k, distance.shape[1]) - 1
            gaps[first : first + BLOCK, -1] = (
                np.partition(distance, place, axis=1)[:, place] if place == k - 1 else np.inf
            )
        else:
            columns, rows = _candidates(distance, gaps[None, second : second + BLOCK, -1])
            _merge(ids, gaps, rows + second, columns + first, distance[columns, rows])
        rows, columns = _candidates(distance, gaps[first : first + BLOCK, -1:])
        _merge(ids, gaps, rows + first, columns + second, distance[rows, columns])
    exact = np.empty((n, k))
    for at in starts:  # without the rounding of squares minus products
        there = slice(at, at + BLOCK)
        exact[there] = np.square(vectors[ids[there]].astype(np.float64) - vectors[there, None]).sum(axis=2)
    order = np.lexsort((ids, exact), axis=1)
    return np.take_along_axis(ids, order, 1), np.take_along_axis(exact, order, 1)


def _candidates(distance: npt.NDArray[np.float32], bounds: npt.NDArray[np.float32]) -> tuple[Places, Places]:
    """Rows and columns of a block that are within bounds, read flat since that is several times faster."""
    rows, columns = np.divmod(np.flatnonzero(distance <= bounds), distance.shape[1])
    return rows, columns


def _merge(ids: Places, gaps: npt.NDArray[np.float32], rows: Places, others: Places, found: Scores) -> None:
    """Let each row's candidates, at the distances found, replace farther neighbours."""
    if not len(rows):
        return
    k = ids.shape[1]
    touched = np.unique(rows)
    all_rows = np.concatenate([np.repeat(touched, k), rows])
    all_ids = np.concatenate([ids[touched].ravel(), others])
    all_gaps = np.concatenate([gaps[touched].ravel(), found])
    order = np.lexsort((all_ids, all_gaps, all_rows))
    begin = np.searchsorted(all_rows[order], touched)
    chosen = order[begin[:, None] + np.arange(k)]
    ids[touched], gaps[touched] = all_ids[chosen], all_gaps[chosen]
