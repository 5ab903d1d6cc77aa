"""The columns of a scored pool that the page reckons with: scores, statuses, groups, copies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hf_datasel.contracts import Scores
from hf_datasel.errors import DataselError
from hf_datasel.rows.identity import CONTENT_COLUMNS, MEDIA_COLUMNS, ROW_ID, content_only, row_digest
from hf_datasel.selectors.columns import read_numbers


if TYPE_CHECKING:
    from datasets import Dataset

MOST_GROUPS = 40  # a column with more distinct values divides a pool into nothing one can look at
STATUS = "_status"
TOKENS = ("ost_token_text", "ost_token_utility")


def score_columns(scored: Dataset, column: str | None) -> list[str]:
    """The scores of a dataset: what has a status beside it, or was named; the one that counts first.

    Args:
        scored: N rows.
        column: the score that counts; by default the first there is.

    Raises:
        DataselError: there is no such column, or no score at all.
    """
    if column is not None and column not in scored.column_names:
        raise DataselError(f"`column` is {column!r}, expected a column of `scored`: {scored.column_names}.")
    known = [name for name in scored.column_names if f"{name}{STATUS}" in scored.column_names]
    found = [name for name in dict.fromkeys([column or "", *known]) if name and _is_number(scored, name)]
    if not found:
        raise DataselError(
            f"`scored` has no score, expected a column of numbers with its `<score>_status` beside it, or `column` to name "
            f"one. It has: {scored.column_names}. Score the rows first."
        )
    return found


def read_scores(scored: Dataset, name: str) -> Scores:
    """A score as float64, shape (N,); what is not finite counts as not scored."""
    values = read_numbers(scored, name)
    return np.where(np.isfinite(values), values, np.nan)


def group_columns(scored: Dataset, scores: Sequence[str], text_field: str) -> dict[str, Any]:
    """Columns of few values, as `{name: {"names": […], "codes": […]}}`; the largest group first."""
    groups = {}
    for name in scored.column_names:
        kind = getattr(scored.features[name], "dtype", "")
        own = name in scores or name.endswith(STATUS) or name in (*CONTENT_COLUMNS, text_field, ROW_ID)
        if own or kind not in ("string", "large_string", "bool", "int8", "int16", "int32", "int64"):
            continue
        coded = coded_texts(scored[name][:])
        if 2 <= len(coded["names"]) <= min(MOST_GROUPS, max(2, len(scored) // 2)):
            groups[name] = coded
    return groups


def coded_texts(values: Sequence[Any]) -> dict[str, Any]:
    """Values as numbers into the list of their names, the most frequent first.

    Example:
        >>> coded_texts(["b", "a", "a", None])
        {'names': ['a', '(none)', 'b'], 'codes': [2, 0, 0, 1]}
    """
    texts = np.array(["(none)" if value is None else str(value) for value in values], dtype=object)
    names, codes, counts = np.unique(texts.astype(str), return_inverse=True, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    return {"names": [str(names[number]) for number in order], "codes": place[codes].tolist()}


def copies(scored: Dataset, text_field: str) -> list[list[int]]:
    """Rows that train on the same content, digest by digest: row numbers in pool order, each list of two or more."""
    rows: dict[str, list[int]] = {}
    for number, row in enumerate(content_only(scored, text_field)):
        rows.setdefault(row_digest(row, text_field), []).append(number)
    return [numbers for numbers in rows.values() if len(numbers) > 1]


def fact_columns(scored: Dataset, scores: Sequence[str], text_field: str) -> list[str]:
    """Scalar columns beside content, scores and statuses: shown with a row that is looked at."""
    hidden = {*scores, *(f"{name}{STATUS}" for name in scores), *CONTENT_COLUMNS, *MEDIA_COLUMNS, text_field, ROW_ID}
    return [
        name for name in scored.column_names if name not in hidden and hasattr(scored.features[name], "dtype")
        and not hasattr(scored.features[name], "feature") and not _is_media(scored.features[name])
    ]  # fmt: skip


def _is_media(feature: Any) -> bool:
    return type(feature).__name__ in ("Image", "Video", "Audio")


def _is_number(scored: Dataset, name: str) -> bool:
    kind = str(getattr(scored.features[name], "dtype", ""))
    return kind.startswith(("float", "int", "uint", "double", "null"))
