"""What scorers that read the gradient store share: features of rows and anchors, and how they are compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np

from hf_datasel.contracts import Scores
from hf_datasel.errors import BadRow, OverlapError
from hf_datasel.rows import content_rows, row_digest


if TYPE_CHECKING:
    from hf_datasel.proxy.gradient_store import Features, GradientReader

OWN = ("proxy", "labels", "store", "anchors")
ROWS_AT_ONCE = 256  # of features in memory


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


def gradient_spec(scorer: Any) -> dict[str, Any]:
    """JSON-like account of what decides the numbers: every field, the anchors by digest, the store without its place."""
    plain = {f.name: getattr(scorer, f.name) for f in fields(scorer) if f.name not in OWN}
    described = {"scorer": type(scorer).__name__, "algo_version": scorer.algo_version, **plain}
    described |= {"labels": vars(scorer.labels), "proxy": scorer.proxy.spec, "store": scorer.store.spec}
    if hasattr(scorer, "anchors"):
        group, text_field = getattr(scorer, "anchor_groups", None), scorer.labels.dataset_text_field
        digests = "".join(row_digest(row, text_field) + str(row.get(group or "")) for row in scorer.anchors)
        digest = blake2b(digests.encode(), digest_size=16).hexdigest()
        described["anchors"] = {"rows": len(scorer.anchors), "digest": digest}
    return described


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


def anchor_features(scorer: Any, reader: GradientReader) -> Features:
    """Plain gradients of the anchors, each of which must have one.

    Raises:
        BadRow: some have none; names them and why.
    """
    found = reader(scorer.anchors)
    bad = [f"anchor {i}: {status}" for i, status in enumerate(found.status) if not found.scored[i]]
    if bad:
        raise BadRow(
            f"`anchors` has {len(bad)} of {len(found.status)} rows without a gradient ({'; '.join(bad[:5])}), expected one "
            f"of every row. Remove them, or raise `max_length` (now {scorer.labels.max_length})."
        )
    return found


def group_means(values: Scores, anchors: Sequence[Mapping[str, Any]], group: str | None) -> Scores:
    """(B, G) means over each group's anchors of values (B, A), groups as `groups_of` names them.

    Example:
        >>> group_means(np.array([[0.2, 0.4, 0.9, -0.1]]), [{"t": "a"}, {"t": "a"}, {"t": "b"}, {"t": "b"}], "t")
        array([[0.3, 0.4]])
    """
    names = np.array([str(row[group]) if group else "" for row in anchors])
    return np.stack([values[:, names == name].mean(1) for name in groups_of(anchors, group)], 1)


def chunks_of(missing: frozenset[int]) -> Iterator[list[int]]:
    """Places of rows wanted, as many at a time as fit into memory. No row's numbers depend on its company."""
    places = sorted(missing)
    for start in range(0, len(places), ROWS_AT_ONCE):
        yield places[start : start + ROWS_AT_ONCE]
