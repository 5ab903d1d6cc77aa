from __future__ import annotations

import numpy as np
import pytest
from datasets import Dataset

from hf_datasel.errors import BadBudget
from hf_datasel.selectors import D2Pruning
from hf_datasel.selectors.d2_pruning import passed_on, pick
from hf_datasel.selectors.neighbours import nearest


LINE = Dataset.from_dict({"row_id": list("abc"), "s": [1.0, 0.9, 0.5], "e": [[0.0], [1.0], [10.0]]})


def test_known_answers() -> None:
    ids, distances = nearest(np.array(LINE["e"], dtype=np.float32), 1)
    scores = np.array(LINE["s"])
    sums = passed_on(scores, ids, distances, 1.0)
    assert sums == pytest.approx([1.3311, 1.2679, 0.5], abs=1e-4)
    # What is left of the second row: 1.2679 - e^-1 x 1.3311 = .7782, or 1.2679 - 1.3311 = -.0632.
    assert D2Pruning("s", "e", 1.0, neighbours=1, reverse=1.0).rank(LINE).tolist() == [0, 1, 2]
    assert D2Pruning("s", "e", 1.0, neighbours=1, reverse=0.0).rank(LINE).tolist() == [0, 2, 1]


def test_a_row_among_good_ones_comes_before_a_better_one_alone() -> None:
    # .6 + e^-.01 x .6 = 1.194 against .9: without passing on, the third would be first.
    pool = Dataset.from_dict({"row_id": list("abc"), "s": [0.6, 0.6, 0.9], "e": [[0.0], [0.1], [10.0]]})
    assert D2Pruning("s", "e", 1.0, neighbours=1, reverse=0.0).rank(pool).tolist() == [0, 2, 1]
    assert D2Pruning("s", "e", 1.0, neighbours=1, forward=1e4, reverse=0.0).rank(pool).tolist() == [2, 0, 1]


def test_the_heap_agrees_with_looking_at_every_row() -> None:
    draw = np.random.default_rng(0)
    sums, weights = draw.random(60), draw.random((60, 4))
    ids = np.array([draw.choice(np.delete(np.arange(60), row), 4, replace=False) for row in range(60)])
    left, order = sums.copy(), []
    for _ in range(60):
        row = max(set(range(60)) - set(order), key=lambda row: (left[row], -row))
        order.append(row)
        left[ids[row]] -= weights[row] * left[row]
    assert pick(sums, ids, weights, 60).tolist() == order


@pytest.mark.parametrize(
    ("size", "width", "regions"), [(5, 3, 1), (4099, 3, 1), (9000, 3, 1), (8500, 24, 500), (4400, 240, 9)]
)
def test_neighbours_in_blocks_are_exact(size: int, width: int, regions: int) -> None:
    # With many regions few rows are near, which takes the way of the shortened vectors; wide rows are not shortened.
    draw = np.random.default_rng(size)
    centres = 5 * draw.normal(size=(regions, width))
    vectors = (centres[draw.integers(0, regions, size)] + 0.3 * draw.normal(size=(size, width))).astype(np.float32)
    ids, distances = nearest(vectors, 5)
    for row in np.linspace(0, size - 1, 40).astype(int):
        gaps = np.square(vectors.astype(np.float64) - vectors[row]).sum(axis=1)
        gaps[row] = np.inf
        expected = np.argsort(gaps)[: min(5, size - 1)]
        assert distances[row] == pytest.approx(gaps[expected], rel=1e-4)
        assert gaps[ids[row]] == pytest.approx(gaps[expected], rel=1e-4)


def test_negative_scores_are_raised_and_infinite_ones_refused() -> None:
    lowered = LINE.remove_columns("s").add_column("s", [0.0, -0.1, -1.0])
    raised = LINE.remove_columns("s").add_column("s", [1.0, 0.9, 0.0])
    assert D2Pruning("s", "e", 1.0).rank(lowered).tolist() == D2Pruning("s", "e", 1.0).rank(raised).tolist()
    with pytest.raises(BadBudget, match="`column` is 's', which holds infinite scores"):
        D2Pruning("s", "e", 1.0).rank(LINE.remove_columns("s").add_column("s", [0.0, float("inf"), 1.0]))


@pytest.mark.parametrize(("argument", "value"), [("neighbours", 0), ("forward", -1), ("reverse", float("nan"))])
def test_bad_numbers_are_refused(argument: str, value: float) -> None:
    with pytest.raises(BadBudget, match=f"`{argument}` is {value}"):
        D2Pruning("s", "e", 0.5, **{argument: value})
