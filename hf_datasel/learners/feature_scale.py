"""The scale of a pool's features, which goes with whatever is learned from them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.compute as pc

from hf_datasel.errors import BadRow
from hf_datasel.scorers.coido.features import FeatureBuilder, lists_of, numbers_of
from hf_datasel.selectors.columns import read_column


if TYPE_CHECKING:
    from datasets import Dataset

logger = logging.getLogger(__name__)


def fit_builder(pool: Dataset, embeddings: Sequence[str], scores: Sequence[str]) -> FeatureBuilder:
    """Measure the scale of the scores over the N rows of `pool`, and the widths of the embeddings.

    Raises:
        BadBudget: there is no such column.
        BadRow: neither kind of column is named, or one holds something else, or an embedding is missing in all rows.

    Example:
        >>> from datasets import Dataset
        >>> fit_builder(Dataset.from_dict({"e": [[1.0, 0.0]] * 3, "s": [2.0, 4.0, 10.0]}), ["e"], ["s"]).high
        (10.0,)
    """
    if not embeddings and not scores:
        raise BadRow("`embeddings` and `scores` are empty, expected the name of at least one column to learn from.")
    widths, low, high, mean = [], [], [], []
    for name in embeddings:
        lengths = pc.list_value_length(lists_of(read_column(pool, name, "embeddings"), name)).drop_null()
        if not len(lengths):
            raise BadRow(f"`embeddings` names {name!r}, which is missing in all {len(pool)} rows, expected some.")
        widths.append(lengths[0].as_py())
    for name in scores:
        raw = numbers_of(read_column(pool, name, "scores"), name)
        known = raw[np.isfinite(raw)]
        if not len(known) or known.min() == known.max():
            logger.warning(
                "`scores` names %r, which is %s in all %d rows: it says nothing and counts as 0.", name,
                "missing" if not len(known) else f"{known[0]:g}", len(raw),
            )  # fmt: skip
        low.append(float(known.min()) if len(known) else 0.0)
        high.append(float(known.max()) if len(known) else 0.0)
        mean.append(float(known.mean()) if len(known) else 0.0)
    return FeatureBuilder(tuple(embeddings), tuple(widths), tuple(scores), tuple(low), tuple(high), tuple(mean))
