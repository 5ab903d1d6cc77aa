"""What a question after worked examples costs when the examples are read once, in plain forwards of examples and question.

A plain forward (F): no gradient, all logits, of the whole text in batches of like length, with the same attention. The model has Llama's
shape and random weights (2 or 19 million, float32): cost does not depend on what it knows. Rows are the quickstart's: 16 or 32 questions of
GSM8K; examples of GSM8K (as long as the questions) and, for `long before short`, questions of SVAMP. Tokenising is counted.
One thread, processor time; each figure is the median over rounds of a ratio within the round. `least` is the share of the tokens that must be
read anew for each question, however good the cache: no way of sharing the examples alone costs less. The one figure is the
median of the three shapes; an example as short as its question costs more, since half of what is read is the question.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from hf_datasel import Labels, Proxy
from hf_datasel.proxy.batch_size import length_buckets
from hf_datasel.proxy.in_context import InContext
from hf_datasel.proxy.label_forward import attention, fast_attention
from hf_datasel.proxy.losses import collate
from hf_datasel.proxy.prefix import shared_length
from hf_datasel.proxy.proxy import LoadedProxy
from hf_datasel.rows import TokenRow


QUICKSTART = Path(__file__).parents[1] / "recipes" / "quickstart"
SHAPES = {
    "2M": {"hidden_size": 160, "intermediate_size": 480, "num_hidden_layers": 6, "num_attention_heads": 5},
    "19M": {"hidden_size": 448, "intermediate_size": 1280, "num_hidden_layers": 8, "num_attention_heads": 7},
}
TARGET, BUDGET, CONTEXT = 0.35, 4096, 4096


def run(quick: bool = False) -> dict:
    """Cost of a pair by number of examples, and how far gains are from those read without sharing."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        tables = {shape: measured(shape, 16 if quick else 32, 3) for shape in (["2M"] if quick else SHAPES)}
    finally:
        torch.set_num_threads(threads)
    worst = {name: max(table[name]["shared"] for table in tables.values()) for name in next(iter(tables.values()))}
    return {
        "forwards_per_demonstration_pair": statistics.median(worst.values()),
        "forwards_by_shape": worst,
        "target": TARGET,
        "within_target": {name: cost <= TARGET for name, cost in worst.items()},
        "least": {name: round(max(table[name]["least"] for table in tables.values()), 3) for name in worst},
        "largest_difference_nats": max(cell["difference"] for table in tables.values() for cell in table.values()),
        "proxies": tables,
    }


def measured(shape: str, items: int, rounds: int) -> dict[str, Any]:
    """One model: questions after one and four examples, and short questions after a long one."""
    gsm8k, svamp = rows_of("gsm8k"), rows_of("svamp")
    with tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(0)
        config = LlamaConfig(**SHAPES[shape], vocab_size=512, max_position_embeddings=CONTEXT)
        LlamaForCausalLM(config).save_pretrained(folder)
        AutoTokenizer.from_pretrained(QUICKSTART / "proxy").save_pretrained(folder)
        proxy = Proxy(folder).load(Labels())
    cases = {
        "1 example": (gsm8k[:items], 1, gsm8k[items:]),
        "4 examples": (gsm8k[:items], 4, gsm8k[items:]),
        "1 long example before short questions": (svamp[:items], 1, sorted(gsm8k, key=lambda row: -len(str(row)))),
    }
    return {name: case(proxy, *parts, rounds) for name, parts in cases.items()}


def rows_of(task: str) -> list[dict[str, str]]:
    """Rows of the quickstart's pool by humans, in its order."""
    lines = (json.loads(line) for line in (QUICKSTART / "pool.jsonl").read_text(encoding="utf-8").splitlines())
    return [
        {"prompt": row["prompt"], "completion": row["completion"]}
        for row in lines
        if row["task"] == task and row["writer"] == "human"
    ]


def case(proxy: LoadedProxy, items: list[Any], shots: int, examples: list[Any], rounds: int) -> dict[str, float]:
    """Cost with and without sharing, in plain forwards, and the largest difference of a gain."""
    shared, apart = (InContext(proxy, items, Labels(), shares_prefix=sharing) for sharing in (True, False))
    for engine in (shared, apart):
        _ = engine.losses_alone  # once for a task
        engine.budget.tokens = BUDGET
    costs: dict[str, list[float]] = {"shared": [], "apart": []}
    gap, lengths, least = 0.0, [], []
    _ = shared.gains(examples[:1]), forward(proxy, shared.after(examples[:1])[1])  # torch has its first call behind it
    for number in range(rounds):
        block = examples[number * shots : (number + 1) * shots]
        joined = shared.after(block)[1]
        plain = seconds(lambda joined=joined: forward(proxy, joined))
        costs["shared"].append(seconds(lambda block=block: shared.gains(block)) / plain)
        if not number:  # slow, and only here to show what sharing saves
            costs["apart"].append(seconds(lambda block=block: apart.gains(block)) / plain)
            gap = float(abs(shared.gains(block)[1] - apart.gains(block)[1]).max())
        lengths.append(statistics.mean(len(row.input_ids) for row in joined))
        once = shared_length(joined)
        least.append(1 - once * (len(joined) - 1) / sum(len(row.input_ids) for row in joined))
    alone = statistics.mean(len(row.input_ids) for row in shared.alone)
    return {
        **{name: round(statistics.median(values), 3) for name, values in costs.items()},
        "least": round(statistics.median(least), 3),
        "difference": gap,
        "question_tokens": round(alone, 1),
        "tokens_with_examples": round(statistics.mean(lengths), 1),
    }


def forward(proxy: LoadedProxy, rows: Sequence[TokenRow]) -> None:
    """The plain forward: all logits, nothing shared."""
    model: Any = proxy.model
    with torch.no_grad(), attention(proxy, fast_attention(proxy)):
        for bucket in length_buckets([len(row.input_ids) for row in rows], BUDGET):
            batch = collate([rows[place] for place in bucket], proxy)
            model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False)


def seconds(function: Callable[[], Any]) -> float:
    """Processor time of one call."""
    began = time.process_time()
    function()
    return time.process_time() - began
