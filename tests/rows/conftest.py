"""Tiny tokenizers and rows, and what the real SFTTrainer makes of them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest


SHARED = Path(__file__).parents[2].parent / "shared"
GSM8K = SHARED / "data/gsm8k/train.jsonl.gz"
GPT2 = SHARED / "data/tokenizers/gpt2"
STORIES = Path(__file__).parents[2] / "recipes/quickstart/proxy"

# ChatML with tools, assistant markers, a style, and a switch that renders the prompt differently without its answer.
CHATML = """
{%- if style %}{{ '<|im_start|>system\\nStyle: ' + style + '<|im_end|>\\n' }}{%- endif %}
{%- if tools %}{{ '<|im_start|>system\\nTools: ' }}{%- for tool in tools %}{{ tool | tojson }}{%- endfor %}{{ '<|im_end|>\\n' }}{%- endif %}
{%- for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' }}
{%- if message['role'] == 'assistant' %}{% generation %}{{ (message['content'] or '') + '<|im_end|>' }}{% endgeneration %}{{ '\\n' }}
{%- else %}{{ message['content'] + '<|im_end|>\\n' }}{%- endif %}{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{%- if thinking is defined and not thinking %}{{ '<think></think>' }}{%- endif %}{%- endif %}
"""
EOS = "<|endoftext|>"
CORPUS = [
    "Natalia sold 48 clips in April and half as many in May. How many clips did she sell altogether?",
    "She sold 48 / 2 = 24 clips in May. Altogether she sold 48 + 24 = 72 clips. #### 72",
    "user assistant system tool answer question the sum of two numbers is",
] * 3


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny models gain nothing from more, and lose much on a busy machine."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def byte_level_bpe(bos: bool = False) -> Any:
    """A byte-level BPE of 400 tokens with ChatML, end-of-sequence and, if asked, a token every text begins with."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    specials = [EOS, "<|im_start|>", "<|im_end|>", "<s>"]
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=specials, initial_alphabet=alphabet, show_progress=False
    )
    raw.train_from_iterator(CORPUS, trainer)
    if bos:
        raw.post_processor = processors.TemplateProcessing(
            single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", raw.token_to_id("<s>"))]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        eos_token=EOS,
        pad_token=EOS,
        bos_token="<s>" if bos else None,
        chat_template=CHATML,
    )


def tokenizer_named(name: str) -> Any:
    if name in ("no_bos", "bos"):
        return byte_level_bpe(bos=name == "bos")
    folder = {"gpt2": GPT2, "stories260K": STORIES}[name]
    if not folder.is_dir():
        pytest.skip(f"{folder} is not here")
    from transformers import AutoTokenizer, GPT2Tokenizer

    loaded: Any = (
        GPT2Tokenizer(vocab=str(GPT2 / "vocab.json"), merges=str(GPT2 / "merges.txt"), eos_token=EOS, bos_token=None)
        if name == "gpt2"
        else AutoTokenizer.from_pretrained(folder)
    )
    loaded.chat_template = CHATML
    return loaded


@pytest.fixture
def tokenizer() -> Any:
    return byte_level_bpe()


def tiny_model(vocab_size: int) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocab_size,
            hidden_size=8,
            intermediate_size=8,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=1,
        )
    )


def gsm8k(num_rows: int) -> list[dict[str, str]]:
    """The first `num_rows` real GSM8K questions; hand-made ones where the data is not here."""
    if not GSM8K.exists():
        return [
            {
                "question": f"Tom has {n} pens and buys {n + 3} more. " * (1 + n // 6) + "How many?",
                "answer": f"{n}+{n + 3}\n" * (1 + n // 10) + f"#### {2 * n + 3}",
            }
            for n in range(num_rows)
        ]
    with gzip.open(GSM8K, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in islice(lines, num_rows)]
