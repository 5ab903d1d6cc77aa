"""Thumbnails of a row's images and videos, as data URIs; where one cannot be had, the reason in words."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from hf_datasel.errors import BadRow, MissingExtra
from hf_datasel.rows.pixels import frames_of
from hf_datasel.rows.video import UnreadableMedia
from hf_datasel.rows.vision import UnreadableImage, decoded


SIDE = 320  # pixels of the longer side: twice what a card shows, for dense screens
QUALITY = 72
MOST = 4  # pictures of one row


def pictures(row: Mapping[str, Any]) -> list[list[str]]:
    """At most four thumbnails of a row: `[data URI, what there is to say]`, with an empty URI where there is no picture.

    Args:
        row: with `image`, `images`, `video` or `videos`, undecoded (`{"bytes", "path"}`), paths, or PIL images.

    Raises:
        MissingExtra: Pillow is not installed.

    Example:
        >>> pictures({"image": {"bytes": b"no image", "path": "cat.png"}})
        [['', 'cat.png: not readable (UnidentifiedImageError)']]
        >>> pictures({"text": "no pictures"})
        []
    """
    if any(row.get(name) for name in ("videos", "video")) and not row.get("images"):
        return _frames(row)
    if "images" not in row and "image" not in row:
        return []
    images = list(row["images"]) if row.get("images") is not None else [row.get("image")]
    found = [_picture(image) for image in images[:MOST]]
    if len(images) > MOST:
        found[-1][1] += f" and {len(images) - MOST} more"
    return found


def _picture(image: Any) -> list[str]:
    name = _name(image)
    if image is None:
        return ["", "image missing"]
    try:
        return [_thumbnail(decoded(image)), name]
    except BadRow:
        return ["", f"{name or 'image'}: not fetched, it is on the network"]
    except UnreadableImage as error:
        why = "no such file" if "FileNotFound" in str(error) else f"not readable ({str(error).split(':')[0]})"
        return ["", f"{name or 'image'}: {why}"]


def _frames(row: Mapping[str, Any]) -> list[list[str]]:
    from PIL import Image

    try:
        frames = frames_of(row, MOST)
    except MissingExtra:
        return [["", "video: PyAV is not installed"]]
    except (BadRow, UnreadableMedia, UnreadableImage) as error:
        return [["", f"video not readable ({type(error).__name__})"]]
    return [[_thumbnail(Image.fromarray(frame)), f"frame {number}"] for number, frame in enumerate(frames, start=1)]


def _thumbnail(image: Any) -> str:
    from PIL import Image

    if image.mode != "RGB":
        # Transparent pictures are mostly drawings with dark lines: on white they can be seen in either theme.
        image = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(ground, image).convert("RGB")
    small = image.copy()
    small.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    small.save(buffer, "WEBP", quality=QUALITY)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _name(image: Any) -> str:
    path = image.get("path") if isinstance(image, Mapping) else image if isinstance(image, str) else None
    return PurePath(str(path)).name[:80] if path else ""
