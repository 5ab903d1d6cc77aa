"""What the rows of a pool do for a task when they are shown as examples: gains, row by item."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hf_datasel.contracts import Scores
from hf_datasel.errors import BadRow
from hf_datasel.learners.data_whisperer import block_order, exact_match
from hf_datasel.rows import row_digest
from hf_datasel.rows.batches import answer_text
from hf_datasel.scorers.nuggets import TOO_LONG, Nuggets


if TYPE_CHECKING:
    from hf_datasel.proxy.in_context import InContext


def log_probability_gains(nuggets: Nuggets, rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], Scores]:
    """A status of each of P rows, and (P, T) gains in log-probability, nats per token; NaN where there is none.

    Measured once for a row, a task and a model: `Nuggets` keeps a journal of them.
    """
    names = sorted({name for row in rows for name in row})
    found = nuggets({name: [row.get(name) for row in rows] for name in names})
    return list(found["golden_score_status"]), np.array(found["anchor_gains"], dtype=np.float64)


def exact_match_gains(
    engine: InContext, rows: Sequence[Mapping[str, Any]], shots: int, max_new_tokens: int, longest: float, seed: int
) -> tuple[list[str], Scores]:
    """A status of each of P rows, and (P, T) rises in exact match when rows are shown in blocks; NaN where there is none.

    Each row is in two blocks, of other rows and at another place, and has their mean. Cost: 2 P / `shots` x T greedy answers.

    Args:
        engine: holds the T items.
        rows: P of them.
        shots: rows of a block.
        max_new_tokens: of an answer.
        longest: part of the context that a row may take up.
        seed: of the order in which rows meet.

    Raises:
        BadRow: a question alone leaves no room for an answer.
    """
    from hf_datasel.proxy.in_context_answers import answers_in_context

    references = [answer_text(item) for item in engine.items]

    def matches(examples: Sequence[Mapping[str, Any]]) -> tuple[str, Scores]:
        status, answers = answers_in_context(engine, examples, max_new_tokens)
        pairs = zip(answers, references, strict=True) if answers else ()
        return status, np.array([exact_match(said, its) for said, its in pairs] or [np.nan] * len(references))

    said, alone = matches(())
    if said != "ok":
        raise BadRow(
            f"`validation` has a question without room for {max_new_tokens} tokens behind it ({said}). Drop it."
        )
    status = [engine.read(row).status for row in rows]
    status = [
        TOO_LONG if its == "ok" and engine.share_of_context(row) > longest else its
        for its, row in zip(status, rows, strict=True)
    ]
    totals, counts = np.zeros((len(rows), len(references))), np.zeros(len(rows))
    for blocks in _two_deals(rows, [place for place, its in enumerate(status) if its == "ok"], shots, seed):
        for places in blocks:
            said, found = matches([rows[place] for place in places])
            if said == "ok":
                totals[places] += found - alone
                counts[places] += 1
            else:
                for place in places:
                    status[place] = said
    measured = counts > 0
    totals[measured] /= counts[measured, None]
    totals[~measured] = np.nan
    return [("ok" if has else its) for its, has in zip(status, measured, strict=True)], totals


def _two_deals(
    rows: Sequence[Mapping[str, Any]], places: Sequence[int], shots: int, seed: int
) -> list[list[list[int]]]:
    by_digest = {row_digest(rows[place]): place for place in places}
    deal: Callable[[int], list[int]] = lambda its: [by_digest[digest] for digest in block_order(by_digest, its)]  # noqa: E731
    return [[order[at : at + shots] for at in range(0, len(order), shots)] for order in (deal(seed), deal(seed + 1))]
