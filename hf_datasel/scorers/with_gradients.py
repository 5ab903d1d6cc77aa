"""What scorers that read the gradient store share: features of rows and anchors, and how they are compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np

from hf_datasel.contracts import Scores
from hf_datasel.errors import BadRow
from hf_datasel.scorers.with_anchors import anchors_spec, groups_of


if TYPE_CHECKING:
    from hf_datasel.proxy.gradient_store import Features, GradientReader

OWN = ("proxy", "labels", "store", "anchors")
ROWS_AT_ONCE = 256  # of features in memory


def gradient_spec(scorer: Any) -> dict[str, Any]:
    """JSON-like account of what decides the numbers: every field, the anchors by digest, the store without its place."""
    plain = {f.name: getattr(scorer, f.name) for f in fields(scorer) if f.name not in OWN}
    described = {"scorer": type(scorer).__name__, "algo_version": scorer.algo_version, **plain}
    described |= {"labels": vars(scorer.labels), "proxy": scorer.proxy.spec, "store": scorer.store.spec}
    if hasattr(scorer, "anchors"):
        described["anchors"] = anchors_spec(scorer, getattr(scorer, "anchor_groups", None))
    return described


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
