"""`CoIDO`: importance and diversity, learned together by a small network beside a model in training."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from hf_datasel.errors import BadRecipe
from hf_datasel.learners.row_clusters import CLUSTERINGS, Clustering, cluster_rows, clustering_vectors
from hf_datasel.learners.weight_learning import described, draw_share, fitted
from hf_datasel.proxy.proxy import Proxy
from hf_datasel.rows.labels import Labels
from hf_datasel.scorers.coido.weight_scorer import INCOMPLETE, Incomplete, WeightScorer
from hf_datasel.scorers.goal.text import Fidelity, check_fidelity
from hf_datasel.selectors.budgets import check_count, check_fraction
from hf_datasel.training.co_training import CoTraining, co_train


if TYPE_CHECKING:
    from datasets import Dataset

Network = Literal["mlp", "attention", "transformer"]


@dataclass(frozen=True)
class CoIDO:
    """Learns, on a share of the pool, a network that weighs rows by how hard they are to learn, the clusters evenly.

    The network reads a row's features, not the row. It is trained together with the model: the softmax of a batch's weights
    weighs the rows' losses (so that hard rows get low weights), and the clusters' mean weights are kept alike. Any row with the
    same features is then scored without model or training. Cost of the fit: 1 F + 1 B a row of the share and pass; of a score:
    no forward pass. Measure the features first: `CLIPFeatures`, a reward, a rating; for text any embedding and scores.

    Args:
        proxy: the model trained beside the network: the target itself as in the paper, or a smaller one. Stays as it is.
        embeddings: columns of lists of numbers.
        scores: columns of numbers.
        fraction: p, share of the pool to learn from.
        clusters: M. `clustering` and `neighbours`: see `cluster_rows`.
        coupling: of the losses: `"uncertainty"`, the method; `"importance"`, `"sum"`, `"learned"`, its ablations.
        network: `"mlp"`, or `"attention"` or `"transformer"`, its ablations; `width` and `dropout` of its layers.
        training: how model and network are trained.
        incomplete: what a row gets without an embedding that others have: see `WeightScorer`.
        labels: how rows become tokens and labels; give training the same.
        seed: of the draw, the clusters and the training.
        fidelity: `"corrected"` follows the paper. `"authors"` has three formulas of its later release: the standard deviation of
            the clusters' means, rows that count by their tokens, and clusters by scores scaled within each row.

    Raises:
        BadRecipe: a value out of range; lists them all.
        BadBudget: `fraction` or a count is out of range; or, when fitting, a column is not there.
        BadRow: when fitting, too few rows are left to learn from, or to cluster.

    Source: CoIDO (NeurIPS 2025), 3 and B.2: p = 0.2 (Tab. 13), M = 20 (Tab. 8). It takes the fraction of each task with the
        lowest weights: `TopFractionPerGroup("coido", task, 0.2)`, or `TopCountPerGroup` with the quotas of its release.

    Example:
        >>> CoIDO(Proxy("HuggingFaceTB/SmolLM2-135M"), embeddings=["embedding"], scores=["row_loss"]).clusters
        20
    """

    proxy: Proxy
    embeddings: tuple[str, ...] = ("clip_image", "clip_text")
    scores: tuple[str, ...] = ("clip_score", "reward", "judge_rating")
    fraction: float = 0.2
    clusters: int = 20
    clustering: Clustering = "spectral"
    neighbours: int = 30
    coupling: Literal["uncertainty", "importance", "sum", "learned"] = "uncertainty"
    network: Network = "mlp"
    width: int = 256
    dropout: float = 0.1
    training: CoTraining = field(default_factory=CoTraining)
    incomplete: Incomplete = "not_scored"
    labels: Labels = Labels()  # noqa: RUF009 (frozen)
    seed: int = 0
    fidelity: Fidelity = "corrected"

    def __post_init__(self) -> None:
        for name in ("embeddings", "scores"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        check_fraction("fraction", self.fraction)
        for name in ("clusters", "neighbours", "width"):
            check_count(name, getattr(self, name), unit=name)
        check_fidelity(self.fidelity)
        problems = []
        for name, known in (
            ("clustering", CLUSTERINGS), ("coupling", ("uncertainty", "importance", "sum", "learned")),
            ("network", ("mlp", "attention", "transformer")), ("incomplete", INCOMPLETE),
        ):  # fmt: skip
            if getattr(self, name) not in known:
                problems.append(f"`{name}` is {getattr(self, name)!r}, expected one of {known}.")
        if not 0 <= self.dropout < 1:
            problems.append(f"`dropout` is {self.dropout}, expected 0 to below 1.")
        if not self.embeddings and not self.scores:
            problems.append("`embeddings` and `scores` are empty, expected the name of at least one column.")
        if problems:
            raise BadRecipe("\n".join(problems))

    columns = ("coido", "coido_status", "coido_weight")
    algo_version = 1

    @property
    def reads(self) -> tuple[str, ...]:
        """Columns that it, and the scorer it returns, read beside a row's content."""
        return (*self.embeddings, *self.scores)

    needs = reads

    @property
    def spec(self) -> dict[str, Any]:
        """JSON-like account of what decides the numbers, beside the rows it is fitted on."""
        return {"scorer": "CoIDO", "algo_version": self.algo_version, **described(self)}

    def fit(self, pool: Dataset) -> WeightScorer:
        """Learn on a share of the N rows of `pool`; return the scorer."""
        self.training.check()
        share = draw_share(pool, self.proxy, self.labels, self.embeddings, self.scores, self.fraction, self.seed)
        vectors = clustering_vectors(share.features, fidelity=self.fidelity)
        clusters = (
            np.full(len(share.rows), -1)
            if self.coupling == "importance"  # nothing asks for them
            else cluster_rows(vectors, self.clusters, self.clustering, self.neighbours, self.seed)
        )
        authors = self.fidelity == "authors"
        trained = co_train(
            self.proxy, share.rows, self.labels, share.features, clusters, self._network(share.builder.widths),
            self.training, self.coupling, "deviation" if authors else "population", "token" if authors else "row", self.seed,
        )  # fmt: skip
        return fitted("coido", share, self._network(share.builder.widths), trained, self.spec, self.incomplete)

    def _network(self, widths: tuple[int, ...]) -> dict[str, Any]:
        return {
            "kind": self.network, "widths": list(widths), "scores": len(self.scores), "width": self.width,
            "dropout": self.dropout,
        }  # fmt: skip
