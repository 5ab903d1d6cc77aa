"""The first picture of a row, small: its first image, or the first frame of its video."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from hf_datasel.errors import BadRow, MissingExtra
from hf_datasel.rows.pixels import frames_of


SIDE = 240  # pixels of the longer side


def first_picture(row: Mapping[str, Any]) -> tuple[npt.NDArray[np.uint8] | None, str]:
    """A thumbnail of height x width x 3, at most `SIDE` pixels a side, and what to say of it: both empty without media.

    A picture that cannot be had is no reason to show nothing of a row: there is then no array, and the words say why.

    Args:
        row: with `image`, `images`, `video` or `videos`, as files, undecoded media or pictures.

    Example:
        >>> first_picture({"text": "no picture"})
        (None, '')
        >>> first_picture({"image": {"bytes": b"no image", "path": None}})
        (None, 'image that cannot be read')
    """
    kind = next((name for name in ("video", "image") if row.get(f"{name}s") or row.get(name) is not None), None)
    if kind is None:
        return None, ""
    try:
        frames = frames_of(row, 1)
    except MissingExtra as error:
        return None, str(error)
    except BadRow:
        return None, f"{kind} that cannot be read"
    return (_small(frames[0]), _words(row, kind)) if frames else (None, "")


def _words(row: Mapping[str, Any], kind: str) -> str:
    """What beside the picture shown there is: nothing to say of a single image."""
    if kind == "video":
        return "first frame"
    number = len(row.get("images") or [None])
    return f"first of {number} images" if number > 1 else ""


def _small(frame: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    from PIL import Image

    image = Image.fromarray(frame)
    image.thumbnail((SIDE, SIDE))
    return np.asarray(image)
