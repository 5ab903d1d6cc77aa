from __future__ import annotations

import numpy as np
import pytest
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st

from hf_datasel.errors import BadRow
from hf_datasel.scorers import SelfConsistency


def score(samples, **fields):
    return SelfConsistency(**fields)({"sampled_answers": [samples]})


def test_the_overlap_is_the_known_one():
    assert score(["the man walks", "a man walks", "the man runs"])["self_consistency"][0] == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("samples", "expected"),
    [(["", ""], 1.0), (["", "a"], 0.0), (["A b", "b, a!"], 1.0), (["a a a", "a"], 1.0), (["a", "b", "c"], 0.0)],
)
def test_small_cases(samples, expected):
    found = score(samples)
    assert found["self_consistency"].tolist() == [expected] and found["self_consistency_status"] == ["ok"]


@pytest.mark.parametrize(("samples", "status"), [(None, "no_samples"), ([], "no_samples"), (["a"], "one_sample")])
def test_what_cannot_be_compared_is_not_scored(samples, status):
    found = score(samples)
    assert np.isnan(found["self_consistency"][0]) and found["self_consistency_status"] == [status]


def test_another_script_has_words_unless_the_authors_count_them():
    samples = ["猫在睡觉", "狗在睡觉"]
    assert score(samples)["self_consistency"][0] == pytest.approx(3 / 5)
    assert score(samples, fidelity="authors")["self_consistency"][0] == 1.0  # no words in either


@given(st.lists(st.text(alphabet="ab c", max_size=8), min_size=2, max_size=5), st.randoms())
def test_it_is_a_share_and_order_does_not_matter(samples, random):
    found = score(samples)["self_consistency"][0]
    assert 0 <= found <= 1
    random.shuffle(samples)
    assert score(samples)["self_consistency"][0] == pytest.approx(found)


def test_batched_and_single_calls_agree():
    pool = Dataset.from_dict({"sampled_answers": [["a b", "b c"], ["a", "a"], None, ["x"]]})
    batched, single = pool.map(SelfConsistency(), batched=True), pool.map(SelfConsistency())
    assert batched["self_consistency_status"] == single["self_consistency_status"]
    assert np.array_equal(batched["self_consistency"][:], single["self_consistency"][:], equal_nan=True)
    assert SelfConsistency()({"sampled_answers": ["a b", "b c"]})["self_consistency"] == pytest.approx(1 / 3)


def test_what_is_wrong_is_named():
    with pytest.raises(BadRow, match="`samples` is 'drawn', expected a column of lists of answers among"):
        SelfConsistency("drawn")({"sampled_answers": [[]]})
    with pytest.raises(BadRow, match=r"`sampled_answers` holds \[1, 2\], expected a list of texts"):
        score([1, 2])
    with pytest.raises(ValueError, match="`fidelity` is 'a'"):
        SelfConsistency(fidelity="a")
