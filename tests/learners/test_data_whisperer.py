"""Data Whisperer: worked cases, and its blocks on a real proxy."""

import numpy as np
import pytest
from datasets import Dataset

from hf_datasel import DataWhisperer, Labels, Proxy
from hf_datasel.errors import BadRow, OverlapError
from hf_datasel.learners.data_whisperer import block_order, rouge_l, shared_success
from hf_datasel.proxy.in_context import InContext
from hf_datasel.proxy.in_context_answers import answers_in_context, attention_to_examples
from hf_datasel.rows import row_digest


# What the proxy can answer: it has read children's stories.
QUERIES = [
    {"prompt": "Once upon a time, there was a", "completion": " little girl named Lily. She was happy."},
    {"prompt": "Tom saw a big dog. The dog was", "completion": " a big dog. He was happy and said hello."},
    {"prompt": "One day, Lily went to the", "completion": " park with her mom. She was very happy."},
]


@pytest.fixture(scope="module")
def rows(real_rows):
    return real_rows("pool.jsonl", 12).select_columns(["prompt", "completion"])


@pytest.fixture(scope="module")
def whisperer(tiny_model, rows):
    return DataWhisperer(Proxy(tiny_model), QUERIES, block=2, num_queries=2, metric="rouge_l", max_new_tokens=12)


def test_known_answers():
    found = shared_success(np.array([[0.2, 0.3, 0.5]] * 3), np.array([1.0, 0.0, 1.0]))
    assert found == pytest.approx([0.4 / 3, 0.2, 1 / 3])
    assert rouge_l("a b c d", "a x c d") == pytest.approx(0.75)
    assert rouge_l("", "a") == 0.0


def test_scores_are_those_of_the_blocks(whisperer, rows, tiny_model):
    pool = rows.select(range(4))
    found = whisperer.fit(pool)(pool[:])["data_whisperer"]
    proxy = Proxy(tiny_model).load(Labels())
    digests = [row_digest(row) for row in pool]
    order, queries = np.array([digests.index(its) for its in block_order(digests, 42)]), whisperer.queries
    for places, asked in ((order[:2], [queries[0], queries[1]]), (order[2:], [queries[2], queries[0]])):
        engine = InContext(proxy, asked, Labels(), shares_prefix=False)
        block = [pool[int(place)] for place in places]
        answers = answers_in_context(engine, block, 12)[1]
        right = [rouge_l(said, its["completion"]) for said, its in zip(answers, asked, strict=True)]
        looks = attention_to_examples(engine, block, layer=2)[1]
        assert max(right) > 0
        assert found[places] == pytest.approx(shared_success(looks, np.array(right)), abs=1e-5)


def test_a_shuffle_and_copies_change_nothing(whisperer, rows):
    pool = rows.select(range(4))
    again = Dataset.from_dict({name: [pool[name][place] for place in (2, 0, 3, 1, 0)] for name in pool.column_names})
    assert whisperer.fit(pool).spec == whisperer.fit(again).spec


def test_bad_rows_have_a_reason_and_no_score(whisperer, rows):
    bad = {"prompt": ["Why?", "So " * 250], "completion": ["", "yes"]}
    pool = Dataset.from_dict({name: [*rows[name][:4], *bad[name]] for name in bad})
    found = whisperer.fit(pool)(pool[:])
    status = found["data_whisperer_status"]
    assert status[4] == "empty_completion" and status[5] == "longer_than_context"
    # What does not fit takes its block along: there is nothing to tell its neighbour by.
    assert status[:4].count("longer_than_context") in (0, 1)
    assert np.isnan(found["data_whisperer"]).tolist() == [its != "ok" for its in status]


def test_what_cannot_be_measured_is_refused(whisperer, rows):
    with pytest.raises(OverlapError, match="`pool` shares 1 rows"):
        whisperer.fit(Dataset.from_list([rows[0], QUERIES[1]]))
    with pytest.raises(BadRow, match="`pool` has no row that could be shown"):
        whisperer.fit(Dataset.from_dict({"prompt": ["Why?"], "completion": [""]}))
    with pytest.raises(ValueError, match="`metric` is 'bleu', expected one of"):
        DataWhisperer(whisperer.proxy, rows, metric="bleu")
