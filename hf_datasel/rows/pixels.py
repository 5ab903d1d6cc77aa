"""The frames of a row: of a video file, or of a list of images, as arrays of pixels."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hf_datasel.errors import BadRow, MissingExtra


Frame = npt.NDArray[np.uint8]
"""Height x width x 3, red, green, blue, 0 to 255."""

MEDIA_COLUMNS = ("videos", "video", "images", "image")


class UnreadableMedia(BadRow):
    """A file that is there and is no image or video that can be decoded."""


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
        BadRow: the media are of another kind.
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
        UnreadableMedia: the file is missing or cannot be decoded.
        BadRow: it is no file.
        MissingExtra: PyAV is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise MissingExtra("Videos are decoded by PyAV. Install it with: pip install 'hf_datasel[videos]'") from error
    try:
        with av.open(_file(video)) as container:
            claimed = container.streams.video[0].frames
        wanted = spread_over(claimed, limit)
        found, there = _decoded(av, video, wanted)
        if not wanted or len(found) < len(wanted):
            # Some containers do not say how many frames they hold, or say it wrong.
            there = there if wanted else _decoded(av, video, [])[1]
            found, _ = _decoded(av, video, spread_over(there, limit))
    except (av.error.FFmpegError, IndexError, OSError) as error:
        raise UnreadableMedia(f"a video cannot be decoded: {error}. Replace the file, or drop the row.") from error
    return found


def _decoded(av: Any, video: Any, wanted: Sequence[int]) -> tuple[list[Frame], int]:
    """The wanted frames, and how many were passed; all of them where none is wanted."""
    found: list[Frame] = []
    there = 0
    with av.open(_file(video)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            there = number + 1
            if number in wanted:
                found.append(frame.to_ndarray(format="rgb24"))
                if len(found) == len(wanted):
                    break
    return found, there


def _file(video: Any) -> Any:
    if isinstance(video, str | Path):
        return str(video)
    if isinstance(video, Mapping) and (video.get("bytes") is not None or video.get("path") is not None):
        return io.BytesIO(video["bytes"]) if video.get("bytes") is not None else str(video["path"])
    raise BadRow(
        f"`row` holds a video of type {type(video).__name__}, expected a path or undecoded media. Cast the column to "
        f"`Video(decode=False)`."
    )


def _pixels(image: Any) -> Frame:
    if isinstance(image, str | Path | Mapping):
        try:
            from PIL import Image
        except ImportError as error:
            raise MissingExtra(
                "Images are read by Pillow. Install it with: pip install 'hf_datasel[images]'"
            ) from error
        try:
            with Image.open(_file(image)) as opened:
                return np.asarray(opened.convert("RGB"))
        except (OSError, SyntaxError, ValueError) as error:  # SyntaxError: Pillow's word for a broken PNG
            raise UnreadableMedia(f"an image cannot be read: {error}. Replace the file, or drop the row.") from error
    if hasattr(image, "convert"):
        return np.asarray(image.convert("RGB"))
    if isinstance(image, np.ndarray | list):
        pixels = np.asarray(image)
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
