"""A LLaVA of a few hundred thousand parameters with a tokenizer of whole words: made, trained from scratch, asked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset

from benchmarks._easy_vqa import END, KINDS, REFUSALS, answer_of, with_bare_answers
from hf_datasel import Labels, TargetTraining
from hf_datasel.rows import token_row
from hf_datasel.rows.identity import with_encoded_media
from hf_datasel.rows.labels import IGNORED
from hf_datasel.rows.reader import load_reader


SIDE, PATCH = 64, 8  # pixels
SPECIALS = ("<pad>", "<unk>", END, "<image>")
LABELS = Labels(max_length=128)
LONGEST_ANSWER = 16  # tokens; a whole rationale has 14 at most


def save_tokenizer(texts: Sequence[str], folder: Path) -> Any:
    """One token a word."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.WordLevel(unk_token="<unk>"))  # noqa: S106 (no password)
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    raw.train_from_iterator(texts, trainers.WordLevelTrainer(special_tokens=list(SPECIALS), show_progress=False))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw,
        pad_token="<pad>",  # noqa: S106
        unk_token="<unk>",  # noqa: S106
        eos_token=END,
        extra_special_tokens={"image_token": "<image>"},
    )
    tokenizer.save_pretrained(folder)
    return tokenizer


def config(tokenizer: Any, width: int, layers: int) -> Any:
    from transformers import LlavaConfig

    sizes = {"hidden_size": width, "intermediate_size": 2 * width, "num_attention_heads": 4}
    return LlavaConfig(
        vision_config={
            "model_type": "clip_vision_model", **sizes, "num_hidden_layers": 2, "image_size": SIDE, "patch_size": PATCH,
        },
        text_config={
            "model_type": "llama", **sizes, "num_hidden_layers": layers, "num_key_value_heads": 4,
            "vocab_size": len(tokenizer), "max_position_embeddings": 128, "tie_word_embeddings": True,
            "pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id, "bos_token_id": None,
        },
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        image_seq_length=(SIDE // PATCH) ** 2,
        vision_feature_layer=-1,
        tie_word_embeddings=True,
    )  # fmt: skip


def save_vlm(folder: Path, texts: Sequence[str], width: int, layers: int, seed: int) -> str:
    """Random weights, tokenizer and image processor, as `from_pretrained` takes them."""
    from transformers import AutoModelForImageTextToText, CLIPImageProcessorPil, GenerationConfig

    tokenizer = save_tokenizer(texts, folder)
    torch.manual_seed(seed)
    model = AutoModelForImageTextToText.from_config(config(tokenizer, width, layers))
    with (
        torch.no_grad()
    ):  # the families' deviation of 0.02 is for widths in the thousands: here nothing would get through
        for name, parameter in model.named_parameters():
            if parameter.dim() == 2 and "embed" not in name:
                parameter.normal_(std=0.8 * parameter.shape[1] ** -0.5)
    model.generation_config = GenerationConfig(
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, do_sample=False
    )
    model.save_pretrained(folder)
    processor = {
        "processor_class": "LlavaProcessor",
        "patch_size": PATCH,
        "vision_feature_select_strategy": "default",
        "num_additional_image_tokens": 1,
        "image_processor": CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size=SIDE).to_dict(),
    }
    Path(folder, "processor_config.json").write_text(json.dumps(processor), encoding="utf-8")
    return str(folder)


def pretrain(folder: Path, rows: Dataset, width: int, layers: int, steps: int, seed: int) -> str:
    """A model trained from random weights: on bare answers, from which it learns to see, then on whole rationales.

    Args:
        folder: for the model and what it grew from.
        rows: clean ones with rationales.
        width: hidden size.
        layers: of the language model.
        steps: of 32 rows; one in four on rationales.
        seed: of weights and order.
    """
    texts = [f"{prompt}{completion}" for prompt, completion in zip(rows["prompt"], rows["completion"], strict=True)]
    begun = save_vlm(folder / "random", [*texts, *REFUSALS, *KINDS], width, layers, seed)
    begun = _trained(begun, with_bare_answers(rows), folder / "bare", steps - steps // 4, 2e-3, seed)
    return _trained(begun, rows, folder / "trained", steps // 4, 2e-3, seed)


def _trained(start: str, rows: Dataset, folder: Path, steps: int, learning_rate: float, seed: int) -> str:
    sft = {
        "learning_rate": learning_rate,
        "per_device_train_batch_size": 32,
        "warmup_steps": min(50, steps // 5),
        "logging_steps": max(1, steps // 5),
        "disable_tqdm": True,
    }
    return TargetTraining(start, steps=steps, sft=sft).train(rows, LABELS, folder, seed).folder


def prompts_of(rows: Dataset, folder: str) -> list[tuple[list[int], torch.Tensor]]:
    """Tokens of each prompt, without its completion, and its picture."""
    reader = load_reader(folder, LABELS)
    encoded = [token_row(row, reader, LABELS) for row in with_encoded_media(rows)]
    return [
        ([token for token, label in zip(row.input_ids, row.labels, strict=True) if label == IGNORED],
         row.media["pixel_values"])
        for row in encoded
    ]  # fmt: skip


@torch.no_grad()
def written(folder: str, prompts: Sequence[tuple[list[int], torch.Tensor]], batch_size: int = 150) -> list[str]:
    """Greedy answers."""
    from transformers import AutoModelForImageTextToText

    reader = load_reader(folder, LABELS)
    model: Any = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
    pad, answers = reader.tokenizer.pad_token_id, []
    for start in range(0, len(prompts), batch_size):
        chosen = prompts[start : start + batch_size]
        width = max(len(ids) for ids, _ in chosen)
        made = model.generate(
            input_ids=torch.tensor([[pad] * (width - len(ids)) + ids for ids, _ in chosen]),
            attention_mask=torch.tensor([[0] * (width - len(ids)) + [1] * len(ids) for ids, _ in chosen]),
            pixel_values=torch.cat([picture for _, picture in chosen]),
            max_new_tokens=LONGEST_ANSWER,
        )
        answers += reader.tokenizer.batch_decode(made[:, width:], skip_special_tokens=True)
    return answers


def accuracy(texts: Sequence[str], rows: Dataset) -> dict[str, float]:
    """Share of exact matches: over all rows, over those not answered by yes or no, and by kind of question.

    Args:
        texts: greedy answers.
        rows: with `answer` and `kind`.
    """
    right: dict[str, list[bool]] = {"all": [], "beyond_yes_no": [], **{kind: [] for kind in set(KINDS.values())}}
    for text, answer, kind in zip(texts, rows["answer"], rows["kind"], strict=True):
        for name in ("all", kind, *(["beyond_yes_no"] if kind != "yes_no" else [])):
            right[name].append(answer_of(text) == answer)
    return {name: sum(values) / len(values) for name, values in sorted(right.items()) if values}
