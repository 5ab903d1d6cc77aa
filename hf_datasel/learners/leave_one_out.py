"""`LeaveOneOut`: what the anchors lose when a row is left out of training, by training without it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm.auto import tqdm

from hf_datasel.contracts import Scores
from hf_datasel.errors import DataselError
from hf_datasel.proxy import Proxy
from hf_datasel.proxy.batch_size import max_tokens
from hf_datasel.rows import Labels, row_digest
from hf_datasel.rows.identity import content_only
from hf_datasel.scorers.looked_up import LookedUp
from hf_datasel.scorers.with_anchors import anchors_spec, plain_anchors
from hf_datasel.scorers.with_proxy import spec_of
from hf_datasel.training.warm_up import WarmUp


if TYPE_CHECKING:
    from datasets import Dataset

logger = logging.getLogger(__name__)

COLUMNS = ("leave_one_out", "leave_one_out_status")


@dataclass(frozen=True)
class LeaveOneOut:
    """Anchor loss without a row minus with it, in nats per token, by N + 1 trainings: the truth other scores approach.

    Higher means keep. Says what it costs before it begins. Cost: N + 1 times `training`, and (N + 1) A F.

    Args:
        proxy: what every training starts from.
        anchors: A rows of the target task.
        training: the training, the same each time. With a `batch_size` of N every step sees all rows, and leaving one out
            changes nothing but that; with a smaller one, the batches behind it change as well.
        folder: for the models; those that are finished there are not trained again.
        max_rows: refuse larger pools, for their cost.
        labels: how rows become tokens and labels.

    Raises:
        DataselError: the pool has more than `max_rows` rows.

    Source: the definition; https://huggingface.co/papers/2605.07488, Fig. 2 (a) holds influence functions against it.

    Example:
        >>> LeaveOneOut(Proxy("m"), [{"prompt": "1 + 1 =", "completion": " 2"}], WarmUp(steps=10), "runs/loo").max_rows
        200
    """

    proxy: Proxy
    anchors: Dataset | Sequence[Mapping[str, Any]]
    training: WarmUp
    folder: str
    max_rows: int = 200
    labels: Labels = Labels()  # noqa: RUF009 (frozen)

    columns = COLUMNS
    algo_version = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "anchors", plain_anchors(self.anchors, None, self.labels.dataset_text_field))

    @property
    def spec(self) -> dict[str, Any]:
        """JSON-like account of what decides the numbers, beside the rows it is fitted on."""
        described = {**spec_of(self), "training": asdict(self.training), "anchors": anchors_spec(self, None)}
        return {name: value for name, value in described.items() if name not in ("folder", "max_rows")}

    def fit(self, pool: Dataset) -> LookedUp:
        """Train N + 1 times; return the scorer that knows every row's value."""
        cost = (
            f"{len(pool) + 1} trainings of {self.training.num_steps(len(pool))} steps with {self.training.batch_size} rows "
            f"each, and {(len(pool) + 1) * len(self.anchors)} forward passes of anchors"
        )
        if len(pool) > self.max_rows:
            raise DataselError(
                f"`pool` has {len(pool)} rows, expected at most {self.max_rows}: leaving each out costs {cost}. Take a part "
                f"of it, or raise `max_rows`."
            )
        logger.warning("Leave-one-out costs %s.", cost)
        bar = tqdm(total=len(pool) + 1, desc="leave one out", unit="trainings")

        def measure(kept: list[int]) -> float:
            bar.update()
            return self._anchor_loss(
                pool.select(kept), "whole" if len(kept) == len(pool) else _without(kept, len(pool))
            )

        values = differences(measure, len(pool))
        bar.close()
        text_field = self.labels.dataset_text_field
        digests = [row_digest(row, text_field) for row in content_only(pool.with_format(None), text_field)]
        known = {digest: (float(value), "ok") for digest, value in zip(digests, values, strict=True)}
        return LookedUp(COLUMNS, known, self.spec, text_field)

    def _anchor_loss(self, rows: Dataset, name: str) -> float:
        import torch

        from hf_datasel.proxy.anchors import anchor_set

        trained = self.training.fit(self.proxy, rows, self.labels, Path(self.folder) / name).proxy
        loaded = trained.load(self.labels)
        anchors = anchor_set(loaded, self.anchors, self.labels, None, max_tokens())
        with torch.no_grad():
            return float(anchors.losses(loaded.parameters)[0])


def differences(measure: Callable[[list[int]], float], num_rows: int) -> Scores:
    """(N,) anchor loss without each row, minus with all of them.

    Args:
        measure: anchor loss after training on the rows of these numbers.
        num_rows: N.

    Example:
        >>> differences(lambda kept: -float(sum(kept)), 3)  # the more is kept, the lower the loss
        array([0., 1., 2.])
    """
    whole = measure(list(range(num_rows)))
    return np.array([measure([row for row in range(num_rows) if row != left]) - whole for left in range(num_rows)])


def _without(kept: list[int], num_rows: int) -> str:
    return f"without-{sum(range(num_rows)) - sum(kept)}"
