"""From what `Dataset.map` hands over to rows, and back: batched or not, the scorer sees the same."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from numbers import Number
from typing import Any

from hf_datasel.errors import BadRow
from hf_datasel.rows.identity import undecoded
from hf_datasel.rows.turns import turns_of


def rows_of(batch: Mapping[str, Any]) -> tuple[list[dict[str, Any]], bool]:
    """The rows of a batch, and whether the call was for a single row.

    `Dataset.map` passes a `LazyRow` without `batched=True` and a `LazyBatch` with it, plain dicts when the dataset
    has a format. Images and videos stay encoded (`{"bytes", "path"}`), in every column.

    Args:
        batch: columns of B rows, or one row.

    Raises:
        BadRow: columns differ in length.

    Example:
        >>> rows_of({"text": ["a", "b"]})
        ([{'text': 'a'}, {'text': 'b'}], False)
        >>> rows_of({"text": "a"})
        ([{'text': 'a'}], True)
    """
    names = list(batch)
    if is_single_row(batch):
        return [{name: _values(batch, name) for name in names}], True
    columns = {name: _values(batch, name) for name in names}
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise BadRow(f"`batch` has columns of different lengths {lengths}, expected B values in each.")
    size = next(iter(lengths.values()), 0)
    return [{name: columns[name][i] for name in names} for i in range(size)], False


def _values(batch: Mapping[str, Any], name: str) -> Any:
    """A column (of a single row: its value), from the table behind a lazy batch where reading it would decode media."""
    features = getattr(getattr(batch, "formatter", None), "features", None)
    if not features or name not in features or name not in batch.keys_to_format:  # type: ignore[attr-defined]
        return batch[name]
    encoded = undecoded(features[name])
    if encoded == features[name]:
        return batch[name]
    from datasets import Features

    table: Any = batch.pa_table  # type: ignore[attr-defined]
    values = Features({name: encoded}).decode_column(table[name].to_pylist(), name)
    return values[0] if type(batch).__name__ == "LazyRow" else values


def is_single_row(batch: Mapping[str, Any]) -> bool:
    """Whether `Dataset.map` was called without `batched=True`."""
    kind = type(batch).__name__
    if kind in ("LazyRow", "LazyBatch"):
        return kind == "LazyRow"
    # A plain dict: datasets with a format, or a call by hand. The first column that can tell does.
    for name, value in batch.items():
        if isinstance(value, str | Mapping | int | float | bool) or value is None:
            return True
        if name in ("messages", "conversations", "prompt", "completion") and _holds(value, Mapping):
            return True
        if name in ("input_ids", "labels") and _holds(value, Number):
            return True
    return False


def _holds(values: Any, kind: type) -> bool:
    """Whether the first value that is not null is of a kind."""
    return isinstance(next((value for value in values if value is not None), None), kind)


def warn_unbatched(name: str) -> None:
    """Say, once per process and scorer, that one row at a time gives the same numbers more slowly."""
    warnings.warn(
        f"`{name}` was called row by row. The numbers are the same with `batched=True`, and come several times faster.",
        UserWarning,
        stacklevel=4,  # where the scorer was called
    )


def answer_text(row: Mapping[str, Any], text_field: str = "text") -> str:
    """The part of a row that a model is to produce: the completion, the assistant's turns, or the whole text.

    Example:
        >>> answer_text({"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]})
        'Hello'
    """
    answer = row.get("completion")
    if isinstance(answer, str):
        return answer
    return "\n".join(answer for _, answer in turns_of(row, text_field) if answer)
