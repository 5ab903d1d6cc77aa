"""Embeddings as rules read them: bad ones left out, rows in the order of their ids."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from datasets import Dataset, Features, List, Value

from hf_datasel.errors import BadBudget
from hf_datasel.selectors import Prototypes, SemDeDup
from hf_datasel.selectors.embeddings import read_embeddings


NAN = float("nan")


def test_bad_embeddings_are_left_out_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    values = [[3.0, 4.0], [0.0, 0.0], None, [NAN, 1.0], [1.0, float("inf")], [0.0, 2.0]]
    scored = Dataset.from_dict({"row_id": list("fedcba"), "e": values})
    with caplog.at_level(logging.WARNING):
        rows, vectors = read_embeddings(scored, "e")
    assert rows.tolist() == [5, 0]
    assert vectors == pytest.approx(np.array([[0.0, 1.0], [0.6, 0.8]]))
    assert "4 of 6 rows have no usable 'e'" in caplog.text
    assert read_embeddings(scored, "e", unit=False)[0].tolist() == [5, 1, 0]
    assert read_embeddings(scored, "e", among=np.array([0, 1]))[0].tolist() == [0]


@pytest.mark.parametrize("kind", [List(Value("float32")), List(Value("float32"), length=2), List(Value("int64"))])
def test_lists_of_any_kind_are_read_after_a_shuffle_too(kind: List) -> None:
    scored = Dataset.from_dict(
        {"row_id": [0, 1, 2], "e": [[2, 0], None, [0, 3]]}, Features({"row_id": Value("int64"), "e": kind})
    )
    rows, vectors = read_embeddings(scored.select([2, 1, 0]), "e")
    assert rows.tolist() == [2, 0]
    assert vectors.tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([[1.0], [1.0, 2.0]], r"lists of lengths \[1, 2\]"),
        ([[], []], "values of type list<item: null>, expected a list of numbers"),
        ([1.0, 2.0], "values of type double, expected a list of numbers"),
        ([["a"], ["b"]], "expected a list of numbers"),
        ([[0.0], [NAN]], "missing, not finite or zero in all 2 rows"),
        ([None, None], "missing, not finite or zero in all 2 rows"),
    ],
)
def test_what_is_no_embedding_is_refused(values: list, message: str) -> None:
    with pytest.raises(BadBudget, match=f"`embedding` is 'e', which .*{message}"):
        Prototypes("e", 0.5).rank(Dataset.from_dict({"row_id": [1, 2], "e": values}))


def test_an_unknown_column_and_more_clusters_than_rows_are_refused() -> None:
    scored = Dataset.from_dict({"row_id": [1, 2], "e": [[1.0], [2.0]]})
    with pytest.raises(BadBudget, match="`embedding` is 'f', expected a column"):
        SemDeDup("f", 0.5).rank(scored)
    with pytest.raises(BadBudget, match="`clusters` is 3, expected at most 2"):
        SemDeDup("e", 0.5, clusters=3).rank(scored)
    with pytest.raises(BadBudget, match="`clusters` is 0"):
        SemDeDup("e", 0.5, clusters=0)
