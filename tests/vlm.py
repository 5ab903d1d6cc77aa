"""Tiny vision-language models with random weights, one of each family, made without torchvision; and real rows for them."""

from __future__ import annotations

import gzip
import io
import json
from itertools import islice
from pathlib import Path
from typing import Any


EASY_VQA = Path(__file__).parents[1].parent / "shared/data/easy_vqa"
SPECIALS = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>", "<|image_pad|>", "<|video_pad|>", "<|vision_start|>",
    "<|vision_end|>", "<img>", "</img>", "<IMG_CONTEXT>", "<video>", "<fake_token_around_image>", "<global-img>",
    "<end_of_utterance>", "<row_1_col_1>",
)  # fmt: skip
# ChatML whose images are the family's own placeholder; assistant turns are marked.
CHAT = """
{%- for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' }}
{%- set parts = [{'type': 'text', 'text': message['content']}] if message['content'] is string else message['content'] %}
{%- if message['role'] == 'assistant' %}{% generation %}{% for part in parts %}{{ part['text'] }}{% endfor %}{{ '<|im_end|>' }}{% endgeneration %}
{%- else %}{% for part in parts %}{% if part['type'] == 'image' %}{{ 'PLACEHOLDER' }}{% else %}{{ part['text'] }}{% endif %}{% endfor %}{{ '<|im_end|>' }}{% endif %}{{ '\\n' }}
{%- endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}
"""
PLACEHOLDERS = {
    "llava": "<image>",
    "internvl": "<IMG_CONTEXT>",
    "qwen2_5_vl": "<|vision_start|><|image_pad|><|vision_end|>",
    "qwen3_vl": "<|vision_start|><|image_pad|><|vision_end|>",
    "idefics3": "<image>",
}
FAMILIES = tuple(PLACEHOLDERS)
CORPUS = ["what color shape is the image of a circle triangle rectangle does contain yes no red blue green " * 2] * 3


def tokenizer(family: str) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=list(SPECIALS), initial_alphabet=alphabet, show_progress=False
    )
    raw.train_from_iterator(CORPUS, trainer)
    named = {"start_image_token": "<img>", "end_image_token": "</img>", "context_image_token": "<IMG_CONTEXT>"}
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        eos_token="<|im_end|>",  # noqa: S106 (no password)
        pad_token="<|endoftext|>",  # noqa: S106
        chat_template=CHAT.replace("PLACEHOLDER", PLACEHOLDERS[family]),
        extra_special_tokens={**named, "video_token": "<video>"} if family == "internvl" else {},
    )


