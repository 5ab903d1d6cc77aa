"""Rows with images: what a scorer sees of them is what SFTTrainer's vision collator trains on; only a scorer decodes."""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset, Features, Image, List, Value

from hf_datasel import Labels, TopCount, select
from hf_datasel.errors import BadRow, MissingExtra
from hf_datasel.rows import row_digest, token_row, with_row_ids
from hf_datasel.rows.batches import rows_of
from hf_datasel.rows.labels import IGNORED, MASKED_BY_TRUNCATION, OK, TRUNCATED, trl_is_older_than
from hf_datasel.rows.reader import load_reader
from hf_datasel.rows.vision import IMAGE_CUT, NO_IMAGE, UNREADABLE_IMAGE

from ..vlm import FAMILIES, PLACEHOLDERS, png, real_rows


DROPPED = object()
PLAIN = Labels(max_length=None)
ROWS = real_rows(6)


def user(*content: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(content) if len(content) > 1 else content[0]}]


def assistant(text: str) -> list[dict[str, Any]]:
    return [{"role": "assistant", "content": text}]


TEXT, PICTURE = {"type": "text", "text": "and this?"}, {"type": "image"}


def formats(family: str) -> dict[str, list[dict[str, Any]]]:
    mark = PLACEHOLDERS[family]
    first, second = ROWS[0]["image"], ROWS[1]["image"]
    return {
        "prompt_completion": [
            *({"image": row["image"], "prompt": f"{mark} {row['question']}", "completion": f" {row['answer']}"} for row in ROWS),
        ],
        "prompt_completion_images": [
            {"images": [first], "prompt": f"{mark} what?", "completion": " yes"},
            {"images": [first, second], "prompt": f"{mark} or {mark}?", "completion": " the second one"},
            {"images": [], "prompt": "no picture", "completion": " none"},
        ],
        "prompt_completion_chat": [
            *({"image": row["image"], "prompt": user(row["question"]), "completion": assistant(row["answer"])} for row in ROWS),
        ],
        "messages": [
            {"images": [first], "messages": user("what?") + assistant("yes")},
            {"images": [first, second], "messages": user(PICTURE, TEXT, PICTURE) + assistant("the second")},
            {"images": [], "messages": user("no picture") + assistant("none") + user("none?") + assistant("none.")},
            {"images": [first], "messages": user("one") + assistant("two") + user("three") + assistant("four")},
        ],
        "text": [{"image": row["image"], "text": f"{mark} {row['question']} {row['answer']}"} for row in ROWS],
    }  # fmt: skip


FORMATS = tuple(formats("llava"))


@cache
def model_of(folder: str) -> Any:
    from transformers import AutoModelForImageTextToText

    return AutoModelForImageTextToText.from_pretrained(folder)


def trainers_batches(rows: list[dict[str, Any]], folder: str, labels: Labels, where: Path) -> Any:
    """What the data collator of a real SFTTrainer makes of the rows, all in one batch."""
    from trl import SFTConfig, SFTTrainer

    trainer = SFTTrainer(
        model=model_of(folder),
        args=SFTConfig(str(where), report_to="none", bf16=False, use_cpu=True, **labels.sft_arguments()),
        train_dataset=Dataset.from_list(rows[:1]),  # whose columns are all that is looked at before training
        processing_class=load_reader(folder, labels),
    )
    return trainer.data_collator([decoded(row) for row in rows])


def decoded(row: dict[str, Any]) -> dict[str, Any]:
    from PIL import Image as Picture

    def opened(value: bytes) -> Any:
        return Picture.open(io.BytesIO(value))

    found = dict(row)
    if "image" in row:
        found["image"] = opened(row["image"])
    if "images" in row:
        found["images"] = [opened(value) for value in row["images"]]
    return found


def assert_same(rows: list[dict[str, Any]], folder: str, labels: Labels, where: Path) -> list[Any]:
    theirs = trainers_batches(rows, folder, labels, where)
    reader = load_reader(folder, labels)
    ours = [token_row(row, reader, labels) for row in rows]
    for row, ids, targets, mask in zip(
        ours, theirs["input_ids"], theirs["labels"], theirs["attention_mask"], strict=True
    ):
        length = int(mask.sum())
        assert list(row.input_ids) == ids[:length].tolist()
        assert list(row.labels) == targets[:length].tolist()
    return ours


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_read_as_sft_reads_it(name: str, family: str, vlm_folder: Any, tmp_path: Path) -> None:
    ours = assert_same(formats(family)[name], vlm_folder(family), PLAIN, tmp_path)
    assert all(row.status == OK and row.num_targets for row in ours)
    assert any("pixel_values" in row.media for row in ours)


