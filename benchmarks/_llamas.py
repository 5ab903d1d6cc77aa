"""Proxies of Llama's shape, made here, with anchors and rows like those they were trained on."""

from __future__ import annotations

import types
from typing import Any

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from hf_datasel.proxy.anchors import AnchorSet
from hf_datasel.proxy.batch_size import length_buckets
from hf_datasel.proxy.batching import TokenBudget
from hf_datasel.proxy.losses import collate
from hf_datasel.proxy.proxy import LoadedProxy
from hf_datasel.proxy.utility import UtilityEngine
from hf_datasel.rows.labels import IGNORED, TokenRow


SHAPES = {
    "2M": {"hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 6, "num_attention_heads": 4, "vocab_size": 4096},
    "19M": {"hidden_size": 384, "intermediate_size": 1024, "num_hidden_layers": 8, "num_attention_heads": 6, "vocab_size": 6400},
}  # fmt: skip
ANCHORS, BUDGET = 100, 2048
TOKENIZER = types.SimpleNamespace(pad_token_id=0, eos_token_id=2)


class Bench:
    """A proxy of a shape, anchors, and rows like what it was trained on."""

    def __init__(self, shape: str, count: int, **options: Any) -> None:
        torch.manual_seed(0)
        self.draw = np.random.default_rng(0)
        self.config = {**SHAPES[shape], **options}
        self.patterns = self.draw.integers(0, self.config["vocab_size"], size=(64, 8))
        self.model: Any = LlamaForCausalLM(LlamaConfig(**self.config, max_position_embeddings=512))
        self._train(30)
        self.anchors = [self.row() for _ in range(ANCHORS)]
        self.rows = [self.row() for _ in range(count)]

    def row(self) -> TokenRow:
        length, noise = int(self.draw.integers(64, 257)), self.draw.random()
        pattern = self.patterns[self.draw.integers(64)]
        rare = np.minimum(self.draw.zipf(1.3, length), self.config["vocab_size"] - 1)
        tokens = np.where(self.draw.random(length) < noise, rare, np.resize(pattern, length)).tolist()
        prompt = int(0.55 * length)
        return TokenRow(tuple(tokens), (IGNORED,) * prompt + tuple(tokens[prompt:]), "ok")

    def _train(self, steps: int) -> None:
        optimizer = torch.optim.AdamW(self.model.parameters(), 1e-3)
        for _ in range(steps):
            for tokens in (torch.tensor([self.row().input_ids]) for _ in range(4)):
                (self.model(tokens, labels=tokens).loss / 4).backward()
            optimizer.step()
            optimizer.zero_grad()
        self.model.eval().requires_grad_(False)

    def proxy(self) -> LoadedProxy:
        return LoadedProxy(self.model, TOKENIZER, {n: p.detach() for n, p in self.model.named_parameters()})

    def engine(self, name: str, groups: int = 1) -> UtilityEngine:
        """Measures rows by all anchors, in `groups` groups of their own."""
        proxy = self.proxy()
        members = [self.anchors[group::groups] for group in range(groups)]
        batches = tuple(tuple(self.batches(its, proxy)) for its in members)
        names = tuple(map(str, range(groups)))
        anchors = AnchorSet(proxy, names, batches, tuple(map(len, members)), tuple(self.anchors))
        engine = UtilityEngine(anchors, "first_order", 1.0, False, "mean", TokenBudget(BUDGET), None, name)
        _ = engine.chosen  # once, outside the time
        return engine

    def batches(self, rows: list[TokenRow], proxy: LoadedProxy) -> list:
        buckets = length_buckets([len(row.input_ids) for row in rows], BUDGET)
        return [collate([rows[place] for place in bucket], proxy) for bucket in buckets]

    def forward(self, rows: list[TokenRow]) -> None:
        with torch.no_grad():
            for batch in self.batches(rows, self.proxy()):
                self.model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False)
