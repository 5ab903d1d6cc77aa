"""The picture shown with a row: small, the first, and words where there is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hf_datasel.reports.row_pictures import SIDE, first_picture


def test_of_a_video_it_is_the_first_frame_made_small(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt = 480, 320, "yuv420p"
        for number in range(4):
            pixels = np.full((320, 480, 3), 255 if number == 0 else 0, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    for row in ({"video": str(path)}, {"videos": [{"bytes": path.read_bytes(), "path": None}]}):
        picture, remark = first_picture(row)
        assert picture is not None and picture.shape == (SIDE * 320 // 480, SIDE, 3) and remark == "first frame"
        assert picture.mean() > 240  # the first frame alone is white


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    assert first_picture({"video": str(tmp_path / "gone.mp4")}) == (None, "video that cannot be read")
    assert first_picture({"images": ["https://example.org/cat.png"]}) == (None, "image that cannot be read")
    assert first_picture({"images": [], "video": None, "text": "words"}) == (None, "")
