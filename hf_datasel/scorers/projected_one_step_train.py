"""First-order One-Step-Train from stored gradients: any anchors, at no pass over the pool."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from hf_datasel.contracts import Batch, Columns, Scores
from hf_datasel.proxy import Proxy
from hf_datasel.proxy.gradient_store import GradientReader, GradientStore
from hf_datasel.rows import Labels
from hf_datasel.scorers.with_anchors import plain_anchors, refuse_anchors
from hf_datasel.scorers.with_gradients import anchor_features, chunks_of, gradient_spec
from hf_datasel.scorers.with_proxy import call, restore, state_of


if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class ProjectedOneStepTrain:
    """Utility to first order: fall in anchor loss after one SGD step on the row alone, in nats per token, up to the error
    of a random projection, which it states. Higher means keep.

    For many sets of anchors over one pool: each costs its own rows' F + B, and a product. For one set of anchors
    `OneStepTrain` is cheaper and exact. Cost: 1 F + 1 B a row, once; 0 for rows that the store has.

    Args:
        proxy: the small model that scores.
        anchors: A rows of the target task, in any format of TRL's SFT.
        store: where projected gradients lie. Its K decides the error.
        learning_rate: eta. Scales the utility and does not change its order.
        reduction: of a row's loss over its target tokens. Anchors are always means.
        labels: how rows become tokens and labels; give training the same.

    Writes:
        `projected_utility` (the score), `projected_utility_status`, `projected_utility_error` (its standard error over
        projections, at most: eta ((|g_i|^2 |g_V|^2 + <g_i, g_V>^2) / K)^0.5, with the projected numbers), and
        `projected_row_loss` (nats). Errors of rows are not independent: like rows are off alike, so that ranks are
        better than the errors let expect.

    Raises:
        OverlapError: an anchor occurs in the pool.
        BadRow: an anchor has no gradient.

    Source: https://huggingface.co/papers/2605.07488, Eq. 3; the error: variance of feature hashing,
        https://huggingface.co/papers/0902.2206.

    Example:
        >>> anchors = [{"prompt": "1 + 1 = ", "completion": "2"}]
        >>> store = GradientStore("runs/gradients", dimensions=4096)
        >>> ProjectedOneStepTrain(Proxy("HuggingFaceTB/SmolLM2-135M"), anchors, store).columns[0]
        'projected_utility'
    """

    proxy: Proxy
    anchors: Dataset | Sequence[Mapping[str, Any]]
    store: GradientStore
    learning_rate: float = 1e-5
    reduction: Literal["mean", "sum"] = "mean"
    labels: Labels = Labels()  # noqa: RUF009 (frozen)

    columns = ("projected_utility", "projected_utility_status", "projected_utility_error", "projected_row_loss")
    keeps_journal = True
    algo_version = 1

    def __post_init__(self) -> None:
        if self.reduction not in ("mean", "sum"):
            raise ValueError(f"`reduction` is {self.reduction!r}, expected 'mean' or 'sum'.")
        if not self.learning_rate > 0:
            raise ValueError(f"`learning_rate` is {self.learning_rate}, expected a positive step size such as 1e-5.")
        object.__setattr__(self, "anchors", plain_anchors(self.anchors, None, self.labels.dataset_text_field))

    @property
    def spec(self) -> dict[str, Any]:
        """JSON-like account of what decides the numbers, for provenance and for keys."""
        return gradient_spec(self)

    def __getstate__(self) -> dict[str, Any]:
        return state_of(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        restore(self, state)

    def __call__(self, batch: Batch, rank: int | None = None) -> Columns:
        """Score B rows (or one): see the class."""
        return call(self, batch, rank)

    def _score(
        self, rank: int | None, rows: Sequence[Mapping[str, Any]], missing: frozenset[int]
    ) -> Iterator[tuple[list[int], Columns]]:
        refuse_anchors(self, rows)
        if "_loaded" not in self.__dict__:
            # Anchors are means over their tokens whatever `reduction` says of rows.
            of_anchors = anchor_features(self, GradientReader(self.store, self.proxy, self.labels, rank=rank))
            reader = GradientReader(self.store, self.proxy, self.labels, "sgd", self.reduction, rank)
            mean = np.mean(of_anchors.directions * of_anchors.lengths[:, None], axis=0)
            self.__dict__["_loaded"] = (reader, mean)
        reader, mean = self.__dict__["_loaded"]
        for places in chunks_of(missing):
            found = reader([rows[place] for place in places])
            product, error = projected_product(found.directions, found.lengths, mean)
            utility = self.learning_rate * product
            yield (
                places,
                dict(
                    zip(self.columns, (utility, found.status, self.learning_rate * error, found.losses), strict=True)
                ),
            )


def projected_product(directions: Any, lengths: Scores, mean: Scores) -> tuple[Scores, Scores]:
    """Inner products (B,) of projected vectors with another one, and their standard errors.

    Args:
        directions: (B, K) of length 1.
        lengths: (B,) of the vectors.
        mean: (K,) the other.

    Example:
        >>> product, error = projected_product(np.eye(2), np.array([2.0, 1.0]), np.array([3.0, 0.0]))
        >>> product.tolist(), error.tolist()
        ([6.0, 0.0], [6.0, 2.1213203435596424])
    """
    product = lengths * (directions.astype(np.float64) @ mean)
    return product, np.sqrt(((lengths * np.linalg.norm(mean)) ** 2 + product**2) / directions.shape[1])
