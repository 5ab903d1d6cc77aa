"""Shares by weight, and draws by a softmax of the score."""

import numpy as np
import pytest
from datasets import Dataset

from hf_datasel.errors import BadBudget
from hf_datasel.selectors import SoftQuotas
from hf_datasel.selectors.soft_quotas import quotas_by_weight


def test_a_task_of_squared_norms_of_four_gets_four_times_as_much_as_one_of_one():
    assert quotas_by_weight(np.array([4.0 + 4.0, 1.0 + 1.0]), np.array([10, 10]), 10).tolist() == [8, 2]


def test_size_counts_beside_difficulty():
    # Means 4 and 1, sizes 2 and 8: weights 8 and 8.
    pool = Dataset.from_dict(
        {"row_id": list("abcdefghij"), "s": [0.0] * 10, "g": ["x"] * 2 + ["y"] * 8, "w": [4.0] * 2 + [1.0] * 8}
    )
    kept = SoftQuotas("s", "g", "w", 0.4).rank(pool)
    assert sorted(pool["g"][row] for row in kept) == ["x", "x", "y", "y"]


def test_what_a_group_lacks_the_others_get_by_weight():
    assert quotas_by_weight(np.array([6.0, 2.0, 1.0]), np.array([2, 10, 10]), 8).tolist() == [2, 4, 2]
    assert quotas_by_weight(np.array([6.0, 0.0, 1.0]), np.array([2, 10, 3]), 8).tolist() == [2, 0, 3]
    assert quotas_by_weight(np.array([1.0, 1.0, 1.0]), np.array([5, 5, 5]), 7).tolist() == [3, 2, 2]


def test_groups_take_turns_by_their_share():
    # Four of x and one of y: at 1/8, 3/8, 5/8, 7/8 and 1/2 of their parts.
    pool = Dataset.from_dict(
        {
            "row_id": list("abcdef"),
            "s": [9.0, 8.0, 7.0, 6.0, 5.0, 4.0],
            "g": list("xxxxyy"),
            "w": [4.0] * 4 + [2.0] * 2,
        }
    )
    assert SoftQuotas("s", "g", "w", 0.84, temperature=0).rank(pool).tolist() == [0, 1, 4, 2, 3]


def drawn(temperature, seed):
    scores = np.log([1.0, 2.0, 4.0])  # probabilities 1/7, 2/7, 4/7 at temperature 1
    pool = Dataset.from_dict({"row_id": list("abc"), "s": scores, "g": ["x"] * 3, "w": [1.0] * 3})
    return int(SoftQuotas("s", "g", "w", 0.34, temperature, seed).rank(pool)[0])


def test_rows_are_drawn_by_the_softmax_of_their_scores():
    # 240 rows of one group, 1 : 2 : 4, half of them drawn: against the expectation of successive draws.
    scores = np.tile(np.log([1.0, 2.0, 4.0]), 80)
    pool = Dataset.from_dict(
        {"row_id": [f"{n:03}" for n in range(240)], "s": scores, "g": ["x"] * 240, "w": [1.0] * 240}
    )
    counts = np.zeros(3)
    for seed in range(20):
        kept = SoftQuotas("s", "g", "w", 0.5, 1.0, seed).rank(pool)
        assert len(kept) == 120
        counts += np.bincount(kept % 3, minlength=3)
    # Each is left with probability x^w, x so that the mean of 1 - x^w is one half: x = 0.7196.
    x = next(v for v in np.linspace(1, 0, 100_001) if np.mean([1 - v**w for w in (1, 2, 4)]) >= 0.5)
    assert counts / 20 / 80 == pytest.approx([1 - x, 1 - x**2, 1 - x**4], abs=0.05)
    assert {drawn(0, seed) for seed in range(9)} == {2}
    assert {drawn(1.0, seed) for seed in range(9)} > {2}


def test_weights_that_are_none_are_refused():
    pool = {"row_id": list("ab"), "s": [1.0, 2.0], "g": ["x", "y"]}
    for weights in ([-1.0, 1.0], [float("nan"), 1.0], [0.0, 0.0]):
        with pytest.raises(BadBudget, match="`weight` is 'w', which is missing, negative or 0"):
            SoftQuotas("s", "g", "w", 1.0).rank(Dataset.from_dict({**pool, "w": weights}))
    with pytest.raises(BadBudget, match="`temperature` is -1, expected 0"):
        SoftQuotas("s", "g", "w", 0.5, -1)
