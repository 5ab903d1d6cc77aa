"""Training of arms under one contract: the same target, settings and evaluation, other rows."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_datasel.errors import DataselError
from hf_datasel.proxy import Proxy
from hf_datasel.recipe.files import read_json, slug, write_json
from hf_datasel.recipe.schema import Recipe, TrainSection
from hf_datasel.rows import content_only, row_digest
from hf_datasel.rows.batches import answer_text
from hf_datasel.rows.identity import with_encoded_media
from hf_datasel.rows.vision import images_of, is_vision_row
from hf_datasel.runs import spec_key


if TYPE_CHECKING:
    from datasets import Dataset

    from hf_datasel.selectors import Selection

logger = logging.getLogger(__name__)

UNTRAINED = "before training"


@dataclass(frozen=True)
class Arms:
    """Trains and judges arms, one folder for each arm and seed; what is finished there is not done again.

    Args:
        recipe: with the contract in its `train` section.
        contents: digest of each row of the pool.
        folder: made if missing.
        points: how often a model is measured in training, the last time at the end; 0 measures the end alone.
        ends: rows of the arms that are compared. With protocol A, larger ones are measured where smaller ones end too.

    Raises:
        DataselError: the recipe has no `train` section.
    """

    recipe: Recipe
    contents: Sequence[str]
    folder: Path
    points: int = 0
    ends: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.recipe.train is None or self.recipe.evaluation_rows is None:
            raise DataselError(
                "`recipe` has no `train` section, expected one to train. Add it, or run `datasel select`."
            )

    def untrained(self) -> dict[str, Any]:
        """How good the target is before any training."""
        place = self.folder / "before" / "result.json"
        key = spec_key(self._judged_by())
        known = read_json(place)
        if known.get("key") != key:
            known = {"key": key, "arm": UNTRAINED, "seed": None, "rows": 0, **self._measure(self._train.target.target)}
            write_json(place, known)
        return known

    def train(self, arm: str, selection: Selection, seed: int) -> dict[str, Any]:
        """Train on what was kept, and judge. With `points`, the result holds a `curve` too."""
        train = self._train
        folder = self.folder / slug(arm) / f"seed-{seed}"
        rows = [self.contents[index] for index in selection.indices]
        decides = {"target": asdict(train.target), "rows": rows, "seed": seed, **self._judged_by()}
        shared = self._shared(selection.num_kept)
        asked = {"points": self.points, **({"shared": shared} if shared else {})} if self.points else {}
        key = spec_key(decides | asked)
        known = read_json(folder / "result.json")
        if known.get("key") == key and "flops" in known:
            return {**known, "arm": arm}
        logger.info("Training %s, seed %d, on %d rows.", arm, seed, selection.num_kept)
        (folder / "result.json").unlink(missing_ok=True)  # the model beside it is about to be another
        began = time.monotonic()
        callbacks = self._callbacks(folder, shared)
        trained = train.target.train(selection.kept, self.recipe.pool.labels, folder / "model", seed, callbacks)
        result: dict[str, Any] = {
            "key": key, "arm": arm, "seed": seed, "rows": trained.num_rows, "steps": trained.steps,
            "epochs": trained.epochs, "train_loss": trained.train_loss, "seconds": time.monotonic() - began,
            "flops": trained.flops,
        }  # fmt: skip
        for callback in callbacks:
            result["curve"] = callback.curve
        result |= self._measure(trained.folder) if not callbacks else _figures(result["curve"][-1])
        write_json(folder / "result.json", result)
        return result

    @property
    def _train(self) -> TrainSection:
        assert self.recipe.train is not None  # noqa: S101 (checked at construction)
        return self.recipe.train

    @property
    def _evaluation(self) -> Dataset:
        assert self.recipe.evaluation_rows is not None  # noqa: S101 (checked at construction)
        return self.recipe.evaluation_rows

    def _shared(self, rows: int) -> list[int]:
        """Sample counts at which arms of fewer rows end; with protocol B all arms end after the same steps."""
        target = self._train.target
        return [ceil(end * target.epochs) for end in self.ends if end < rows] if target.protocol == "A" else []

    def _callbacks(self, folder: Path, shared: Sequence[int]) -> list[Any]:
        if not self.points:
            return []
        from hf_datasel.training.curve import CurveCallback

        return [CurveCallback(self._measure, folder / "curve", self.points, shared)]

    def _judged_by(self) -> dict[str, Any]:
        """What decides a figure beside the rows trained on."""
        train = self._train
        return {
            "weights": Proxy(train.target.target, train.target.revision).digest,
            "labels": asdict(self.recipe.pool.labels),
            "evaluation": [row_digest(row) for row in content_only(self._evaluation)],
            "answers": train.max_new_tokens if train.answers else None,
        }

    def _measure(self, model: str) -> dict[str, float]:
        from hf_datasel.training import generate_answers, heldout_loss

        train, rows = self._train, self._evaluation
        measured = {"heldout_loss": heldout_loss(model, rows, self.recipe.pool.labels)}
        if train.answers:
            from hf_datasel.metrics import AnswerAccuracy

            asked = list(with_encoded_media(rows))
            seen = [images_of(row) for row in asked] if is_vision_row(rows.features) else None
            answers = generate_answers(model, [row["prompt"] for row in asked], train.max_new_tokens, images=seen)
            measured |= AnswerAccuracy().compute(predictions=answers, references=[answer_text(row) for row in asked])
        return measured


def _figures(point: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in point.items() if name not in ("samples", "step")}
