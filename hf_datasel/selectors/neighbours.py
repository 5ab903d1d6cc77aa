"""Exact nearest neighbours, in blocks."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from hf_datasel.contracts import Scores
from hf_datasel.selectors.embeddings import Vectors


Places: TypeAlias = npt.NDArray[np.int64]

BLOCK = 4096
FINE = 16  # rows whose neighbours' numbers stay in the processor's cache
MANY = 20  # rows for each number of a row, from where halving the numbers saves more than it takes
FEW = 100  # one pair in so many is measured alone, more by a product of the block


def nearest(vectors: Vectors, k: int) -> tuple[npt.NDArray[np.int64], Scores]:
    """The k nearest other rows of each row, nearest first, and their squared Euclidean distances: both (n, min(k, n - 1)).

    Cost: n^2 x D / 2 multiplications, half of that where few rows are near; `BLOCK`^2 numbers at a time. Rows equally far
    come in their own order.

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
    # Lengths about the mean are shortest, and with them the rounding of squares minus products.
    centred = vectors - vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
    whole = _Factors(centred)
    short = _Factors(_shortened(centred)) if n > MANY * vectors.shape[1] else None
    # Rounding must not hide a neighbour behind a bound.
    slack = np.float32(1e-5 * whole.largest)
    starts = range(0, n, BLOCK)
    pairs = [(first, second) for first in starts for second in starts if first <= second]
    # Blocks on the diagonal first, then those beside it: all rows soon have bounds that few of the other pairs pass.
    for first, second in sorted(pairs, key=lambda pair: pair[1] - pair[0]):
        own, other = slice(first, first + BLOCK), slice(second, second + BLOCK)
        if first == second:
            distance = whole.distances(own, own)
            np.fill_diagonal(distance, np.inf)
            # The k-th smallest as a first bound: without one, all of the block would be sorted.
            if distance.shape[1] >= k:
                gaps[own, -1] = np.partition(distance, k - 1, axis=1)[:, k - 1]
            rows, columns = _within(distance, gaps[own, -1:])
            _merge(ids, gaps, rows + first, columns + second, distance[rows, columns])
            continue
        is_dense = short is None
        if short is not None:
            distance = short.distances(own, other)
            there, back = _within(distance, gaps[own, -1:] + slack), _within(distance, gaps[None, other, -1] + slack)
            is_dense = len(there[0]) + len(back[0]) > distance.size // FEW
        if is_dense:
            distance = whole.distances(own, other)
            there, back = _within(distance, gaps[own, -1:]), _within(distance, gaps[None, other, -1])
        for (rows, columns), is_back in ((there, False), (back, True)):
            found = distance[rows, columns] if is_dense else _between(centred, rows + first, columns + second)
            if is_back:
                _merge(ids, gaps, columns + second, rows + first, found)
            else:
                _merge(ids, gaps, rows + first, columns + second, found)
    exact = _measured(vectors, ids)
    order = np.lexsort((ids, exact), axis=1)
    return np.take_along_axis(ids, order, 1), np.take_along_axis(exact, order, 1)


class _Factors:
    """Vectors, so laid out that one product gives squared distances: a pass over a block costs a third of a product."""

    def __init__(self, vectors: Vectors) -> None:
        squares = np.einsum("nd,nd->n", vectors, vectors)[:, None]
        ones = np.ones_like(squares)
        self.left, self.right = np.hstack([-2 * vectors, squares, ones]), np.hstack([vectors, ones, squares])
        self.largest = float(squares.max())

    def distances(self, rows: slice, columns: slice) -> npt.NDArray[np.float32]:
        product: npt.NDArray[np.float32] = self.left[rows] @ self.right[columns].T
        return product


def _shortened(vectors: Vectors) -> Vectors:
    """Of vectors about their mean, half as many numbers, whose distances are never larger: the leading axes of the rows, and the length of the rest."""
    axes = np.linalg.eigh(vectors.T @ vectors)[1][:, ::-1].astype(np.float32)
    turned = vectors @ axes
    half = (vectors.shape[1] + 1) // 2
    rest = np.linalg.norm(turned[:, half:], axis=1, keepdims=True)
    return np.hstack([turned[:, :half], rest]).astype(np.float32)


def _measured(vectors: Vectors, ids: Places) -> Scores:
    """Squared distances of rows and their neighbours (n, k), without the rounding of squares minus products."""
    found = np.empty(ids.shape)
    for at in range(0, len(ids), FINE):
        own = slice(at, at + FINE)
        gap = vectors[ids[own]].astype(np.float64)
        gap -= vectors[own, None].astype(np.float64)
        np.square(gap, out=gap).sum(axis=2, out=found[own])
    return found


def _between(vectors: Vectors, rows: Places, others: Places) -> npt.NDArray[np.float32]:
    """Squared distances of pairs, a few at a time."""
    found = np.empty(len(rows), dtype=np.float32)
    for at in range(0, len(rows), BLOCK):
        there = slice(at, at + BLOCK)
        gap = vectors[rows[there]] - vectors[others[there]]
        found[there] = np.einsum("nd,nd->n", gap, gap)
    return found


def _within(distance: npt.NDArray[np.float32], bounds: npt.NDArray[np.float32]) -> tuple[Places, Places]:
    """Rows and columns of a block that are within bounds, read flat since that is several times faster."""
    rows, columns = np.divmod(np.flatnonzero(distance <= bounds), distance.shape[1])
    return rows, columns


def _merge(
    ids: Places, gaps: npt.NDArray[np.float32], rows: Places, others: Places, found: npt.NDArray[np.float32]
) -> None:
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
