"""`MISS`: picks in rounds. After each the proxy learns what was picked, and the rest is scored again."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hf_datasel.contracts import Learner, Scorer, Scores
from hf_datasel.errors import BadBudget
from hf_datasel.proxy import Proxy
from hf_datasel.rows import Labels, row_digest, with_row_ids
from hf_datasel.rows.identity import content_only
from hf_datasel.rows.labels import SCORABLE
from hf_datasel.runs import score
from hf_datasel.scorers.looked_up import LookedUp
from hf_datasel.training.warm_up import WarmUp


if TYPE_CHECKING:
    from datasets import Dataset

logger = logging.getLogger(__name__)

COLUMNS = ("miss_score", "miss_score_status", "miss_round")
NOT_PICKED = "not_picked"


@dataclass(frozen=True)
class MISS:
    """Adaptive greedy choice of a set: rows that say the same again lose their worth once one of them is learned.

    `TopCount("miss_score", count)` keeps the set. Still greedy, not the best set. Cost: R times the scorer on what is left,
    and R - 1 trainings.

    Args:
        scorer: any scorer or learner with a `proxy`; without one, for a single round.
        count: K, rows to pick.
        rounds: R; each picks K / R. One is plain top-K.
        training: how the proxy learns the picks of a round. Name `steps`: a share of so few rows is little.
        folder: for the proxies of the rounds; those finished there are not trained again.

    Writes:
        `miss_score` (K for the first pick, 1 for the last), `miss_score_status` (`"ok"`, `"not_picked"`, or why the row has
        no score) and `miss_round` (from 1).

    Raises:
        ValueError: several rounds of a scorer that has no proxy to learn.
        BadBudget: fewer rows can be scored than picked; copies of a row count once.

    Source: after https://huggingface.co/papers/2409.18153 (adaptive greedy against static, from its abstract); steps of a
        proxy in place of a refit are ours.

    Example:
        >>> from hf_datasel import Perplexity
        >>> MISS(Perplexity(Proxy("m")), count=100, rounds=4, training=WarmUp(steps=10), folder="runs/miss").rounds
        4
    """

    scorer: Scorer | Learner
    count: int
    rounds: int = 4
    training: WarmUp = WarmUp()  # noqa: RUF009 (frozen)
    folder: str = "runs/miss"

    columns = COLUMNS
    algo_version = 1

    def __post_init__(self) -> None:
        if not 1 <= self.rounds <= self.count:
            raise ValueError(f"`rounds` is {self.rounds}, expected 1 to `count`, which is {self.count}.")
        if self.rounds > 1 and not isinstance(getattr(self.scorer, "proxy", None), Proxy):
            raise ValueError(
                f"`rounds` is {self.rounds} and {type(self.scorer).__name__} has no `proxy`, expected one that can learn what "
                f"was picked. Set rounds=1."
            )

    @property
    def reads(self) -> tuple[str, ...]:
        """Columns beside a row's content that the scorer reads."""
        return tuple(getattr(self.scorer, "reads", ()))

    @property
    def needs(self) -> tuple[str, ...]:
        """Those it cannot do without."""
        return tuple(getattr(self.scorer, "needs", ()))

    @property
    def labels(self) -> Labels:
        """How the scorer reads rows."""
        labels: Labels = getattr(self.scorer, "labels", Labels())
        return labels

    @property
    def spec(self) -> dict[str, Any]:
        """JSON-like account of what decides the numbers, beside the rows it is fitted on."""
        inner = getattr(self.scorer, "spec", {"scorer": type(self.scorer).__name__})
        its = {
            "count": self.count,
            "rounds": self.rounds,
            "training": asdict(self.training),
            "scorer_of_rounds": inner,
        }
        return {"scorer": "MISS", "algo_version": self.algo_version, **its}

    def fit(self, pool: Dataset) -> LookedUp:
        """Pick `count` rows of `pool`; return the scorer that knows in which order."""
        text_field = self.labels.dataset_text_field
        pool = with_row_ids(pool.with_format(None))
        digests = [row_digest(row, text_field) for row in content_only(pool, text_field)]
        first = {digest: place for place, digest in reversed(list(enumerate(digests)))}
        names = sorted(first)  # ties do not go by the pool's order
        known_already = set(getattr(self.scorer, "columns", ())) & set(pool.column_names)
        distinct = pool.select([first[name] for name in names]).remove_columns(sorted(known_already))
        statuses = [""] * len(names)
        picks, turns = adaptive_picks(
            lambda picked, turn: self._values(distinct, picked, turn, statuses), self.count, self.rounds
        )
        known: dict[str, tuple[Any, ...]] = {
            name: (np.nan, NOT_PICKED if status in SCORABLE else status, np.nan)
            for name, status in zip(names, statuses, strict=True)
        }
        for order, (pick, turn) in enumerate(zip(picks, turns, strict=True)):
            known[names[pick]] = (float(self.count - order), "ok", float(turn + 1))
        return LookedUp(COLUMNS, known, self.spec, text_field)

    def _values(self, distinct: Dataset, picked: list[int], turn: int, statuses: list[str]) -> Scores:
        """Scores (N,) of a round, NaN for what is picked; the reasons for having none go into `statuses`."""
        scorer: Any = self.scorer
        if turn > 0:
            scorer = replace(scorer, proxy=self._taught(distinct.select(picked), turn))
        rest = sorted(set(range(len(distinct))) - set(picked))
        scored = score(distinct.select(rest), scorer)
        # What a learner writes is known once it has written: the columns that were not there before.
        name = next(name for name in scored.column_names if name not in distinct.column_names)
        found = np.full(len(distinct), np.nan)
        found[rest] = np.array(scored[name][:], np.float64)
        for place, status in zip(rest, scored[f"{name}_status"][:], strict=True):
            statuses[place] = status
        return found

    def _taught(self, picks: Dataset, turn: int) -> Proxy:
        """The proxy after a training on everything picked so far, from where it began."""
        proxy: Proxy = self.scorer.proxy  # type: ignore[union-attr]
        return self.training.fit(proxy, picks, self.labels, Path(self.folder) / f"round-{turn}").proxy


def adaptive_picks(values: Callable[[list[int], int], Scores], count: int, rounds: int) -> tuple[list[int], list[int]]:
    """Rows in the order they are picked, and the round of each, from 0: of K in all, as evenly as whole rows allow.

    Args:
        values: scores (N,) given the picks so far and the round; NaN for rows that cannot be picked.
        count: K.
        rounds: R.

    Raises:
        BadBudget: fewer rows have a score than are to be picked.

    Example:
        >>> adaptive_picks(lambda picked, turn: np.array([3.0, 2.9, 1.0]) - 2 * np.array([0, 1, 0]) * len(picked), 2, 2)
        ([0, 2], [0, 1])
    """
    picks: list[int] = []
    turns: list[int] = []
    for turn in range(rounds):
        size = count * (turn + 1) // rounds - len(picks)
        found = values(picks, turn).copy()
        found[picks] = np.nan
        best = np.argsort(-found, kind="stable")[:size]  # NaN comes last
        if len(best) < size or np.isnan(found[best]).any():
            raise BadBudget(
                f"`count` is {count}, expected at most {len(picks) + int((~np.isnan(found)).sum())}, the rows of the pool that "
                f"have a score. Lower it."
            )
        picks += best.tolist()
        turns += [turn] * size
    return picks, turns
