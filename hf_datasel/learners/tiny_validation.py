"""`tiny_validation`: a few rows that stand for a validation set, each for its share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hf_datasel.errors import BadRow
from hf_datasel.selectors.budgets import check_count
from hf_datasel.selectors.clusters import cluster
from hf_datasel.selectors.embeddings import read_embeddings


if TYPE_CHECKING:
    from datasets import Dataset

WEIGHT = "validation_weight"


def tiny_validation(
    validation: Dataset, size: int = 100, embedding: str | None = "embedding", seed: int = 42
) -> Dataset:
    """The row nearest to the centre of each cluster of a validation set, with the cluster's share as `validation_weight`.

    Rows without an embedding stand for nothing. Copies are one direction, so there may be fewer rows than `size`. A set of
    at most `size` rows comes back whole, with equal weights.

    Args:
        validation: rows of the target task's validation split, never of its test split.
        size: T, clusters of k-means, on directions.
        embedding: column of lists of D numbers. None takes all rows with equal weights, whatever `size`.
        seed: of the start.

    Raises:
        BadBudget: `size` is no whole number of at least 1, or there is no such column.
        BadRow: there are no rows.

    Source: https://huggingface.co/papers/2312.10302 (anchors of NUGGETS: k-means, the nearest row to each centre).

    Example:
        >>> from datasets import Dataset
        >>> rows = Dataset.from_dict({"text": list("abcd"), "embedding": [[1, 0.1], [1, 0], [1, -0.1], [0, 1]]})
        >>> tiny_validation(rows, size=2).select_columns(["text", "validation_weight"])[:]
        {'text': ['b', 'd'], 'validation_weight': [0.75, 0.25]}
    """
    check_count("size", size)
    if not len(validation):
        raise BadRow("`validation` has no rows, expected at least one.")
    if embedding is None or len(validation) <= size:
        return _weighted(validation, np.full(len(validation), 1 / len(validation)))
    rows, vectors = read_embeddings(validation, embedding)
    labels, centroids = cluster(vectors, min(size, len(rows)), seed)
    cosines = (vectors * centroids[labels]).sum(1)
    medoids = [rows[np.flatnonzero(labels == its)[cosines[labels == its].argmax()]] for its in range(len(centroids))]
    order = np.argsort(medoids)
    weights = np.bincount(labels)[order] / len(rows)
    return _weighted(validation.select(np.array(medoids)[order]), weights)


def _weighted(rows: Dataset, weights: np.ndarray) -> Dataset:
    if WEIGHT in rows.column_names:
        rows = rows.remove_columns(WEIGHT)
    return rows.add_column(WEIGHT, weights.tolist())
