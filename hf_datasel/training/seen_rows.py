"""Which rows a model has been trained on so far, told by their tokens."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hf_datasel.rows.labels import Labels, token_row


if TYPE_CHECKING:
    from datasets import Dataset
    from torch.nn import Module

    from hf_datasel.rows.reader import Reader


class SeenRows:
    """Watches the batches a model is trained on: no event of `TrainerCallback` carries them.

    Reads the tokens of each batch and touches nothing. Rows are known by a digest of their tokens, padding aside, so two
    rows of the same tokens count as one.

    Args:
        model: as the Trainer calls it.
    """

    def __init__(self, model: Module) -> None:
        self.digests: set[int] = set()
        self._handle = model.register_forward_pre_hook(self._look, with_kwargs=True)

    def close(self) -> None:
        """Stop watching."""
        self._handle.remove()

    def save(self, path: Path) -> None:
        """Write what was seen so far."""
        np.save(path, np.array(sorted(self.digests), dtype=np.uint64))

    def _look(self, model: Module, args: Any, kwargs: dict[str, Any]) -> None:
        input_ids = kwargs.get("input_ids")
        if not model.training or input_ids is None:
            return
        rows = input_ids.tolist()
        mask = kwargs.get("attention_mask")
        if mask is not None:
            rows = [
                [token for token, real in zip(row, its, strict=True) if real]
                for row, its in zip(rows, mask.tolist(), strict=True)
            ]
        self.digests.update(token_digest(row) for row in rows)


def token_digest(tokens: Any) -> int:
    """Digest of a row's tokens."""
    return int.from_bytes(blake2b(np.asarray(tokens, dtype=np.int64).tobytes(), digest_size=8).digest(), "little")


def read_seen(folder: Path) -> set[int]:
    """What all ranks have seen, as `save` wrote it."""
    seen: set[int] = set()
    for path in folder.glob("seen-*.npy"):
        seen.update(np.load(path).tolist())
    return seen


def flags(rows: Dataset, reader: Reader, labels: Labels, seen: set[int]) -> list[bool]:
    """Whether each row is among those seen, as SFT would have prepared it."""
    return [token_digest(token_row(row, reader, labels).input_ids) in seen for row in rows]
