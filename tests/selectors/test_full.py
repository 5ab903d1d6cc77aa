from __future__ import annotations

from datasets import Dataset

from hf_datasel.selectors import Full, select


def test_everything_is_kept_in_pool_order_scored_or_not() -> None:
    pool = Dataset.from_dict({"text": list("cab"), "s": [None, 1.0, 2.0]})
    assert Full().rank(pool).tolist() == [0, 1, 2]
    selection = select(pool, Full())
    assert selection.kept["text"][:] == list("cab")
    assert len(selection.dropped) == 0
    assert selection.threshold is None
    assert selection.num_not_scored == 0


def test_an_empty_pool_is_kept_whole() -> None:
    assert Full().rank(Dataset.from_dict({"text": []})).tolist() == []
