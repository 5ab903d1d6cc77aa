"""`DataWhisperer`: a row is worth the answers that the model gets right with it among its examples, by its attention to it."""

from __future__ import annotations

import functools
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from hf_datasel.contracts import Scores
from hf_datasel.errors import BadRow
from hf_datasel.metrics.answers import final_answer
from hf_datasel.proxy import Proxy
from hf_datasel.proxy.batch_size import max_tokens
from hf_datasel.rows import Labels, content_rows, refuse_overlap, row_digest
from hf_datasel.rows.batches import answer_text
from hf_datasel.rows.labels import SCORABLE
from hf_datasel.scorers.known_rows import KnownRows
from hf_datasel.scorers.with_anchors import rows_spec
from hf_datasel.scorers.with_proxy import spec_of
from hf_datasel.selectors.budgets import check_count


if TYPE_CHECKING:
    from datasets import Dataset

    from hf_datasel.proxy.in_context import InContext

logger = logging.getLogger(__name__)

WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class DataWhisperer:
    """Walks through the pool in blocks of examples, answers queries after each, and shares the success by attention.

    A row's score is the mean over its block's queries of the answer's metric times the row's share of the attention, 0 to 1.
    Cost per block: 1 F of its rows, twice; of each query twice; and `max_new_tokens` steps. Each row is in one block.

    Args:
        proxy: the model that scores. Its attention must be computed plainly (`"eager"`).
        queries: Q rows of the target task, none of them in the pool. Taken in turns.
        block: rows shown together.
        num_queries: asked after each block.
        metric: `"exact_match"` of the number an answer ends on (see `metrics.answers`), or `"rouge_l"`, the F1 of the
            longest common subsequence of words.
        max_new_tokens: of an answer.
        layer: whose attention counts; None for the middle one. The release: 13 for Meta-Llama-3-8B-Instruct and Mistral-Nemo,
            16 for Qwen2.5 of 3B and 7B, 10 for Mistral-7B-v0.2, 11 for others.
        separator: between rows that are texts.
        seed: of the order in which rows meet in blocks, by a keyed hash: a shuffled pool has the same blocks.
        labels: how rows become tokens; rows count whole.

    Raises:
        ValueError: `metric` is unknown, or the model has no such layer.
        BadBudget: a count is no whole number of at least 1.
        OverlapError: a query occurs in the pool.
        BadRow: a query has no answer, or no block could be measured.

    Source: https://huggingface.co/papers/2505.12212 and its released code: 5 examples, 8 queries, seed 42, greedy. There, the
        queries of a block stand in one prompt; here each is asked alone. There, rows of blocks that were skipped score 0, the
        worst; here they have no score and a reason.

    Example:
        >>> queries = [{"prompt": "1 + 1 = ", "completion": "2"}]
        >>> DataWhisperer(Proxy("HuggingFaceTB/SmolLM2-135M"), queries).block
        5
    """

    proxy: Proxy
    queries: Dataset | Sequence[Mapping[str, Any]]
    block: int = 5
    num_queries: int = 8
    metric: Literal["exact_match", "rouge_l"] = "exact_match"
    max_new_tokens: int = 128
    layer: int | None = None
    separator: str = "\n\n"
    seed: int = 42
    labels: Labels = Labels()  # noqa: RUF009 (frozen)

    columns = ("data_whisperer", "data_whisperer_status")
    algo_version = 1

    def __post_init__(self) -> None:
        if self.metric not in METRICS:
            raise ValueError(f"`metric` is {self.metric!r}, expected one of {sorted(METRICS)}.")
        for name in ("block", "num_queries", "max_new_tokens"):
            check_count(name, getattr(self, name))
        queries = self.queries
        if hasattr(queries, "column_names"):
            queries = content_rows(queries, None, self.labels.dataset_text_field)
        object.__setattr__(self, "queries", tuple(dict(row) for row in queries))

    @property
    def spec(self) -> dict[str, Any]:
        """JSON-like account of what decides the numbers, beside the rows it is fitted on."""
        return {**spec_of(self), "queries": rows_spec(self.queries, self.labels.dataset_text_field)}

    def fit(self, pool: Dataset) -> KnownRows:
        """Measure the N rows of `pool`; return the scorer that knows them."""
        refuse_overlap(self.queries, pool=pool)
        asking = self._asking()
        content = content_rows(pool, None, self.labels.dataset_text_field)
        by_digest = {row_digest(row, self.labels.dataset_text_field): row for row in content}
        rows = {digest: by_digest[digest] for digest in block_order(by_digest, self.seed)}
        reasons = {digest: asking(0).read(row).status for digest, row in rows.items()}
        usable = [digest for digest, status in reasons.items() if status in SCORABLE]
        scores = dict.fromkeys(rows, float("nan"))
        for number, start in enumerate(range(0, len(usable), self.block)):
            members = usable[start : start + self.block]
            status, found = self._measured(asking(number), [rows[digest] for digest in members])
            scores |= dict(zip(members, found.tolist(), strict=True))
            reasons |= dict.fromkeys(members, status)
        counts = Counter(status for status in reasons.values() if status != "ok")
        if counts.total() == len(rows):
            raise BadRow(f"`pool` has no row that could be shown ({dict(counts)}), expected one. Lower `block`.")
        if counts:
            logger.warning("%d of %d rows have no score: %s.", counts.total(), len(rows), dict(counts))
        reasons = {digest: status for digest, status in reasons.items() if status != "ok"}
        return KnownRows(self.columns[0], scores, reasons, self.spec)

    def _asking(self) -> Callable[[int], InContext]:
        """The model with the queries of a block by its number; queries are taken in turns."""
        from hf_datasel.proxy.batching import TokenBudget
        from hf_datasel.proxy.in_context import InContext

        loaded = self.proxy.load(self.labels)

        @functools.cache
        def window(start: int) -> InContext:
            its = [self.queries[(start + n) % len(self.queries)] for n in range(self.num_queries)]
            return InContext(loaded, its, self.labels, self.separator, TokenBudget(max_tokens()))

        return lambda number: window(number * self.num_queries % max(1, len(self.queries)))

    def _measured(self, engine: InContext, rows: Sequence[Mapping[str, Any]]) -> tuple[str, Scores]:
        from hf_datasel.proxy.in_context_answers import answers_in_context, attention_to_examples

        nothing = np.full(len(rows), np.nan)
        status, answers = answers_in_context(engine, rows, self.max_new_tokens)
        if not answers:
            return status, nothing
        layer = (
            engine.proxy.model.config.get_text_config().num_hidden_layers // 2 if self.layer is None else self.layer
        )
        status, looks = attention_to_examples(engine, rows, layer)
        if status != "ok":
            return status, nothing
        right = [METRICS[self.metric](said, answer_text(its)) for said, its in zip(answers, engine.items, strict=True)]
        return "ok", shared_success(looks, np.array(right))


