"""Who a row is does not depend on process, column order, or what was remarked about it."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import Dataset, Features, Image, List, Value, load_from_disk

from hf_datasel.errors import BadRow
from hf_datasel.rows import content_only, row_digest, with_row_ids
from hf_datasel.rows.identity import with_encoded_media

from ..vlm import png


ROW = {
    "messages": [{"role": "user", "content": "é 汉"}, {"content": "4", "role": "assistant"}],
    "tools": '[{"name": "add"}]',
}
DIGEST = "2e4227e876278600"  # a change here renames every row that was ever scored


def test_digest_is_pinned() -> None:
    assert row_digest(ROW) == DIGEST


@pytest.mark.parametrize("hash_seed", ["0", "1", "77"])
def test_digest_is_the_same_in_another_process(hash_seed: str) -> None:
    found = subprocess.run(
        [sys.executable, "-c", f"from hf_datasel.rows import row_digest; print(row_digest({ROW!r}))"],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == DIGEST


def test_column_order_and_remarks_do_not_count() -> None:
    assert row_digest(dict(reversed(ROW.items()))) == DIGEST
    assert row_digest({**ROW, "score": 0.5, "source": "web", "row_id": "7", "text": None}) == DIGEST


@pytest.mark.parametrize(
    "change",
    [{"tools": "[]"}, {"messages": ROW["messages"][:1]}, {"text": ""}, {"chat_template_kwargs": {"thinking": False}}],
)
def test_content_counts(change: dict[str, Any]) -> None:
    assert row_digest({**ROW, **change}) != DIGEST


def test_numbers_count_whether_lists_or_arrays() -> None:
    plain = {"input_ids": [1, 2, 3], "labels": [-100, 2, 3]}
    assert row_digest({name: np.array(values) for name, values in plain.items()}) == row_digest(plain)
    assert row_digest({**plain, "labels": [1, 2, 3]}) != row_digest(plain)


def test_text_that_is_not_unicode_has_a_digest() -> None:
    assert row_digest({"text": "\ud83d"}) != row_digest({"text": "\ud83e"})


def test_decoded_media_are_refused() -> None:
    with pytest.raises(BadRow, match="`row` holds a object, expected text, numbers, lists or undecoded media"):
        row_digest({"image": object()})


def test_duplicates_get_suffixes_in_order() -> None:
    from datasets import Dataset

    ids = with_row_ids(Dataset.from_dict({"text": list("abaab"), "score": [1.0, 2.0, 3.0, 4.0, 5.0]}))["row_id"][:]
    a, b = row_digest({"text": "a"}), row_digest({"text": "b"})
    assert ids == [a, b, f"{a}-1", f"{a}-2", f"{b}-1"]


def test_ids_are_digests_of_rows_whatever_the_format_or_the_number_of_rows() -> None:
    dataset = Dataset.from_dict({"text": [str(n % 700) for n in range(1000)], "score": [1.0] * 1000})
    digests = [row_digest({"text": str(n)}) for n in range(700)]
    expected = digests + [f"{digest}-1" for digest in digests[:300]]
    assert with_row_ids(dataset)["row_id"][:] == expected
    assert with_row_ids(dataset.with_format("numpy"))["row_id"][:].tolist() == expected
    twice = [with_row_ids(dataset) for _ in range(2)]
    assert twice[0]._fingerprint == twice[1]._fingerprint != with_row_ids(dataset.select(range(999)))._fingerprint
    assert with_row_ids(dataset.select([])).features["row_id"] == Value("string")


def test_ids_follow_their_rows() -> None:
    from datasets import Dataset

    dataset = Dataset.from_dict({"text": list("abcdef")})
    named = dict(zip("abcdef", with_row_ids(dataset)["row_id"], strict=True))
    moved = with_row_ids(dataset.shuffle(seed=3).add_column("score", range(6)).select_columns(["score", "text"]))
    assert {row["text"]: row["row_id"] for row in moved} == named


def test_ids_of_the_users_own_are_kept() -> None:
    from datasets import Dataset

    dataset = Dataset.from_dict({"text": ["a", "a"], "row_id": [7, 8]})
    assert with_row_ids(dataset) is dataset


def test_ids_of_the_users_own_must_be_unique() -> None:
    from datasets import Dataset

    with pytest.raises(BadRow, match=r"`row_id` names 2 values more than once \(first: 'x'\).*Rename"):
        with_row_ids(Dataset.from_dict({"text": list("abcde"), "row_id": list("xyxyz")}))


def picture(shade: int) -> bytes:
    image = pytest.importorskip("PIL.Image")
    file = io.BytesIO()
    image.new("L", (2, 2), shade).save(file, "PNG")
    return file.getvalue()


def test_images_count_by_their_bytes_and_are_never_decoded() -> None:
    from datasets import Dataset, Features, Image, Value

    broken = b"no picture at all"
    features = Features({"text": Value("string"), "image": Image()})
    rows = [{"text": "a", "image": {"bytes": file, "path": None}} for file in (picture(1), picture(2), broken)]
    dataset = Dataset.from_list(rows, features=features)
    with pytest.raises(Exception, match="cannot identify image file"):
        dataset[2]
    ids = with_row_ids(dataset)["row_id"][:]
    assert ids == [row_digest(row) for row in rows]
    assert len(set(ids)) == 3
    assert content_only(dataset)[2] == rows[2]
    assert dataset.features == features


def test_a_picture_is_the_same_wherever_its_file_lies(tmp_path):
    for name, shade in (("a.png", 1), ("b.png", 2)):
        (tmp_path / name).write_bytes(png(shade))
    paths = [str(tmp_path / name) for name in ("a.png", "b.png")]
    rows = {"prompt": ["What?"] * 2, "completion": ["Grey."] * 2}
    of_paths = Dataset.from_dict({**rows, "image": paths}).cast_column("image", Image())
    of_paths.save_to_disk(str(tmp_path / "saved"))  # which puts the files' bytes into the table
    ids = with_row_ids(of_paths)["row_id"][:]
    assert len(set(ids)) == 2
    assert with_row_ids(load_from_disk(str(tmp_path / "saved")))["row_id"][:] == ids
    assert with_row_ids(Dataset.from_dict({**rows, "image": paths}))["row_id"][:] == ids
    assert with_row_ids(Dataset.from_dict({**rows, "image": [png(1), png(2)]}))["row_id"][:] == ids
    in_lists = Dataset.from_dict({**rows, "images": [[path] for path in paths]}).cast_column("images", List(Image()))
    by_list = with_row_ids(in_lists)["row_id"][:]
    (tmp_path / "b.png").write_bytes(png(3))
    assert with_row_ids(in_lists)["row_id"][0] == by_list[0] and with_row_ids(in_lists)["row_id"][1] != by_list[1]


def test_lists_of_images_are_read_without_decoding(tmp_path):
    from datasets import Dataset, Features, Image, List, Value
    from PIL import Image as Picture

    from hf_datasel.rows.identity import content_only, with_row_ids

    Picture.new("RGB", (2, 2)).save(tmp_path / "dot.png")
    features = Features({"prompt": Value("string"), "completion": Value("string"), "images": List(Image())})
    rows = {"prompt": ["What?"], "completion": ["A dot."], "images": [[str(tmp_path / "dot.png")]]}
    dataset = Dataset.from_dict(rows, features=features)
    assert set(content_only(dataset)[0]["images"][0]) == {"bytes", "path"}
    assert len(with_row_ids(dataset)["row_id"][0]) == 16


def test_pictures_are_told_encoded_without_writing_them_again(tmp_path: Path) -> None:
    features = Features({"image": Image(), "text": Value("string")})
    rows = [{"image": {"bytes": png(shade), "path": None}, "text": "a"} for shade in (1, 2)]
    Dataset.from_list(rows, features=features).save_to_disk(str(tmp_path))
    pool = load_from_disk(str(tmp_path))
    encoded = with_encoded_media(pool)
    assert encoded["image"][:] == [row["image"] for row in rows]
    assert encoded.cache_files == pool.cache_files
    assert len(list(tmp_path.glob("*.arrow"))) == 1
    assert pool.features == features
