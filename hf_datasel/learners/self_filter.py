"""`SelfFilter`: a linear network that learns which rows a model finds hard, CoIDO's ancestor."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from hf_datasel.errors import BadRecipe
from hf_datasel.learners.weight_learning import described, draw_share, fitted
from hf_datasel.proxy.proxy import Proxy
from hf_datasel.rows.labels import Labels
from hf_datasel.scorers.coido.weight_scorer import WeightScorer
from hf_datasel.selectors.budgets import check_fraction
from hf_datasel.training.co_training import CoTraining, co_train


if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class SelfFilter:
    """Learns a linear weight of a row's features beside a model in training; hard rows get low weights.

    The same training as CoIDO's with its importance loss alone, and a network of one factor for each number. Cost of the fit:
    1 F + 1 B a row and pass; of a score: no forward pass. `NeighbourPenalty` picks from its scores.

    Args:
        proxy: the model trained beside the network. Stays as it is.
        embeddings: columns of lists of numbers.
        scores: columns of numbers. The paper has either the one or the other.
        fraction: share of the pool to learn from; the paper learns from all.
        training: how model and network are trained.
        labels: how rows become tokens and labels; give training the same.
        seed: of the draw and the training.

    Raises:
        BadRecipe: no column is named.
        BadBudget: `fraction` is out of range; or, when fitting, a column is not there.
        BadRow: when fitting, too few rows are left to learn from.

    Source: Self-Filter, https://huggingface.co/papers/2402.12501. A design after it: the weights of a batch are 1 together as in
        CoIDO, where Self-Filter has them s together, which is a larger learning rate.

    Example:
        >>> SelfFilter(Proxy("HuggingFaceTB/SmolLM2-135M"), embeddings=["embedding"]).fraction
        1.0
    """

    proxy: Proxy
    embeddings: tuple[str, ...] = ("clip_image", "clip_text")
    scores: tuple[str, ...] = ()
    fraction: float = 1.0
    training: CoTraining = field(default_factory=CoTraining)
    labels: Labels = Labels()  # noqa: RUF009 (frozen)
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("embeddings", "scores"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        check_fraction("fraction", self.fraction)
        if not self.embeddings and not self.scores:
            raise BadRecipe("`embeddings` and `scores` are empty, expected the name of at least one column.")

    columns = ("self_filter", "self_filter_status", "self_filter_weight")
    algo_version = 1

    @property
    def reads(self) -> tuple[str, ...]:
        """Columns that it, and the scorer it returns, read beside a row's content."""
        return (*self.embeddings, *self.scores)

    needs = reads

    @property
    def spec(self) -> dict[str, Any]:
        """JSON-like account of what decides the numbers, beside the rows it is fitted on."""
        return {"scorer": "SelfFilter", "algo_version": self.algo_version, **described(self)}

    def fit(self, pool: Dataset) -> WeightScorer:
        """Learn on a share of the N rows of `pool`; return the scorer."""
        self.training.check()
        share = draw_share(pool, self.proxy, self.labels, self.embeddings, self.scores, self.fraction, self.seed)
        network = {"kind": "linear", "widths": list(share.builder.widths), "scores": len(self.scores)}
        trained = co_train(
            self.proxy, share.rows, self.labels, share.features, np.full(len(share.rows), -1), network, self.training,
            coupling="importance", seed=self.seed,
        )  # fmt: skip
        return fitted("self_filter", share, network, trained, self.spec)
