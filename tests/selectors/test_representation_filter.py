from __future__ import annotations

import numpy as np
import pytest
from datasets import Dataset

from hf_datasel.errors import BadBudget
from hf_datasel.selectors import RepresentationFilter


@pytest.mark.parametrize(("scores", "kept"), [([3, 2, 1], [0, 2]), ([2, 3, 1], [1, 2])])
def test_known_answers(scores: list[int], kept: list[int]) -> None:
    scored = Dataset.from_dict({"row_id": [0, 1, 2], "s": scores, "e": [[1.0, 0.0], [0.99, 0.141], [0.0, 1.0]]})
    assert RepresentationFilter("s", "e", 1.0).rank(scored).tolist() == kept


def test_blocks_agree_with_the_loop_as_published() -> None:
    draw = np.random.default_rng(0)
    vectors, scores = draw.normal(size=(2500, 6)), draw.normal(size=2500)
    scored = Dataset.from_dict({"row_id": list(range(2500)), "s": scores, "e": vectors.tolist()})
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    kept: list[int] = []
    for row in np.argsort(-scores):
        if not kept or (unit[kept] @ unit[row]).max() <= 0.9:
            kept.append(int(row))
    assert 100 < len(kept) < 2000
    assert RepresentationFilter("s", "e", 1.0).rank(scored).tolist() == kept
    assert RepresentationFilter("s", "e", 0.01).rank(scored).tolist() == kept[:25]


def test_a_threshold_of_one_keeps_all_but_the_budget_and_bad_ones_are_refused() -> None:
    scored = Dataset.from_dict({"row_id": [0, 1, 2], "s": [1, 3, 2], "e": [[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]})
    assert RepresentationFilter("s", "e", 0.7, threshold=1).rank(scored).tolist() == [1, 2]
    with pytest.raises(BadBudget, match=r"`threshold` is 1.1, expected a cosine"):
        RepresentationFilter("s", "e", 0.5, threshold=1.1)
