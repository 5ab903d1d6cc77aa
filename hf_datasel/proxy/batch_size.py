"""How rows go through the proxy together. No torch here: specs import it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from hf_datasel.rows.labels import TokenRow
from hf_datasel.rows.vision import is_vision_row


IMAGE_ROWS = 64  # read at a time: pixels take up far more than the files they come from


def max_tokens() -> int:
    """Padded tokens a batch. An environment variable, since a field would change datasets' fingerprint."""
    return int(os.environ.get("HF_DATASEL_MAX_TOKENS", "2048"))


def length_buckets(lengths: Sequence[int], max_tokens: int) -> Iterator[list[int]]:
    """Indices of rows of like length, longest first: see `fitting` for where a batch ends.

    Example:
        >>> list(length_buckets([3, 9, 4, 8], max_tokens=18))
        [[1, 3], [2], [0]]
    """
    order = by_length(lengths)
    start = 0
    while start < len(order):
        stop = start + fitting([lengths[i] for i in order[start:]], max_tokens)
        yield order[start:stop]
        start = stop


def by_length(lengths: Sequence[int]) -> list[int]:
    """Indices, longest first, so that a shortage of memory shows at once; equals in their order."""
    return sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))


def fitting(lengths: Sequence[int], max_tokens: int) -> int:
    """How many of the first rows go into one batch: at most `max_tokens` with padding, a tenth of them padding.

    Args:
        lengths: tokens of each row, falling.
        max_tokens: padded tokens a batch. The first row goes in however long it is.
    """
    total = 0
    for count, length in enumerate(lengths, start=1):
        total += length
        padded = count * lengths[0]
        if count > 1 and (padded > max_tokens or total < 0.9 * padded):
            return count - 1
    return len(lengths)


def batches_of(rows: Sequence[TokenRow], max_tokens: int) -> Iterator[list[int]]:
    """Places of the rows that cannot be scored, together; then of the others, by like length.

    Which rows meet in a batch follows from `rows` alone, so that the numbers do too, to the last bit.
    """
    without_loss = [place for place, row in enumerate(rows) if not row.scorable]
    if without_loss:
        yield without_loss
    places = [place for place, row in enumerate(rows) if row.scorable]
    for bucket in length_buckets([len(rows[place].input_ids) for place in places], max_tokens):
        yield [places[at] for at in bucket]


def encoded_batches(
    rows: Sequence[Mapping[str, Any]],
    missing: frozenset[int],
    read: Callable[[Mapping[str, Any]], TokenRow],
    max_tokens: int,
) -> Iterator[tuple[list[int], list[TokenRow]]]:
    """Places and rows of the batches that hold a missing row, and of the rows that cannot be scored.

    Rows of text are all read first. Rows with images are read `IMAGE_ROWS` at a time, which bounds the memory of their
    pixels, and not at all where none of these is missing. Batches follow from `rows` alone either way.

    Args:
        rows: B rows.
        missing: places of those wanted.
        read: a row's tokens.
        max_tokens: padded tokens a batch.
    """
    size = IMAGE_ROWS if any(is_vision_row(row) for row in rows) else max(1, len(rows))
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        if missing.isdisjoint(range(start, start + len(part))):
            continue
        encoded = [read(row) for row in part]
        for batch in batches_of(encoded, max_tokens):
            places = [start + place for place in batch]
            if missing.intersection(places):
                yield places, [encoded[place] for place in batch]
