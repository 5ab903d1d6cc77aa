"""Optical flow: how much moves between the frames of a video."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from hf_datasel.contracts import Batch, Columns
from hf_datasel.errors import MissingExtra
from hf_datasel.rows.pixels import MEDIA_COLUMNS, frames_of
from hf_datasel.rows.video import Frame, UnreadableMedia
from hf_datasel.scorers.goal.batches import columns_of, unbatched


SIZE = 224  # pixels of a side


@dataclass(frozen=True)
class OpticalFlow:
    """Mean length of the motion between neighbouring frames, in pixels of a frame of 224 x 224. Higher means keep.

    Cost: no forward pass; about 70 ms a row of 8 frames on one core, and decoding. A row of one image moves by 0 and says
    so in its status. A row without media, or with media that cannot be read, gets NaN. (The authors take 0 there, too.)

    Args:
        num_frames: frames that are looked at, evenly spread over the video or the list of images.

    Writes:
        `optical_flow`, `optical_flow_status` (`"ok"`, `"one_frame"`, `"no_media"`, `"unreadable_media"`),
        `frame_diversity` (mean absolute difference of neighbouring grey frames, 0 to 1).

    Raises:
        ValueError: `num_frames` is below 2.
        MissingExtra: OpenCV is not installed; or PyAV, and a row holds a video file.

    Source: https://huggingface.co/papers/2603.12478, Eq. 3; number and size of frames, and the settings of Farneback's
        method, from its released code.

    Example:
        >>> still = np.zeros((60, 60), np.uint8)
        >>> found = OpticalFlow()({"images": [[still], []]})
        >>> found["optical_flow"], found["optical_flow_status"]
        (array([ 0., nan]), ['one_frame', 'no_media'])
    """

    num_frames: int = 8

    columns = ("optical_flow", "optical_flow_status", "frame_diversity")
    algo_version = 1

    def __post_init__(self) -> None:
        if not isinstance(self.num_frames, int) or self.num_frames < 2:
            raise ValueError(
                f"`num_frames` is {self.num_frames!r}, expected at least 2, to have a motion between them."
            )

    @property
    def spec(self) -> dict[str, Any]:
        """JSON-like account of what decides the numbers."""
        return {"scorer": "OpticalFlow", "algo_version": self.algo_version, "num_frames": self.num_frames}

    def __call__(self, batch: Batch, rank: int | None = None) -> Columns:
        """Score B rows (or one): see the class."""
        found, size, single = columns_of(batch, MEDIA_COLUMNS)
        rows = [self._row({name: values[i] for name, values in found.items()}) for i in range(size)]
        return unbatched(
            {
                "optical_flow": np.array([flow for flow, _, _ in rows], dtype=np.float64),
                "optical_flow_status": [status for _, status, _ in rows],
                "frame_diversity": np.array([diversity for _, _, diversity in rows], dtype=np.float64),
            },
            single,
        )

    def _row(self, row: Mapping[str, Any]) -> tuple[float, str, float]:
        try:
            frames = frames_of(row, self.num_frames)
        except UnreadableMedia:
            return float("nan"), "unreadable_media", float("nan")
        if not frames:
            return float("nan"), "no_media", float("nan")
        if len(frames) == 1:
            return 0.0, "one_frame", 0.0
        grey = grey_frames(frames)
        return mean_flow(grey), "ok", mean_difference(grey)


def grey_frames(frames: Sequence[Frame]) -> list[npt.NDArray[np.uint8]]:
    """The frames in grey, 224 x 224."""
    cv2 = _opencv()
    return [
        cv2.resize(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), (SIZE, SIZE), interpolation=cv2.INTER_AREA)
        for frame in frames
    ]


def mean_flow(grey: Sequence[npt.NDArray[np.uint8]]) -> float:
    """Mean over neighbours, and over pixels, of the length of Farneback's flow, in pixels."""
    cv2 = _opencv()
    lengths = []
    for before, after in pairwise(grey):
        flow = cv2.calcOpticalFlowFarneback(before, after, None, 0.5, 2, 15, 2, 5, 1.1, 0)
        lengths.append(float(np.hypot(flow[..., 0], flow[..., 1]).mean(dtype=np.float64)))
    return float(np.mean(lengths))


def mean_difference(grey: Sequence[npt.NDArray[np.uint8]]) -> float:
    """Mean over neighbours, and over pixels, of the absolute difference, as a share of white.

    Example:
        >>> black, white = np.zeros((2, 2), np.uint8), np.full((2, 2), 255, np.uint8)
        >>> mean_difference([black, white, white])
        0.5
    """
    pairs = pairwise(grey)
    return float(np.mean([np.abs(after.astype(np.int16) - before).mean() / 255 for before, after in pairs]))


def _opencv() -> Any:
    try:
        import cv2
    except ImportError as error:
        raise MissingExtra("Optical flow needs OpenCV. Install it with: pip install 'hf_datasel[flow]'") from error
    return cv2
