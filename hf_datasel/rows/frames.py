"""Videos as frames: SFTTrainer trains on images only, so frames are what is scored and what is trained on."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hf_datasel.errors import BadRow
from hf_datasel.rows.identity import undecoded
from hf_datasel.rows.pixel_budget import shrunk
from hf_datasel.rows.video import UnreadableMedia, decoded_frames
from hf_datasel.rows.vision import IMAGES, VIDEOS


if TYPE_CHECKING:
    from datasets import Dataset

logger = logging.getLogger(__name__)


def with_frames(
    dataset: Dataset, count: int = 8, rate: float | None = None, max_pixels: int | None = 448 * 448
) -> Dataset:
    """The dataset with a column `images`: frames of each row's `video`, or of all its `videos`, in order.

    Sampled once, by `Dataset.map`, which caches them for datasets on disk. Messages of plain text get a placeholder for
    each frame by themselves; other rows must hold as many placeholders as frames.

    Args:
        dataset: N rows with a column `video` (or `videos`, lists): `datasets.Video`, paths, or bytes with a path.
        count: frames of each video, evenly spaced, at most.
        rate: frames a second instead, `count` at most.
        max_pixels: width times height of a frame; larger ones are scaled down. None keeps them.

    Returns:
        The rows as they were, with `images`: an empty list, a row of text, where `videos` is one; null where there is no
        video (the row's status is then `no_image`), or one that cannot be decoded or has no frame (`unreadable_video`, as
        long as the column of videos is there to tell).

    Raises:
        BadRow: no column of videos, `image` or `images` there already, or a video is a URL or no file.
        ValueError: `count`, `rate` or `max_pixels` is not positive.
        MissingExtra: PyAV is not installed.
    """
    for name, value in (("count", count), ("rate", rate), ("max_pixels", max_pixels)):
        if value is not None and not value > 0:
            raise ValueError(f"`{name}` is {value}, expected a positive number.")
    column = next((name for name in VIDEOS if name in dataset.column_names), None)
    if column is None or not set(IMAGES).isdisjoint(dataset.column_names):
        raise BadRow(
            f"`dataset` has the columns {dataset.column_names}, expected `video` or `videos`, and no `image` or `images` yet."
        )
    from datasets import Features, Image, List

    own = dataset.features[column]
    encoded = dataset.cast_column(column, undecoded(own))  # lazily: no video is touched
    framed = encoded.map(
        _frames_of_row,
        fn_kwargs={"column": column, "count": count, "rate": rate, "max_pixels": max_pixels},
        features=Features({**encoded.features, "images": List(Image())}),
        desc="Sampling frames",
    )
    return framed.cast_column(column, own)


def sample_frames(video: Any, count: int = 8, rate: float | None = None, max_pixels: int | None = None) -> list[Any]:
    """PIL images of a video: the middles of `count` equal parts, or `rate` a second (`count` at most), in order.

    Args:
        video: a path, bytes, or `{"bytes", "path"}`.
        count: frames at most; never one twice.
        rate: frames a second.
        max_pixels: width times height of a frame; larger ones are scaled down.

    Raises:
        UnreadableMedia: the video cannot be decoded or has no frame.
        BadRow: it is a URL, or no file.
        MissingExtra: PyAV is not installed.
    """
    from PIL import Image

    def middles(num_frames: int, seconds: float) -> set[int]:
        parts = min(count, num_frames) if rate is None else min(count, num_frames, max(1, round(seconds * rate)))
        return {(2 * part + 1) * num_frames // (2 * parts) for part in range(parts)}

    return [shrunk(Image.fromarray(frame), max_pixels) for frame in decoded_frames(video, middles)]


def _frames_of_row(
    row: Mapping[str, Any], column: str, count: int, rate: float | None, max_pixels: int | None
) -> dict[str, Any]:
    videos = row[column] if column == "videos" else [row[column]]
    if videos is None or None in videos:
        return {"images": None}
    try:
        frames = [frame for video in videos for frame in sample_frames(video, count, rate, max_pixels)]
    except UnreadableMedia as error:
        logger.warning("A row has no frames: %s", error)
        return {"images": None}
    return {"images": frames}
