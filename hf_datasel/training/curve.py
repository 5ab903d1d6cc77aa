"""How good a model is after so many training samples: measured on copies, without touching the training."""

from __future__ import annotations

import shutil
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from hf_datasel.errors import BadRecipe
from hf_datasel.training import snapshots


class CurveCallback(TrainerCallback):
    """Measures copies of the model at even shares of a training, and after given samples; for any Trainer or SFTTrainer of one process.

    The training ends up the same to the last bit with and without it. Cost at each point: saving and loading the model
    once, and what `measure` costs.

    Args:
        measure: figures of a saved model, by the folder it is in.
        folder: for the copies; each is removed once it is measured.
        points: how many at even shares, the last one at the end.
        samples: further counts of training samples: measured after the first step that reaches them.

    Raises:
        BadRecipe: `points` is below 1; or, when training begins, the weights or rows are spread over processes.

    Source: https://huggingface.co/papers/2603.12478, whose runs save five times.

    Example:
        >>> from hf_datasel import Labels
        >>> from hf_datasel.training import heldout_loss
        >>> evaluation = [{"prompt": "1 + 1 =", "completion": " 2"}]
        >>> callback = CurveCallback(lambda folder: {"loss": heldout_loss(folder, evaluation, Labels())}, "curve")
        >>> callback.points
        5

        Then `SFTTrainer(..., callbacks=[callback]).train()`, and `callback.curve` holds as many points.
    """

    def __init__(
        self,
        measure: Callable[[str], Mapping[str, float]],
        folder: str | Path,
        points: int = 5,
        samples: Sequence[int] = (),
    ) -> None:
        if points < 1:
            raise BadRecipe(f"`points` is {points}, expected at least 1.")
        self.measure, self.folder, self.points, self.samples = measure, Path(folder), points, tuple(samples)
        self.curve: list[dict[str, Any]] = []
        self._steps: set[int] = set()
        self._rows, self._batches = 0, 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Find the steps to stop at."""
        if args.world_size > 1 or snapshots.is_sharded(kwargs["model"]):
            raise BadRecipe(
                f"`world_size` is {args.world_size}, expected one process with whole weights. Train each arm in one."
            )
        self.curve = []
        self._steps = {ceil(state.max_steps * point / self.points) for point in range(1, self.points + 1)}
        loader = kwargs["train_dataloader"]
        self._rows, self._batches = len(loader.dataset), len(loader)
        for wanted in self.samples:
            steps = range(1, state.max_steps + 1)
            reached = bisect_left(steps, wanted, key=lambda step: self._samples(step, args))
            self._steps |= set(steps[reached : reached + 1])

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Measure at a step asked for. Gradients are gone by now, the next step's random numbers not yet drawn."""
        if state.global_step not in self._steps:
            return
        place = self.folder / f"step-{state.global_step}"
        with snapshots.undisturbed():
            kwargs["model"].save_pretrained(place)
            kwargs["processing_class"].save_pretrained(place)
            figures = self.measure(str(place))
        shutil.rmtree(place)
        samples = self._samples(state.global_step, args)
        self.curve.append({"samples": samples, "step": state.global_step, **figures})

    def _samples(self, step: int, args: Any) -> int:
        return samples_after(step, self._rows, self._batches, args.train_batch_size, args.gradient_accumulation_steps)


def samples_after(step: int, rows: int, batches: int, batch_size: int, accumulated: int) -> int:
    """Training samples seen after so many optimisation steps; the last batch of a pass may be smaller.

    Args:
        step: optimisation steps.
        rows: of the training set.
        batches: of a pass.
        batch_size: rows a batch.
        accumulated: batches a step.

    Example:
        >>> [samples_after(step, rows=10, batches=3, batch_size=4, accumulated=1) for step in (1, 2, 3, 4)]
        [4, 8, 10, 14]
        >>> [samples_after(step, rows=10, batches=3, batch_size=4, accumulated=2) for step in (1, 2, 3)]
        [8, 10, 18]
    """
    passes, rest = divmod(step, ceil(batches / accumulated))
    return passes * rows + min(rows, rest * batch_size * accumulated)
