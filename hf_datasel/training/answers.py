"""Greedy answers of a trained model to prompts it never saw, with images or without."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_datasel.errors import BadRow
from hf_datasel.proxy.batch_size import IMAGE_ROWS
from hf_datasel.rows.labels import Labels, TokenRow, token_row
from hf_datasel.training.heldout import loaded_model, longest_first


if TYPE_CHECKING:
    import torch
    from transformers import GenerationConfig

    from hf_datasel.proxy.proxy import LoadedProxy

Prompt = str | Sequence[Mapping[str, Any]]


def generate_answers(
    folder: str | Path,
    prompts: Sequence[Prompt],
    max_new_tokens: int = 256,
    batch_size: int = 8,
    revision: str | None = None,
    images: Sequence[Sequence[Any]] | None = None,
) -> list[str]:
    """The model's greedy answer to each prompt, without special tokens, in the order of the prompts.

    Args:
        folder: of the model and its tokenizer, or a Hub id.
        prompts: N texts, or N lists of messages that the chat template renders.
        max_new_tokens: tokens of an answer at most; it ends earlier at an end-of-sequence token.
        batch_size: B, prompts generated for at a time, padded on the left.
        revision: branch, tag or commit of a Hub id.
        images: of each prompt, for a vision-language model: encoded (`{"bytes", "path"}`), paths or PIL images; an empty
            list for a prompt of text. Prompts are read as in training.

    Raises:
        BadRow: a prompt's images cannot be read, or are not as many as its placeholders; names the first and why.
        ValueError: `images` are not as many as `prompts`, or `batch_size` is below 1.
    """
    loaded = loaded_model(folder, None, Labels(), revision)
    settings = _settings(loaded, max_new_tokens)
    if images is not None and len(images) != len(prompts):
        raise ValueError(f"`images` are {len(images)}, expected a list for each of the {len(prompts)} prompts.")
    answers = [""] * len(prompts)
    # Rows with images few at a time, which bounds the memory of their pixels.
    size = max(1, len(prompts)) if images is None else IMAGE_ROWS
    for start in range(0, len(prompts), size):
        encoded = [
            TokenRow(tuple(_prompt_ids(prompts[i], loaded)), (), "")
            if images is None
            else _seen(i, prompts[i], images[i], loaded)
            for i in range(start, min(start + size, len(prompts)))
        ]
        for chosen in longest_first([len(row.input_ids) for row in encoded], batch_size, "Answers"):
            for i, answer in zip(chosen, _written([encoded[i] for i in chosen], loaded, settings), strict=True):
                answers[start + i] = answer
    return answers


def _written(rows: Sequence[TokenRow], loaded: LoadedProxy, settings: GenerationConfig) -> list[str]:
    """Greedy answers to B prompts."""
    import torch

    inputs = _padded(rows, loaded, int(settings.pad_token_id))
    generate: Any = loaded.model.generate
    with torch.no_grad():
        written = generate(**inputs, generation_config=settings)
    width = inputs["input_ids"].shape[1]
    return [str(loaded.tokenizer.decode(its, skip_special_tokens=True)) for its in written[:, width:].tolist()]


def _settings(loaded: LoadedProxy, max_new_tokens: int) -> GenerationConfig:
    from transformers import GenerationConfig

    from hf_datasel.proxy.sampling import end_tokens

    tokenizer = loaded.tokenizer
    pad = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    ends = sorted(end_tokens(loaded))
    return GenerationConfig(max_new_tokens=max_new_tokens, do_sample=False, eos_token_id=ends, pad_token_id=pad)


def _prompt_ids(prompt: Prompt, loaded: LoadedProxy) -> list[int]:
    if isinstance(prompt, str):
        encoded: Any = loaded.tokenizer(prompt)
    else:
        messages: Any = list(prompt)
        encoded = loaded.tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=True, return_dict=True
        )
    return list(encoded["input_ids"])


def _seen(number: int, prompt: Prompt, images: Sequence[Any], loaded: LoadedProxy) -> TokenRow:
    """A prompt with its images: what stands before the answer when the whole row is read as in training."""
    from hf_datasel.proxy.sampling import prompt_of

    anything: Any = "." if isinstance(prompt, str) else [{"role": "assistant", "content": "."}]
    row = {"prompt": prompt, "completion": anything, "images": list(images)}
    whole = token_row(row, loaded.reader, Labels(max_length=None, completion_only_loss=True))
    if not whole.scorable:
        raise BadRow(
            f"`images` of prompt {number} cannot be read with it ({whole.status}), expected all images whole, and one for each "
            f"placeholder. Mend the row, or drop it from the evaluation set."
        )
    return prompt_of(whole)


def _padded(rows: Sequence[TokenRow], loaded: LoadedProxy, pad: int) -> dict[str, torch.Tensor]:
    """Model inputs of B prompts, which end together."""
    import torch

    from hf_datasel.proxy.losses import media_of

    width = max(len(row.input_ids) for row in rows)
    spare = [width - len(row.input_ids) for row in rows]
    ids = [[pad] * left + list(row.input_ids) for row, left in zip(rows, spare, strict=True)]
    mask = [[0] * left + [1] * len(row.input_ids) for row, left in zip(rows, spare, strict=True)]
    device = loaded.model.device
    text = {"input_ids": torch.tensor(ids, device=device), "attention_mask": torch.tensor(mask, device=device)}
    return {**text, **media_of(rows, loaded, width, left=True)}
