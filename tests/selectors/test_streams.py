"""A stream, selected from in two passes, gives what the same rows in a dataset give."""

import numpy as np
import pytest
from datasets import Dataset, IterableDataset

from hf_datasel import Random, ResponseLength, TopFraction, TopFractionPerGroup, select
from hf_datasel.errors import BadBudget, DataselError


@pytest.fixture
def scored():
    draw = np.random.default_rng(0)
    texts = [f"text {n % 90}" for n in range(100)]  # ten copies
    groups = [("web", "book")[n % 2] for n in range(100)]
    return Dataset.from_dict({"text": texts, "source": groups, "s": draw.normal(size=100)})


@pytest.mark.parametrize(
    "rule", [TopFraction("s", 0.2), TopFractionPerGroup("s", group="source", fraction=0.2), Random(0.3)]
)
def test_two_passes_keep_the_same_rows(scored, rule):
    whole = select(scored, rule)
    stream = scored.to_iterable_dataset(num_shards=4)
    found = select(stream, rule)
    assert found.ids == whole.ids and found.pool is None
    kept = list(stream.filter(found, with_indices=True, batched=True))
    assert sorted(row["s"] for row in kept) == sorted(whole.kept["s"][:])


def test_a_scorer_maps_a_stream(scored):
    stream = scored.to_iterable_dataset().map(ResponseLength(), batched=True)
    assert [row["response_length"] for row in stream] == [float(len(text)) for text in scored["text"]]


def test_rows_are_bound_by_applying_to_them(scored):
    found = select(scored.to_iterable_dataset(), TopFraction("s", 0.2))
    with pytest.raises(DataselError, match="loaded without them"):
        found.kept  # noqa: B018
    assert found.apply(scored).kept["s"][:] == select(scored, TopFraction("s", 0.2)).kept["s"][:]


def test_an_empty_stream_is_refused():
    with pytest.raises(BadBudget, match="stream without rows"):
        select(IterableDataset.from_generator(lambda: iter(())), TopFraction("s", 0.2))
