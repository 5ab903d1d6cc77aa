"""A vision-language model's answers: read as in training, the same however prompts are batched, and they look."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset

from hf_datasel import Labels, TargetTraining
from hf_datasel.errors import BadRow
from hf_datasel.rows.reader import load_reader
from hf_datasel.training import generate_answers

from ..vlm import FAMILIES, PLACEHOLDERS, png, real_rows


PICTURES = [row["image"] for row in real_rows(3)]


def asked(family: str) -> tuple[list[str], list[list[bytes]]]:
    """Prompts of several lengths, with one image, two and none."""
    mark = PLACEHOLDERS[family]
    prompts = [f"{mark} what color?", f"{mark} or {mark}, which of the two is it?", "no image", f"{mark} is it red?"]
    return prompts, [[PICTURES[0]], PICTURES[1:], [], [PICTURES[2]]]


@pytest.mark.parametrize("family", FAMILIES)
def test_batches_change_no_answer(family: str, vlm_folder: Any) -> None:
    prompts, images = asked(family)
    folder = vlm_folder(family)

    def answered(size: int, its: Any = images) -> list[str]:
        return generate_answers(folder, prompts, max_new_tokens=8, batch_size=size, images=its)

    alone = answered(1)
    assert answered(2) == alone
    assert answered(4) == alone
    assert answered(4, [[png(7)], [png(8), png(9)], [], [png(5)]])[2] == alone[2]


@pytest.mark.parametrize("family", FAMILIES)
def test_answers_are_those_of_plain_greedy_generation(family: str, vlm_folder: Any) -> None:
    import io

    from PIL import Image
    from transformers import AutoModelForImageTextToText

    model = AutoModelForImageTextToText.from_pretrained(vlm_folder(family))
    processor = load_reader(vlm_folder(family), Labels())
    turns = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "what color?"}]}]
    text = processor.apply_chat_template(turns, add_generation_prompt=True)
    picture = Image.open(io.BytesIO(PICTURES[0]))
    inputs = processor(images=[[picture]], text=[text], return_tensors="pt", add_special_tokens=False)
    with torch.no_grad():
        written = model.generate(**inputs, max_new_tokens=6, do_sample=False)[0, inputs["input_ids"].shape[1] :]
    expected = processor.tokenizer.decode(written, skip_special_tokens=True)
    found = generate_answers(vlm_folder(family), [turns], max_new_tokens=6, images=[[PICTURES[0]]])
    assert found == [expected]


def test_a_model_taught_to_look_answers_by_the_image(vlm_folder: Any, tmp_path: Path) -> None:
    rows = [{"images": [png(shade)], "prompt": "<image> which?", "completion": f" {shade}"} for shade in (1, 4)]
    training = TargetTraining(
        vlm_folder("llava"), steps=60, sft={"learning_rate": 1e-2, "per_device_train_batch_size": 2}, trainable="all"
    )
    dataset = Dataset.from_list([{**row, "images": [{"bytes": row["images"][0], "path": None}]} for row in rows])
    folder = training.train(dataset, Labels(max_length=None), tmp_path).folder
    images = [row["images"] for row in rows]
    # One token each: SFTTrainer puts no end behind a plain completion of a row with images.
    asked = {"prompts": ["<image> which?"] * 2, "max_new_tokens": 2}
    assert generate_answers(folder, **asked, images=images) == [" 1", " 4"]
    assert generate_answers(folder, **asked, images=images[::-1]) == [" 4", " 1"]


def test_images_that_cannot_be_read_are_said(vlm_folder: Any) -> None:
    with pytest.raises(BadRow, match=r"`images` of prompt 1 cannot be read with it .unreadable_image: Unidentified"):
        generate_answers(vlm_folder("llava"), ["<image>"] * 2, images=[[png(1)], [b"no"]])
    with pytest.raises(BadRow, match=r"`images` of prompt 0 cannot be read with it .malformed"):
        generate_answers(vlm_folder("llava"), ["<image>"], images=[[png(1), png(2)]])
    with pytest.raises(ValueError, match="`images` are 1, expected a list for each of the 2 prompts"):
        generate_answers(vlm_folder("llava"), ["a", "b"], images=[[]])
