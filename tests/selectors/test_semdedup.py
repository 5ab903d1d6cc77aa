from __future__ import annotations

import numpy as np
import pytest
from datasets import Dataset

from hf_datasel.errors import BadBudget
from hf_datasel.selectors import SemDeDup
from hf_datasel.selectors.semdedup import largest_before


THREE = Dataset.from_dict({"row_id": list("abc"), "e": [[1.0, 0.0], [0.8, 0.6], [0.6, 0.8]]})


@pytest.mark.parametrize(("order", "kept", "ranked"), [("hard", [0, 2], [0, 2, 1]), ("easy", [1, 0], [1, 0, 2])])
def test_known_answers(order: str, kept: list[int], ranked: list[int]) -> None:
    # Hard: M = 0 (a), .6 (c), .96 (b). Easy: 0 (b), .96 (c), .8 (a).
    assert SemDeDup("e", epsilon=0.1, order=order, clusters=1).rank(THREE).tolist() == kept
    assert SemDeDup("e", 1.0, order=order, clusters=1).rank(THREE).tolist() == ranked


def test_the_largest_cosines_of_the_known_answer() -> None:
    vectors = np.array(THREE["e"], dtype=np.float32)
    closeness = np.array([0.864, 0.993, 0.921])
    assert largest_before(vectors, np.zeros(3, int), closeness) == pytest.approx([0, 0.96, 0.6], abs=1e-6)
    assert largest_before(vectors, np.zeros(3, int), -closeness) == pytest.approx([0.8, 0, 0.96], abs=1e-6)


def test_blocks_agree_with_the_definition() -> None:
    draw = np.random.default_rng(1)
    vectors = draw.normal(size=(5000, 3)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    labels, keys = draw.integers(0, 2, 5000), draw.normal(size=5000).round(6)
    found = largest_before(vectors, labels, keys)
    for row in (*range(20), int(keys.argmax()), int(keys.argmin())):
        before = (labels == labels[row]) & (keys < keys[row])
        expected = max(0.0, float((vectors[before] @ vectors[row]).max(initial=0.0)))
        assert found[row] == pytest.approx(expected, abs=2e-6)


def test_of_copies_the_first_by_id_stays() -> None:
    scored = Dataset.from_dict({"row_id": list("dcba"), "e": [[0.3, 0.7]] * 3 + [[0.9, -0.1]]})
    assert sorted(SemDeDup("e", epsilon=1e-4, clusters=1).rank(scored).tolist()) == [2, 3]
    assert sorted(SemDeDup("e", epsilon=1e-4, clusters=4).rank(scored).tolist()) == [2, 3]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "expected just one of them"),
        ({"fraction": 0.5, "epsilon": 0.1}, "expected just one of them"),
        ({"epsilon": 2}, "`epsilon` is 2"),
        ({"fraction": 0.5, "order": "soft"}, "`order` is 'soft'"),
    ],
)
def test_bad_options_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(BadBudget, match=message):
        SemDeDup("e", **arguments)
