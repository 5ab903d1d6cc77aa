"""Frames of images and of real video files, and media that are broken."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from hf_datasel.errors import BadRow
from hf_datasel.rows.pixels import frames_of, spread_over, video_frames
from hf_datasel.rows.video import UnreadableMedia


@given(st.integers(0, 500), st.integers(1, 40))
def test_frames_are_spread_from_the_first_to_the_last(num_frames, limit):
    found = spread_over(num_frames, limit)
    assert len(found) == min(num_frames, limit) and found == sorted(set(found))
    assert all(0 <= number < num_frames for number in found)
    if num_frames and limit > 1:
        assert found[0] == 0 and found[-1] == num_frames - 1
        steps = np.diff(found)
        assert not len(steps) or steps.max() - steps.min() <= 1


def test_images_of_every_kind_are_the_same_pixels(tmp_path):
    image = Image.fromarray(np.arange(60, dtype=np.uint8).reshape(4, 5, 3))
    content = io.BytesIO()
    image.save(content, "PNG")
    image.save(tmp_path / "a.png")
    kinds = [image, np.asarray(image), np.asarray(image).tolist(), str(tmp_path / "a.png"), {"bytes": content.getvalue()},
             {"bytes": None, "path": str(tmp_path / "a.png")}]  # fmt: skip
    frames = frames_of({"images": kinds}, limit=9)
    assert len(frames) == 6 and all(np.array_equal(frame, np.asarray(image)) for frame in frames)
    assert np.array_equal(frames_of({"image": image}, 9)[0], np.asarray(image))
    grey = frames_of({"image": Image.new("L", (3, 2), 7)}, 9)[0]
    assert grey.shape == (2, 3, 3) and (grey == 7).all()


@pytest.mark.parametrize("row", [{}, {"images": []}, {"images": None, "video": None}, {"images": [None]}])
def test_a_row_without_media_has_no_frames(row):
    assert frames_of(row, 8) == []


def test_broken_and_missing_images_are_said(tmp_path):
    with pytest.raises(UnreadableMedia, match="`image` cannot be read"):
        frames_of({"image": {"bytes": b"\x89PNG\r\n\x1a\nbroken"}}, 8)
    with pytest.raises(UnreadableMedia, match="`image` cannot be read"):
        frames_of({"image": str(tmp_path / "missing.png")}, 8)
    with pytest.raises(BadRow, match="an image of type float, expected a path"):
        frames_of({"image": 1.5}, 8)
    with pytest.raises(BadRow, match=r"an image of shape \(3, 4, 5\), expected height x width"):
        frames_of({"image": np.zeros((3, 4, 5))}, 8)


@pytest.fixture
def video(tmp_path):
    """A file of 20 frames, each of one grey: 0, 12, 24, ..."""
    av = pytest.importorskip("av")
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(20):
            pixels = np.full((48, 64, 3), number * 12, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return path


def test_frames_of_a_video_file(video):
    frames = video_frames(str(video), 5)
    assert [frame.shape for frame in frames] == [(48, 64, 3)] * 5
    wanted = [number * 12 for number in spread_over(20, 5)]
    assert [float(frame.mean()) for frame in frames] == pytest.approx(wanted, abs=3)  # the codec loses a little
    for kind in ({"bytes": video.read_bytes()}, {"path": str(video), "bytes": None}, video):
        assert all(np.array_equal(a, b) for a, b in zip(video_frames(kind, 5), frames, strict=True))
    assert len(frames_of({"videos": [str(video)], "images": ["never read"]}, 50)) == 20
