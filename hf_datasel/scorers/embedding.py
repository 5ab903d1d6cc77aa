"""Embedding: what a row is about, as the proxy's hidden states have it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from hf_datasel.contracts import Batch, Columns
from hf_datasel.proxy import Proxy
from hf_datasel.proxy.batch_size import max_tokens
from hf_datasel.rows import Labels, TokenRow
from hf_datasel.rows.labels import IGNORED
from hf_datasel.scorers.with_proxy import call, loaded_proxy, spec_of, state_of, token_batches


NO_PROMPT = "no_prompt"
NAN_STATES = "nan_states"


@dataclass(frozen=True)
class Embedding:
    """A vector for each row, for the rules that compare rows: likeness, not worth. Cost: 1 F without the LM head.

    The hidden states of one layer, pooled over the row's tokens. A column of H numbers (float32), NaN where a row has
    none; rules name it as their `embedding`.

    Args:
        proxy: the model whose states they are.
        of: tokens that are pooled: of the whole `"row"`, of its `"prompt"`, or of its `"answer"` (its targets, which have
            read the prompt).
        layer: 0 is the embedding of tokens, k the output of block k, -1 the last, behind the final norm.
        pooling: `"mean"`, or the `"last"` token's.
        unit: scale vectors to length 1, so that distances between rows do not depend on the model's width.
        labels: how rows become tokens and labels; give training the same.

    Writes: `embedding`, `embedding_status`.

    Raises:
        ValueError: an option is unknown; or, when called, the model has no such layer.

    Source: means over the last layer's states are what https://huggingface.co/papers/2308.12032 clusters (of prompts); the
        last token's state is what COINCIDE's port of SemDeDup (https://huggingface.co/papers/2303.09540) and DEITA
        (https://huggingface.co/papers/2312.15685) compare.

    Example:
        >>> Embedding(Proxy("HuggingFaceTB/SmolLM2-135M"), of="prompt").columns
        ('embedding', 'embedding_status')
    """

    proxy: Proxy
    of: Literal["row", "prompt", "answer"] = "row"
    layer: int = -1
    pooling: Literal["mean", "last"] = "mean"
    unit: bool = True
    labels: Labels = Labels()  # noqa: RUF009 (frozen)

    columns = ("embedding", "embedding_status")
    vectors = columns[:1]
    keeps_journal = True
    algo_version = 1

    def __post_init__(self) -> None:
        if self.of not in ("row", "prompt", "answer"):
            raise ValueError(f"`of` is {self.of!r}, expected 'row', 'prompt' or 'answer'. Name one of them.")
        if self.pooling not in ("mean", "last"):
            raise ValueError(f"`pooling` is {self.pooling!r}, expected 'mean' or 'last'. Name one of them.")

    @property
    def spec(self) -> dict[str, Any]:
        """JSON-like account of what decides the numbers."""
        return spec_of(self)

    def __getstate__(self) -> dict[str, Any]:
        return state_of(self)

    def __call__(self, batch: Batch, rank: int | None = None) -> Columns:
        """Embed B rows (or one): see the class."""
        found = call(self, batch, rank)
        # The journal keeps the shortest decimals of each number; they are read back to the same float32.
        return {**found, "embedding": np.asarray(found["embedding"], np.float32)}

    def _score(
        self, rank: int | None, rows: Sequence[Mapping[str, Any]], missing: frozenset[int]
    ) -> Iterator[tuple[list[int], Columns]]:
        """The batches of like length that hold a missing row, and the rows that cannot be embedded."""
        from hf_datasel.proxy.batching import TokenBudget
        from hf_datasel.proxy.pooled import hidden_size, pooled_states

        proxy = loaded_proxy(self, rank)
        budget: TokenBudget = self.__dict__.setdefault("_budget", TokenBudget(max_tokens()))
        for places, its in token_batches(self, rank, rows, missing):
            marked = [marks(row, self.of, proxy.tokenizer.bos_token_id) for row in its]
            there = [at for at, row in enumerate(marked) if row.scorable]
            vectors = np.full((len(its), hidden_size(proxy)), np.nan, dtype=np.float32)
            if there:
                vectors[there] = pooled_states(proxy, [marked[at] for at in there], self.layer, self.pooling, budget)
            if self.unit:
                lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
                vectors = (vectors / np.where(lengths > 0, lengths, 1.0)).astype(np.float32)
            broken = ~np.isfinite(vectors.sum(axis=1))
            vectors[broken] = np.nan
            status = [
                NAN_STATES if bad and row.scorable else row.status for row, bad in zip(marked, broken, strict=True)
            ]
            yield places, {"embedding": [short(vector) for vector in vectors], "embedding_status": status}


def short(vector: np.ndarray[Any, Any]) -> list[float]:
    """The numbers by their shortest decimals: half of what a journal would keep otherwise, and the same float32.

    Example:
        >>> short(np.array([0.1], np.float32)), np.array([0.1], np.float32).tolist()
        ([0.1], [0.10000000149011612])
    """
    return [float(number) for number in vector.astype(str)]


def marks(row: TokenRow, of: str, bos: int | None) -> TokenRow:
    """The row with labels on the tokens that are pooled, or one that says why there are none.

    Args:
        row: T tokens.
        of: see `Embedding`.
        bos: id of the token that texts begin with, if there is one; in front of an answer, it is no prompt.

    Example:
        >>> marks(TokenRow((1, 5, 6, 7), (-100, -100, 6, 7), "ok"), "prompt", bos=1).labels
        (1, 5, -100, -100)
    """
    if not row.scorable or of == "answer":
        return row
    if of == "row":
        return replace(row, labels=row.input_ids)
    first = next(place for place, label in enumerate(row.labels) if label != IGNORED)
    if first <= (1 if row.input_ids[0] == bos else 0):
        return TokenRow((), (), NO_PROMPT)
    return replace(row, labels=(*row.input_ids[:first], *[IGNORED] * (len(row.labels) - first)))
