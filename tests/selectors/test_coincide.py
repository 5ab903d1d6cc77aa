from __future__ import annotations

import numpy as np
import pytest
from datasets import Dataset

from hf_datasel.errors import BadBudget
from hf_datasel.selectors import Coincide
from hf_datasel.selectors.coincide import (
    cluster_quotas,
    cluster_shares,
    kernel,
    least_discrepancy,
    transferability,
)


def test_known_answers() -> None:
    shares = cluster_shares(np.array([0.4, 0.2, 0.3]), np.array([0.5, 0.5, 1.0]), 1.0)
    assert shares == pytest.approx([0.439, 0.294, 0.266], abs=1e-3)
    assert cluster_quotas(shares, np.array([9, 9, 9]), 10).tolist() == [4, 3, 3]
    kernels = kernel(np.array([[0.0], [1.0], [2.0]], dtype=np.float32))
    assert kernels.mean(axis=0) == pytest.approx([0.581, 0.738, 0.581], abs=1e-3)
    assert least_discrepancy(kernels, 1).tolist() == [1]


def test_a_small_cluster_gives_all_and_the_others_share_the_rest() -> None:
    # 2 of 8 due; then 8 left at .12 of .2, 4.8; then the last 3.
    assert cluster_quotas(np.array([0.8, 0.12, 0.08]), np.array([2, 9, 9]), 10).tolist() == [2, 5, 3]
    assert cluster_quotas(np.array([1.0, 0.0, 0.0]), np.array([2, 9, 9]), 10).tolist() == [2, 4, 4]


def test_twins_and_itself_do_not_count_for_transfer() -> None:
    centroids = np.array([[1.0, 0.0], [0.99, 0.141], [0.0, 1.0]], dtype=np.float32)
    assert transferability(centroids) == pytest.approx([0.0, 0.141, 0.0705], abs=1e-4)
    assert transferability(centroids[:1]).tolist() == [0.0]


def test_each_pick_makes_the_discrepancy_least() -> None:
    kernels = kernel(np.random.default_rng(0).normal(size=(30, 2)).astype(np.float32))

    def discrepancy(picks: list[int]) -> float:
        return float(kernels[np.ix_(picks, picks)].mean() - 2 * kernels[picks].mean() + kernels.mean())

    picked = least_discrepancy(kernels, 10).tolist()
    for at in range(10):
        least = min(discrepancy([*picked[:at], row]) for row in set(range(30)) - set(picked[:at]))
        assert discrepancy(picked[: at + 1]) == pytest.approx(least, abs=1e-8)


def test_a_spread_cluster_gives_more_than_a_dense_one() -> None:
    draw = np.random.default_rng(0)
    vectors = 0.5 + np.eye(6)[[0] * 50 + [1] * 50] + np.repeat([0.01, 0.3], 50)[:, None] * draw.normal(size=(100, 6))
    scored = Dataset.from_dict({"row_id": list(range(100)), "e": vectors.tolist()})
    kept = Coincide("e", 0.2, clusters=2).rank(scored)
    assert len(kept) == 20
    assert (kept >= 50).sum() > (kept < 50).sum() > 0


def test_a_temperature_of_nothing_is_refused() -> None:
    with pytest.raises(BadBudget, match="`temperature` is 0, expected a number above 0"):
        Coincide("e", 0.5, temperature=0)
