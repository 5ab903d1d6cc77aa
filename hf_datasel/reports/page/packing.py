"""What goes into the page, small enough to travel: gzipped JSON in blocks, the most interesting rows first."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterable
from typing import Any

import numpy as np

from hf_datasel.contracts import Indices, Scores


BLOCK = 1_000_000  # characters of JSON: a browser unpacks one without anybody noticing
NEAREST = 400  # rows at each place of interest that come before all others


def packed(value: Any) -> str:
    """JSON, gzipped, in base64: no character that means anything to HTML.

    Example:
        >>> packed([1, "</script>"]) == packed([1, "</script>"]) and "<" not in packed("<")
        True
    """
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)  # ASCII: lone surrogates survive as escapes
    return base64.b64encode(gzip.compress(text.encode("ascii"), compresslevel=6, mtime=0)).decode("ascii")


def blocks(items: Iterable[tuple[int, Any]], budget: int) -> list[str]:
    """Items packed into blocks of about a megabyte each, as many as the budget holds, in the order given.

    Args:
        items: a row's number and what there is of it.
        budget: bytes the blocks may take together. The one that would not fit is left out, and all after it.

    Example:
        >>> len(blocks([(0, "a"), (1, "b")], 1000)), blocks([(0, "a")], 10)
        (1, [])
    """
    done: list[str] = []
    rows: list[int] = []
    values: list[Any] = []
    size = 0

    def close() -> bool:
        block = packed({"rows": rows, "values": values})
        if sum(map(len, done)) + len(block) > budget:
            return False
        done.append(block)
        return True

    for row, value in items:
        rows.append(row)
        values.append(value)
        size += len(str(value))
        if size >= BLOCK:
            if not close():
                return done
            rows, values, size = [], [], 0
    if rows:
        close()
    return done


def by_interest(scores: Scores, num_kept: int) -> Indices:
    """Row numbers: those nearest the top, the bottom and the cut first, by turns; then all others in a fixed shuffle.

    Args:
        scores: shape (N,), NaN where there is none.
        num_kept: where the cut is, counted from the best.

    Example:
        >>> by_interest(np.arange(2000.0), 1000)[:3].tolist()
        [0, 999, 1999]
    """
    num_rows = len(scores)
    order = np.argsort(-scores, kind="stable")[: int(np.isfinite(scores).sum())]
    places = np.arange(len(order))
    away = np.minimum(np.minimum(places, len(order) - 1 - places), np.abs(places - num_kept))
    shuffled = np.random.default_rng(0).permutation(num_rows).astype(np.float64) + NEAREST
    near = away < NEAREST
    shuffled[order[near]] = away[near]
    ranked: Indices = np.argsort(shuffled, kind="stable")
    return ranked
