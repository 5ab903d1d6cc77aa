"""How the loss of every row falls while a proxy is trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from hf_datasel.proxy.proxy import Proxy
from hf_datasel.rows import Labels
from hf_datasel.scorers import Perplexity
from hf_datasel.training.proxy_scoring import ProxyScoringCallback
from hf_datasel.training.snapshots import percent


if TYPE_CHECKING:
    from datasets import Dataset

TRAJECTORY = "loss_trajectory"


class LossTrajectoryCallback(ProxyScoringCallback):
    """Records each row's loss at given shares of a training, without touching it: see `ProxyScoringCallback`.

    Losses are measured in evaluation mode and over the whole pool at the same weights, so that rows can be compared;
    the losses a training step computes come from other weights for every batch. Cost: 1 F a row at each share.

    Args:
        pool: N rows.
        proxy: the model that training starts from.
        folder: where snapshots and losses go.
        at: K shares of the training.
        labels: how rows become tokens and labels; as in training.
        mode: see `ProxyScoringCallback`.

    Source: S2L (https://huggingface.co/papers/2403.07384) clusters these trajectories: see the rule `S2L`.
    """

    def __init__(
        self,
        pool: Dataset,
        proxy: Proxy,
        folder: str | Path,
        at: Sequence[float] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
        labels: Labels | None = None,
        mode: Literal["score", "snapshot"] = "score",
    ) -> None:
        super().__init__(pool, Perplexity(proxy, labels=labels or Labels()), folder, at, mode)

    @property
    def trajectories(self) -> Dataset:
        """The pool with `loss_trajectory`: K losses a row, in nats per token and in the order of training; NaN where a
        row has none.

        Raises:
            DataselError: nothing was recorded yet.
        """
        scored = self.scored
        names = [f"row_loss_at_{percent(share)}" for share in self.at]
        losses = [np.asarray(scored[name][:], np.float64) for name in names if name in scored.column_names]
        return self.pool.add_column(TRAJECTORY, np.stack(losses, axis=1).tolist())
