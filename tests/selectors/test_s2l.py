"""Balanced picks by hand, and clusters of trajectories that are known."""

import numpy as np
import pytest
from datasets import Dataset

from hf_datasel.errors import BadBudget
from hf_datasel.selectors import S2L
from hf_datasel.selectors.s2l import balanced_quotas, trajectory_clusters


def test_small_clusters_give_all_and_the_others_share_the_rest():
    assert balanced_quotas(np.array([1, 4, 10]), 9).tolist() == [1, 4, 4]
    assert balanced_quotas(np.array([10, 4, 1]), 9).tolist() == [4, 4, 1]
    assert balanced_quotas(np.array([5, 5, 5]), 7).tolist() == [2, 2, 3]
    assert balanced_quotas(np.array([1, 2]), 9).tolist() == [1, 2]


def pool(sizes, seed=0):
    """Rows whose losses fall early, late or never, with a little noise."""
    draw = np.random.default_rng(seed)
    kinds = [kind for kind, size in enumerate(sizes) for _ in range(size)]
    shapes = np.array([[3.0, 1.0, 1.0], [3.0, 3.0, 1.0], [3.0, 3.0, 3.0]])
    losses = shapes[kinds] + draw.normal(scale=0.05, size=(len(kinds), 3))
    return Dataset.from_dict(
        {"row_id": [f"r{n:02}" for n in range(len(kinds))], "kind": kinds, "losses": losses.tolist()}
    )


def test_trajectories_that_fell_alike_are_picked_in_turn():
    scored = pool([1, 4, 10])
    kept = [scored["kind"][row] for row in S2L("losses", 0.6, clusters=3).rank(scored)]
    assert sorted(kept) == [0, 1, 1, 1, 1, 2, 2, 2, 2]
    assert sorted(kept[:3]) == [0, 1, 2]
    assert (
        S2L("losses", 0.6, clusters=3, seed=1).rank(scored).tolist()
        != S2L("losses", 0.6, clusters=3).rank(scored).tolist()
    )


def test_the_level_of_a_loss_counts_not_its_direction_alone():
    # On one ray from the origin: cosines could not tell these apart.
    points = np.array([[1.0, 1.0], [5.0, 5.0], [1.1, 1.1], [5.1, 5.1]], np.float32)
    labels = trajectory_clusters(points, 2, seed=3)
    assert labels[0] == labels[2] != labels[1] == labels[3]


def test_clusters_are_as_many_as_differ():
    same = np.ones((6, 2), np.float32)
    assert trajectory_clusters(same, 4, seed=0).tolist() == [0] * 6
    assert len(S2L("losses", 1.0, clusters=100).rank(pool([2, 2, 2]))) == 6


def test_a_row_without_a_trajectory_is_never_kept():
    scored = Dataset.from_dict({"row_id": list("abc"), "losses": [[1.0, 2.0], None, [1.0, float("nan")]]})
    assert S2L("losses", 1.0, clusters=2).rank(scored).tolist() == [0]
    with pytest.raises(BadBudget, match="`clusters` is 0"):
        S2L("losses", 0.5, clusters=0)
