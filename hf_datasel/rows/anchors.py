"""Anchors: the small target-task set whose loss is the yardstick. Drawn stratified, kept apart from the pool."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from numbers import Integral
from typing import TYPE_CHECKING, Any

from hf_datasel.errors import BadRow, OverlapError, close_to, shown
from hf_datasel.rows.identity import MEDIA_COLUMNS, content_only, row_digest


if TYPE_CHECKING:
    from datasets import Dataset


def stratified(dataset: Dataset, size: int = 100, by: str | None = None, seed: int = 0) -> Dataset:
    """Draw `size` rows whose shares of each stratum follow the dataset's.

    Seats go by largest remainder, ties by stratum name. Within a stratum a keyed hash of the row's content picks, so
    the draw does not depend on row order.

    Args:
        dataset: the held-out rows to draw from.
        size: A, how many.
        by: the column that names the stratum; `None` draws from the whole.
        seed: another seed, another draw.

    Raises:
        BadRow: fewer rows than `size`, no column `by`, or a seed that is no whole number.

    Source: OST C.2, 100 of a held-out 500 (https://huggingface.co/papers/2605.07488); largest remainder is our choice.

    Example:
        >>> from datasets import Dataset
        >>> held_out = Dataset.from_dict({"text": list("abcdef"), "kind": ["x"] * 4 + ["y"] * 2})
        >>> sorted(stratified(held_out, size=3, by="kind")["kind"])
        ['x', 'x', 'y']
    """
    if isinstance(size, bool) or not isinstance(size, Integral) or not 1 <= size <= len(dataset):
        raise BadRow(
            f"`size` is {shown(size)}, expected a whole number of 1 to {len(dataset)}, the rows there are to draw anchors from."
        )
    if by is not None and by not in dataset.column_names:
        raise BadRow(
            f"`by` is {shown(by)}, expected one of the columns {dataset.column_names}.{close_to(by, dataset.column_names)}"
        )
    if isinstance(seed, bool) or not isinstance(seed, Integral) or not -(2**63) <= seed < 2**63:
        raise BadRow(f"`seed` is {shown(seed)}, expected a whole number of at most 64 bits.")
    strata = [str(value) for value in dataset[by]] if by is not None else [""] * len(dataset)
    key = int(seed).to_bytes(8, "little", signed=True)
    order = [blake2b(row_digest(row).encode(), digest_size=8, key=key).digest() for row in content_only(dataset)]
    members: dict[str, list[int]] = {}
    for index in sorted(range(len(dataset)), key=lambda i: (order[i], i)):
        members.setdefault(strata[index], []).append(index)
    seats = largest_remainder({name: len(rows) for name, rows in members.items()}, size)
    return dataset.select(sorted(index for name, rows in members.items() for index in rows[: seats[name]]))


def largest_remainder(counts: Mapping[str, int], size: int) -> dict[str, int]:
    """Divide `size` seats in proportion to `counts`, in exact integers; ties go by name.

    Example:
        >>> largest_remainder({"a": 5, "b": 3, "c": 2}, 4)
        {'a': 2, 'b': 1, 'c': 1}
    """
    total = sum(counts.values())
    seats = {name: size * count // total for name, count in counts.items()}
    by_remainder = sorted(counts, key=lambda name: (-(size * counts[name] % total), name))
    for name in by_remainder[: size - sum(seats.values())]:
        seats[name] += 1
    return seats


def refuse_overlap(anchors: Dataset | Iterable[Mapping[str, Any]], **others: Dataset) -> None:
    """Refuse anchors that also occur in the pool or in an evaluation set.

    Args:
        anchors: A rows.
        others: datasets by name, for the message.

    Raises:
        OverlapError: names the dataset, how many rows it shares and the first of them.
    """
    digests = {row_digest(row) for row in anchors}
    for name, dataset in others.items():
        shared = [i for i, row in enumerate(content_only(dataset)) if row_digest(row) in digests]
        if shared:
            raise OverlapError(
                f"`{name}` shares {len(shared)} rows with `anchors` (first: row {shared[0]}), expected none. A utility "
                f"measured on rows that are themselves scored or evaluated on says nothing: drop them from `{name}`, "
                f"or draw other anchors."
            )


def content_rows(dataset: Dataset, keep: str | None = None, text_field: str = "text") -> list[dict[str, Any]]:
    """The rows as plain dicts of training content (media encoded), with the column `keep` beside."""
    # A null image stays: a row without its image is not one of text.
    rows = [
        {name: value for name, value in row.items() if value is not None or name in MEDIA_COLUMNS}
        for row in content_only(dataset, text_field)
    ]
    if keep is not None:
        if keep not in dataset.column_names:
            raise BadRow(
                f"`anchors` has no column {keep!r}, expected one of {dataset.column_names}.{close_to(keep, dataset.column_names)}"
            )
        for row, value in zip(rows, dataset[keep], strict=True):
            row[keep] = value
    return rows
