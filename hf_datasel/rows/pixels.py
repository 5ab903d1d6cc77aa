"""The frames of a row: of a video file, or of a list of images, as arrays of pixels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hf_datasel.errors import BadRow
from hf_datasel.rows.video import Frame, UnreadableMedia, decoded_frames
from hf_datasel.rows.vision import UnreadableImage, decoded


MEDIA_COLUMNS = ("videos", "video", "images", "image")


def spread_over(num_frames: int, limit: int) -> list[int]:
    """Numbers of at most `limit` frames, evenly spread from the first to the last.

    Example:
        >>> spread_over(5, 8), spread_over(100, 4), spread_over(9, 1)
        ([0, 1, 2, 3, 4], [0, 33, 66, 99], [0])
    """
    if num_frames <= limit:
        return list(range(num_frames))
    if limit == 1:
        return [0]
    return sorted({round(i * (num_frames - 1) / (limit - 1)) for i in range(limit)})


def frames_of(row: Mapping[str, Any], limit: int) -> list[Frame]:
    """At most `limit` frames of a row's first video, else of its images, evenly spread; none where it has no media.

    Args:
        row: with `videos`, `video`, `images` or `image`: paths, undecoded media (`{"bytes", "path"}`), PIL images, or
            arrays of height x width (x 3).
        limit: frames at most.

    Raises:
        UnreadableMedia: a file is missing or cannot be decoded.
        BadRow: the media are URLs, or of another kind.
        MissingExtra: PyAV (for videos) or Pillow (for images) is not installed.

    Example:
        >>> frames = frames_of({"images": [np.zeros((2, 3)), np.ones((2, 3, 3))]}, limit=8)
        >>> [frame.shape for frame in frames]
        [(2, 3, 3), (2, 3, 3)]
    """
    videos = _listed(row, "videos", "video")
    if videos:
        return video_frames(videos[0], limit)
    images = _listed(row, "images", "image")
    return [_pixels(images[number]) for number in spread_over(len(images), limit)]


def video_frames(video: Any, limit: int) -> list[Frame]:
    """At most `limit` frames of a video file, evenly spread. Cost: decodes the file up to the last of them.

    Args:
        video: path, or `{"bytes", "path"}`.
        limit: frames at most.

    Raises:
        UnreadableMedia: the file is missing, cannot be decoded or has no frame.
        BadRow: it is a URL, or no file.
        MissingExtra: PyAV is not installed.
    """
    return decoded_frames(video, lambda num_frames, _: spread_over(num_frames, limit))


def _pixels(image: Any) -> Frame:
    if isinstance(image, str | Path | bytes | Mapping):
        try:
            image = decoded(str(image) if isinstance(image, Path) else image)
        except UnreadableImage as error:
            raise UnreadableMedia(f"`image` cannot be read: {error}. Replace the file, or drop the row.") from error
    if hasattr(image, "convert"):
        return np.asarray(image.convert("RGB"))
    if isinstance(image, np.ndarray | list):
        try:
            pixels = np.asarray(image)
            pixels = pixels if pixels.dtype.kind in "buif" else np.empty(0)
        except ValueError:  # lists of unlike lengths
            pixels = np.empty(0)
        if pixels.ndim == 2:
            pixels = np.repeat(pixels[:, :, None], 3, axis=2)
        if pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.size:
            return pixels.astype(np.uint8)
        raise BadRow(f"`row` holds an image of shape {pixels.shape}, expected height x width (x 3). Reorder its axes.")
    raise BadRow(
        f"`row` holds an image of type {type(image).__name__}, expected a path, an image or an array of pixels."
    )


def _listed(row: Mapping[str, Any], plural: str, single: str) -> list[Any]:
    def present() -> Iterator[Any]:
        yield from row[plural] if row.get(plural) is not None else [row.get(single)]

    return [item for item in present() if item is not None]
