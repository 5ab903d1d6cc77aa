"""CLIP of rows, against the model called by hand; rows without image, text, or a readable file."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from datasets import Dataset, Image
from PIL import Image as Pillow
from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

from hf_datasel import CLIPFeatures, CLIPScore
from tests import clip


def stored(content):
    return {"bytes": content, "path": None}


def rows(image_rows, count=5):
    return [
        {"images": [stored(row["image"])], "prompt": f"<image> {row['question']}", "completion": row["answer"]}
        for row in image_rows(count)
    ]


def columns(found):
    return {name: [row[name] for row in found] for name in found[0]}


def by_hand(model, image, text):
    """Cosine of a file's bytes and a text, step by step."""
    loaded = AutoModel.from_pretrained(model).eval()
    picture = Pillow.open(io.BytesIO(image["bytes"])).convert("RGB")
    pixels = AutoImageProcessor.from_pretrained(model)(images=picture, return_tensors="pt")
    tokens = AutoTokenizer.from_pretrained(model)(
        text, padding="max_length", truncation=True, max_length=77, return_tensors="pt"
    )
    with torch.no_grad():
        one = loaded.get_image_features(**pixels).pooler_output[0]
        other = loaded.get_text_features(**tokens).pooler_output[0]
    return float(torch.nn.functional.cosine_similarity(one, other, dim=0))


@pytest.mark.parametrize("family", ["clip", "siglip"])
def test_the_cosine_of_image_and_text(family, image_rows):
    given, model = rows(image_rows), clip.folder(family)
    found = CLIPFeatures(model)(columns(given))
    expected = [
        by_hand(model, row["images"][0], f"USER: {raw['question']} ASSISTANT: {raw['answer']}")
        for row, raw in zip(given, image_rows(5), strict=True)
    ]
    assert found["clip_score"] == pytest.approx(expected, abs=1e-5)
    assert len({round(score, 5) for score in expected}) > 1
    for image, text, score in zip(found["clip_image"], found["clip_text"], found["clip_score"], strict=True):
        assert np.linalg.norm(image) == pytest.approx(1) and np.linalg.norm(text) == pytest.approx(1)
        assert image @ text == pytest.approx(score, abs=1e-5)
    assert np.array_equal(CLIPScore(model)(columns(given))["clip_score"], found["clip_score"])


class Drawn:
    """An encoder of known directions: the image (1, 0), and of each text its own."""

    def images(self, frames):
        return [np.array([1.0, 0.0], np.float32) for _ in frames]

    def texts(self, texts):
        directions = {"near": [0.6, 0.8], "opposite": [-1.0, 0.0]}
        return [np.array(directions[text], np.float32) for text in texts]

    def cut(self, texts):
        return [False] * len(texts)


def test_known_answers(image_rows):
    scorer = CLIPScore("nobody", text="answer")
    scorer.__dict__["_loaded"] = Drawn()
    picture = stored(image_rows(1)[0]["image"])
    found = scorer({"images": [[picture]] * 2, "prompt": ["?"] * 2, "completion": ["near", "opposite"]})
    assert found["clip_score"] == pytest.approx([0.6, -1.0])  # 1.5 and 0 as CLIPScore has it: 2.5 max(cos, 0)


def test_a_text_that_was_cut_is_said(image_rows):
    pictures = [[stored(image_rows(1)[0]["image"])]] * 2
    rows = {"images": pictures, "prompt": ["What?"] * 2, "completion": ["A circle.", "A circle, " * 40]}
    found = CLIPScore(clip.folder())(rows)
    assert found["clip_score_status"] == ["ok", "truncated"] and np.isfinite(found["clip_score"]).all()


def test_a_column_of_images_is_read_as_it_is_stored(image_rows):
    given = rows(image_rows)
    plain = CLIPScore(clip.folder())(columns(given))["clip_score"]
    single = [{**row, "image": row["images"][0]} for row in given]
    pool = Dataset.from_list([{k: v for k, v in row.items() if k != "images"} for row in single]).cast_column(
        "image", Image()
    )
    assert pool.map(CLIPScore(clip.folder()), batched=True)["clip_score"][:] == pytest.approx(plain)


def test_several_images_count_by_their_mean_direction(image_rows):
    one, two = (stored(row["image"]) for row in image_rows(30)[::29])
    features = CLIPFeatures(clip.folder())
    found = features({"images": [[one], [two], [one, two]], "prompt": ["?"] * 3, "completion": ["yes"] * 3})[
        "clip_image"
    ]
    mean = found[0] + found[1]
    assert found[2] == pytest.approx(mean / np.linalg.norm(mean), abs=1e-5)


def test_what_part_of_the_text_counts(image_rows):
    given = columns(rows(image_rows, 1))
    scores = {
        part: CLIPFeatures(clip.folder(), text=part)(given)["clip_text"][0]
        for part in ("dialogue", "question", "answer")
    }
    assert not np.allclose(scores["question"], scores["answer"])
    assert not np.allclose(scores["dialogue"], scores["question"])


def test_rows_without_image_or_text_or_a_readable_file(image_rows):
    image = stored(image_rows(1)[0]["image"])
    found = CLIPFeatures(clip.folder())(
        {
            "images": [[image], [], [image], [stored(b"no picture")], None],
            "prompt": ["?"] * 5,
            "completion": ["yes", "yes", "", "yes", "yes"],
        }
    )
    assert found["clip_score_status"] == ["ok", "no_media", "no_text", "unreadable_media", "no_media"]
    assert np.isnan(found["clip_score"]).tolist() == [False, True, True, True, True]
    assert [value is None for value in found["clip_image"]] == [False, True, False, True, True]
    assert [value is None for value in found["clip_text"]] == [False, False, True, False, False]
    pool = Dataset.from_dict({"prompt": ["?"], "completion": ["yes"]})  # a pool of text
    assert pool.map(CLIPFeatures(clip.folder()), batched=True)["clip_image"][:] == [None]


def test_settings_out_of_range():
    with pytest.raises(ValueError, match="`text` is 'all'"):
        CLIPScore(text="all")
    with pytest.raises(ValueError, match="`num_frames` is 0"):
        CLIPScore(num_frames=0)
