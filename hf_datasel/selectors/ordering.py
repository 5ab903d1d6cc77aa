"""The order every score-based rule starts from: best first, ties by row id, unscored rows left out."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from hf_datasel.contracts import Indices, Scores
from hf_datasel.errors import BadBudget
from hf_datasel.selectors.columns import read_numbers, read_row_ids, tie_breakers


if TYPE_CHECKING:
    from datasets import Dataset


def best_first(scored: Dataset, column: str) -> Indices:
    """Numbers of all rows that have a score, highest score first. Sorts 10 million rows in seconds.

    Equal scores are ordered by `row_id` (by a digest of the training content where there is no such column), rows
    that are copies of each other by row number.

    Args:
        scored: N rows.
        column: numeric column to order by; NaN and missing values mean not scored.

    Returns:
        Row numbers, shape (number of scored rows,).

    Raises:
        BadBudget: the column does not exist, is not numeric, or scores no row.

    Example:
        >>> from datasets import Dataset
        >>> scored = Dataset.from_dict({"row_id": ["d", "c", "b", "a"], "s": [1.0, 2.0, None, 1.0]})
        >>> best_first(scored, "s")
        array([1, 3, 0])
    """
    scores = read_numbers(scored, column)
    if not len(scores):
        raise BadBudget("`scored` has no rows, expected at least one.")
    rows = np.flatnonzero(~np.isnan(scores)).astype(np.int64)
    if not len(rows):
        raise BadBudget(
            f"`column` is {column!r}, which is NaN in all {len(scores)} rows, expected at least one score. "
            f"Look at `{column}_status` for why rows were not scored, or score the pool again."
        )
    rows = rows[np.argsort(-scores[rows], kind="stable")]
    ordered = scores[rows]
    equals_next = ordered[:-1] == ordered[1:]
    tied = np.flatnonzero(np.append(equals_next, False) | np.append(False, equals_next))
    if len(tied):
        run = np.append(0, np.cumsum(~equals_next))
        rows[tied] = _by_id_within_runs(scored, rows[tied], run[tied])
    return rows


def by_id(scored: Dataset, rows: Indices) -> Indices:
    """The given row numbers in the order of their ids, which a shuffle does not change; copies by row number.

    Example:
        >>> from datasets import Dataset
        >>> by_id(Dataset.from_dict({"row_id": ["d", "c", "b", "a"]}), np.array([0, 1, 3]))
        array([3, 1, 0])
    """
    return _by_id_within_runs(scored, rows, np.zeros(len(rows), dtype=np.int64))


def _by_id_within_runs(scored: Dataset, rows: Indices, runs: npt.NDArray[np.int64]) -> Indices:
    # Ids are read for tied rows only: most scores are continuous, and 10 million ids are most of a pool's cost.
    keys = {"run": pa.array(runs), "row": pa.array(rows)}
    identities = tie_breakers(scored, rows)
    if identities is not None:
        keys = {"run": keys["run"], "identity": identities, "row": keys["row"]}
    order = pc.sort_indices(pa.table(keys), sort_keys=[(key, "ascending") for key in keys])
    ordered: Indices = rows[order.to_numpy()]
    return ordered


def hash_order(scored: Dataset, seed: int) -> Indices:
    """Numbers of all rows in the order of a keyed hash of their ids: random, yet the same wherever and however it runs.

    Args:
        scored: N rows.
        seed: another seed is another, independent order.

    Raises:
        BadRow: rows have neither a usable `row_id` nor training content to be known by.
    """
    halves = _hashes(scored, seed)
    return np.lexsort((halves[:, 1], halves[:, 0])).astype(np.int64)


def hash_numbers(scored: Dataset, seed: int) -> Scores:
    """A number between 0 and 1, both excluded, for each of N rows: of a keyed hash of its id, (N,).

    Example:
        >>> from datasets import Dataset
        >>> pool = Dataset.from_dict({"row_id": list("abc")})
        >>> hash_numbers(pool, 1)[::-1].tolist() == hash_numbers(pool.select([2, 1, 0]), 1).tolist()
        True
    """
    numbers: Scores = ((_hashes(scored, seed)[:, 0] >> 12).astype(np.float64) + 0.5) / 2.0**52
    return numbers


def _hashes(scored: Dataset, seed: int) -> npt.NDArray[np.uint64]:
    key = str(seed).encode()
    hashes = bytearray()
    for row_id in read_row_ids(scored):
        hashes += blake2b(row_id.as_py().encode(), key=key, digest_size=16).digest()
    return np.frombuffer(bytes(hashes), dtype=">u8").reshape(-1, 2).astype(np.uint64)


def place_within(codes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """How many rows of the same group come before each row: 0 for a group's first, shape as `codes`.

    Example:
        >>> place_within(np.array([4, 9, 4, 4, 9]))
        array([0, 0, 1, 2, 1])
    """
    by_group = np.argsort(codes, kind="stable")
    ordered = codes[by_group]
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1])[: len(codes)])
    lengths = np.diff(np.append(starts, len(codes)))
    places = np.empty(len(codes), dtype=np.int64)
    places[by_group] = np.arange(len(codes)) - np.repeat(starts, lengths)
    return places


def interleaved(kept: Indices, place: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64]) -> Indices:
    """Kept rows by their quantile within their group, so that any prefix keeps the groups' proportions.

    Args:
        kept: row numbers, best first; that order decides ties.
        place: of each in its group, 0 for the best.
        sizes: rows of each one's group in the pool.

    Example:
        >>> interleaved(np.array([7, 8, 9]), np.array([0, 1, 0]), np.array([4, 4, 2]))
        array([7, 9, 8])
    """
    # A quotient of whole numbers, so equal quantiles are equal floats.
    return kept[np.argsort((2 * place + 1) / (2 * sizes), kind="stable")]


def as_ranking(ranking: Any, num_rows: int, name: str) -> Indices:
    """What a rule returned, made sure to be a ranking: row numbers of the pool, each at most once.

    Args:
        ranking: what `rank` returned.
        num_rows: rows of the pool.
        name: of the rule, for the error message.

    Raises:
        BadBudget: it is no such thing.

    Example:
        >>> as_ranking([2, 0, 2], 3, "MyRule")
        Traceback (most recent call last):
        hf_datasel.errors.BadBudget: `rule` MyRule kept row 2 more than once, expected once. Correct its `rank`.
    """
    rows = np.asarray(ranking)
    if rows.ndim != 1 or (rows.dtype.kind not in "iu" and rows.size):
        raise BadBudget(
            f"`rule` {name} returned a {rows.dtype} array of shape {rows.shape}, expected row numbers of shape (K,). "
            f"Correct its `rank`."
        )
    rows = rows.astype(np.int64)
    strays = rows[(rows < 0) | (rows >= num_rows)]
    if len(strays):
        raise BadBudget(
            f"`rule` {name} kept row {strays[0]}, expected 0 to {num_rows - 1}, the rows of the pool. "
            f"Correct its `rank`."
        )
    seen = np.bincount(rows, minlength=1)
    if seen.max() > 1:
        raise BadBudget(f"`rule` {name} kept row {seen.argmax()} more than once, expected once. Correct its `rank`.")
    return rows
