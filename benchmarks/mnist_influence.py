"""Figure 2 of One-Step-Train on real MNIST: influence against exact leave-one-out, and utility against influence.

Linear regression on ten indicators (pixels 0 to 1 and a constant; half squared error, mean over rows; a ridge, which the
constant pixels need), 55,000 training rows; the other 5,000 are the anchors. (a) Influence functions against retraining without
a row, for the rows of largest influence. (b), (c) Rows that first-order utility and influence both put among the best and
the worst p %, against the p % that chance gives. Spread over four splits: the usual one (the last 5,000 rows) and three
drawn. With --quick: 40 rows left out instead of 200, and one split.

Needs the folder `mnist` of the shared data.
"""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr

from hf_datasel.errors import DataselError
from hf_datasel.proxy.inverse_hessian import conjugate_gradients, hessian_product
from hf_datasel.proxy.one_step import directional_derivatives, gradient


MNIST = Path(__file__).parents[2] / "shared" / "data" / "mnist"
PLOT = Path(__file__).parent / "results" / "mnist_influence.png"
ROWS, RIDGE = 55_000, 1e-3
SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0)


def run(quick: bool = False) -> dict:
    """The three panels in figures; the plot too, unless quick."""
    pixels, labels = read("train")
    splits = [np.arange(len(pixels))] + [np.random.default_rng(seed).permutation(len(pixels)) for seed in range(3)]
    tables = []
    for order in splits[:1] if quick else splits:
        tables.append(Split(pixels[order], labels[order], RIDGE).measure(40 if quick else 200))
    first, others = tables[0], Split(pixels, labels, RIDGE)
    figures: dict = {
        "pearson_if_loo": first["pearson_if_loo"],
        "top_10_overlap": first["top"]["0.1"],
        "top_10_overlap_over_random": round(first["top"]["0.1"] / 0.1, 3),
        "bottom_10_overlap": first["bottom"]["0.1"],
        "spread": {
            name: [min(its), max(its)]
            for name, its in {
                "pearson_if_loo": [table["pearson_if_loo"] for table in tables],
                "top_10_overlap": [table["top"]["0.1"] for table in tables],
                "bottom_10_overlap": [table["bottom"]["0.1"] for table in tables],
            }.items()
        },
        "rows": ROWS,
        "anchors": len(pixels) - ROWS,
        "ridge": RIDGE,
        "left_out": 40 if quick else 200,
        "splits": len(tables),
        "usual_split": {name: value for name, value in first.items() if name != "points"},
        "other_checkpoints": {str(steps): others.overlaps_after(steps) for steps in (0, 1, 10, 100)},
        "other_ridges": {str(ridge): Split(pixels, labels, ridge).overlaps() for ridge in (1e-5, 1e-2, 1e-1)},
    }
    if not quick:
        plot(first, figures)
    return figures


