"""`IndicatorWeights`: which indicators matter for a task and a model, learned from what rows do as worked examples."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from hf_datasel.contracts import Indices, Scores
from hf_datasel.errors import BadRow
from hf_datasel.learners.data_whisperer import block_order
from hf_datasel.learners.in_context_gains import exact_match_gains, log_probability_gains
from hf_datasel.learners.learned_weights import GUARDS, Guard, Judge
from hf_datasel.learners.tiny_validation import WEIGHT, tiny_validation
from hf_datasel.learners.weight_search import SEARCHES, Found, Search
from hf_datasel.learners.weighted_sum import scaled_indicators, weighted_sum
from hf_datasel.proxy import Proxy
from hf_datasel.rows import Labels, content_rows, row_digest
from hf_datasel.scorers.nuggets import Nuggets
from hf_datasel.scorers.weighted_sum import Indicator, WeightedSum
from hf_datasel.scorers.with_anchors import rows_spec
from hf_datasel.scorers.with_proxy import spec_of
from hf_datasel.selectors.budgets import check_count, check_fraction


if TYPE_CHECKING:
    from datasets import Dataset

logger = logging.getLogger(__name__)

TRADE_OFF = ("semantic_diversity", "logical_complexity")
SIGNALS = ("log_probability", "exact_match")


@dataclass(frozen=True)
class LearnedWeights:
    """What `IndicatorWeights` found: see `report` for its account, `scorer` for what to score with.

    Args:
        scorer: with the weights that are kept.
        report: see `Judged`; and `probes`, how many by what became of them, `items` and `signal`.
        gains: (P, T) of each probe on each item.
        probes: (P,) row numbers in the pool.
        found: the search, if there was anything to search for.
    """

    scorer: WeightedSum
    report: dict[str, Any]
    gains: Scores = field(repr=False)
    probes: Indices = field(repr=False)
    found: Found | None = field(repr=False)


@dataclass(frozen=True)
class IndicatorWeights:
    """Learns weights of indicators, so that rows with a high sum make good worked examples for a task. No training.

    P rows of the pool are shown, one by one, before T rows of the task, and the gain of each pair is measured: P x T F of the
    task's rows alone, once for a task and a model (`Nuggets` keeps them in its journal). The search then looks for weights
    whose best rows among the P gain most, without another forward pass.

    A gain as an example is no gain in training. Where a row taken blindly gains nothing (`report["objective"]["random"]` about
    0 or below), the proxy does not learn from examples and its weights mislead: see docs/in_context.md.

    Args:
        proxy: the model, best the one that will be trained.
        validation: rows of the task's validation split. `items` of them stand for the others, see `tiny_validation`.
        indicators: m columns of the pool, and which end of each is worth keeping. Constant ones get no weight.
        fraction: of the pool that will be kept.
        probes: P, drawn over the whole range of the indicators' first principal component.
        items: T.
        embedding: column of `validation` that the items are chosen by; None takes all rows.
        signal: `"log_probability"` of the answers after one row, or `"exact_match"` of greedy answers after four.
        search, rounds: see `search_weights`.
        signed: weights of any sign and length 1, instead of none below 0 and sum 1.
        normalisation: see `WeightedSum`.
        temperature: see `shares`; None is the plain best `fraction`.
        guard: when uniform weights are kept: unless 95 % of resampled gains over them are above 0, those of rows held out of
            the search (`"held_out"`), or of the same rows (`"in_sample"`, the sheet's: the search always wins on its own
            rows, so this finds gains in noise); or never (`"none"`).
        longest: part of the context that a probe may take up; longer ones are left out, and counted.
        trade_off: two indicators along which the report follows the objective.
        shots, max_new_tokens: of `"exact_match"`.
        separator: between rows that are texts.
        seed: of every draw.
        labels: how rows become tokens.

    Raises:
        ValueError: an option is unknown or out of range.
        BadRow: no indicator varies, no probe could be measured, or an item has no answer.
        MissingExtra: `search="bayes"` needs scikit-learn.

    Source: https://huggingface.co/papers/2605.09665: a design after its abstract (weights per task and model, from in-context
        signals on tiny validation sets, 30 % of GSM8K), not a reproduction; all other numbers are our choice. The gain is
        NUGGETS' (https://huggingface.co/papers/2312.10302).

    Example:
        >>> task = [{"prompt": "1 + 1 = ", "completion": "2"}]
        >>> IndicatorWeights(Proxy("HuggingFaceTB/SmolLM2-135M"), task, [Indicator("response_length")]).fraction
        0.3
    """

    proxy: Proxy
    validation: Dataset | Sequence[Mapping[str, Any]]
    indicators: Sequence[Indicator]
    fraction: float = 0.3
    probes: int = 256
    items: int = 100
    embedding: str | None = None
    signal: Literal["log_probability", "exact_match"] = "log_probability"
    search: Search = "bayes"
    rounds: int = 40
    signed: bool = False
    normalisation: Literal["rank", "min_max"] = "rank"
    temperature: float | None = None
    guard: Guard = "held_out"
    longest: float = 0.25
    trade_off: tuple[str, str] = TRADE_OFF
    shots: int = 4
    max_new_tokens: int = 128
    separator: str = "\n\n"
    seed: int = 42
    labels: Labels = Labels()  # noqa: RUF009 (frozen)

    columns = WeightedSum.columns
    algo_version = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "indicators", tuple(self.indicators))
        object.__setattr__(self, "trade_off", tuple(self.trade_off))
        check_fraction("fraction", self.fraction)
        for name in ("probes", "items", "rounds", "shots", "max_new_tokens"):
            check_count(name, getattr(self, name))
        for name, known in (("search", SEARCHES), ("guard", GUARDS), ("signal", SIGNALS)):
            if getattr(self, name) not in known:
                raise ValueError(f"`{name}` is {getattr(self, name)!r}, expected one of {known}.")
        if self.temperature is not None and not self.temperature > 0:
            raise ValueError(f"`temperature` is {self.temperature}, expected above 0, or None for the plain best.")

    @property
    def reads(self) -> tuple[str, ...]:
        """Columns that it, and the scorer it returns, read beside a row's content."""
        return tuple(dict.fromkeys(its.column for its in self.indicators))

    needs = reads

    @property
    def spec(self) -> dict[str, Any]:
        """JSON-like account of what decides the numbers, beside the rows it is fitted on."""
        task = self._task()
        items = content_rows(task, None, self.labels.dataset_text_field)
        own = {"indicators": [asdict(its) for its in self.indicators], "trade_off": list(self.trade_off)}
        validation = {**rows_spec(items, self.labels.dataset_text_field), "weights": task[WEIGHT][:]}
        return {**spec_of(self), **own, "validation": validation}

    def fit(self, pool: Dataset) -> WeightedSum:
        """Learn from the N rows of `pool`, which has the indicators' columns; return the scorer that adds them up."""
        return self.learn(pool).scorer

    def learn(self, pool: Dataset) -> LearnedWeights:
        """The same, with all that was found on the way."""
        base = weighted_sum(pool, self.indicators, normalisation=self.normalisation)
        if all(its.constant for its in base.references):
            raise BadRow(
                f"`indicators` {list(self.reads)} are constant in the pool, expected one that varies. Add others."
            )
        task = self._task()
        items = content_rows(task, None, self.labels.dataset_text_field)
        rows = content_rows(pool, None, self.labels.dataset_text_field)
        raw, scaled = scaled_indicators(pool, base)
        places = self._probes(rows, raw, scaled, {self._digest(row) for row in items})
        status, gains = self._gains(items, [rows[place] for place in places])
        measured, counts = ~np.isnan(gains).any(1), dict(Counter(status))
        if not measured.any():
            raise BadRow(
                f"`probes`: none of {len(places)} rows could be shown before the items ({counts}), expected some. "
                f"Raise `longest` (now {self.longest}), or use a proxy with a longer context."
            )
        if not measured.all():
            logger.warning("%d of %d probes were left out: %s.", (~measured).sum(), len(places), counts)
        probes, gains = places[measured], gains[measured]
        judge = Judge(self.fraction, self.search, self.rounds, self.signed, self.temperature, self.guard, self.seed)
        names = tuple(its.name for its in self.indicators)
        judged = judge(names, scaled[probes], gains, np.array(task[WEIGHT][:]), self.trade_off)
        report = {**judged.report, "probes": counts, "items": len(items), "signal": self.signal}
        scorer = replace(base, weights=tuple(judged.weights.tolist()), learned=report)
        return LearnedWeights(scorer, report, gains, probes, judged.found)

    def _task(self) -> Dataset:
        from datasets import Dataset

        validation: Any = self.validation
        if not hasattr(validation, "column_names"):
            validation = Dataset.from_list([dict(row) for row in validation])
        return tiny_validation(validation, self.items, self.embedding, self.seed)

    def _digest(self, row: Mapping[str, Any]) -> str:
        return row_digest(row, self.labels.dataset_text_field)

    def _probes(self, rows: Sequence[Mapping[str, Any]], raw: Scores, scaled: Scores, items: set[str]) -> Indices:
        """Row numbers, by a keyed hash: the first by it of each of P parts along the first principal component.

        Rows of the task, copies, and rows without any indicator are none.
        """
        usable = {
            digest: place
            for place, digest in reversed([(place, self._digest(row)) for place, row in enumerate(rows)])
            if digest not in items and not np.isnan(raw[place]).all()
        }
        if not usable:
            raise BadRow("`pool` has no row with an indicator that is not an item of `validation`, expected some.")
        order = block_order(usable, self.seed)
        places = np.array([usable[digest] for digest in order])
        centred = scaled[places] - scaled[places].mean(0)
        axis = np.linalg.svd(centred, full_matrices=False)[2][0]
        # In order of hash, so that which rows tie does not depend on the pool's order.
        along = np.argsort((centred @ axis * (1 if axis.sum() >= 0 else -1)).round(9), kind="stable")
        parts = np.array_split(along, min(self.probes, len(along)))
        chosen: Indices = places[np.sort([part.min() for part in parts])]
        return chosen

    def _gains(
        self, items: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]
    ) -> tuple[list[str], Scores]:
        if self.signal == "log_probability":
            nuggets = Nuggets(self.proxy, items, self.separator, self.longest, self.labels)
            return log_probability_gains(nuggets, rows)
        from hf_datasel.proxy.in_context import InContext

        engine = InContext(self.proxy.load(self.labels), items, self.labels, self.separator)
        return exact_match_gains(engine, rows, self.shots, self.max_new_tokens, self.longest, self.seed)
