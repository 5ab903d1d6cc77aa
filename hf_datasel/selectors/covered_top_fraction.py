"""`CoveredTopFraction`: the best rows of every region of a pool that carries no groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from hf_datasel.contracts import Indices, Scores
from hf_datasel.errors import BadBudget, shown
from hf_datasel.selectors.budgets import check_fraction, check_seed, rows_in
from hf_datasel.selectors.clusters import check_clusters, cluster
from hf_datasel.selectors.columns import read_numbers
from hf_datasel.selectors.embeddings import read_embeddings
from hf_datasel.selectors.ordering import best_first, place_within


if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class CoveredTopFraction:
    """Keeps the best rows within clusters of embeddings, so that no region of the pool is left out.

    K = floor(fraction * N) rows, at least 1, are shared out over the clusters by weight: whole parts, then one more for
    the largest remainders. A cluster that is due more rows than it has gives all of them, and the others share the rest
    by their weights. The ranking interleaves the clusters by (place - 0.5) / share, ties by score, then row id.

    Args:
        column: score to rank by, higher is better.
        embedding: column of lists of D numbers. Rows without one, or with zeros, are never kept.
        fraction: share of the pool to keep, above 0 and up to 1.
        shares: what a cluster weighs: its `"size"`, the sum of its positive `"anchors"` similarities, or the sum of its
            positive scores (`"utility"`).
        anchor_similarity: column of each row's similarity to the anchors, for `shares="anchors"`.
        loss: column of losses. Rows then compete by the blend: the mean of the rank of the score and the rank of minus the
            loss, over the pool; equal values share their mean rank. Rows without a loss are never kept.
        clusters: of the embeddings; None for the square root of the rows.
        seed: of the clustering.

    Raises:
        BadBudget: an option is out of range or missing; or, when ranking, a column is missing or holds something else, no
            cluster has a positive weight, or there are more clusters than rows.

    Source: ours. https://huggingface.co/papers/2605.07488 names the lack of coverage as a limit of its ranking.

    Example:
        >>> from datasets import Dataset
        >>> scored = Dataset.from_dict(
        ...     {"text": list("abcd"), "u": [9, 8, 2, 1], "e": [[1, 0], [1, 0.1], [0, 1], [0.1, 1]]}
        ... )
        >>> CoveredTopFraction("u", "e", 0.5, clusters=2).rank(scored)
        array([0, 2])
    """

    column: str
    embedding: str
    fraction: float
    shares: Literal["size", "anchors", "utility"] = "size"
    anchor_similarity: str | None = None
    loss: str | None = None
    clusters: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check_seed(self.seed)
        check_fraction("fraction", self.fraction)
        check_clusters(self.clusters)
        if self.shares not in ("size", "anchors", "utility"):
            raise BadBudget(
                f"`shares` is {shown(self.shares)}, expected 'size', 'anchors' or 'utility'. Name one of them."
            )
        if (self.shares == "anchors") != (self.anchor_similarity is not None):
            raise BadBudget(
                f"`anchor_similarity` is {shown(self.anchor_similarity)} and `shares` {shown(self.shares)}, expected a column with "
                f"'anchors' and None otherwise. Give both, or neither."
            )

    def rank(self, scored: Dataset) -> Indices:
        """Row numbers of the kept rows, clusters interleaved, shape (K,) or shorter."""
        best = self._best(scored)
        rows, vectors = read_embeddings(scored, self.embedding)
        of_row = np.full(len(scored), -1, dtype=np.int64)
        of_row[rows] = cluster(vectors, self.clusters, self.seed)[0]
        best = best[of_row[best] >= 0]
        num_clusters = int(of_row.max()) + 1
        there = np.bincount(of_row[best], minlength=num_clusters)
        due = shared_out(rows_in(self.fraction, len(scored)), self._weights(scored, rows, of_row[rows]), there)
        labels = of_row[best]
        place = place_within(labels)
        is_kept = place < due[labels]
        kept, place = best[is_kept], place[is_kept]
        # A quotient of whole numbers, so that equal quantiles are equal floats and the order of `best` decides.
        return kept[np.argsort((2 * place + 1) / (2 * due[of_row[kept]]), kind="stable")]

    def _best(self, scored: Dataset) -> Indices:
        best = best_first(scored, self.column)
        if self.loss is None:
            return best
        losses = read_numbers(scored, self.loss, "loss")
        best = best[~np.isnan(losses[best])]
        if not len(best):
            raise BadBudget(
                f"`loss` is {shown(self.loss)}, which is NaN in every row with a score, expected at least one loss. Score the "
                f"pool again."
            )
        blend = mean_ranks(read_numbers(scored, self.column)[best]) + mean_ranks(-losses[best])
        # `best` is in order of score and id, which a stable sort leaves to decide ties.
        return best[np.argsort(-blend, kind="stable")]

    def _weights(self, scored: Dataset, rows: Indices, labels: npt.NDArray[np.int64]) -> Scores:
        if self.shares == "size":
            return np.bincount(labels).astype(np.float64)
        name, argument = (self.column, "column") if self.anchor_similarity is None else (
            self.anchor_similarity, "anchor_similarity")  # fmt: skip
        mass = np.maximum(np.nan_to_num(read_numbers(scored, name, argument)[rows], nan=0.0, posinf=np.inf), 0.0)
        if np.isinf(mass).any():
            raise BadBudget(
                f"`{argument}` is {name!r}, which holds infinite numbers, expected finite ones. Clip them."
            )
        weights = np.bincount(labels, weights=mass).astype(np.float64)
        if not weights.any():
            raise BadBudget(
                f"`{argument}` is {name!r}, which is positive in no row, expected some positive ones to share the budget "
                f"by. Use `shares='size'`."
            )
        return weights


def mean_ranks(values: Scores) -> Scores:
    """Rank of each value, smallest 1; equal values share their mean rank. Shape as `values`.

    Example:
        >>> mean_ranks(np.array([0.5, 2.0, 0.5]))
        array([1.5, 3. , 1.5])
    """
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: Scores = (last - (counts - 1) / 2)[which]
    return ranks


def shared_out(count: int, weights: Scores, capacity: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Whole parts of `count` by weight, none above its capacity, (k,). Clusters without weight get nothing.

    Example:
        >>> shared_out(10, np.array([8.0, 1.0, 1.0]), np.array([4, 9, 9]))
        array([4, 3, 3])
    """
    due = np.zeros(len(weights))
    is_open = (weights > 0) & (capacity > 0)
    left = min(count, int(capacity[is_open].sum()))
    while is_open.any():
        due[is_open] = left * weights[is_open] / weights[is_open].sum()
        is_full = is_open & (due >= capacity)
        if not is_full.any():
            break
        due[is_full] = capacity[is_full]
        left -= int(capacity[is_full].sum())
        is_open &= ~is_full
    # A hair above, so that a whole part stays one however its quotient was rounded.
    whole = np.minimum(np.floor(due + 1e-9).astype(np.int64), capacity)
    remainders = np.round(due - whole, 9)
    missing = min(count, int(capacity[weights > 0].sum())) - int(whole.sum())
    can_give = (whole < capacity) & (weights > 0)
    largest_first = np.argsort(-remainders, kind="stable")
    whole[largest_first[can_give[largest_first]][:missing]] += 1
    return whole
