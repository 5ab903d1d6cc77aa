"""How rows go through the proxy together. No torch here: specs import it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from hf_datasel.rows.labels import TokenRow


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
