from __future__ import annotations

import itertools
import sys

import numpy as np
import pytest
from datasets import Dataset, Image, List

from hf_datasel.errors import MissingExtra
from hf_datasel.scorers import OpticalFlow


def smooth_noise():
    noise = np.random.default_rng(0).random((224, 280))
    for axis in (0, 1) * 3:
        noise = (noise + np.roll(noise, 1, axis) + np.roll(noise, -1, axis)) / 3
    return ((noise - noise.min()) / np.ptp(noise) * 255).astype(np.uint8)


NOISE = smooth_noise()


def texture(shift):
    """224 x 224 pixels that have moved to the right by `shift`."""
    return NOISE[:, 40 - shift : 264 - shift]


@pytest.mark.parametrize("shift", [1, 2, 4])
def test_the_flow_is_the_number_of_pixels_that_all_moved(shift):
    pytest.importorskip("cv2")
    frames = [texture(shift * number) for number in range(4)]
    found = OpticalFlow()({"images": [frames]})
    assert found["optical_flow"][0] == pytest.approx(shift, rel=0.01)
    differences = [np.abs(a.astype(float) - b).mean() / 255 for a, b in itertools.pairwise(frames)]
    assert found["frame_diversity"][0] == pytest.approx(np.mean(differences), rel=1e-12)


def test_the_settings_are_the_known_ones():
    cv2 = pytest.importorskip("cv2")
    frames = [NOISE[:200, 20 - shift : 260 - shift] for shift in (0, 3, 9)]
    grey = [cv2.resize(frame, (224, 224), interpolation=cv2.INTER_AREA) for frame in frames]
    lengths = []
    for before, after in itertools.pairwise(grey):
        flow = cv2.calcOpticalFlowFarneback(
            before, after, None, pyr_scale=0.5, levels=2, winsize=15, iterations=2, poly_n=5, poly_sigma=1.1, flags=0
        )
        lengths.append(np.linalg.norm(flow, axis=2).mean(dtype=np.float64))
    assert OpticalFlow()({"images": [frames]})["optical_flow"][0] == pytest.approx(np.mean(lengths), rel=1e-6)
    assert OpticalFlow().num_frames == 8


def test_what_stands_still_has_no_flow_and_one_frame_says_so():
    pytest.importorskip("cv2")
    rows = {"images": [[texture(0)] * 3, [texture(0)], [], [{"bytes": b"broken", "path": None}]]}
    found = OpticalFlow()(rows)
    assert found["optical_flow_status"] == ["ok", "one_frame", "no_media", "unreadable_media"]
    # Farneback's method finds a ten-thousandth of a pixel even between equal frames.
    assert 0 <= found["optical_flow"][0] < 0.001 and found["optical_flow"][1] == 0
    assert found["frame_diversity"][:2].tolist() == [0.0, 0.0]
    assert np.isnan(found["optical_flow"][2:]).all() and np.isnan(found["frame_diversity"][2:]).all()


def test_frames_of_any_size_are_measured_in_pixels_of_224():
    pytest.importorskip("cv2")
    twice = [np.kron(texture(shift), np.ones((2, 2), np.uint8)) for shift in (0, 2)]
    assert OpticalFlow()({"images": [twice]})["optical_flow"][0] == pytest.approx(2, rel=0.01)
    wide = [np.kron(texture(shift), np.ones((1, 3), np.uint8)) for shift in (0, 2)]
    assert OpticalFlow()({"images": [wide]})["optical_flow"][0] == pytest.approx(2, rel=0.01)


def test_only_so_many_frames_are_looked_at():
    pytest.importorskip("cv2")
    frames = [texture(number) for number in range(15)]
    few, many = (OpticalFlow(limit)({"images": [frames]})["optical_flow"][0] for limit in (8, 15))
    assert few == pytest.approx(2, rel=0.01) and many == pytest.approx(1, rel=0.01)


def test_it_scores_a_column_of_images_batched_or_not():
    pytest.importorskip("cv2")
    pool = Dataset.from_dict({"images": [[texture(2 * n) for n in range(3)], [texture(n) for n in range(2)]]})
    pool = Dataset.from_dict({"images": [[as_png(frame) for frame in frames] for frames in pool["images"]]})
    pool = pool.cast_column("images", List(Image()))
    batched, single = pool.map(OpticalFlow(), batched=True), pool.map(OpticalFlow())
    assert batched["optical_flow"] == single["optical_flow"]
    assert batched["optical_flow"][:] == pytest.approx([2, 1], rel=0.01)


def as_png(pixels):
    import io

    from PIL import Image as Pillow

    content = io.BytesIO()
    Pillow.fromarray(np.asarray(pixels, dtype=np.uint8)).save(content, "PNG")
    return {"bytes": content.getvalue(), "path": None}


def test_a_missing_opencv_names_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingExtra, match=r"pip install 'hf_datasel\[flow\]'"):
        OpticalFlow()({"images": [[texture(0), texture(1)]]})


def test_what_is_wrong_is_named():
    with pytest.raises(ValueError, match="`num_frames` is 1, expected at least 2"):
        OpticalFlow(1)
