"""Label noise on real MNIST: when does utility beat the plain loss, and how much of the gain is coverage?

A pool of 10,000 digits of which a known share carries a wrong label: any other at random, or always the next digit
(systematic). A small network warmed up on a share of the noisy pool is the proxy, 100 clean digits, ten of each, are the
anchors. Each arm keeps 20 % of the pool; the target, a larger network, is trained from scratch for as many steps on every arm
and measured on the 10,000 test digits. Three seeds draw pool, noise, anchors and networks. Rules are the library's own; utility
is `directional_derivatives` of the rows' losses along the gradient of the anchors' loss, as `OneStepTrain` has it.

With --quick: random noise of 40 % alone, two seeds. Needs the folder `mnist` of the shared data.
"""

from __future__ import annotations

import statistics
import warnings
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score
from torch.nn.functional import cross_entropy

from benchmarks.mnist_influence import read
from hf_datasel import CoveredTopFraction, Random, TopFraction, TopFractionPerGroup, select
from hf_datasel.contracts import Rule
from hf_datasel.proxy.one_step import directional_derivatives, gradient


PLOT = Path(__file__).parent / "results" / "mnist_noise.png"
ROWS, ANCHORS_PER_DIGIT, FRACTION = 10_000, 10, 0.2
BATCH, STEPS, RATE = 64, 2_500, 1e-3
WARM_UP = 0.25  # of one pass over the pool
STATES = 4  # of the proxy, evenly spaced on the way, for averaged utility
PROXY, TARGET = 32, 128  # hidden units
Parameters = dict[str, torch.Tensor]


def run(quick: bool = False) -> dict:
    """Figures: test accuracy and AUROC of every arm (median, lowest, highest), by kind and share of noise, and by warm-up."""
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    digits = (*read("train"), *read("t10k"))
    seeds = range(2 if quick else 3)
    noises = [("random", 0.4)] if quick else [(k, s) for k in ("random", "systematic") for s in (0.1, 0.2, 0.4, 0.6)]
    warm_ups = (0.0, WARM_UP) if quick else (0.0, 0.05, 0.25, 1.0)
    by_noise = {f"{kind} {share:.0%}": [Study(digits, kind, share, seed) for seed in seeds] for kind, share in noises}
    tables = {name: table([study.arms() for study in studies]) for name, studies in by_noise.items()}
    few = ("utility", "utility, per label", "low loss, per label", "blend, per cluster of inputs")
    by_warm_up = {
        f"{share:.0%}": table([Study(digits, "random", 0.4, seed, share).arms(few) for seed in seeds])
        for share in warm_ups
    }
    figures = {
        "accuracy": {name: {arm: its["accuracy"] for arm, its in found.items()} for name, found in tables.items()},
        "auroc": {name: spread_of([study.auroc() for study in studies]) for name, studies in by_noise.items()},
        "clean_share": {
            name: {arm: its["clean"]["median"] for arm, its in found.items()} for name, found in tables.items()
        },
        "accuracy_by_warm_up": {
            share: {arm: its["accuracy"] for arm, its in found.items()} for share, found in by_warm_up.items()
        },
        "answers": {name: answers(found) for name, found in tables.items()},
        "rows": ROWS,
        "kept": FRACTION,
        "steps": STEPS,
        "seeds": len(seeds),
    }
    if not quick:
        plot(figures["accuracy"])
    return figures


