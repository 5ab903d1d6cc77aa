"""Which rows a model has been trained on so far, told by their tokens and by what they show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hf_datasel.rows.labels import Labels, token_row


if TYPE_CHECKING:
    import torch
    from datasets import Dataset
    from torch.nn import Module

    from hf_datasel.rows.reader import Reader

UNSURE = np.zeros(2, dtype=np.uint64)  # digests are written once each, so this is no list of them
PIXELS = ("pixel_values", "pixel_attention_mask")  # the second says that the first has a row for every row


class SeenRows:
    """Watches the batches a model is trained on: no event of `TrainerCallback` carries them.

    Reads the tokens and pixels of each batch and touches nothing. Rows are known by a digest of both, padding aside, so
    rows of the same content count as one.

    Args:
        model: as the Trainer calls it.
    """

    def __init__(self, model: Module) -> None:
        self.digests: set[int] = set()
        self.is_sure = True
        """Whether every batch so far could be told apart into rows."""
        config = getattr(getattr(model, "module", model), "config", None)
        self._image_token = getattr(config, "image_token_id", getattr(config, "image_token_index", None))
        self._handle = model.register_forward_pre_hook(self._look, with_kwargs=True)

    def close(self) -> None:
        """Stop watching."""
        self._handle.remove()

    def save(self, path: Path) -> None:
        """Write what was seen so far, or that it is not sure."""
        np.save(path, np.array(sorted(self.digests) if self.is_sure else UNSURE, dtype=np.uint64))

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
        pixels = _shares(kwargs, [row.count(self._image_token) for row in rows])
        if pixels is None:
            self.is_sure = False
            return
        self.digests.update(row_digest(row, its) for row, its in zip(rows, pixels, strict=True))


def row_digest(tokens: Sequence[int], pixels: torch.Tensor | None = None) -> int:
    """Digest of a row's tokens and pixels; zeros, with which images are padded to one size, do not count."""
    digest = blake2b(np.asarray(tokens, dtype=np.int64).tobytes(), digest_size=8)
    if pixels is not None:
        shown = pixels.detach().bfloat16().float().flatten()  # as some trainers round them before the model sees them
        digest.update(shown[shown != 0].cpu().numpy().tobytes())
    return int.from_bytes(digest.digest(), "little")


def _shares(inputs: Mapping[str, Any], pieces: Sequence[int]) -> list[torch.Tensor | None] | None:
    """What each row shows, of a batch's pixels; `None` where rows cannot be told apart.

    Args:
        inputs: of the model.
        pieces: tokens of images in each row. Models give every image, or patch, as many tokens as any other, or each row
            has one image.
    """
    pixels = inputs.get(PIXELS[0])
    if pixels is None:
        return [None] * len(pieces)
    one_each = PIXELS[1] in inputs or (len(pixels) == len(pieces) and all(pieces))
    sizes = [1 if one_each else count * len(pixels) // max(sum(pieces), 1) for count in pieces]
    if sum(sizes) != len(pixels):
        return None
    return [its if count else None for its, count in zip(pixels.split(sizes), pieces, strict=True)]


def read_seen(folder: Path) -> set[int] | None:
    """What all ranks have seen, as `save` wrote it; `None` where nobody looked, or one of them is not sure."""
    found = [np.load(path) for path in folder.glob("seen-*.npy")]
    if not found or any(np.array_equal(its, UNSURE) for its in found):
        return None
    return {digest for its in found for digest in its.tolist()}


def flags(rows: Dataset, reader: Reader, labels: Labels, seen: set[int]) -> list[bool]:
    """Whether each row is among those seen, as SFT would have prepared it."""
    encoded = (token_row(row, reader, labels) for row in rows)
    return [row_digest(row.input_ids, row.media.get(PIXELS[0])) in seen for row in encoded]