def config(family: str, ids: dict[str, int], vocab_size: int, times: int, layers: int, side: int) -> Any:
    import transformers

    hidden, inner, pieces = 32 * times, 48 * times, (side // 8) ** 2
    both = {
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
    }
    sizes = {**both, "num_key_value_heads": 2, "max_position_embeddings": 1024, "vocab_size": vocab_size}
    if family == "llava":
        return transformers.LlavaConfig(
            vision_config={"model_type": "clip_vision_model", **both, "image_size": side, "patch_size": 8},
            text_config={"model_type": "llama", **sizes},
            image_token_id=ids["<image>"],
            image_seq_length=pieces,
            vision_feature_layer=-2,
        )
    if family == "internvl":
        vision = {**both, "image_size": [side, side], "patch_size": [8, 8]}
        return transformers.InternVLConfig(
            vision_config={"model_type": "internvl_vision", **vision},
            text_config={"model_type": "qwen2", **sizes},
            image_token_id=ids["<IMG_CONTEXT>"],
            image_seq_length=pieces // 4,
        )
    if family == "idefics3":
        return transformers.Idefics3Config(
            vision_config={**both, "image_size": side, "patch_size": 8},
            text_config={"model_type": "llama", **sizes},
            image_token_id=ids["<image>"],
            scale_factor=2,
            pad_token_id=ids["<|endoftext|>"],
        )
    vision = {
        "depth": layers, "hidden_size": hidden, "intermediate_size": inner, "num_heads": 4, "out_hidden_size": hidden,
        "patch_size": 8, "spatial_merge_size": 2, "temporal_patch_size": 2,
    }  # fmt: skip
    special = {
        "image_token_id": ids["<|image_pad|>"],
        "video_token_id": ids["<|video_pad|>"],
        "vision_start_token_id": ids["<|vision_start|>"],
        "vision_end_token_id": ids["<|vision_end|>"],
    }
    rope = {"rope_type": "default", "mrope_section": [times, times, 2 * times], "rope_theta": 10000.0}
    if family == "qwen2_5_vl":
        return transformers.Qwen2_5_VLConfig(
            vision_config={**vision, "window_size": 16, "fullatt_block_indexes": [1]},
            text_config={**sizes, "rope_parameters": rope},
            **special,
        )
    return transformers.Qwen3VLConfig(
        vision_config={**vision, "num_position_embeddings": 64, "deepstack_visual_indexes": [0]},
        text_config={**sizes, "head_dim": 8 * times, "rope_parameters": {**rope, "mrope_interleaved": True}},
        **special,
    )


def save(
    family: str, folder: Path, times: int = 1, layers: int = 2, side: int = 32, vocab_size: int | None = None
) -> str:
    """A model of the family with random weights, its tokenizer and its image processor, as `from_pretrained` takes them.

    Args:
        family: one of `FAMILIES`.
        folder: to save to.
        times: how much wider than 32.
        layers: of the language model and of the encoder of images.
        side: pixels of an image that is scaled to a square.
        vocab_size: more than the tokenizer has, for a head of a real size.
    """
    import torch
    import transformers
    from transformers import AutoModelForImageTextToText

    own = tokenizer(family)
    ids = dict(zip(SPECIALS, own.convert_tokens_to_ids(list(SPECIALS)), strict=True))
    torch.manual_seed(0)
    described = config(family, ids, vocab_size or len(own), times, layers, side)
    model = AutoModelForImageTextToText.from_config(described)
    with torch.no_grad():  # weights of the size that training gives: fresh ones make every row the same
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:
                parameter.mul_(2)
            elif not parameter.any() and "bias" not in name:
                parameter.normal_(std=0.1)
    model.save_pretrained(folder)
    own.save_pretrained(folder)
    pictures = {
        "llava": lambda: transformers.CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size=side),
        "internvl": lambda: transformers.GotOcr2ImageProcessorPil(
            size={"height": side, "width": side}, crop_to_patches=False
        ),
        "idefics3": lambda: transformers.Idefics3ImageProcessorPil(
            size={"longest_edge": side}, max_image_size={"longest_edge": side}, do_image_splitting=False
        ),
    }
    make = pictures.get(
        family,
        lambda: transformers.Qwen2VLImageProcessorPil(
            patch_size=8, merge_size=2, temporal_patch_size=2, size={"shortest_edge": 16 * 16, "longest_edge": 64 * 64}
        ),
    )
    images = make().to_dict()
    settings = {
        "llava": {"patch_size": 8, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1},
        "internvl": {"image_seq_length": (side // 8) ** 2 // 4},
        "idefics3": {"image_seq_len": (side // 8) ** 2 // 4},
    }
    names = {
        "llava": "LlavaProcessor", "internvl": "InternVLProcessor", "qwen2_5_vl": "Qwen2_5_VLProcessor",
        "qwen3_vl": "Qwen3VLProcessor", "idefics3": "Idefics3Processor",
    }  # fmt: skip
    processor = {
        **settings.get(family, {}),
        "processor_class": names[family],
        "image_processor": images,
    }
    Path(folder, "processor_config.json").write_text(json.dumps(processor), encoding="utf-8")
    return str(folder)


def real_rows(count: int) -> list[dict[str, Any]]:
    """Questions about pictures of easy-VQA with their answers; drawn ones where the data is not here."""
    if not EASY_VQA.is_dir():
        return [
            {"image": png(shade), "question": f"Is this {shade}?", "answer": "yes" if shade % 2 else "no, it is not"}
            for shade in range(count)
        ]
    from pyarrow import parquet

    with gzip.open(EASY_VQA / "train_questions.jsonl.gz", "rt", encoding="utf-8") as lines:
        found = [json.loads(line) for line in islice(lines, 0, 11 * count, 11)]
    table = parquet.read_table(EASY_VQA / "train_images.parquet").to_pylist()
    images = {row["image_id"]: row["image"] for row in table}
    rows = [{**row, "image": images[row["image_id"]]} for row in found]
    return [
        {
            "image": row["image"]["bytes"] if isinstance(row["image"], dict) else row["image"],
            "question": row["question"],
            "answer": row["answer"],
        }
        for row in rows
    ]


def png(shade: int, size: tuple[int, int] = (40, 24)) -> bytes:
    """A drawn picture."""
    from PIL import Image, ImageDraw

    picture = Image.new("RGB", size, (shade * 40 % 256, 90, 200))
    ImageDraw.Draw(picture).ellipse((4, 4, 12 + shade % 9, 20), fill=(250, shade * 20 % 256, 10))
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()
