from __future__ import annotations

import numpy as np
from datasets import Dataset

from hf_datasel.selectors import FacilityLocation
from hf_datasel.selectors.facility_location import greedy


def value(cosines: np.ndarray, picked: list[int]) -> float:
    return float(np.maximum(cosines[:, picked], 0).max(axis=1).sum()) if picked else 0.0


def test_known_answer_by_hand() -> None:
    # Sums of cosines: a 1 + .8 + .6 = 2.4, b .8 + 1 + .96 = 2.76, c .6 + .96 + 1 = 2.56. After b: a gains .2, c .04.
    picked, gains = greedy(np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8]], dtype=np.float32), 3)
    assert picked.tolist() == [1, 0, 2]
    assert gains.round(5).tolist() == [2.76, 0.2, 0.04]


def test_gains_are_those_of_the_objective() -> None:
    vectors = np.random.default_rng(0).normal(size=(80, 3))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    cosines = vectors.astype(np.float64) @ vectors.T
    picked, gains = greedy(vectors, 30)
    for at in range(30):
        chosen = picked[:at].tolist()
        best = max(value(cosines, [*chosen, row]) for row in range(80)) - value(cosines, chosen)
        assert abs(gains[at] - best) < 1e-5


def test_every_cluster_is_stood_for_before_any_twice() -> None:
    vectors = np.eye(4)[[0] * 9 + [1] * 6 + [2] * 4 + [3] * 1] + 1e-3
    scored = Dataset.from_dict({"row_id": [f"{i:02}" for i in range(20)], "e": vectors.tolist()})
    assert FacilityLocation("e", 0.2).rank(scored).tolist() == [0, 9, 15, 19]
    assert FacilityLocation("e", 0.2, clusters=1).rank(scored).tolist() == [0, 9, 15, 19]
