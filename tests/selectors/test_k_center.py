from __future__ import annotations

import numpy as np
from datasets import Dataset

from hf_datasel.selectors import KCenter


def test_known_answer_by_hand() -> None:
    # The mean is 3, nearest to it 2; then 9 at 7, then 0 at 2, then 1 at 1.
    scored = Dataset.from_dict({"row_id": list("abcd"), "e": [[0.0], [1.0], [2.0], [9.0]]})
    assert KCenter("e", 1.0).rank(scored).tolist() == [2, 3, 0, 1]


def test_each_pick_is_the_farthest_from_those_before_it() -> None:
    vectors = np.random.default_rng(0).normal(size=(200, 5))
    scored = Dataset.from_dict({"row_id": list(range(200)), "e": vectors.tolist()})
    picked = KCenter("e", 0.2).rank(scored).tolist()
    assert picked[0] == np.linalg.norm(vectors - vectors.mean(axis=0), axis=1).argmin()
    for at in range(1, 40):
        gaps = np.linalg.norm(vectors[:, None] - vectors[picked[:at]], axis=2).min(axis=1)
        assert gaps[picked[at]] > gaps.max() - 1e-3


def test_copies_come_last_by_id() -> None:
    scored = Dataset.from_dict({"row_id": list("dcba"), "e": [[1.0]] * 3 + [[0.0]]})
    assert KCenter("e", 1.0).rank(scored).tolist() == [2, 3, 1, 0]