def test_pixels_are_those_of_training(vlm_folder: Any, tmp_path: Path) -> None:
    for family in ("llava", "qwen2_5_vl"):  # one of images, one of patches
        rows = formats(family)["prompt_completion_chat"]
        folder = vlm_folder(family)
        theirs = trainers_batches(rows, folder, PLAIN, tmp_path)["pixel_values"]
        reader = load_reader(folder, PLAIN)
        ours = torch.cat([token_row(row, reader, PLAIN).media["pixel_values"] for row in rows])
        assert torch.equal(ours, theirs)


@pytest.mark.skipif(trl_is_older_than(1, 15), reason="SFTTrainer takes it for images since TRL 1.15")
@pytest.mark.parametrize("family", ["llava", "qwen3_vl"])
def test_assistant_only_loss(family: str, vlm_folder: Any, tmp_path: Path) -> None:
    labels = Labels(max_length=None, assistant_only_loss=True)
    ours = assert_same(formats(family)["messages"], vlm_folder(family), labels, tmp_path)
    assert all(IGNORED in row.labels and row.num_targets for row in ours)


def test_assistant_only_loss_is_refused_where_training_refuses_it(vlm_folder: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("trl.__version__", "1.14.2")
    labels = Labels(max_length=None, assistant_only_loss=True)
    with pytest.raises(BadRow, match=r"`assistant_only_loss` is True for rows with images.*since TRL 1\.15"):
        token_row(formats("llava")["messages"][0], load_reader(vlm_folder("llava"), labels), labels)


@pytest.mark.parametrize("name", ["prompt_completion", "messages"])
def test_text_is_cut_as_in_training_and_images_never_are(name: str, vlm_folder: Any, tmp_path: Path) -> None:
    folder = vlm_folder("llava")
    rows = formats("llava")[name][:1]
    whole = token_row(rows[0], load_reader(folder, PLAIN), PLAIN)
    last_of_image = max(
        i for i, token in enumerate(whole.input_ids) if token == model_of(folder).config.image_token_id
    )
    length = len(whole.input_ids) - 1
    (cut,) = assert_same(rows, folder, Labels(max_length=length), tmp_path)
    assert cut.status == TRUNCATED
    reader = load_reader(folder, PLAIN)
    lost = token_row(rows[0], reader, Labels(max_length=last_of_image))
    assert (lost.status, lost.input_ids, lost.media) == (IMAGE_CUT, (), {})
    just = token_row(rows[0], reader, Labels(max_length=last_of_image + 1))
    assert just.status == (MASKED_BY_TRUNCATION if name == "prompt_completion" else TRUNCATED)


def test_per_token_inputs_are_cut_with_the_tokens(vlm_folder: Any) -> None:
    reader = load_reader(vlm_folder("qwen3_vl"), PLAIN)
    row = formats("qwen3_vl")["messages"][0]
    whole = token_row(row, reader, PLAIN)
    cut = token_row(row, reader, Labels(max_length=len(whole.input_ids) - 2))
    assert cut.media["mm_token_type_ids"].shape == (1, len(cut.input_ids))
    assert cut.media["pixel_values"].shape == whole.media["pixel_values"].shape


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"image": b"no picture at all"}, f"{UNREADABLE_IMAGE}: UnidentifiedImageError"),
        ({"image": png(1)[:100]}, UNREADABLE_IMAGE),
        ({"image": {"bytes": None, "path": "/nowhere/at-all.png"}}, f"{UNREADABLE_IMAGE}: FileNotFoundError"),
        ({"image": {"bytes": None, "path": None}}, UNREADABLE_IMAGE),
        ({"image": 7}, f"{UNREADABLE_IMAGE}: int instead of an image"),
        ({"image": None}, NO_IMAGE),
        ({"image": None, "completion": ""}, "empty_completion"),
        ({"prompt": "no placeholder"}, "malformed: ValueError: .*number of images"),
        ({"prompt": "<image> <image>"}, "malformed: ValueError: .*number of images"),
        ({"prompt": user(PICTURE, PICTURE, TEXT), "completion": assistant("yes")}, "malformed: .*placeholders"),
    ],
)
def test_a_broken_row_gets_a_status(change: dict[str, Any], status: str, vlm_folder: Any) -> None:
    import re

    row = {"image": png(1), "prompt": "<image> what?", "completion": " yes"}
    reader = load_reader(vlm_folder("llava"), PLAIN)
    assert token_row(row, reader, PLAIN).status == OK
    found = token_row({**row, **change}, reader, PLAIN)
    assert not found.scorable
    assert re.match(status, found.status), found.status


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": "https://example.org/a.png"}, "`image` is 'https.*Download it first"),
        ({"image": {"bytes": None, "path": "http://example.org/a.png"}}, "`image` is 'http"),
        (
            {"video": "clip.mp4", "image": DROPPED},
            "`row` has a column 'video', expected its frames as `images`.*with_frames",
        ),
    ],
)
def test_what_cannot_be_read_is_said(change: dict[str, Any], message: str, vlm_folder: Any, tokenizer: Any) -> None:
    row = {"image": png(1), "prompt": "<image> what?", "completion": " yes", **change}
    row = {name: value for name, value in row.items() if value is not DROPPED}
    with pytest.raises(BadRow, match=message):
        token_row(row, load_reader(vlm_folder("llava"), PLAIN), PLAIN)


