"""One decoder for training and for descriptors: every container, and files that are broken, empty or not here."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hf_datasel.errors import BadRow, MissingExtra
from hf_datasel.rows import sample_frames
from hf_datasel.rows.pixels import video_frames
from hf_datasel.rows.video import UnreadableMedia, decoded_frames


av = pytest.importorskip("av", reason="PyAV is not installed")
REAL = Path(__file__).parents[3] / "shared/data/video/bikes.mp4"


def greys(path: Path, codec: str = "mpeg4") -> Path:
    """A file of 20 frames at 10 a second, every tenth a key frame; frame n is a grey of 12 n."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = 64, 48, "yuv420p", 10
        for number in range(20):
            pixels = np.full((48, 64, 3), number * 12, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return path


def shown(frames: list[Any]) -> list[int]:
    return [round(float(np.asarray(frame).mean()) / 12) for frame in frames]


# Matroska does not say how many frames it holds, AVI not when one is shown, and H.264 keeps them in another order.
@pytest.mark.parametrize("codec", ["mpeg4", "libx264"])
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi"])
def test_every_container_gives_the_same_frames(name: str, codec: str, tmp_path: Path) -> None:
    path = greys(tmp_path / name, codec)
    found: list[tuple[int, float]] = []

    def look(num_frames: int, seconds: float) -> list[int]:
        found.append((num_frames, seconds))
        return [0, 7, 19]

    assert shown(decoded_frames(path, look)) == [0, 7, 19]
    assert found == [(20, pytest.approx(1.9))]
    assert shown(video_frames(path, 3)) == [0, 10, 19]
    assert shown(sample_frames(str(path), count=2)) == [5, 15]
    assert shown(sample_frames(str(path), count=9, rate=2.0)) == [2, 7, 12, 17]


@pytest.mark.skipif(not REAL.is_file(), reason=f"{REAL} is not here")
def test_training_and_descriptors_see_the_same_frames_of_a_real_file() -> None:
    for ours, theirs in zip(sample_frames(str(REAL), 250), video_frames(str(REAL), 250), strict=True):
        assert np.array_equal(np.asarray(ours), theirs)


def test_packets_without_a_frame_do_not_count(tmp_path: Path) -> None:
    whole, cut = greys(tmp_path / "whole.mp4", "libx264"), tmp_path / "cut.mkv"
    with av.open(str(whole)) as source, av.open(str(cut), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(source.demux(video=0)):
            if packet.size and number:  # without the first, nothing can be decoded up to the next key frame, of ten
                packet.stream = stream
                target.mux(packet)
    asked: list[int] = []

    def all_of_them(num_frames: int, seconds: float) -> range:
        asked.append(num_frames)
        return range(num_frames)

    assert shown(decoded_frames(cut, all_of_them)) == list(range(10, 20))
    assert asked == [19, 10]


def test_broken_empty_and_missing_files_are_unreadable(tmp_path: Path) -> None:
    cut, empty = tmp_path / "cut.mp4", tmp_path / "empty.avi"
    cut.write_bytes(greys(tmp_path / "a.mp4").read_bytes()[:200])
    for bad in (cut, tmp_path / "missing.mp4", b"no video", b"", {"bytes": b"no video", "path": None}):
        with pytest.raises(UnreadableMedia, match="`video` cannot be decoded"):
            video_frames(bad, 5)
    with av.open(str(empty), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.start_encoding()
    with pytest.raises(UnreadableMedia, match="`video` has no frame"):
        video_frames(empty, 5)
    with pytest.raises(UnreadableMedia, match="neither bytes nor path"):
        video_frames({"bytes": None, "path": None}, 5)


def test_what_is_no_file_is_a_fault_of_the_dataset() -> None:
    for bad in ("https://example.org/a.mp4", {"bytes": None, "path": "hf://datasets/me/a.mp4"}):
        with pytest.raises(BadRow, match=r"`video` is '.*nothing here goes to the network") as caught:
            video_frames(bad, 5)
        assert not isinstance(caught.value, UnreadableMedia)
    with pytest.raises(BadRow, match="`video` is of type int, expected bytes, a path"):
        video_frames(7, 5)


def test_a_missing_decoder_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtra, match=r"pip install 'hf_datasel\[videos\]'"):
        video_frames("a.mp4", 5)
