"""`LossTrajectory`: trains a copy of the proxy and notes how each row's loss falls meanwhile."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_datasel.errors import BadRecipe
from hf_datasel.proxy import Proxy
from hf_datasel.rows import Labels, row_digest
from hf_datasel.rows.identity import content_only
from hf_datasel.scorers.looked_up import LookedUp
from hf_datasel.scorers.with_proxy import spec_of
from hf_datasel.training.warm_up import RECORD, WarmUp


if TYPE_CHECKING:
    from datasets import Dataset

TEN = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


@dataclass(frozen=True)
class LossTrajectory:
    """A row's mean loss at K moments of a training of the proxy, in nats per token: a vector for the rule `S2L`.

    It says how a row is learned, not whether it is worth keeping. Where you train the proxy anyway,
    `LossTrajectoryCallback` notes the same without a training of its own. Cost: the training, and K F a row.

    Args:
        proxy: the small model; stays as it is.
        at: K shares of the training, above 0 or with the start as 0, up to 1.
        training: of the copy; by default three passes over the pool.
        folder: for the snapshots and losses; what is finished there is not done again.
        labels: how rows become tokens and labels; give training the same.

    Writes:
        `loss_trajectory` (K losses in the order of training, NaN where the row has none) and `loss_trajectory_status`.

    Raises:
        BadRecipe: `at` is empty, out of range or not apart; or, when fitting, the training takes no step.
        BadRow: when fitting, no row of the pool has a loss.

    Source: S2L (https://huggingface.co/papers/2403.07384): a small model of the target's family, 3 passes. How many
        checkpoints it takes is not set here; ten, evenly spaced, is ours.

    Example:
        >>> LossTrajectory(Proxy("EleutherAI/pythia-70m")).columns
        ('loss_trajectory', 'loss_trajectory_status')
    """

    proxy: Proxy
    at: tuple[float, ...] = TEN
    training: WarmUp = WarmUp(fraction=1.0, epochs=3.0)  # noqa: RUF009 (frozen)
    folder: str = "runs/loss_trajectory"
    labels: Labels = Labels()  # noqa: RUF009 (frozen)

    columns = ("loss_trajectory", "loss_trajectory_status")
    vectors = columns[:1]
    algo_version = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "at", tuple(sorted(float(share) for share in self.at)))
        if not self.at or not all(0 <= share <= 1 for share in self.at) or len(set(self.at)) < len(self.at):
            raise BadRecipe(f"`at` is {self.at}, expected different shares of the training, 0 to 1.")

    @property
    def spec(self) -> dict[str, Any]:
        """JSON-like account of what decides the numbers, beside the rows it is fitted on."""
        described = {**spec_of(self), "training": asdict(self.training)}
        del described["folder"]
        return described

    def fit(self, pool: Dataset) -> LookedUp:
        """Train, and note the losses of the N rows of `pool` on the way; return the scorer that knows them."""
        from hf_datasel.training.loss_trajectory import LossTrajectoryCallback

        if not self.training.num_steps(len(pool)):
            raise BadRecipe("`training` takes no step, expected at least one. Raise its `fraction` or its `steps`.")
        field = self.labels.dataset_text_field
        rows = content_only(pool.with_format(None), field)
        recording = LossTrajectoryCallback(rows, self.proxy, Path(self.folder) / "losses", self.at, self.labels)
        trained = Path(self.folder) / "proxy"
        if len(recording.snapshots) < len(self.at):  # other shares than last time, or a run that was stopped
            (trained / RECORD).unlink(missing_ok=True)
        self.training.fit(self.proxy, rows, self.labels, trained, [recording])
        statuses = recording.score_snapshots()[recording.columns[1]][:]
        found = zip(recording.trajectories[self.columns[0]][:], statuses, strict=True)
        known = {row_digest(row, field): its for row, its in zip(rows, found, strict=True)}
        return LookedUp(self.columns, known, self.spec, field, len(self.at))