def test_messages_need_a_chat_template(vlm_folder: Any) -> None:
    reader = load_reader(vlm_folder("llava"), PLAIN)
    reader.chat_template = None
    content = [{"type": "image"}, {"type": "text", "text": "what?"}]
    turns = [{"role": "user", "content": content}, {"role": "assistant", "content": [{"type": "text", "text": "yes"}]}]
    with pytest.raises(BadRow, match="`proxy` has no chat template, expected one for rows with messages"):
        token_row({"messages": turns, "images": [png(1)]}, reader, PLAIN)
    assert token_row({"image": png(1), "prompt": "<image> what?", "completion": " yes"}, reader, PLAIN).status == OK


def test_a_model_of_text_refuses_images_and_the_wrong_end_is_refused(vlm_folder: Any, tokenizer: Any) -> None:
    row = {"image": png(1), "prompt": "<image> what?", "completion": " yes"}
    with pytest.raises(BadRow, match="`row` has a column 'image' and the model reads text only"):
        token_row(row, tokenizer, PLAIN)
    with pytest.raises(BadRow, match="`truncation_mode` is 'keep_end'"):
        token_row(row, load_reader(vlm_folder("llava"), PLAIN), Labels(truncation_mode="keep_end"))


def test_bytes_paths_and_pictures_are_one(vlm_folder: Any, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(3))
    reader = load_reader(vlm_folder("llava"), PLAIN)
    row = {"prompt": "<image> what?", "completion": " yes"}
    kinds = [
        png(3),
        str(tmp_path / "a.png"),
        {"bytes": png(3), "path": None},
        {"bytes": None, "path": str(tmp_path / "a.png")},
        decoded({"image": png(3)})["image"],
    ]
    found = [token_row({**row, "image": image}, reader, PLAIN).media["pixel_values"] for image in kinds]
    assert all(torch.equal(found[0], other) for other in found)
    assert not torch.equal(
        found[0], token_row({**row, "image": png(4)}, reader, PLAIN).media["pixel_values"]
    )  # it looks


