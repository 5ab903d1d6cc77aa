"""The arithmetic of the benchmark on worked cases."""

import numpy as np
import pytest

from benchmarks import published_selections
from benchmarks.published_selections import agreement, within


def test_known_answers():
    kept = np.array([True, True, False, False])
    found = agreement(np.array([4.0, 1.0, 2.0, np.nan]), kept, np.zeros(4))
    # Of four pairs three are in order: the row without a score comes last.
    assert found["auroc"] == 0.75 and found["precision"] == 0.5 and found["over_random"] == 1.0


def test_a_score_that_is_length_knows_nothing_within_a_length():
    draw = np.random.default_rng(0)
    length = np.repeat(np.arange(10.0), 100)
    kept = draw.random(1000) < length / 12
    assert within(length, kept, length) == 0.5
    assert agreement(length, kept, length)["auroc"] > 0.7
    assert within(kept + length, kept, length) == 1.0


@pytest.mark.skipif(not (published_selections.DATA / "alpaca_pool").is_dir(), reason="the Alpaca pool is not here")
def test_the_rows_are_those_that_cherry_may_have_seen():
    rows = published_selections.read_alpaca()
    assert len(rows) == 12125 and sum(rows["sel_cherry_5pct"]) == 834
