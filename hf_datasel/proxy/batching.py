"""Rows through the model in batches of like length, smaller ones when memory runs short."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import torch

from hf_datasel.proxy.batch_size import by_length, fitting
from hf_datasel.proxy.losses import TokenBatch, collate
from hf_datasel.rows.labels import TokenRow


if TYPE_CHECKING:
    from hf_datasel.proxy.proxy import LoadedProxy

Found = TypeVar("Found")
# A CPU under Linux and under Windows; Apple's GPUs.
OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "out of memory")


@dataclass
class TokenBudget:
    """Padded tokens a batch; halved where memory runs short, and kept there for the batches to come."""

    tokens: int


def in_batches(
    rows: Sequence[TokenRow],
    proxy: LoadedProxy,
    budget: TokenBudget,
    measure: Callable[[TokenBatch], Found],
    padding: int = 0,
) -> Iterator[tuple[list[int], TokenBatch, Found]]:
    """Measure B rows, batch by batch.

    Args:
        rows: B scorable rows.
        proxy: the model they are measured with.
        budget: of tokens; halved, with a warning, when a batch does not fit into memory.
        measure: of one batch.
        padding: more of it than a batch needs.

    Yields:
        Indices of the rows in the batch, the batch, and what was measured.

    Raises:
        RuntimeError: a single row does not fit into memory.
    """
    lengths = [len(row.input_ids) for row in rows]
    order = by_length(lengths)
    while order:
        bucket = order[: fitting([lengths[i] for i in order], budget.tokens)]
        batch = collate([rows[i] for i in bucket], proxy, padding)
        try:
            found = measure(batch)
        except RuntimeError as error:  # torch.cuda.OutOfMemoryError is one
            if not is_out_of_memory(error) or len(bucket) == 1:
                raise
            budget.tokens = batch.input_ids.numel() // 2
        else:
            yield bucket, batch, found
            order = order[len(bucket) :]
            continue
        _release(budget)


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether an error says that memory ran out, on a GPU or on the CPU."""
    return isinstance(error, torch.cuda.OutOfMemoryError) or any(said in str(error) for said in OUT_OF_MEMORY)


def _release(budget: TokenBudget) -> None:
    # Outside the handler: the error's traceback holds the tensors of the batch that failed.
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    warnings.warn(f"A batch did not fit into memory: from here on at most {budget.tokens} padded tokens a batch.")