def broken(count: int, nested: bool) -> Dataset:
    """Rows whose images stop whoever decodes them."""
    image: Any = {"bytes": b"no picture", "path": None}
    name = "images" if nested else "image"
    features = Features(
        {"text": Value("string"), name: List(Image()) if nested else Image(), "score": Value("float64")}
    )
    rows = [{"text": str(i), name: [image] if nested else image, "score": float(i)} for i in range(count)]
    dataset = Dataset.from_list(rows, features=features)
    with pytest.raises(Exception, match="cannot identify"):
        dataset[0]
    return dataset


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("batched", [False, True])
def test_rows_of_a_map_decode_nothing(nested: bool, batched: bool) -> None:
    seen = []

    def look(batch: Any) -> dict[str, Any]:
        rows, single = rows_of(batch)
        assert single is not batched
        seen.extend(rows)
        return {"digest": row_digest(rows[0]) if single else [row_digest(row) for row in rows]}

    dataset = broken(3, nested)
    digests = dataset.map(look, batched=batched, batch_size=2).remove_columns(["score"])
    image = {"bytes": b"no picture", "path": None}
    assert seen[0] == {"text": "0", "images" if nested else "image": [image] if nested else image, "score": 0.0}
    assert with_row_ids(dataset)["row_id"][:] == digests["digest"][:]


def test_rules_and_filter_decode_nothing() -> None:
    dataset = broken(6, nested=False)
    selection = select(dataset, TopCount("score", 2))
    assert selection.kept["score"][:] == [5.0, 4.0]
    filtered = dataset.filter(selection, with_indices=True, batched=True)
    assert filtered["score"][:] == [4.0, 5.0]


def test_the_digest_is_of_bytes_before_paths_and_of_pixels_last() -> None:
    def digest(image: Any) -> str:
        return row_digest({"text": "a", "image": image})

    assert digest({"bytes": png(1), "path": "a.png"}) == digest({"bytes": png(1), "path": "elsewhere/b.png"})
    assert digest({"bytes": None, "path": "a.png"}) != digest({"bytes": None, "path": "b.png"})
    one, other = (decoded({"image": png(shade)})["image"] for shade in (1, 2))
    assert digest(one) != digest(other)
    assert digest(one) == digest(decoded({"image": png(1)})["image"])


def test_text_rows_of_a_vision_model_are_read_as_sft_reads_them(vlm_folder: Any, tmp_path: Path) -> None:
    from trl import SFTConfig, SFTTrainer

    folder = vlm_folder("llava")
    rows = [{"prompt": "what is two and two?", "completion": " four"}, {"prompt": "and", "completion": " so on"}]
    chats = [{"messages": user("what?") + assistant("yes")}]
    for dataset in (rows, chats):
        trainer = SFTTrainer(
            model=model_of(folder),
            args=SFTConfig(str(tmp_path), report_to="none", bf16=False, use_cpu=True, **PLAIN.sft_arguments()),
            train_dataset=Dataset.from_list(dataset),
            processing_class=load_reader(folder, PLAIN),
        )
        reader = load_reader(folder, PLAIN)
        for row, theirs in zip(dataset, trainer.train_dataset, strict=True):
            ours = token_row(row, reader, PLAIN)
            assert (list(ours.input_ids), list(ours.labels)) == (theirs["input_ids"], theirs["labels"])


def test_smolvlm_reads_images_and_names_the_package_it_wants(
    vlm_folder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import json
    import shutil

    from transformers.models.smolvlm import processing_smolvlm

    shutil.copytree(vlm_folder("idefics3"), tmp_path / "smolvlm")  # its predecessor, of the same parts
    for name, changes in (
        ("config.json", {"model_type": "smolvlm", "architectures": ["SmolVLMForConditionalGeneration"]}),
        ("processor_config.json", {"processor_class": "SmolVLMProcessor"}),
    ):
        path = tmp_path / "smolvlm" / name
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    monkeypatch.setattr(processing_smolvlm, "num2words", None)
    with pytest.raises(MissingExtra, match=r"`num2words` is required.*pip install 'hf_datasel\[smolvlm\]'"):
        load_reader(str(tmp_path / "smolvlm"), PLAIN)
    monkeypatch.setattr(processing_smolvlm, "num2words", str)  # called for videos only
    rows = [{"image": png(1), "prompt": "<image> what?", "completion": " yes"}]
    found = token_row(rows[0], load_reader(str(tmp_path / "smolvlm"), PLAIN), PLAIN)
    # Its settings are read as well: as many tokens for an image as the predecessor takes.
    before = token_row(rows[0], load_reader(vlm_folder("idefics3"), PLAIN), PLAIN)
    assert found.status == OK and found.input_ids == before.input_ids
    assert torch.equal(found.media["pixel_values"], before.media["pixel_values"])