class Study:
    """One pool with wrong labels, its proxy, and what the proxy says of each row."""

    def __init__(self, digits: tuple, kind: str, share: float, seed: int, warm_up: float = WARM_UP) -> None:
        pixels, labels, self.test_x, self.test_y = digits
        draw = np.random.default_rng(seed)
        order = draw.permutation(len(pixels))
        rows, others = order[:ROWS], order[ROWS:]
        anchors = np.concatenate([others[labels[others] == digit][:ANCHORS_PER_DIGIT] for digit in range(10)])
        self.seed, self.true = seed, labels[rows].astype(np.int64)
        self.clean = draw.permutation(ROWS) >= share * ROWS
        wrong = draw.integers(1, 10, ROWS) if kind == "random" else np.ones(ROWS, np.int64)
        self.given = np.where(self.clean, self.true, (self.true + wrong) % 10)
        self.x, self.y = tensors(pixels[rows], self.given)
        self.anchor_x, self.anchor_y = tensors(pixels[anchors], labels[anchors])
        steps = round(warm_up * ROWS / BATCH)
        marks = sorted({round(steps * (part + 1) / STATES) for part in range(STATES)})
        self.states = train(PROXY, self.x, self.y, steps, seed, marks)
        self.scored = self._score()

    def _losses(self, p: Parameters) -> torch.Tensor:
        return cross_entropy(forward(p, self.x), self.y, reduction="none")

    def _utility(self, p: Parameters, digit: int | None = None) -> np.ndarray:
        """(N,) <g_V, g_i> of the anchors, or of those of one digit."""
        mask = self.anchor_y == digit if digit is not None else slice(None)
        anchor_loss = lambda q: cross_entropy(forward(q, self.anchor_x[mask]), self.anchor_y[mask])  # noqa: E731
        return directional_derivatives(self._losses, p, gradient(anchor_loss, p)[0])[1].numpy()

    def _score(self) -> Dataset:
        last = self.states[-1]
        loss = self._losses(last).detach().numpy()
        utility = self._utility(last)
        averaged = np.mean([self._utility(state) for state in self.states], axis=0)
        groups = np.stack([self._utility(last, digit) for digit in range(10)])
        hidden = torch.relu(self.x @ last["w1"].T + last["b1"])
        residual = torch.softmax(forward(last, self.x), 1) - torch.eye(10)[self.y]
        blend = (rankdata(utility) + rankdata(-loss)) / 2
        return Dataset.from_dict(
            {
                "text": [str(row) for row in range(ROWS)],
                "label": self.given.tolist(),
                "loss": loss,
                "low_loss": -loss,
                "utility": utility,
                "averaged": averaged,
                "minimum": groups.min(0),
                "blend": blend,
                "averaged_blend": (rankdata(averaged) + rankdata(-loss)) / 2,
                "inputs": list(components(self.x)),
                "gradients": list(components(torch.einsum("nk,nh->nkh", residual, hidden).flatten(1))),
                "clean": self.clean,
            }
        ).with_format("numpy")

    def auroc(self) -> dict[str, float]:
        """Of telling right labels from wrong ones, by each score over the whole pool."""
        names = ("utility", "averaged", "minimum", "low_loss", "blend", "averaged_blend")
        return {name: float(roc_auc_score(self.clean, self.scored[name][:])) for name in names}

    def arms(self, only: tuple[str, ...] = ()) -> dict[str, dict[str, float]]:
        """Accuracy of the target and share of right labels, by arm."""
        found = {}
        for name, rule in rules(self.seed).items():
            if not only or name in only:
                found[name] = self._train(select(self.scored, rule).kept["text"])
        for name, (column, share) in drawn().items():
            if not only or name in only:
                best = select(self.scored, TopFraction(column, share)).kept
                found[name] = self._train(select(best, Random(FRACTION / share, seed=self.seed)).kept["text"])
        if not only:
            clean = np.flatnonzero(self.clean)
            found["oracle"] = self._train(np.random.default_rng(self.seed).permutation(clean)[: int(FRACTION * ROWS)])
            found["full"] = self._train(range(ROWS))
        return found

    def _train(self, kept: object) -> dict[str, float]:
        rows = torch.tensor([int(row) for row in kept])
        last = train(TARGET, self.x[rows], self.y[rows], STEPS, self.seed, [STEPS])[-1]
        guess = forward(last, torch.from_numpy(self.test_x).float()).argmax(1).numpy()
        return {"accuracy": float((guess == self.test_y).mean()), "clean": float(self.clean[rows.numpy()].mean())}


def rules(seed: int) -> dict[str, Rule]:
    """The arms."""
    top, label = (
        partial(TopFraction, fraction=FRACTION),
        partial(TopFractionPerGroup, group="label", fraction=FRACTION),
    )
    cluster = partial(CoveredTopFraction, fraction=FRACTION, seed=seed)
    return {
        "utility": top("utility"),
        "utility, per label": label("utility"),
        "utility, per cluster of inputs": cluster("utility", "inputs"),
        "utility, averaged": top("averaged"),
        "utility, averaged, per cluster of inputs": cluster("averaged", "inputs"),
        "utility, minimum over anchor groups": top("minimum"),
        "low loss": top("low_loss"),
        "low loss, per label": label("low_loss"),
        "low loss, per cluster of inputs": cluster("low_loss", "inputs"),
        "blend": top("blend"),
        "blend, per label": label("blend"),
        "blend, per cluster of inputs": cluster("utility", "inputs", loss="loss"),
        "blend, per cluster of gradients": cluster("utility", "gradients", loss="loss"),
        "blend, per cluster of inputs, shares by utility": cluster("utility", "inputs", loss="loss", shares="utility"),
        "blend of averaged utility, per label": label("averaged_blend"),
        "blend of averaged utility, per cluster of inputs": cluster("averaged", "inputs", loss="loss"),
        "random": Random(FRACTION, seed=seed),
    }


def drawn() -> dict[str, tuple[str, float]]:
    """Arms that draw at random among the best share of the pool: the score only says what to leave out."""
    return {
        f"{name}, drawn from the best {share:.0%}": (column, share)
        for name, column in (("low loss", "low_loss"), ("blend of averaged utility", "averaged_blend"))
        for share in (0.3, 0.5)
    }


def forward(p: Parameters, x: torch.Tensor) -> torch.Tensor:
    """Logits (N, 10) of a network with one hidden layer."""
    return torch.relu(x @ p["w1"].T + p["b1"]) @ p["w2"].T + p["b2"]


