"""Weights searched for, judged against uniform ones, and accounted for. No model is called here."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from itertools import combinations
from typing import Any, Literal

import numpy as np

from hf_datasel.contracts import Scores
from hf_datasel.learners.weight_search import (
    Found,
    Search,
    Space,
    bootstrap_interval,
    held_out_shares,
    objective,
    search_weights,
    shares,
)


Guard = Literal["held_out", "in_sample", "none"]
GUARDS = ("held_out", "in_sample", "none")
ALIKE = 0.99  # correlation from which two indicators are reported as one
SAME = 1e-12  # gains that differ by less do not differ


@dataclass(frozen=True)
class Judged:
    """Weights that are kept, and why.

    Args:
        weights: (m,), those found or uniform ones; 0 for a constant indicator.
        report: JSON-like: `weights` kept and `found`, by indicator; `kept`, `"learned"` or `"uniform: "` and why; `objective`
            of those found, of uniform ones, of a row taken blindly (`random`) and of each indicator alone; `trade_off`
            between two of them, and its `surface`; `interval` and `held_out_interval` of the difference to uniform;
            `constant` indicators, and pairs that are `alike`. See `reports.plots.plot_indicator_weights`.
        found: the search; None where there was nothing to search for.
    """

    weights: Scores
    report: dict[str, Any]
    found: Found | None = field(repr=False)


@dataclass(frozen=True)
class Judge:
    """How weights are searched for and judged; arguments as `IndicatorWeights`'."""

    fraction: float
    search: Search = "bayes"
    rounds: int = 40
    signed: bool = False
    temperature: float | None = None
    guard: Guard = "held_out"
    seed: int = 42

    def __call__(
        self,
        names: tuple[str, ...],
        indicators: Scores,
        gains: Scores,
        item_weights: Scores,
        trade_off: tuple[str, str],
    ) -> Judged:
        """Search and judge.

        Args:
            names: of m indicators.
            indicators: (P, m), from 0 to 1.
            gains: (P, T).
            item_weights: (T,).
            trade_off: two names.
        """
        item_weights = item_weights / item_weights.sum()
        varies = np.ptp(indicators, axis=0) > 0
        constant = [name for name, does in zip(names, varies, strict=True) if not does]
        its, own = indicators[:, varies], gains @ item_weights
        space = Space(max(1, int(varies.sum())), self.signed)
        learn = partial(
            search_weights, space=space, fraction=self.fraction, search=self.search, rounds=self.rounds,
            temperature=self.temperature, seed=self.seed,
        )  # fmt: skip
        report: dict[str, Any] = {"constant": constant, "alike": _alike(names, indicators, varies)}
        if not varies.any() or np.ptp(own) < SAME or (space.size == 1 and not self.signed):
            why = "nothing to weigh" if space.size == 1 else "all gains are equal"
            # Alike in all these rows, they may still tell the rows of the pool apart: weights of 0 would not.
            weights = self._spread(space.uniform, varies) if varies.any() else np.full(len(names), 1 / len(names))
            report |= {"weights": _named(names, weights), "found": {}, "kept": f"uniform: {why}"}
            return Judged(weights, report, None)
        found = learn(its, own)
        report |= self._intervals(its, gains, own, item_weights, found, space, lambda x, g: learn(x, g).weights)
        kept = self._kept(report)
        chosen = found.weights if kept == "learned" else space.uniform
        weights = self._spread(chosen, varies)
        value = partial(objective, indicators=its, gains=own, fraction=self.fraction)
        report |= {
            "weights": _named(names, weights),
            "found": _named(names, self._spread(found.weights, varies)),
            "kept": kept,
            "objective": {
                "found": value(found.weights),
                "uniform": value(space.uniform),
                "random": float(own.mean()),
                **{name: value(row) for name, row in zip(np.array(names)[varies], np.eye(space.size), strict=True)},
            },
            **self._trade_off(names, indicators, own, self._spread(found.weights, varies), trade_off),
        }
        return Judged(weights, report, found)

    def _intervals(
        self, its: Scores, gains: Scores, own: Scores, item_weights: Scores, found: Found, space: Space, learn: Any
    ) -> dict[str, Any]:
        best, same = (shares(its @ weights, self.fraction) for weights in (found.weights, space.uniform))
        held_out = held_out_shares(its, own, space, self.fraction, learn, self.seed)
        return {
            "interval": bootstrap_interval(gains, best, same, item_weights, over_rows=False, seed=self.seed),
            "held_out_interval": bootstrap_interval(gains, *held_out, item_weights, seed=self.seed),
        }

    def _kept(self, report: dict[str, Any]) -> str:
        if self.guard == "none":
            return "learned"
        low, high = report["held_out_interval" if self.guard == "held_out" else "interval"]
        if low > 0:
            return "learned"
        return f"uniform: {self.guard.replace('_', ' ')} gain over uniform is {low:.4f} to {high:.4f}, not above 0"

    def _trade_off(
        self, names: tuple[str, ...], indicators: Scores, own: Scores, found: Scores, pair: tuple[str, str]
    ) -> dict[str, Any]:
        """The objective from one indicator of a pair to the other, and from the two together to the others as found.

        `trade_off`: `[share of the second, objective]` of the two alone. `surface`: `objective` of each of `parts`, what the
        two weigh together, and each of `shares`, what the second has of it; the weights found lie on it.
        """
        if not set(pair) <= set(names):
            return {"trade_off": [], "surface": {}}
        first, second = (np.eye(len(names))[names.index(name)] for name in pair)
        others = np.where(first + second > 0, 0.0, found)
        total, shares_of = np.abs(others).sum(), np.linspace(0, 1, 11)
        parts = np.linspace(0, 1, 11) if total > 0 else np.ones(1)
        rest = others / total if total > 0 else others
        table = [
            [
                objective(
                    part * ((1 - share) * first + share * second) + (1 - part) * rest, indicators, own, self.fraction
                )
                for share in shares_of
            ]
            for part in parts
        ]
        surface = {"pair": list(pair), "shares": shares_of.tolist(), "parts": parts.tolist(), "objective": table}
        line = [[float(share), value] for share, value in zip(shares_of, table[-1], strict=True)]
        return {"trade_off": line, "surface": surface}

    def _spread(self, weights: Scores, varies: Any) -> Scores:
        whole = np.zeros(len(varies))
        whole[varies] = weights[: varies.sum()]
        return whole


def _named(names: tuple[str, ...], weights: Scores) -> dict[str, float]:
    return dict(zip(names, weights.tolist(), strict=True))


def _alike(names: tuple[str, ...], indicators: Scores, varies: Any) -> list[list[str]]:
    places = np.flatnonzero(varies)
    pairs = combinations(places.tolist(), 2) if len(indicators) > 1 else ()
    return [
        [names[a], names[b]] for a, b in pairs if abs(np.corrcoef(indicators[:, a], indicators[:, b])[0, 1]) > ALIKE
    ]
