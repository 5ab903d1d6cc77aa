"""`Coverage`: centres of a pool in any space of features, so that rows near them can be told from rows far off."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hf_datasel.errors import BadRow, MissingExtra
from hf_datasel.scorers.goal.features import CoveredBy, Matrix, stacked
from hf_datasel.scorers.goal.text import Fidelity, check_fidelity
from hf_datasel.selectors.budgets import check_count
from hf_datasel.selectors.columns import read_column
from hf_datasel.selectors.ordering import hash_order


if TYPE_CHECKING:
    from datasets import Dataset

GOAL_FEATURES = (
    "text_features", "vision_features", "temporal_necessity", "optical_flow", "frame_diversity", "answer_difficulty",
    "video_dependence",
)  # fmt: skip


@dataclass(frozen=True)
class Coverage:
    """Finds K centres of the pool by mini-batch k-means. Cost: no forward pass; N x D numbers in memory.

    Args:
        features: columns of numbers, or of lists of numbers of one length (an embedding). `GOAL_FEATURES` are the paper's.
        clusters: K.
        batch_size: rows of a mini-batch.
        seed: of the start and the batches.
        fidelity: `"corrected"` scales each feature to mean 0 and deviation 1, takes a missing one as its mean, and starts
            from rows drawn from the whole pool in an order that a shuffle does not change. `"authors"` scales nothing, so
            that perplexity, up to e^30, decides the distance alone; takes a missing value as 0; and starts from the first
            K rows.

    Raises:
        BadBudget: `clusters` or `batch_size` is no whole number of at least 1, or a column is not there.
        BadRow: there are fewer rows with features than centres, or a column holds lists of unequal length.
        MissingExtra: scikit-learn is not installed.

    Source: https://huggingface.co/papers/2603.12478, Eq. 8; the released merge has 4096 clusters, mini-batches of 8192, 3
        starts, reassignment 0.01, seed 42. Unlike Eq. 8, it does not look at the source.

    Example:
        >>> Coverage(["embedding"], clusters=512)
        Coverage(features=('embedding',), clusters=512, batch_size=8192, seed=42, fidelity='corrected')
    """

    features: tuple[str, ...] = GOAL_FEATURES
    clusters: int = 4096
    batch_size: int = 8192
    seed: int = 42
    fidelity: Fidelity = "corrected"

    columns = CoveredBy.columns
    algo_version = 1

    def __post_init__(self) -> None:
        features = self.features
        if isinstance(features, str) or not features:
            raise ValueError(f"`features` is {features!r}, expected a list of at least one column.")
        object.__setattr__(self, "features", tuple(features))
        check_count("clusters", self.clusters, unit="clusters")
        check_count("batch_size", self.batch_size)
        check_fidelity(self.fidelity)

    @property
    def reads(self) -> tuple[str, ...]:
        """Columns that it, and the scorer it returns, read beside a row's content."""
        return self.features

    needs = reads

    @property
    def spec(self) -> dict[str, Any]:
        """JSON-like account of what decides the numbers, beside the rows it is fitted on."""
        return {"scorer": "Coverage", "algo_version": self.algo_version, **asdict(self)}

    def fit(self, pool: Dataset) -> CoveredBy:
        """Find the centres of the N rows of `pool`; return the scorer that measures against them."""
        try:
            from sklearn.cluster import MiniBatchKMeans
        except ImportError as error:
            raise MissingExtra(
                "Coverage needs scikit-learn. Install it: pip install 'hf_datasel[clusters]'"
            ) from error
        values, widths = self._values(pool)
        authors = self.fidelity == "authors"
        if not authors:
            values = values[hash_order(pool, self.seed)]
        values = values[~np.isnan(values).all(axis=1)]
        if len(values) < self.clusters:
            raise BadRow(
                f"`clusters` is {self.clusters}, expected at most {len(values)}, the rows of the pool that have features. "
                f"Lower it: with as many centres as rows, each row covers itself."
            )
        shift, scale = (np.zeros(values.shape[1]), np.ones(values.shape[1])) if authors else _standard(values)
        points = np.where(np.isnan(values), 0.0, (values - shift) / scale)
        found = MiniBatchKMeans(
            self.clusters, init=points[: self.clusters] if authors else "random", n_init=1 if authors else 3,
            batch_size=self.batch_size, random_state=self.seed, reassignment_ratio=0.01,
            init_size=max(3 * self.batch_size, 3 * self.clusters),
        ).fit(points)  # fmt: skip
        return CoveredBy(self.features, widths, np.asarray(found.cluster_centers_, dtype=np.float64), shift, scale)

    def _values(self, pool: Dataset) -> tuple[Matrix, tuple[int, ...]]:
        columns = {name: read_column(pool, name, "features").to_pylist() for name in self.features}
        widths = tuple(_width(values) for values in columns.values())
        return stacked(columns, widths), widths


def _width(values: list[Any]) -> int:
    """Numbers in each row of a column, by the first row that has any."""
    first = next((value for value in values if value is not None), None)
    return len(first) if isinstance(first, list) else 1


def _standard(values: Matrix) -> tuple[Any, Any]:
    there = ~np.isnan(values)
    counts = np.maximum(there.sum(axis=0), 1)
    mean = np.where(there, values, 0.0).sum(axis=0) / counts
    deviation = np.sqrt(np.where(there, (values - mean) ** 2, 0.0).sum(axis=0) / counts)
    return mean, np.where(deviation > 1e-12, deviation, 1.0)
