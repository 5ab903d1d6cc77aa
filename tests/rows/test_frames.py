"""Videos become frames once; what is scored and trained on are those."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import Dataset, Features, Value, Video, load_from_disk

from hf_datasel import Labels
from hf_datasel.errors import BadRow
from hf_datasel.rows import sample_frames, token_row, with_frames
from hf_datasel.rows.identity import with_encoded_media
from hf_datasel.rows.reader import load_reader


av = pytest.importorskip("av", reason="PyAV is not installed")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: Any) -> Path:
    """40 frames at 10 a second; frame n is a grey of 5 n."""
    path = tmp_path_factory.mktemp("clips") / "greys.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(40):
            picture = np.full((48, 64, 3), 5 * number, np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


def shown(frames: list[Any]) -> list[int]:
    return [round(np.asarray(frame).mean() / 5) for frame in frames]


def test_frames_are_the_middles_of_equal_parts(clip: Path) -> None:
    assert shown(sample_frames(str(clip), count=4)) == pytest.approx([5, 15, 25, 35], abs=1)
    assert shown(sample_frames(clip.read_bytes(), count=1)) == pytest.approx([20], abs=1)
    assert len(sample_frames({"bytes": None, "path": str(clip)}, count=100)) == 40  # never one twice


def test_frames_at_a_rate(clip: Path) -> None:
    assert len(sample_frames(str(clip), count=100, rate=2.0)) == 8
    assert len(sample_frames(str(clip), count=3, rate=2.0)) == 3


def test_frames_have_a_budget_of_pixels(clip: Path) -> None:
    assert {frame.size for frame in sample_frames(str(clip), 2, max_pixels=64 * 48 // 4)} == {(32, 24)}
    assert {frame.size for frame in sample_frames(str(clip), 2, max_pixels=64 * 48)} == {(64, 48)}


@pytest.mark.parametrize("video", [b"no video", "/nowhere/at-all.mp4", "https://example.org/a.mp4", None])
def test_what_is_no_video_is_said(video: Any) -> None:
    with pytest.raises(BadRow, match="`video`"):
        sample_frames(video)


@pytest.mark.parametrize("kind", ["video", "path", "videos"])
def test_rows_get_their_frames_and_broken_ones_a_null(kind: str, clip: Path, vlm_folder: Any) -> None:
    turns = {
        "prompt": [{"role": "user", "content": "which grey?"}],
        "completion": [{"role": "assistant", "content": "all"}],
    }
    paths = [str(clip), "/nowhere/at-all.mp4"]
    column = "videos" if kind == "videos" else "video"
    dataset = Dataset.from_list([{**turns, column: [path] * 2 if kind == "videos" else path} for path in paths])
    if kind == "video":
        dataset = dataset.cast_column("video", Video())
    framed = with_frames(dataset, count=3, max_pixels=20 * 20)
    assert framed.column_names == [*dataset.column_names, "images"]
    assert framed.features[column] == dataset.features[column]
    reader = load_reader(vlm_folder("llava"), Labels())
    found = [token_row(row, reader, Labels()) for row in with_encoded_media(framed)]
    assert [row.status for row in found] == ["ok", "unreadable_video"]
    assert len(found[0].media["pixel_values"]) == (6 if kind == "videos" else 3)
    unsampled = dataset.cast_column("video", Value("string"))[0] if kind == "path" else {**turns, column: paths}
    with pytest.raises(BadRow, match="with_frames"):
        token_row(unsampled, reader, Labels())


def test_frames_are_sampled_once(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hf_datasel.rows import frames

    opened, plain = [], frames.decoded_frames

    def count(video: Any, choose: Any) -> Any:
        opened.append(video)
        return plain(video, choose)

    monkeypatch.setattr(frames, "decoded_frames", count)
    Dataset.from_dict({"video": [str(clip)], "text": ["which grey?"]}).save_to_disk(str(tmp_path / "rows"))
    for _ in range(2):
        found = with_frames(load_from_disk(str(tmp_path / "rows")), count=2)
        assert shown(found["images"][0]) == pytest.approx([10, 30], abs=1)
    assert len(opened) == 1
    with_frames(load_from_disk(str(tmp_path / "rows")), count=3)
    assert len(opened) == 2


def test_bad_arguments_are_refused() -> None:
    rows = Dataset.from_dict({"text": ["a"]}, features=Features({"text": Value("string")}))
    with pytest.raises(BadRow, match=r"`dataset` has the columns \['text'\], expected `video`"):
        with_frames(rows)
    with pytest.raises(ValueError, match="`count` is 0, expected a positive number"):
        with_frames(rows, count=0)
    for name in ("image", "images"):  # SFTTrainer would train on `image` and drop the frames
        with pytest.raises(BadRow, match="no `image` or `images` yet"):
            with_frames(Dataset.from_dict({"video": ["a.mp4"], name: ["a.png"]}))
