from __future__ import annotations

import pytest
from datasets import Dataset

from hf_datasel.errors import BadBudget
from hf_datasel.selectors import Prototypes


THREE = Dataset.from_dict({"row_id": list("abc"), "e": [[1.0, 0.0], [0.8, 0.6], [0.6, 0.8]]})


@pytest.mark.parametrize(("keep", "ranked"), [("far", [0, 2, 1]), ("near", [1, 2, 0])])
def test_known_answers(keep: str, ranked: list[int]) -> None:
    # Cosines to the centroid: .864, .993, .921.
    assert Prototypes("e", 1.0, keep=keep, clusters=1).rank(THREE).tolist() == ranked
    assert Prototypes("e", 0.34, keep=keep, clusters=1).rank(THREE).tolist() == ranked[:1]


def test_copies_tie_and_ids_decide() -> None:
    scored = Dataset.from_dict({"row_id": list("dcba"), "e": [[0.3, 0.7], [3.0, 7.0], [0.6, 1.4], [0.9, 2.1]]})
    assert Prototypes("e", 1.0).rank(scored).tolist() == [3, 2, 1, 0]


def test_another_end_is_refused() -> None:
    with pytest.raises(BadBudget, match="`keep` is 'middle', expected 'far' or 'near'"):
        Prototypes("e", 0.5, keep="middle")
