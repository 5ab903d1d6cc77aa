"""Frames of a video file: the one place that opens videos, for training and for descriptors alike."""

from __future__ import annotations

import contextlib
import io
import mmap
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hf_datasel.errors import BadRow, MissingExtra, shown


Frame = npt.NDArray[np.uint8]
"""Height x width x 3, red, green, blue, 0 to 255."""


class UnreadableMedia(BadRow):
    """A file that is missing, or is no image or video that can be decoded."""


def decoded_frames(video: Any, choose: Callable[[int, float], Collection[int]]) -> list[Frame]:
    """The chosen frames of a video, in the order they are shown. Cost: reads the file, decodes up to the last of them.

    Args:
        video: a path, bytes, or `{"bytes", "path"}`.
        choose: of the number of frames and the seconds between the first and the last: the numbers of those wanted.

    Raises:
        UnreadableMedia: the file is missing, cannot be decoded or has no frame.
        BadRow: it is a URL, or no file.
        MissingExtra: PyAV is not installed.
    """
    av = _av()
    check_video_source(video)
    try:
        count, seconds = _extent(av, video)
        wanted = choose(count, seconds) if count else ()
        found, there = _decoded(av, video, wanted)
        if there and len(found) < len(wanted):  # packets without a frame: the file was cut
            found, _ = _decoded(av, video, choose(there, seconds))
    except (av.FFmpegError, IndexError, OSError, ValueError) as error:
        raise UnreadableMedia(
            f"`video` cannot be decoded ({type(error).__name__}: {error}), expected one with frames. Replace the file, or "
            f"drop the row."
        ) from error
    if not found:
        raise UnreadableMedia("`video` has no frame, expected at least one. Replace the file, or drop the row.")
    return found


def check_video_source(video: Any) -> None:
    """Say what is no file at all: a fault of the dataset, not of one row.

    Raises:
        UnreadableMedia: neither bytes nor a path.
        BadRow: a URL, or of another type.
    """
    if isinstance(video, Mapping):
        content, path = video.get("bytes"), video.get("path")
        if content is None and path is None:
            raise UnreadableMedia("`video` has neither bytes nor path, expected one of them. Drop the row.")
        video = path if content is None else content
    if not isinstance(video, str | Path | bytes | bytearray):
        raise BadRow(
            f"`video` is of type {type(video).__name__}, expected bytes, a path or undecoded media. Cast the column to "
            f"`datasets.Video(decode=False)`."
        )
    if isinstance(video, str) and "://" in video:
        raise BadRow(
            f"`video` is {video[:80]!r}, expected bytes or a local file: nothing here goes to the network. Download it first."
        )


def _extent(av: Any, video: Any) -> tuple[int, float]:
    """Frames, counted by their packets since containers say it wrong or not at all, and seconds from first to last."""
    with _opened(av, video) as container:
        stream = container.streams.video[0]
        times = [
            packet.dts if packet.pts is None else packet.pts  # an AVI has no time of showing
            for packet in container.demux(stream)
            if packet.size and not packet.is_discard
        ]
        known = [time for time in times if time is not None]
        seconds = float((max(known) - min(known)) * stream.time_base) if known else 0.0
    return len(times), seconds


def _decoded(av: Any, video: Any, wanted: Collection[int]) -> tuple[list[Frame], int]:
    """The wanted frames, and how many were passed up to the last of them."""
    found: list[Frame] = []
    there = 0
    with _opened(av, video) as container:
        for number, frame in enumerate(container.decode(video=0)):
            there = number + 1
            if number in wanted:
                found.append(frame.to_ndarray(format="rgb24"))
                if len(found) == len(wanted):
                    break
    return found, there


@contextlib.contextmanager
def _opened(av: Any, video: Any) -> Iterator[Any]:
    """A container of the content alone, and nothing beside it: to FFmpeg a name may be an address, and some files are lists of
    others."""
    with _source(video) as source, av.open(source, options={"protocol_whitelist": "none"}) as container:
        yield container


def _source(video: Any) -> Any:
    if isinstance(video, Mapping):
        video = video["path"] if video.get("bytes") is None else video["bytes"]
    if isinstance(video, bytes | bytearray):
        return io.BytesIO(video)
    if not os.path.isfile(video):  # a pipe would be waited for
        raise FileNotFoundError(f"{shown(str(video))} is no file")
    # Not the file itself: its name would go along, by which FFmpeg knows a playlist.
    with open(video, "rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _av() -> Any:
    try:
        import av
    except ImportError as error:
        raise MissingExtra("Videos are decoded by PyAV. Install it with: pip install 'hf_datasel[videos]'") from error
    return av
