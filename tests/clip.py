"""Tiny models of CLIP's shape with random weights, made without torchvision, and rewards to call."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


@functools.cache
def folder(family: str = "clip") -> str:
    """A folder with a model, its tokenizer and its image processor, for as long as the process lives."""
    import torch
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

    raw = Tokenizer(models.BPE(unk_token="[unk]"))  # noqa: S106 (no password)
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["[unk]", "[bos]", "[eos]"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )  # fmt: skip
    raw.train_from_iterator(["what is the shape of a circle"], trainer)
    raw.post_processor = processors.TemplateProcessing("[bos] $A [eos]", special_tokens=[("[bos]", 1), ("[eos]", 2)])
    names = {"bos_token": "[bos]", "eos_token": "[eos]", "pad_token": "[eos]", "unk_token": "[unk]"}
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=raw, **names)
    both = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    text = {
        **both,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 77,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 2,
    }
    vision = {**both, "image_size": 32, "patch_size": 8}
    torch.manual_seed(0)
    if family == "clip":
        model: Any = transformers.CLIPModel(
            transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)
        )
        pictures: Any = transformers.CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=32)
    else:
        model = transformers.SiglipModel(
            transformers.SiglipConfig(text_config={**text, "projection_size": 32}, vision_config=vision)
        )
        pictures = transformers.SiglipImageProcessorPil(size={"height": 32, "width": 32})
    with torch.no_grad():  # fresh weights make every row nearly the same
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(3)
    place = Path(tempfile.mkdtemp(prefix=f"{family}-"))
    for part in (model, tokenizer, pictures):
        part.save_pretrained(place)
    return str(place)


def letters(rows: Sequence[Mapping[str, Any]]) -> list[float | None]:
    """A reward: the share of the letter e in an answer; none where there is no answer in letters."""
    answers = [str(row.get("completion") or "") for row in rows]
    return [answer.count("e") / len(answer) if answer else None for answer in answers]
