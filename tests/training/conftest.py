"""A tiny model that trains in a second, and a view of what a trainer was given."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest


STORIES = Path(__file__).parents[2] / "recipes/quickstart/proxy"

EOS = "<|endoftext|>"
CHATML = """
{%- for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' }}
{%- if message['role'] == 'assistant' %}{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}{{ '\\n' }}
{%- else %}{{ message['content'] + '<|im_end|>\\n' }}{%- endif %}{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{%- endif %}
"""


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny models gain nothing from more, and lose much on a busy machine."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Folder of a random two-layer Llama and its byte-level tokenizer."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    raw.train_from_iterator(
        ["what is the sum of one and two"],
        trainers.BpeTrainer(
            special_tokens=[EOS, "<|im_start|>", "<|im_end|>"], initial_alphabet=alphabet, show_progress=False
        ),
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token=EOS, pad_token=EOS, chat_template=CHATML)
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            max_position_embeddings=128,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=None,
        )
    )
    folder = tmp_path_factory.mktemp("tiny")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def sums(num_rows: int) -> list[dict[str, Any]]:
    return [{"prompt": f"{n} + {n % 3} = ", "completion": str(n + n % 3)} for n in range(num_rows)]


def weights(folder: str | Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return dict(load_file(next(Path(folder).glob("*.safetensors"))))


def same_weights(one: str | Path, other: str | Path) -> bool:
    first, second = weights(one), weights(other)
    return first.keys() == second.keys() and all(bool((first[name] == second[name]).all()) for name in first)


@dataclass
class Seen:
    """What trainers were built with and fed."""

    arguments: list[Any] = field(default_factory=list)
    prepared: list[Any] = field(default_factory=list)
    batches: list[list[tuple[int, ...]]] = field(default_factory=list)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """SFTTrainer as it is, remembering."""
    from trl.trainer import sft_trainer

    memory = Seen()

    class Remembering(sft_trainer.SFTTrainer):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            memory.arguments.append(self.args)
            memory.prepared.append(self.train_dataset)

        def training_step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            rows = zip(inputs["input_ids"].tolist(), inputs["attention_mask"].tolist(), strict=True)
            memory.batches.append([tuple(i for i, real in zip(*row, strict=True) if real) for row in rows])
            return super().training_step(model, inputs, *args, **kwargs)

    monkeypatch.setattr(sft_trainer, "SFTTrainer", Remembering)
    return memory
