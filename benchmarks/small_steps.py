"""What a step of 1e-7 does to Algorithm 1 in bfloat16: does the order of rows survive, and does any weight change?

Algorithm 1 of One-Step-Train as written: a real step on the weights, the anchors' loss again, the weights back. Against it the
same utilities to first order, which need no step: the default here. Truth is the first order in float64. Two models: the
quickstart's pretrained one, 260 thousand weights, on real rows; and a Llama of 2.3 million weights trained for 30 steps on
made rows. Three draws of rows and anchors each (one with --quick).
"""

from __future__ import annotations

import copy
import statistics
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from scipy.stats import spearmanr

from benchmarks._llamas import Bench
from hf_datasel import Labels, Proxy
from hf_datasel.errors import NoStep
from hf_datasel.proxy.one_step import exact_utility, gradient
from hf_datasel.proxy.proxy import encode


QUICKSTART = Path(__file__).parents[1] / "recipes" / "quickstart"
ROWS, ANCHORS = 40, 12
STEPS = (1e-7, 1e-6, 1e-5, 1e-4, 1e-3)
TYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}
Row = tuple[list[int], list[int]]  # tokens and labels


def run(quick: bool = False) -> dict:
    """By model, type of number and step: rank correlation with the truth, weights that change, rows whose utility is exactly 0."""
    torch.set_num_threads(1)
    draws = 1 if quick else 3
    figures: dict = {"rows": ROWS, "anchors": ANCHORS, "draws": draws}
    for name, make in {"stories260K, real rows": stories, "2.3 million, made rows": llama}.items():
        found = [measured(*make(draw)) for draw in range(draws)]
        figures[name] = {
            kind: {step: summary([its[kind][step] for its in found]) for step in found[0][kind]} for kind in found[0]
        }
    worst = figures["2.3 million, made rows"]["bfloat16"]
    figures["spearman_bfloat16_1e-07"] = worst["1e-07"]["spearman"]["median"]
    figures["weights_changed_bfloat16_1e-07"] = worst["1e-07"]["weights_changed"]["median"]
    figures["spearman_first_order_bfloat16"] = worst["first_order"]["spearman"]["median"]
    return figures


def stories(draw: int) -> tuple[torch.nn.Module, list[Row], list[Row]]:
    """The quickstart's proxy; rows of its pool and its held-out rows, up to 200 tokens."""
    labels = Labels(max_length=512)
    proxy = Proxy(str(QUICKSTART / "proxy")).load(labels)
    found = []
    for name, count in (("pool", ROWS), ("held_out", ANCHORS)):
        rows = Dataset.from_json(str(QUICKSTART / f"{name}.jsonl")).shuffle(seed=draw)
        read = [encode(row, proxy, labels) for row in rows.select_columns(["prompt", "completion"])]
        found.append(
            [(list(row.input_ids), list(row.labels)) for row in read if row.scorable and len(row.input_ids) < 200][
                :count
            ]
        )
    return proxy.model, found[0], found[1]


def llama(draw: int) -> tuple[torch.nn.Module, list[Row], list[Row]]:
    """A model of 2.3 million weights and rows like those it was trained on."""
    bench = Bench("2M", 0)
    rows = [bench.row() for _ in range((draw + 1) * (ROWS + ANCHORS))][-(ROWS + ANCHORS) :]
    read = [(list(row.input_ids), list(row.labels)) for row in rows]
    return bench.model, read[:ROWS], read[ROWS:]


def measured(model: torch.nn.Module, rows: list[Row], anchors: list[Row]) -> dict:
    """Figures of one draw."""
    truth = first_order(model, torch.float64, rows, anchors)
    found: dict = {}
    for kind, dtype in TYPES.items():
        found[kind] = {"first_order": {"spearman": agreement(first_order(model, dtype, rows, anchors), truth)}}
        for step in STEPS:
            utility, changed = algorithm_1(model, dtype, rows, anchors, step)
            found[kind][f"{step:.0e}"] = {
                "spearman": agreement(utility, truth),
                "weights_changed": statistics.median(changed),
                "exactly_zero": float(np.mean(utility == 0)),
            }
    return found


def of_type(model: torch.nn.Module, dtype: torch.dtype) -> tuple[dict, Callable]:
    """Weights of a copy in a type, and the mean loss of rows as a function of them."""
    copied = copy.deepcopy(model).to(dtype).eval()
    parameters = {name: value.detach().clone() for name, value in copied.named_parameters()}

    def loss(p: dict, some: list[Row]) -> torch.Tensor:
        each = []
        for tokens, labels in some:
            logits = (
                torch.func.functional_call(copied, p, (torch.tensor([tokens]),)).logits[0, :-1].to(max_type(dtype))
            )
            each.append(torch.nn.functional.cross_entropy(logits, torch.tensor(labels[1:]), ignore_index=-100))
        return torch.stack(each).mean()

    return parameters, loss


def max_type(dtype: torch.dtype) -> torch.dtype:
    """Losses are computed in float32 at least, as transformers does."""
    return torch.promote_types(dtype, torch.float32)


def first_order(model: torch.nn.Module, dtype: torch.dtype, rows: list[Row], anchors: list[Row]) -> np.ndarray:
    """(N,) <g_V, g_i>."""
    parameters, loss = of_type(model, dtype)
    direction, _ = gradient(lambda p: loss(p, anchors), parameters)
    products = []
    for row in rows:
        own, _ = gradient(lambda p, row=row: loss(p, [row]), parameters)
        products.append(sum(float((own[name].double() * direction[name].double()).sum()) for name in own))
    return np.array(products)


def algorithm_1(
    model: torch.nn.Module, dtype: torch.dtype, rows: list[Row], anchors: list[Row], step: float
) -> tuple[np.ndarray, list[float]]:
    """(N,) utilities, and the share of weights that each row's step changed."""
    parameters, loss = of_type(model, dtype)
    with torch.no_grad():
        base = loss(parameters, anchors)
    utilities, changed = [], []
    for row in rows:
        try:
            utility, share = exact_utility(
                lambda p, row=row: loss(p, [row]), lambda p: loss(p, anchors), parameters, step, base
            )
        except NoStep:  # no weight changed, so the script would say 0
            utility, share = torch.zeros(()), 0.0
        utilities.append(float(utility))
        changed.append(share)
    return np.array(utilities), changed


def agreement(utility: np.ndarray, truth: np.ndarray) -> float:
    """Rank correlation; 0 where all utilities are equal, and so say nothing."""
    return float(spearmanr(utility, truth).statistic) if np.ptp(utility) else 0.0


def summary(draws: list[dict[str, float]]) -> dict:
    """Median, lowest and highest of each figure."""
    return {
        figure: {
            "median": float(f"{statistics.median(values):.4g}"),
            "lowest": float(f"{min(values):.4g}"),
            "highest": float(f"{max(values):.4g}"),
        }
        for figure in draws[0]
        for values in [[its[figure] for its in draws]]
    }
