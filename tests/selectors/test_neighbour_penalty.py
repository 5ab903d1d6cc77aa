from __future__ import annotations

import numpy as np
import pytest
from datasets import Dataset

from hf_datasel.errors import BadBudget
from hf_datasel.selectors import NeighbourPenalty, TopFraction
from hf_datasel.selectors.neighbour_penalty import pick


def test_a_kept_row_takes_from_the_nearest_of_those_left() -> None:
    # Scores from the lowest: 4, 3.5, 2, 0. The first takes 4 x 0.6^2 = 1.44 from the second, 4 x 1 from none.
    angle = np.arccos(0.6)
    e = [[1.0, 0.0], [float(np.cos(angle)), float(np.sin(angle))], [0.0, -1.0], [-1.0, 0.0]]
    pool = Dataset.from_dict({"text": list("abcd"), "s": [5.0, 4.5, 3.2, 1.0], "e": e})
    assert NeighbourPenalty("s", "e", 1.0, neighbours=1).rank(pool).tolist() == [0, 2, 1, 3]  # 3.5 - 1.44 < 2.2
    assert NeighbourPenalty("s", "e", 1.0, penalty=0.5, neighbours=1).rank(pool).tolist() == [0, 1, 2, 3]


def test_the_sheets_known_answer() -> None:
    # d = (3, 2, 1), cosines .9 and .1 to the first: what is left is 2 - 3 x .81 = -.43 and 1 - 3 x .01 = .97.
    vectors = np.array([[1.0, 0.0], [0.9, 0.19**0.5], [0.1, 0.99**0.5]], dtype=np.float32)
    assert pick(np.array([3.0, 2.0, 1.0]), vectors, 3, 1.0, 2).tolist() == [0, 2, 1]
    # The exact amounts decide: a third of -.39 is left with -.42, one of -.41 with -.44.
    assert pick(np.array([3.0, 2.0, -0.39]), vectors, 3, 1.0, 2).tolist() == [0, 2, 1]
    assert pick(np.array([3.0, 2.0, -0.41]), vectors, 3, 1.0, 2).tolist() == [0, 1, 2]


def test_scores_below_zero_are_counted_from_the_lowest() -> None:
    # 2, 1 and 0 from the lowest: 1 - 2 x .81 = -.62 against 0 - 2 x .01. Counted from 0, nothing would be taken, or given.
    e = [[1.0, 0.0], [0.9, 0.19**0.5], [0.1, 0.99**0.5]]
    pool = Dataset.from_dict({"text": list("abc"), "s": [-1.0, -2.0, -3.0], "e": e})
    assert NeighbourPenalty("s", "e", 1.0).rank(pool).tolist() == [0, 2, 1]


def test_without_a_penalty_it_is_the_top_fraction() -> None:
    draw = np.random.default_rng(0)
    pool = Dataset.from_dict(
        {"row_id": list(range(50)), "s": draw.normal(size=50), "e": draw.normal(size=(50, 3)).tolist()}
    )
    assert NeighbourPenalty("s", "e", 0.4, penalty=0).rank(pool).tolist() == TopFraction("s", 0.4).rank(pool).tolist()


def test_picks_are_those_of_the_plain_loop() -> None:
    draw = np.random.default_rng(1)
    scores, vectors = draw.random(40), draw.normal(size=(40, 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    left, now, expected = set(range(40)), scores.copy(), []
    for _ in range(20):
        best = max(left, key=lambda row: (now[row], -row))
        left.remove(best)
        expected.append(best)
        near = sorted(left, key=lambda row: (-float(vectors[row] @ vectors[best]), row))[:5]
        for row in near:
            now[row] -= 0.7 * float(vectors[row] @ vectors[best]) ** 2 * max(0.0, now[best])
    assert pick(scores, vectors, 20, 0.7, 5).tolist() == expected


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(BadBudget, match="`penalty` is -1"):
        NeighbourPenalty("s", "e", 0.1, penalty=-1)
    with pytest.raises(BadBudget, match="`neighbours` is 0"):
        NeighbourPenalty("s", "e", 0.1, neighbours=0)
    pool = Dataset.from_dict({"text": ["a", "b"], "s": [1.0, float("inf")], "e": [[1.0], [1.0]]})
    with pytest.raises(BadBudget, match="infinite scores"):
        NeighbourPenalty("s", "e", 0.5).rank(pool)
