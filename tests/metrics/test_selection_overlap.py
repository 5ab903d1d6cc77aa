from __future__ import annotations

import math

import numpy as np
import pytest

from hf_datasel.errors import BadRow
from hf_datasel.metrics import SelectionOverlap


def test_selections_of_different_sizes() -> None:
    result = SelectionOverlap().compute(predictions=["a", "b", "c"], references=["e", "d", "c", "b"])
    assert result == {"overlap": pytest.approx(2 / 3), "jaccard": pytest.approx(2 / 5)}


def test_a_part_of_a_larger_selection_overlaps_fully() -> None:
    result = SelectionOverlap().compute(predictions=np.array(["c", "a"]), references=["a", "b", "c", "d"])
    assert result == {"overlap": 1.0, "jaccard": 0.5}


def test_nothing_in_common() -> None:
    assert SelectionOverlap().compute(predictions=["a"], references=["b"]) == {"overlap": 0.0, "jaccard": 0.0}


def test_an_empty_selection_has_no_share() -> None:
    result = SelectionOverlap().compute(predictions=[], references=["a"])
    assert math.isnan(result["overlap"]) and result["jaccard"] == 0.0
    assert math.isnan(SelectionOverlap().compute(predictions=[], references=[])["jaccard"])


def test_a_row_named_twice_is_refused() -> None:
    with pytest.raises(BadRow, match="`references` names row 'b' more than once"):
        SelectionOverlap().compute(predictions=["a"], references=["a", "b", "b"])


def test_pairs_added_one_by_one_are_averaged() -> None:
    metric = SelectionOverlap()
    metric.add(prediction=["a", "b"], reference=["a", "b"])
    metric.add(prediction=["a", "b"], reference=["b", "c", "d"])
    assert metric.compute() == {"overlap": 0.75, "jaccard": 0.625}