def block_order(digests: Iterable[str], seed: int) -> list[str]:
    """Rows in the order of a keyed hash of what they hold: copies and the pool's order change nothing."""
    return sorted(digests, key=lambda digest: blake2b(digest.encode(), key=str(seed).encode()).digest())


def shared_success(looks: Scores, right: Scores) -> Scores:
    """(k,) mean over queries of each example's share of the attention times the query's metric.

    Args:
        looks: (T, k), summing to 1 over the examples.
        right: (T,) metric of each answer, 0 to 1.

    Example:
        >>> shared_success(np.array([[0.2, 0.3, 0.5]] * 3), np.array([1.0, 0.0, 1.0])).round(4)
        array([0.1333, 0.2   , 0.3333])
    """
    shared: Scores = (looks * right[:, None]).mean(0)
    return shared


def exact_match(said: str, answer: str) -> float:
    """Whether two solutions end on the same number.

    Example:
        >>> exact_match("so 7 + 5 = 12\\n#### 12", "#### 12.0"), exact_match("I do not know", "Nor do I")
        (1.0, 0.0)
    """
    wanted = final_answer(answer)
    return float(wanted is not None and final_answer(said) == wanted)


def rouge_l(said: str, answer: str) -> float:
    """F1 of the longest common subsequence of words, in lower case.

    Example:
        >>> rouge_l("the cat sat on a mat", "The cat lay on the mat")  # the cat on mat: 4 of 6 and 4 of 6
        0.6666666666666666
    """
    one, other = (WORD.findall(text.lower()) for text in (said, answer))
    longest = [0] * (len(other) + 1)
    for word in one:
        before = longest.copy()
        for place, its in enumerate(other, start=1):
            longest[place] = before[place - 1] + 1 if word == its else max(before[place], longest[place - 1])
    return 2 * longest[-1] / (len(one) + len(other)) if longest[-1] else 0.0


METRICS: dict[str, Callable[[str, str], float]] = {"exact_match": exact_match, "rouge_l": rouge_l}
