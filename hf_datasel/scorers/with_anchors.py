"""What scorers that measure rows by anchors share: the anchors as plain rows, their account, and that the pool has none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

from hf_datasel.errors import OverlapError
from hf_datasel.rows import content_rows, row_digest


def plain_anchors(anchors: Any, group: str | None, text_field: str) -> tuple[dict[str, Any], ...]:
    """The anchors as plain rows of training content, with their group.

    Raises:
        ValueError: there are none, or one has no group.
    """
    if hasattr(anchors, "column_names"):
        anchors = content_rows(anchors, group, text_field)
    rows = tuple(dict(row) for row in anchors)
    if not rows:
        raise ValueError("`anchors` has no rows, expected at least one row of the target task.")
    if group and not all(group in row for row in rows):
        raise ValueError(f"`anchor_groups` is {group!r}, expected a column every anchor has.")
    return rows


def groups_of(anchors: Sequence[Mapping[str, Any]], group: str | None) -> tuple[str, ...]:
    """Names of the anchors' groups, sorted; one without a name where there are none."""
    return tuple(sorted({str(row[group]) if group else "" for row in anchors}))


def anchors_spec(scorer: Any, group: str | None) -> dict[str, Any]:
    """How many anchors there are, and a digest of their content and groups."""
    text_field = scorer.labels.dataset_text_field
    digests = "".join(row_digest(row, text_field) + str(row.get(group or "")) for row in scorer.anchors)
    return {"rows": len(scorer.anchors), "digest": blake2b(digests.encode(), digest_size=16).hexdigest()}


def rows_spec(rows: Sequence[Mapping[str, Any]], text_field: str) -> dict[str, Any]:
    """How many rows there are, and a digest of their content."""
    digests = "".join(row_digest(row, text_field) for row in rows)
    return {"rows": len(rows), "digest": blake2b(digests.encode(), digest_size=16).hexdigest()}


def refuse_anchors(scorer: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    """Refuse rows that are among the anchors.

    Raises:
        OverlapError: one is.
    """
    text_field = scorer.labels.dataset_text_field
    known = scorer.__dict__.setdefault("_digests", frozenset(row_digest(row, text_field) for row in scorer.anchors))
    for row in rows:
        if row_digest(row, text_field) in known:
            raise OverlapError(
                f"`anchors` and the pool share the row {str(dict(row))[:120]!r}, expected none. A row measured by itself "
                f"always helps: drop it from the pool, or draw other anchors (see `refuse_overlap`)."
            )
