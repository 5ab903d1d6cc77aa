"""What a frozen encoder made of images, kept in a folder when asked: for other scorers, other proxies and other runs."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Callable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch

from hf_datasel.errors import DataselError


VARIABLE = "HF_DATASEL_IMAGE_FEATURES"  # not a field of the proxy: that would change datasets' fingerprint


def kept(encoder: torch.nn.Module, given: Sequence[torch.Tensor], encode: Callable[[], Any]) -> Any:
    """What `encode` gives for these inputs: from the folder that `HF_DATASEL_IMAGE_FEATURES` names, if it is there.

    Files are named by content: the encoder's weights and configuration, and the images of one batch. The same rows in the same
    batches find them again, whatever scores them, and get the same numbers to the last bit; nothing is ever out of date.
    Without the variable nothing is kept.

    Args:
        encoder: frozen.
        given: tensors it is called with.
        encode: calls it.

    Raises:
        DataselError: a file cannot be read.
    """
    folder = os.environ.get(VARIABLE)
    if not folder:
        return encode()
    path = Path(folder) / f"{_digest(encoder, given)}.pt"
    if path.is_file():
        return _read(path, given[0].device)
    output = encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{uuid.uuid4().hex}")
    torch.save(_plain(output), partial)
    os.replace(partial, path)  # whole or not at all, whoever else writes it
    return output


def _digest(encoder: torch.nn.Module, given: Sequence[torch.Tensor]) -> str:
    import transformers

    if "_datasel_digest" not in encoder.__dict__:
        weights = blake2b(digest_size=16)
        for name, value in encoder.state_dict().items():
            weights.update(f"{name}:{value.dtype}:{tuple(value.shape)};".encode() + _bytes(value))
        encoder.__dict__["_datasel_digest"] = weights.hexdigest()
    config: Any = getattr(encoder, "config", None)
    how = [
        encoder.__dict__["_datasel_digest"], f"{type(encoder).__module__}.{type(encoder).__name__}",
        transformers.__version__, str(config), getattr(config, "_attn_implementation", None),
        *((str(value.dtype), tuple(value.shape)) for value in given),
    ]  # fmt: skip
    digest = blake2b(repr(how).encode(), digest_size=16)
    for value in given:
        digest.update(_bytes(value))
    return digest.hexdigest()


def _bytes(value: torch.Tensor) -> bytes:
    return bytes(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())


def _plain(output: Any) -> Any:
    """Tensors, tuples and names alone, which `torch.load` reads without running code of the file."""
    if hasattr(output, "to_tuple"):
        kind = type(output)
        return {"module": kind.__module__, "name": kind.__name__, "fields": dict(output)}
    return output


def _read(path: Path, device: torch.device) -> Any:
    from transformers.utils.generic import ModelOutput

    try:
        found = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # whatever unpickling a broken file leads to
        raise DataselError(
            f"`{VARIABLE}` holds {str(path)!r}, which cannot be read ({type(error).__name__}), expected features of images. "
            f"Delete this file: its images are encoded again, nothing else is lost."
        ) from error
    if isinstance(found, dict):  # the encoder's module is loaded, and its outputs' with it
        kind = getattr(sys.modules.get(found["module"]), found["name"], None)
        if not (isinstance(kind, type) and issubclass(kind, ModelOutput)):  # a name in a file may be that of anything
            raise DataselError(
                f"`{VARIABLE}` holds {str(path)!r}, which names {found['module']}.{found['name']}, expected an output of a model. "
                f"Delete this file, and see who can write to that folder."
            )
        return kind(**found["fields"])
    return found
