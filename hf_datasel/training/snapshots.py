"""Snapshots of a model in training: written whole, without disturbing the training by a single bit."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hf_datasel.errors import DataselError
from hf_datasel.proxy.proxy import Proxy
from hf_datasel.rows.labels import Labels
from hf_datasel.rows.reader import load_reader


if TYPE_CHECKING:
    from torch.nn import Module

    from hf_datasel.rows.reader import Reader

MODEL = "model"
RECORD = "snapshot.json"
MODEL_FILES = {".safetensors", ".json", ".jinja", ".model", ".txt", ".py"}


@dataclass(frozen=True)
class Snapshot:
    """The weights of a proxy part of the way through its training.

    Args:
        folder: holds `model/` and, once scored, what was found.
        fraction: of the training, 0 to 1.
        step: optimisation steps taken.
        learning_rate: of the step that training takes next.
    """

    folder: Path
    fraction: float
    step: int
    learning_rate: float

    def proxy(self, start: Proxy) -> Proxy:
        """The proxy `start` as it was here: an adapter goes on top of it, other weights replace its own."""
        model = self.folder / MODEL
        if (model / "adapter_config.json").is_file():
            return replace(start, adapter=str(model))
        return replace(start, model=str(model), revision=None, adapter=None)

    def forget(self) -> None:
        """Remove the weights an earlier run left. Scores and journals are keyed by the weights, and may stay."""
        (self.folder / RECORD).unlink(missing_ok=True)
        shutil.rmtree(self.folder / MODEL, ignore_errors=True)
        for path in self.folder.glob("seen-*.npy"):
            path.unlink()

    def finish(self) -> None:
        """Write the record, last: it says that the weights beside it are complete."""
        record = {name: value for name, value in asdict(self).items() if name != "folder"}
        partial = self.folder / f"{RECORD}.partial"
        partial.write_text(json.dumps(record) + "\n", encoding="utf-8")
        os.replace(partial, self.folder / RECORD)


def find_snapshots(folder: Path) -> list[Snapshot]:
    """The finished snapshots in a folder, in the order of training."""
    records = [(path.parent, json.loads(path.read_text(encoding="utf-8"))) for path in folder.glob(f"*/{RECORD}")]
    return sorted((Snapshot(place, **record) for place, record in records), key=lambda found: found.fraction)


def percent(fraction: float) -> str:
    """A share of training, for names of columns and folders.

    Example:
        >>> percent(0.05), percent(0.005), percent(1.0)
        ('5pct', '0.5pct', '100pct')
    """
    return f"{float(100 * Fraction(str(fraction))):g}pct"


def step_of(fraction: float, max_steps: int) -> int:
    """The optimisation step after which a share of the training is done.

    Example:
        >>> step_of(0.05, 100), step_of(0.05, 30), step_of(0.0, 30)
        (5, 2, 0)
    """
    return ceil(Fraction(str(fraction)) * max_steps)


def write_model(folder: Path, model: Any, tokenizer: Reader | None, start: Proxy, optimizer: Any | None) -> None:
    """Save weights and tokenizer; with `optimizer`, its state too, as Trainer's own checkpoints hold it."""
    import torch

    model.save_pretrained(folder)
    if tokenizer is None:
        code = {"revision": start.revision, "trust_remote_code": start.trust_remote_code}
        tokenizer = load_reader(start.model, Labels(), **code)
    tokenizer.save_pretrained(folder)
    if optimizer is not None:
        torch.save(optimizer.state_dict(), folder / "optimizer.pt")


def copy_checkpoint(checkpoint: Path, folder: Path, with_optimizer: bool = False) -> None:
    """Keep what scoring needs of a checkpoint that Trainer wrote, and may soon delete.

    Raises:
        DataselError: the checkpoint holds no whole weights.
    """
    wanted = {"optimizer.pt"} if with_optimizer else set()
    files = [path for path in checkpoint.iterdir() if path.suffix in MODEL_FILES or path.name in wanted]
    if not any(path.suffix == ".safetensors" for path in files):
        raise DataselError(
            f"`mode` is 'snapshot' and {str(checkpoint)!r} holds no safetensors, expected whole weights. Let the launcher "
            f"gather them (DeepSpeed: `stage3_gather_16bit_weights_on_model_save`; FSDP: "
            f"`fsdp_state_dict_type: FULL_STATE_DICT`)."
        )
    folder.mkdir(parents=True)
    for path in files:
        shutil.copy2(path, folder / path.name)


def is_sharded(model: Module) -> bool:
    """Whether the parameters are spread over processes (FSDP, DeepSpeed ZeRO-3), so that none can run the model alone."""
    from torch.distributed.fsdp import FullyShardedDataParallel
    from torch.distributed.tensor import DTensor

    if any(isinstance(module, FullyShardedDataParallel) for module in model.modules()):
        return True
    return any(isinstance(parameter, DTensor) or hasattr(parameter, "ds_id") for parameter in model.parameters())


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Give every random number generator back as it was: dropout and row order go on as if nothing had run."""
    import torch

    python, numbers, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numbers)
        torch.set_rng_state(cpu)
        if devices:
            torch.cuda.set_rng_state_all(devices)
