"""Large images are scaled down in the dataset; small ones keep their bytes."""

from __future__ import annotations

import io
from typing import Any

import pytest
from datasets import Dataset, Features, Image, List, Value
from PIL import Image as Picture

from hf_datasel import Labels
from hf_datasel.errors import BadRow
from hf_datasel.rows import token_row, within_pixels
from hf_datasel.rows.reader import load_reader

from ..vlm import PLACEHOLDERS, png


def encoded(dataset: Dataset, name: str) -> list[Any]:
    feature = Image(decode=False) if name == "image" else List(Image(decode=False))
    return list(dataset.cast_column(name, feature)[name])


def saved(picture: Any, kind: str) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind)
    return file.getvalue()


def test_large_images_shrink_and_small_ones_keep_their_bytes() -> None:
    kept = saved(Picture.open(io.BytesIO(png(1, (40, 24)))), "JPEG")  # another file, were it written once more
    files = [kept, png(2, (80, 48)), b"no picture"]
    features = Features({"text": Value("string"), "image": Image()})
    rows = [{"text": "a", "image": {"bytes": file, "path": None}} for file in files]
    dataset = Dataset.from_list([*rows, {"text": "a", "image": None}], features=features)
    found = within_pixels(dataset, 40 * 24)
    assert found.features == features
    small, large, broken, missing = encoded(found, "image")
    assert (small["bytes"], broken["bytes"], missing) == (files[0], files[2], None)
    assert Picture.open(io.BytesIO(large["bytes"])).size == (40, 24)


def test_lists_of_images_and_palettes() -> None:
    file = io.BytesIO()
    Picture.open(io.BytesIO(png(3, (60, 30)))).convert("P").save(file, "PNG")
    images = [{"bytes": file.getvalue(), "path": None}, {"bytes": png(1, (8, 8)), "path": None}]
    dataset = Dataset.from_list([{"images": images}], features=Features({"images": List(Image())}))
    first, second = encoded(within_pixels(dataset, 450), "images")[0]
    opened = Picture.open(io.BytesIO(first["bytes"]))
    assert (opened.size, opened.mode, second["bytes"]) == ((30, 15), "RGB", png(1, (8, 8)))


def test_files_that_png_cannot_hold_become_rgb() -> None:
    red = Picture.new("RGB", (60, 30), (200, 10, 10))
    files = [saved(red.convert("CMYK"), "JPEG"), saved(red.convert("F"), "TIFF"), saved(red.convert("LAB"), "TIFF")]
    rows = [{"image": {"bytes": file, "path": None}} for file in files]
    found = within_pixels(Dataset.from_list(rows, features=Features({"image": Image()})), 450)["image"][:]
    assert [(image.mode, image.size) for image in found] == [("RGB", (30, 15))] * 3
    assert found[0].getpixel((9, 9)) == pytest.approx((200, 10, 10), abs=3)


@pytest.mark.parametrize("size", [(5000, 1), (1, 5000), (4000, 2)])
def test_thin_strips_keep_the_budget(size: tuple[int, int]) -> None:
    rows = [{"image": {"bytes": saved(Picture.new("RGB", size), "PNG"), "path": None}}]
    (found,) = within_pixels(Dataset.from_list(rows, features=Features({"image": Image()})), 100)["image"][:]
    assert 50 <= found.width * found.height <= 100


def test_fewer_pixels_are_fewer_tokens(vlm_folder: Any) -> None:
    mark = PLACEHOLDERS["qwen2_5_vl"]
    features = Features({"image": Image(), "prompt": Value("string"), "completion": Value("string")})
    row = {"image": {"bytes": png(1, (64, 64)), "path": None}, "prompt": f"{mark} what?", "completion": " yes"}
    dataset = Dataset.from_list([row], features=features)
    reader = load_reader(vlm_folder("qwen2_5_vl"), Labels())
    whole, small = (token_row(its[0], reader, Labels()) for its in (dataset, within_pixels(dataset, 32 * 32)))
    assert len(whole.input_ids) - len(small.input_ids) == 16 - 4


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(BadRow, match=r"expected `image` or `images` of datasets\.Image"):
        within_pixels(Dataset.from_dict({"image": ["a.png"]}), 100)
    with pytest.raises(ValueError, match="`max_pixels` is 0"):
        within_pixels(Dataset.from_dict({"image": ["a.png"]}), 0)
    remote = Dataset.from_dict({"image": ["https://example.org/a.png"]}, features=Features({"image": Image()}))
    with pytest.raises(BadRow, match="Download it first"):
        within_pixels(remote, 100)
