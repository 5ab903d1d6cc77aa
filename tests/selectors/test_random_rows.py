from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from hashlib import blake2b

import numpy as np
import pytest
from datasets import Dataset

from hf_datasel.errors import BadBudget, BadRow
from hf_datasel.rows.identity import with_row_ids
from hf_datasel.selectors import Random


HUNDRED = Dataset.from_dict({"row_id": [f"id{i}" for i in range(100)], "g": ["a"] * 70 + ["b"] * 25 + ["c"] * 5})


def test_the_order_is_that_of_the_keyed_hashes() -> None:
    ids = list("abcde")
    expected = sorted(ids, key=lambda row_id: blake2b(row_id.encode(), key=b"42", digest_size=16).digest())
    ranking = Random(1.0, seed=42).rank(Dataset.from_dict({"row_id": ids}))
    assert [ids[row] for row in ranking] == expected


def test_the_order_of_a_published_seed_never_changes() -> None:
    assert Random(count=5, seed=42).rank(Dataset.from_dict({"row_id": list("abcde")})).tolist() == [0, 1, 4, 3, 2]


def test_a_fraction_is_floored_exactly_and_at_least_one() -> None:
    assert len(Random(0.29).rank(HUNDRED)) == 29
    assert len(Random(0.001).rank(HUNDRED)) == 1
    assert len(Random(count=17).rank(HUNDRED)) == 17


def test_smaller_budgets_are_prefixes() -> None:
    for balance in (None, "g"):
        everything = Random(1.0, balance=balance).rank(HUNDRED).tolist()
        for count in (1, 2, 10, 50):
            assert Random(count=count, balance=balance).rank(HUNDRED).tolist() == everything[:count]


def test_seeds_are_independent_samples() -> None:
    samples = [set(Random(0.5, seed=seed).rank(HUNDRED).tolist()) for seed in range(20)]
    overlaps = [len(a & b) for i, a in enumerate(samples) for b in samples[:i]]
    assert abs(np.mean(overlaps) - 25) < 1.5  # of 50 and 50 out of 100; the standard error is 0.18
    assert len({frozenset(sample) for sample in samples}) == 20


def test_the_sample_is_not_taken_from_the_front() -> None:
    places = np.concatenate([Random(0.2, seed=seed).rank(HUNDRED) for seed in range(50)])
    assert abs(places.mean() - 49.5) < 3  # the standard error is 0.9


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (3, {"a": 1, "b": 1, "c": 1}),
        (15, {"a": 5, "b": 5, "c": 5}),
        (25, {"a": 10, "b": 10, "c": 5}),  # c has no more than 5: the others share the rest
        (65, {"a": 35, "b": 25, "c": 5}),
        (100, {"a": 70, "b": 25, "c": 5}),
    ],
)
def test_balanced_groups_give_equally_many_as_far_as_they_can(count: int, expected: dict[str, int]) -> None:
    ranking = Random(count=count, balance="g").rank(HUNDRED)
    assert Counter(HUNDRED["g"][row] for row in ranking) == expected


def test_a_balanced_remainder_goes_to_some_group_not_always_the_same() -> None:
    first = {HUNDRED["g"][Random(count=1, seed=seed, balance="g").rank(HUNDRED)[0]] for seed in range(30)}
    assert first == {"a", "b", "c"}


def test_rows_are_known_by_their_content_where_they_have_no_id() -> None:
    pool = Dataset.from_dict({"text": ["x", "y", "x", "z", "x"]})
    assert Random(0.6).rank(pool).tolist() == Random(0.6).rank(with_row_ids(pool)).tolist()
    assert len(set(Random(1.0).rank(pool).tolist())) == 5


def test_rows_nothing_is_known_about_are_refused() -> None:
    with pytest.raises(BadRow, match="expected `row_id` or training content"):
        Random(0.5).rank(Dataset.from_dict({"s": [1.0, 2.0]}))


def test_the_ids_kept_do_not_depend_on_the_hash_seed(in_new_process: Callable[..., str]) -> None:
    code = (
        "from datasets import Dataset; from hf_datasel.selectors import Random\n"
        "pool = Dataset.from_dict({'text': [str(i) for i in range(60)], 'g': [str(i % 7) for i in range(60)]})\n"
        "print(Random(0.5, seed=3, balance='g').rank(pool).tolist())"
    )
    assert in_new_process(code, hash_seed=1) == in_new_process(code, hash_seed=2)


def test_more_rows_than_the_pool_has_are_refused() -> None:
    with pytest.raises(BadBudget, match=r"`count` is 101, expected at most 100, the rows of the pool\. Lower it"):
        Random(count=101).rank(HUNDRED)


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({}, "`fraction` is None and `count` is None, expected exactly one"),
        ({"fraction": 0.2, "count": 3}, "`fraction` is 0.2 and `count` is 3, expected exactly one"),
        ({"fraction": 2}, "`fraction` is 2, "),
        ({"count": 0}, "`count` is 0, "),
        ({"fraction": 0.2, "seed": 1.5}, "`seed` is 1.5, expected a whole number"),
        ({"fraction": 0.2, "seed": 10**80}, "`seed` is 1000.*, expected a whole number below"),
    ],
)
def test_wrong_fields_are_refused_at_construction(fields: dict[str, float], complaint: str) -> None:
    with pytest.raises(BadBudget, match=complaint):
        Random(**fields)


def test_a_missing_balance_column_is_named_as_such() -> None:
    with pytest.raises(BadBudget, match="`balance` is 'source', expected a column"):
        Random(0.5, balance="source").rank(HUNDRED)