def read(part: str) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (N, 785), the last a constant 1, and digits (N,)."""
    if not MNIST.is_dir():
        raise DataselError(
            f"`{MNIST}` is missing, expected MNIST's four files. Put the shared data beside the repository."
        )
    with (
        gzip.open(MNIST / f"{part}-images-idx3-ubyte.gz") as images,
        gzip.open(MNIST / f"{part}-labels-idx1-ubyte.gz") as its,
    ):
        pixels = np.frombuffer(images.read()[16:], np.uint8).reshape(-1, 784) / 255.0
        digits = np.frombuffer(its.read()[8:], np.uint8)
    return np.hstack([pixels, np.ones((len(pixels), 1))]), digits


class Split:
    """A linear model trained to its minimum on the first 55,000 rows; the others are anchors."""

    def __init__(self, pixels: np.ndarray, digits: np.ndarray, ridge: float) -> None:
        self.x, self.anchors = (torch.from_numpy(np.ascontiguousarray(part)) for part in np.split(pixels, [ROWS]))
        self.y, self.wanted = torch.from_numpy(np.eye(10)[digits]).split([ROWS, len(digits) - ROWS])
        self.ridge = ridge
        self.gram, self.moments = self.x.T @ self.x / ROWS, self.x.T @ self.y / ROWS
        self.eye = torch.eye(self.x.shape[1], dtype=torch.float64)
        self.theta = torch.linalg.solve(self.gram + ridge * self.eye, self.moments)

    def row_losses(self, p: dict) -> torch.Tensor:
        return 0.5 * ((self.x @ p["w"] - self.y) ** 2).sum(1)

    def anchor_loss(self, p: dict) -> torch.Tensor:
        return 0.5 * ((self.anchors @ p["w"] - self.wanted) ** 2).sum(1).mean()

    def influence(self) -> tuple[np.ndarray, int]:
        """(N,) rise in anchor loss to first order when a row is left out, in float64; and iterations of the solver."""
        parameters = {"w": self.theta}
        right, _ = gradient(self.anchor_loss, parameters)
        # The loss is quadratic: its Hessian is this matrix for each of the ten outputs.
        found = conjugate_gradients(
            lambda v: {"w": self.gram @ v["w"]}, right, self.ridge, iterations=20_000, tolerance=1e-10
        )
        _, along = directional_derivatives(self.row_losses, parameters, found.vector)
        return (along / ROWS).numpy(), found.iterations

    def utility(self, theta: torch.Tensor) -> np.ndarray:
        """(N,) <g_V, g_i>, which first-order One-Step-Train ranks by whatever its step."""
        direction, _ = gradient(self.anchor_loss, {"w": theta})
        return directional_derivatives(self.row_losses, {"w": theta}, direction)[1].numpy()

    def exact_utility(self, learning_rate: float) -> np.ndarray:
        """(N,) Eq. 2 in closed form: losses are quadratic, so two orders are all there are."""
        square = self.anchors.T @ self.anchors / len(self.anchors)
        slope = ((self.x @ self.theta - self.y) ** 2).sum(1) * ((self.x @ square) * self.x).sum(1)
        return learning_rate * self.utility(self.theta) - learning_rate**2 / 2 * slope.numpy()

    def without(self, row: int) -> float:
        """Anchor loss after training to the minimum without a row, minus with it."""
        x, y = self.x[row], self.y[row]
        gram = self.gram - torch.outer(x, x) / ROWS + self.ridge * self.eye
        theta = torch.linalg.solve(gram, self.moments - torch.outer(x, y) / ROWS)
        return float(self.anchor_loss({"w": theta}) - self.anchor_loss({"w": self.theta}))

    def measure(self, left_out: int) -> dict:
        """Everything about this split; `points` for the plot."""
        influence, iterations = self.influence()
        largest = np.argsort(-np.abs(influence), kind="stable")[:left_out]
        exact = np.array([self.without(int(row)) for row in largest])
        utility = self.utility(self.theta)
        guesses = (self.anchors @ self.theta).argmax(1) == self.wanted.argmax(1)
        return {
            "pearson_if_loo": round(float(np.corrcoef(influence[largest], exact)[0, 1]), 5),
            "pearson_if_loo_by_sign": [  # the two signs lie far apart, which alone makes for a high correlation
                round(float(np.corrcoef(influence[largest][sign], exact[sign])[0, 1]), 5)
                for sign in (influence[largest] > 0, influence[largest] < 0)
            ],
            "largest_relative_error_if": round(float(np.max(np.abs(influence[largest] / exact - 1))), 4),
            "accuracy_on_anchors": round(float(guesses.double().mean()), 4),
            "solver_iterations": iterations,
            "hessian_product_error": self.product_error(),
            **overlaps(utility, influence),
            "spearman_exact_step_first_order": {
                str(rate): round(float(spearmanr(self.exact_utility(rate), utility).statistic), 6)
                for rate in (1e-7, 1e-3, 1e-1)
            },
            "points": [influence[largest].tolist(), exact.tolist()],
        }

    def product_error(self) -> float:
        """Largest difference of the library's Hessian product from the matrix, relative; on 2,000 rows."""
        x, y = self.x[:2000], self.y[:2000]
        vector = torch.randn(self.theta.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        loss = lambda p: 0.5 * ((x @ p["w"] - y) ** 2).sum(1).mean()  # noqa: E731
        found = hessian_product([loss], {"w": self.theta})({"w": vector})["w"]
        expected = x.T @ (x @ vector) / len(x)
        return float((found - expected).abs().max() / expected.abs().max())

    def overlaps(self) -> dict:
        """Of utility and influence, both at the minimum."""
        return overlaps(self.utility(self.theta), self.influence()[0], (0.1,))

    def overlaps_after(self, steps: int) -> dict:
        """Of utility at a checkpoint on the way (gradient descent from zero) with influence at the minimum."""
        theta, rate = torch.zeros_like(self.theta), 1 / float(torch.linalg.eigvalsh(self.gram)[-1])
        for _ in range(steps):
            theta = theta - rate * (self.gram @ theta - self.moments + self.ridge * theta)
        return overlaps(self.utility(theta), self.influence()[0], (0.1,))


def overlaps(left: np.ndarray, right: np.ndarray, shares: tuple[float, ...] = SHARES) -> dict:
    """Share of the best (and worst) p of one ranking that the other has there too, and the rank correlation."""
    best, other = np.argsort(-left, kind="stable"), np.argsort(-right, kind="stable")
    found: dict[str, Any] = {"spearman": round(float(spearmanr(left, right).statistic), 4), "top": {}, "bottom": {}}
    for share in shares:
        count = int(share * len(left))
        found["top"][str(share)] = round(len(np.intersect1d(best[:count], other[:count])) / count, 4)
        found["bottom"][str(share)] = round(len(np.intersect1d(best[-count:], other[-count:])) / count, 4)
    return found


def plot(first: dict, figures: dict) -> None:
    """The three panels of Figure 2, in the house's look."""
    from hf_datasel.reports.plots.style import FAINT, KEPT, TOXIC, grid, headline, house_style, new_figure, notes, save

    with house_style():
        figure = new_figure(height=3.4)
        headline(
            figure, "MNIST: influence is what leaving out does; utility agrees with it beyond chance, not closely"
        )
        scatter, *panels = figure.subplots(1, 3)
        guess, exact = (np.array(values) * 1e6 for values in first["points"])
        scatter.plot(
            guess, exact, linestyle="none", marker="o", markersize=3, color=KEPT, markeredgewidth=0, alpha=0.6
        )
        ends = [min(guess.min(), exact.min()), max(guess.max(), exact.max())]
        scatter.plot(ends, ends, color=FAINT, linewidth=1)
        scatter.set_xlabel("influence, 1e-6")
        scatter.set_ylabel("leave-one-out, 1e-6")
        notes(scatter, [("●", KEPT, f"Pearson {figures['pearson_if_loo']:.4f}")], at_edge=False)
        for axes, end, colour in zip(panels, ("top", "bottom"), (KEPT, TOXIC), strict=True):
            shares = [float(share) for share in first[end]]
            axes.plot(shares, list(first[end].values()), color=colour, marker="o", markersize=3)
            axes.plot(shares, shares, color=FAINT, linewidth=1, linestyle="--")
            axes.set_xlabel(f"{end} share")
            axes.set_ylabel("overlap")
            notes(axes, [("●", colour, "in both"), ("- -", FAINT, "chance")], at_edge=False)
        for axes in (scatter, *panels):
            grid(axes)
        save(figure, PLOT)
