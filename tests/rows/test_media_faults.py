"""Every way in which a row's media can be missing, broken or too many: NaN and a reason, or an error; never a crash or a blind score."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import Dataset, Features, Image, List, Value
from PIL import Image as Picture

from hf_datasel import Labels, Perplexity, Proxy, ResponseLength, score
from hf_datasel.errors import BadRow
from hf_datasel.rows import token_row, with_frames
from hf_datasel.rows.reader import load_reader

from ..vlm import FAMILIES, PLACEHOLDERS, png


PLAIN = Labels(max_length=None)
ONE, TWO = [png(1)], [png(1), png(2)]
NAMED = {"bytes": None, "path": "/nowhere/at-all.png"}
URL = "https://example.org/a.png"
PICTURE, TEXT = {"type": "image"}, {"type": "text", "text": "what?"}
ANSWER = [{"role": "assistant", "content": "yes"}]


def turn(*parts: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(parts)}]


def texts(prompt: str, **media: Any) -> dict[str, Any]:
    return {"prompt": prompt, "completion": " yes", **media}


# MARK is the family's placeholder.
TABLE: list[tuple[str, dict[str, Any], str]] = [
    ("an image", texts("MARK what?", images=ONE), "ok"),
    ("a row of text among images", texts("what?", images=[]), "ok"),
    ("no picture at all", texts("MARK what?", images=[b"no picture"]), "unreadable_image: Unidentified.* image file bytes$"),
    ("a picture cut off", texts("MARK what?", images=[png(1)[:100]]), "unreadable_image"),
    ("an opened picture cut off", texts("MARK what?", images=[Picture.open(io.BytesIO(png(1)[:-40]))]), "unreadable_image: "),
    ("a missing file", texts("MARK what?", images=[NAMED]), "unreadable_image: FileNotFoundError"),
    ("one of two unreadable", texts("MARK MARK what?", images=[png(1), b"no"]), "unreadable_image"),
    ("null", texts("MARK what?", images=None), "no_image"),
    ("a list of null", texts("MARK what?", images=[None]), "no_image"),
    ("one of two null", texts("MARK MARK what?", images=[png(1), None]), "no_image"),
    ("null beside a video", texts("MARK what?", images=None, video=b"broken"), "unreadable_video"),
    ("more images than placeholders", texts("MARK what?", images=TWO), "malformed: .*number of images"),
    ("an image without a placeholder", texts("what?", images=ONE), "malformed: .*number of images"),
    ("more placeholders than images", texts("MARK MARK what?", images=ONE), "malformed: .*number of images"),
    ("a placeholder in the answer", {**texts("MARK what?", images=ONE), "completion": " MARK"}, "malformed: .*no images"),
    ("a placeholder without an image", texts("MARK what?", images=[]), "malformed: .*no images"),
    ("the same in text", {"text": "MARK what?", "images": []}, "malformed: .*no images"),
    ("more images than in text", {"text": "MARK what?", "images": TWO}, "malformed: .*number of images"),
    ("the same without the column", texts("MARK what?"), "malformed: .* nothing in the row that it stands for"),
    ("more images than parts", {"messages": turn(PICTURE, TEXT) + ANSWER, "images": TWO}, "malformed: .*placeholders"),
    ("more parts than images", {"prompt": turn(PICTURE, PICTURE, TEXT), "completion": ANSWER, "images": ONE}, "malformed: .*placeholders"),
    ("a part and no image", {"messages": turn(PICTURE, TEXT) + ANSWER, "images": []}, "malformed: .*placeholders"),
    ("a part and no column", {"messages": turn({**PICTURE, "index": 0}, TEXT) + ANSWER}, "malformed: .* nothing in the row"),
]  # fmt: skip
FAULTS: list[tuple[str, dict[str, Any], str]] = [
    ("a URL", texts("MARK what?", images=[URL]), "`image` is 'https.*Download it first"),
    ("two columns of images", texts("MARK what?", images=ONE, image=png(2)), "`row` has the columns 'image' and 'images'"),
    ("two, one of them null", texts("MARK what?", images=ONE, image=None), "SFTTrainer trains on 'image' alone"),
    ("the URL of a file", texts("MARK what?", images=[{"bytes": None, "path": URL}]), "`image` is 'https"),
    ("a video", texts("MARK what?", video="a.mp4"), "`row` has a column 'video', expected its frames as `images`"),
    ("an image in a message", {"messages": turn({**PICTURE, "image": png(1)}, TEXT) + ANSWER}, "`messages` holds the media"),
    ("a URL in a message", {"messages": turn({"type": "image_url", "image_url": {"url": URL}}) + ANSWER, "images": []}, "download what is a URL"),
    ("the same in a prompt", {"prompt": turn({**PICTURE, "url": URL}), "completion": ANSWER}, "`prompt` holds the media"),
    ("a video in a message", {"messages": turn({"type": "video", "video": "a.mp4"}) + ANSWER}, "`messages` holds the media"),
]  # fmt: skip


def marked(value: Any, mark: str) -> Any:
    if isinstance(value, dict):
        return {name: marked(part, mark) for name, part in value.items()}
    return value.replace("MARK", mark) if isinstance(value, str) else value


@pytest.mark.parametrize("family", FAMILIES)
def test_every_row_is_scored_whole_or_says_why_not(family: str, vlm_folder: Any) -> None:
    scorer = Perplexity(Proxy(vlm_folder(family)), labels=PLAIN)
    for name, row, status in TABLE:
        found = scorer({column: [value] for column, value in marked(row, PLACEHOLDERS[family]).items()})
        assert re.match(status, found["low_perplexity_status"][0]), (name, found["low_perplexity_status"][0])
        assert np.isfinite(found["low_perplexity"][0]) == (status == "ok"), name


@pytest.mark.parametrize("family", FAMILIES)
def test_faults_of_the_dataset_end_the_run(family: str, vlm_folder: Any) -> None:
    reader = load_reader(vlm_folder(family), PLAIN)
    for _, row, message in FAULTS:
        with pytest.raises(BadRow, match=message):
            token_row(marked(row, PLACEHOLDERS[family]), reader, PLAIN)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_image_that_truncation_cuts_is_not_scored(family: str, vlm_folder: Any) -> None:
    row = marked(texts("MARK what?", images=ONE), PLACEHOLDERS[family])
    reader = load_reader(vlm_folder(family), PLAIN)
    assert token_row(row, reader, Labels(max_length=3)).status == "image_cut_by_truncation"


def test_videos_without_frames_say_so_and_urls_end_the_run(vlm_folder: Any, tmp_path: Path) -> None:
    av = pytest.importorskip("av", reason="PyAV is not installed")
    empty = tmp_path / "empty.avi"
    with av.open(str(empty), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.start_encoding()
    clips = [[str(empty)], ["/nowhere/at-all.mp4"], None, [None], []]
    rows = Dataset.from_list(
        [texts("what?", videos=clip) for clip in clips],
        features=Features({**dict.fromkeys(("prompt", "completion"), Value("string")), "videos": List(Value("string"))}),
    )  # fmt: skip
    scored = with_frames(rows).map(Perplexity(Proxy(vlm_folder("llava")), labels=PLAIN), batched=True)
    expected = ["unreadable_video", "unreadable_video", "no_image", "no_image", "ok"]
    assert scored["low_perplexity_status"][:] == expected
    assert np.isnan(np.array(scored["low_perplexity"][:])).tolist() == [True, True, True, True, False]
    remote = Dataset.from_dict({"video": ["https://example.org/a.mp4"], "text": ["what?"]})
    with pytest.raises(BadRow, match="nothing here goes to the network"):
        with_frames(remote)


@pytest.mark.parametrize(
    ("column", "feature", "values"),
    [
        ("image", Image(), [None, {"bytes": None, "path": URL}]),
        ("images", List(Image()), [[], [{"bytes": png(1), "path": None}, {"bytes": None, "path": URL}]]),
        ("videos", List(Value("string")), [None, ["a.mp4", URL]]),
        ("image", Value("string"), ["a.png", URL]),
    ],
)
def test_urls_are_said_before_anything_runs(column: str, feature: Any, values: list[Any]) -> None:
    features = Features({"text": Value("string"), column: feature})
    pool = Dataset.from_list([{"text": "what?", column: value} for value in values], features=features)
    with pytest.raises(BadRow, match=f"`{column}` has '{URL}', expected media in the dataset or local files"):
        score(pool, ResponseLength())
    assert len(score(pool.select([0]), ResponseLength())) == 1
    named = [{"text": "what?", "image": {"bytes": png(1), "path": URL}}]
    score(Dataset.from_list(named, features=Features({"text": Value("string"), "image": Image()})), ResponseLength())


def test_broken_images_in_a_dataset_neither_stop_a_map_nor_vanish(vlm_folder: Any) -> None:
    rows = [texts("<image> what?", images=[{"bytes": content, "path": None}]) for content in (png(1), b"no", png(2))]
    features = Features({"prompt": Value("string"), "completion": Value("string"), "images": List(Image())})
    pool = Dataset.from_list(rows, features=features)
    scored = pool.map(Perplexity(Proxy(vlm_folder("llava")), labels=PLAIN), batched=True)
    assert [status.split(":")[0] for status in scored["low_perplexity_status"]] == ["ok", "unreadable_image", "ok"]
    assert np.isnan(np.array(scored["low_perplexity"][:])).tolist() == [False, True, False]
