"""The search for indicator weights. All it knows of a model are the gains it is given: no model is called here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hf_datasel.contracts import Scores
from hf_datasel.errors import MissingExtra
from hf_datasel.selectors.budgets import rows_in


Search = Literal["bayes", "random", "ridge"]
SEARCHES = ("bayes", "random", "ridge")
DRAWS = 16  # of the first design, beside the vertices and the centre
CANDIDATES = 512  # looked at for each point of the Bayesian search
BEST = 5  # averaged, where there is no model of the objective to smooth it
FOLDS = 5


@dataclass(frozen=True)
class Space:
    """Where weights live: the simplex (none below 0, sum 1), or the sphere (any sign, length 1).

    Args:
        size: m weights.
        signed: the sphere.
    """

    size: int
    signed: bool = False

    @property
    def uniform(self) -> Scores:
        """The same weight for all."""
        return self.nearest(np.ones(self.size))

    def nearest(self, weights: Scores) -> Scores:
        """(…, m) scaled to be weights; the uniform ones for zeros."""
        weights = weights if self.signed else np.clip(weights, 0, None)
        size = np.linalg.norm(weights, axis=-1, keepdims=True) if self.signed else weights.sum(-1, keepdims=True)
        same = np.full(self.size, self.size**-0.5 if self.signed else 1 / self.size)
        found: Scores = np.where(size > 0, weights / np.where(size > 0, size, 1), same)
        return found

    def drawn(self, draw: np.random.Generator, count: int) -> Scores:
        """(count, m) weights, evenly over the space."""
        wide: Scores = (
            draw.normal(size=(count, self.size)) if self.signed else draw.exponential(size=(count, self.size))
        )
        return self.nearest(wide)

    def design(self, draw: np.random.Generator) -> Scores:
        """The vertices, the centre and `DRAWS` more."""
        corners = np.concatenate([np.eye(self.size), -np.eye(self.size)]) if self.signed else np.eye(self.size)
        return np.concatenate([corners, self.uniform[None], self.drawn(draw, DRAWS)])


@dataclass(frozen=True)
class Found:
    """What a search found.

    Args:
        weights: (m,), the best by a smoothed view of the objective.
        tried: (n, m) weights whose objective was computed.
        values: (n,) the objective.
    """

    weights: Scores
    tried: Scores
    values: Scores


def shares(scores: Scores, fraction: float, temperature: float | None = None) -> Scores:
    """(P,) how much each row counts in the best `fraction`: 1 / K for each of the K best, rows tied at the cut in part.

    Args:
        scores: (P,).
        fraction: of the rows, at least one.
        temperature: softmax of score over temperature instead, over all rows: smooth in the weights.

    Example:
        >>> shares(np.array([3.0, 1.0, 2.0, 2.0]), 0.5)
        array([0.5 , 0.  , 0.25, 0.25])
    """
    if temperature is not None:
        weights = np.exp((scores - scores.max()) / temperature)
        return np.asarray(weights / weights.sum(), dtype=np.float64)
    count = rows_in(fraction, len(scores))
    cut = np.sort(scores)[-count]
    # Sums of weights differ in their last digit where scores are the same.
    near = np.isclose(scores, cut, rtol=0, atol=1e-12)
    above = (scores > cut) & ~near
    return np.asarray((above + near * (count - above.sum()) / near.sum()) / count, dtype=np.float64)


def objective(
    weights: Scores, indicators: Scores, gains: Scores, fraction: float, temperature: float | None = None
) -> float:
    """Mean gain of the rows that the weights select.

    Args:
        weights: (m,).
        indicators: (P, m), from 0 to 1.
        gains: (P,) of each row.
        fraction, temperature: see `shares`.

    Example:
        >>> indicators = np.array([[1, 0], [0.8, 0.6], [0.2, 0.9], [0, 1]])
        >>> round(objective(np.array([0.5, 0.5]), indicators, np.array([0.0, 0.4, 0.3, -0.1]), 0.5), 6)
        0.35
    """
    return float(shares(indicators @ weights, fraction, temperature) @ gains)


def search_weights(
    indicators: Scores,
    gains: Scores,
    space: Space,
    fraction: float,
    search: Search = "bayes",
    rounds: int = 40,
    temperature: float | None = None,
    seed: int = 42,
) -> Found:
    """The weights whose selection gains most. Cost: no model call; one objective a round.

    Args:
        indicators: (P, m), from 0 to 1.
        gains: (P,).
        space: of the weights.
        fraction, temperature: see `shares`.
        search: `"bayes"`: a Gaussian process (Matern 5/2) with expected improvement, and of all tried the best by its mean.
            `"random"`: as many draws, and the mean of the five best. `"ridge"`: gains regressed on the indicators, their
            coefficients as weights.
        rounds: after the first design.
        seed: of the draws.

    Raises:
        MissingExtra: `"bayes"` needs scikit-learn.
    """
    draw = np.random.default_rng(seed)

    def value(weights: Scores) -> float:
        return objective(weights, indicators, gains, fraction, temperature)

    if search == "ridge":
        centred = indicators - indicators.mean(0)
        square = centred.T @ centred + 1e-2 * len(indicators) * np.eye(space.size)
        weights = space.nearest(np.linalg.solve(square, centred.T @ (gains - gains.mean())))
        return Found(weights, weights[None], np.array([value(weights)]))
    tried = space.design(draw)
    if search == "random":
        tried = np.concatenate([tried, space.drawn(draw, rounds)])
        values = np.array([value(weights) for weights in tried])
        best = np.argsort(-values, kind="stable")[:BEST]
        return Found(space.nearest(tried[best].mean(0)), tried, values)
    return _bayes(value, tried, space, rounds, draw)


def _bayes(
    value: Callable[[Scores], float], tried: Scores, space: Space, rounds: int, draw: np.random.Generator
) -> Found:
    try:
        from sklearn.gaussian_process import GaussianProcessRegressor
        from sklearn.gaussian_process.kernels import Matern
    except ImportError as error:
        raise MissingExtra(
            "The Bayesian search needs scikit-learn. Install it: pip install 'hf_datasel[clusters]', or use "
            "search='random'."
        ) from error
    from math import sqrt

    values = np.array([value(weights) for weights in tried])
    # A step of the objective is a few rows' gains: a tenth of its spread is taken for noise, so that no lucky step wins.
    process = GaussianProcessRegressor(Matern(0.5, nu=2.5), alpha=0.1, optimizer=None, normalize_y=True)
    for _ in range(rounds):
        process.fit(tried, values)
        best = tried[process.predict(tried).argmax()]
        near = space.nearest(best + 0.1 * draw.normal(size=(CANDIDATES // 2, space.size)))
        candidates = np.concatenate([space.drawn(draw, CANDIDATES // 2), near])
        mean, deviation = process.predict(candidates, return_std=True)
        gap = mean - process.predict(best[None])[0]
        ratio = gap / np.maximum(deviation, 1e-12)
        density = np.exp(-0.5 * ratio**2) / sqrt(2 * np.pi)
        improvement = gap * _normal_share(ratio) + deviation * density
        chosen = candidates[improvement.argmax()]
        tried, values = np.concatenate([tried, chosen[None]]), np.append(values, value(chosen))
    process.fit(tried, values)
    return Found(tried[process.predict(tried).argmax()], tried, values)


def _normal_share(ratios: Scores) -> Scores:
    from math import erf, sqrt

    return np.array([0.5 * (1 + erf(ratio / sqrt(2))) for ratio in ratios])


def held_out_shares(
    indicators: Scores,
    gains: Scores,
    space: Space,
    fraction: float,
    learn: Callable[[Scores, Scores], Scores],
    seed: int,
) -> tuple[Scores, Scores]:
    """(P,) each: how much rows count when weights learned without them select, and when uniform weights do.

    Rows are dealt to `FOLDS` parts; the rows of one are selected among by weights learned from the others.

    Args:
        indicators, gains: (P, m) and (P,).
        space: of the weights.
        fraction: see `shares`.
        learn: weights from indicators and gains.
        seed: of the deal.
    """
    order = np.random.default_rng(seed).permutation(len(gains))
    learned, uniform = np.zeros(len(gains)), np.zeros(len(gains))
    folds = [order[n::FOLDS] for n in range(min(FOLDS, len(gains) // 2))]
    for fold in folds:
        others = np.setdiff1d(order, fold)
        weights = learn(indicators[others], gains[others])
        learned[fold] = shares(indicators[fold] @ weights, fraction) / len(folds)
        uniform[fold] = shares(indicators[fold] @ space.uniform, fraction) / len(folds)
    return learned, uniform


def bootstrap_interval(
    gains: Scores,
    first: Scores,
    second: Scores,
    item_weights: Scores,
    over_rows: bool = True,
    draws: int = 2000,
    seed: int = 42,
) -> tuple[float, float]:
    """95 % of resampled differences in mean gain between two selections, nats per token.

    Args:
        gains: (P, T) of each row on each item.
        first, second: (P,) how much rows count in each selection.
        item_weights: (T,).
        over_rows: resample the rows beside the items: a gain must not hang on a few of either.
        draws: how many.
        seed: of the draws.
    """
    draw = np.random.default_rng(seed)
    rows, items = gains.shape
    counts = draw.multinomial(items, np.full(items, 1 / items), draws) * item_weights
    counts = counts / counts.sum(1, keepdims=True)
    if over_rows:
        drawn = draw.multinomial(rows, np.full(rows, 1 / rows), draws)
        parts = [drawn * its for its in (first, second)]
        parts = [its / np.maximum(its.sum(1, keepdims=True), 1e-12) for its in parts]
        differences = ((parts[0] - parts[1]) @ gains * counts).sum(1)
    else:
        differences = counts @ ((first - second) @ gains)
    low, high = np.quantile(differences, (0.025, 0.975))
    return float(low), float(high)
