"""What scorers that read rows with a proxy share: how they are called, described and pickled, and what they measure.

Such a scorer is a frozen dataclass with the fields `proxy` and `labels` (those that read no training rows may call their
model otherwise), and a method `_score(rank, rows, missing)` that
yields the columns of its batches (see `rows.journal.Buckets`). Copy `perplexity.py` to add one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from hf_datasel.contracts import Batch, Columns, Scores
from hf_datasel.errors import BadRecipe
from hf_datasel.proxy import Proxy
from hf_datasel.proxy.batch_size import encoded_batches, max_tokens
from hf_datasel.proxy.proxy import encode
from hf_datasel.rows import Labels, TokenRow
from hf_datasel.rows.batches import rows_of, warn_unbatched
from hf_datasel.rows.journal import resumed


if TYPE_CHECKING:
    from hf_datasel.proxy.batching import TokenBudget
    from hf_datasel.proxy.proxy import LoadedProxy

NAN_LOSS = "nan_loss"


def call(scorer: Any, batch: Batch, rank: int | None) -> Columns:
    """Score B rows (or one) with `scorer._score`: those the journal knows from there, the others batch by batch."""
    rows, single = rows_of(batch)
    if single:
        warn_unbatched(type(scorer).__name__)
    if "_spec" not in scorer.__dict__:
        scorer.__dict__["_spec"] = scorer.spec
    score, text_field = partial(scorer._score, rank), getattr(scorer, "labels", Labels()).dataset_text_field
    columns = resumed(scorer.__dict__["_spec"], rows, score, scorer.columns, text_field)
    return {name: values[0] for name, values in columns.items()} if single else columns


def spec_of(scorer: Any) -> dict[str, Any]:
    """JSON-like account of what decides the numbers: every field, the proxy by its weights.

    Raises:
        BadRecipe: `proxy` is no `Proxy`.
    """
    if not isinstance(scorer.proxy, Proxy):
        raise BadRecipe(f"`proxy` is {scorer.proxy!r}, expected a Proxy, such as Proxy('HuggingFaceTB/SmolLM2-135M').")
    plain = {f.name: getattr(scorer, f.name) for f in fields(scorer) if f.name not in ("proxy", "labels")}
    described = {"scorer": type(scorer).__name__, "algo_version": scorer.algo_version, **plain}
    return {**described, "labels": vars(scorer.labels), "proxy": scorer.proxy.spec}


def state_of(scorer: Any) -> dict[str, Any]:
    """What is pickled: fingerprints and workers see the fields alone, never the loaded model."""
    return {"algo_version": scorer.algo_version, **{f.name: getattr(scorer, f.name) for f in fields(scorer)}}


def restore(scorer: Any, state: Mapping[str, Any]) -> None:
    """Set the fields from what `state_of` said, as they were; nothing is checked or converted again."""
    for f in fields(scorer):
        object.__setattr__(scorer, f.name, state[f.name])


def loaded_proxy(scorer: Any, rank: int | None) -> LoadedProxy:
    """The model, loaded once in the process that scores."""
    if "_loaded" not in scorer.__dict__:
        scorer.__dict__["_loaded"] = scorer.proxy.load(scorer.labels, rank)
    loaded: LoadedProxy = scorer.__dict__["_loaded"]
    return loaded


def token_batches(
    scorer: Any, rank: int | None, rows: Sequence[Mapping[str, Any]], missing: frozenset[int]
) -> Iterator[tuple[list[int], list[TokenRow]]]:
    """Places and tokens of the batches of like length that hold a missing row, and of rows that cannot be scored."""
    read = partial(encode, proxy=loaded_proxy(scorer, rank), labels=scorer.labels)
    return encoded_batches(rows, missing, read, max_tokens())


def measured(scorer: Any, rank: int | None, rows: Sequence[TokenRow], figures: Sequence[str]) -> list[Scores]:
    """(B,) of each figure (see `proxy.figures.read_figures`); NaN for rows where one of them is not finite. Cost: 1 F."""
    from hf_datasel.proxy.batching import TokenBudget
    from hf_datasel.proxy.figures import measure_figures

    budget: TokenBudget = scorer.__dict__.setdefault("_budget", TokenBudget(max_tokens()))
    scorable = [place for place, row in enumerate(rows) if row.scorable]
    found = measure_figures(loaded_proxy(scorer, rank), [rows[place] for place in scorable], figures, budget)
    values = np.full((len(figures), len(rows)), np.nan)
    values[:, scorable] = [found[name] for name in figures]
    values[:, ~np.isfinite(values).all(0)] = np.nan
    return list(values)


def status_of(rows: Sequence[TokenRow], values: Scores) -> list[str]:
    """Why each of B rows has no value; what reading it said (`"ok"`, `"truncated"`) where it has one."""
    return [
        NAN_LOSS if row.scorable and np.isnan(value) else row.status for row, value in zip(rows, values, strict=True)
    ]