def train(hidden: int, x: torch.Tensor, y: torch.Tensor, steps: int, seed: int, marks: list[int]) -> list[Parameters]:
    """The weights after each of the marked steps of Adam, rows drawn pass by pass."""
    draw = torch.Generator().manual_seed(seed)
    first, second = (
        torch.nn.utils.skip_init(torch.nn.Linear, *sizes) for sizes in ((x.shape[1], hidden), (hidden, 10))
    )
    for layer in (first, second):
        torch.nn.init.kaiming_uniform_(layer.weight, a=5**0.5, generator=draw)
        torch.nn.init.zeros_(layer.bias)
    p = {"w1": first.weight, "b1": first.bias, "w2": second.weight, "b2": second.bias}
    optimizer, states = torch.optim.Adam(p.values(), RATE), []
    queue = torch.empty(0, dtype=torch.long)
    for step in range(steps + 1):
        if step in marks:
            states.append({name: value.detach().clone() for name, value in p.items()})
        if step == steps:
            return states
        if len(queue) < BATCH:
            queue = torch.cat([queue, torch.randperm(len(x), generator=draw)])
        rows, queue = queue[:BATCH], queue[BATCH:]
        optimizer.zero_grad()
        cross_entropy(forward(p, x[rows]), y[rows]).backward()
        optimizer.step()
    return states


def tensors(pixels: np.ndarray, labels: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(pixels).float(), torch.from_numpy(labels.astype(np.int64))


def components(vectors: torch.Tensor, count: int = 40) -> np.ndarray:
    """The leading principal components (N, count)."""
    torch.manual_seed(0)
    left, scale, _ = torch.pca_lowrank(vectors.detach(), count)
    return (left * scale).numpy()


def table(seeds: list[Mapping[str, Mapping[str, float]]]) -> dict:
    """By arm and figure: median, lowest and highest over the seeds."""
    return {arm: {figure: spread([its[arm][figure] for its in seeds]) for figure in seeds[0][arm]} for arm in seeds[0]}


def spread_of(seeds: list[Mapping[str, float]]) -> dict:
    return {name: spread([its[name] for its in seeds]) for name in seeds[0]}


def spread(values: list[float]) -> dict[str, float]:
    rounded = [round(value, 4) for value in values]
    return {"median": round(statistics.median(values), 4), "lowest": min(rounded), "highest": max(rounded)}


def plot(accuracy: Mapping[str, Mapping[str, Mapping[str, float]]]) -> None:
    """Test accuracy against the share of wrong labels, a panel for each kind of noise."""
    from hf_datasel.reports.plots.convergence import LINES
    from hf_datasel.reports.plots.style import FAINT, grid, headline, house_style, new_figure, save

    arms = (
        "utility", "utility, per label", "low loss, per label", "blend, per cluster of inputs",
        "blend of averaged utility, per cluster of inputs",
    )  # fmt: skip
    looks = [*zip(arms, LINES, ["-"] * len(arms), strict=False)]
    looks += [(arm, FAINT, dash) for arm, dash in (("random", ":"), ("full", "--"), ("oracle", "-."))]
    with house_style():
        figure = new_figure(height=4.6)
        headline(figure, "MNIST with wrong labels: what 20 % of the rows teach (bands: all seeds)")
        panels = figure.subplots(1, 2, sharey=True)
        for axes, kind in zip(panels, ("random", "systematic"), strict=True):
            tables = {int(name.split()[1][:-1]): its for name, its in accuracy.items() if name.startswith(kind)}
            for arm, colour, dash in looks:
                its = [tables[share][arm] for share in tables]
                axes.plot(list(tables), [one["median"] for one in its], color=colour, linestyle=dash, label=arm)
                low, high = ([one[end] for one in its] for end in ("lowest", "highest"))
                axes.fill_between(list(tables), low, high, color=colour, alpha=0.12, linewidth=0)
            axes.set_title(f"{kind} wrong labels", loc="left", fontsize=10)
            axes.set_xlabel("wrong labels, % of the pool")
            axes.set_xticks(list(tables))
            grid(axes)
        panels[0].set_ylabel("test accuracy")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
        save(figure, PLOT)


def answers(found: Mapping) -> dict[str, float]:
    """Differences of median test accuracy that say what helps."""
    at = {arm: its["accuracy"]["median"] for arm, its in found.items()}
    pairs = {
        "utility_minus_low_loss": ("utility", "low loss"),
        "utility_minus_low_loss_per_label": ("utility, per label", "low loss, per label"),
        "coverage_by_label": ("utility, per label", "utility"),
        "coverage_by_cluster": ("utility, per cluster of inputs", "utility"),
        "blend_per_cluster_minus_full": ("blend, per cluster of inputs", "full"),
        "blend_per_cluster_minus_random": ("blend, per cluster of inputs", "random"),
        "blend_per_cluster_minus_utility_per_label": ("blend, per cluster of inputs", "utility, per label"),
    }
    return {name: round(at[one] - at[other], 4) for name, (one, other) in pairs.items()}
