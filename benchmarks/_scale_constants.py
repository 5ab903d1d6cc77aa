"""Floating-point operations and seconds a row of scorers on one proxy: what a bill for other sizes rests on. Part of `scale`."""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from datasets import Dataset
from torch.utils.flop_counter import FlopCounterMode

from hf_datasel import IFD, LESS, Embedding, GradientStore, Labels, OneStepTrain, Perplexity, Proxy
from hf_datasel.proxy.proxy import encode


QUICKSTART = Path(__file__).parents[1] / "recipes" / "quickstart"
ENGINES = ("forward_mode", "ghost", "finite_differences", "bfloat16", "per_row")
LABELS = Labels(max_length=512)
ROUNDS = 3


def write_proxy(folder: Path) -> str:
    """A Llama of 1 million weights, drawn at random, with the quickstart's tokenizer."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(str(QUICKSTART / "proxy"))
    sizes = {"hidden_size": 128, "intermediate_size": 352, "num_hidden_layers": 4, "num_attention_heads": 4}
    config = LlamaConfig(vocab_size=len(tokenizer), max_position_embeddings=512, tie_word_embeddings=True, **sizes)
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def main() -> None:
    """Operations a row over those of a forward by the rule of thumb (2 P T), and processor seconds a GFLOP, as JSON."""
    folder, rows = Path(sys.argv[1]), int(sys.argv[2])
    pool = Dataset.from_json(str(QUICKSTART / "pool.jsonl"), cache_dir=str(folder / "cache")).select(range(2 * rows))
    anchors = Dataset.from_json(str(QUICKSTART / "held_out.jsonl"), cache_dir=str(folder / "cache")).select(range(16))
    proxy = Proxy(write_proxy(folder / "measured"))
    loaded = proxy.load(LABELS)
    weights = sum(value.numel() for value in loaded.model.parameters())
    encoded = [encode(row, loaded, LABELS) for row in pool.select(range(rows, 2 * rows))]
    tokens = sum(len(row.input_ids) for row in encoded) / rows
    targets = sum(row.num_targets for row in encoded) / rows
    thumb = 2 * weights * tokens
    store = GradientStore(str(folder / "gradients"), dimensions=512)
    scorers: dict[str, Any] = {
        "Perplexity": Perplexity(proxy, labels=LABELS),
        "Embedding": Embedding(proxy, labels=LABELS),
        "IFD": IFD(proxy, labels=LABELS),
        **{f"OneStepTrain, {name}": OneStepTrain(proxy, anchors, engine=name, labels=LABELS) for name in ENGINES},
        "LESS": LESS(proxy, anchors, store, gradient="sgd", labels=LABELS),
    }
    first, second = pool.select(range(rows)), pool.select(range(rows, 2 * rows))
    found = {name: measure(scorer, first, second, thumb) for name, scorer in scorers.items()}
    shape = {"weights": weights, "rows": rows, "tokens_a_row": round(tokens, 1), "targets_a_row": round(targets, 1)}
    print(json.dumps({**shape, "forward_gflop_by_rule": round(thumb / 1e9, 4), "scorers": found}))


def measure(scorer: Any, first: Dataset, second: Dataset, thumb: float) -> dict[str, float]:
    """One scorer on rows it meets for the first time, once what happens once a process has happened on others."""
    scorer(first[:])
    with FlopCounterMode(display=False) as counter:
        scorer(second[:])
    flops = counter.get_total_flops() / len(second)
    found = {"flops_over_rule": round(flops / thumb, 3)}
    if not isinstance(scorer, LESS):  # its store knows the rows by now
        times = []
        for _ in range(ROUNDS):
            began = time.process_time()
            scorer(second[:])
            times.append(time.process_time() - began)
        seconds = statistics.median(times) / len(second)
        found["processor_ms_a_row"] = round(1e3 * seconds, 3)
        found["processor_seconds_a_gflop"] = round(seconds / (flops / 1e9), 4)
    return found
