"""The one builder of features: scales, what is missing, and the same numbers whichever way rows come."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from datasets import Dataset

from hf_datasel.errors import BadBudget, BadRow
from hf_datasel.learners.feature_scale import fit_builder
from hf_datasel.scorers.coido.features import FeatureBuilder
from hf_datasel.selectors.columns import read_column


NAN = float("nan")


def test_scores_are_scaled_to_minus_one_and_one_over_the_pool():
    pool = Dataset.from_dict({"s": [2.0, 4.0, 10.0]})
    assert fit_builder(pool, [], ["s"]).build(pool[:]).scores.ravel().tolist() == [-1.0, -0.5, 1.0]


def test_new_rows_are_scaled_as_the_pool_of_the_fit_was():
    builder = fit_builder(Dataset.from_dict({"s": [2.0, 4.0, 10.0]}), [], ["s"])
    assert builder.build({"s": [6.0, 14.0]}).scores.ravel().tolist() == [0.0, 2.0]


@pytest.mark.parametrize("values", [[3.0, 3.0, NAN], [NAN, None, NAN]])
def test_a_score_that_says_nothing_is_zero_and_is_told(values, caplog):
    with caplog.at_level(logging.WARNING):
        builder = fit_builder(Dataset.from_dict({"s": values, "t": [0.0, 1.0, 2.0]}), [], ["s", "t"])
    assert builder.build({"s": values, "t": [0.0, 1.0, 2.0]}).scores[:, 0].tolist() == [0.0, 0.0, 0.0]
    assert "`scores` names 's'" in caplog.text and "'t'" not in caplog.text


def test_a_missing_score_is_the_mean_and_beside_a_missing_embedding_zero():
    builder = FeatureBuilder(("e",), (2,), ("s",), (0.0,), (10.0,), (2.0,))
    found = builder.build({"e": [[1.0, 0.0], None, [0.0, 2.0]], "s": [NAN, NAN, 10.0]})
    assert found.scores.ravel() == pytest.approx([-0.6, 0.0, 1.0])
    assert found.measured.ravel().tolist() == [False, False, True]


def test_embeddings_have_length_one_each_and_zeros_are_missing():
    builder = FeatureBuilder(("e", "f"), (2, 1), (), (), (), ())
    found = builder.build({"e": [[3.0, 4.0], [0.0, 0.0], [NAN, 1.0]], "f": [[-2.0], [5.0], None]})
    assert found.embedding == pytest.approx(np.array([[0.6, 0.8, -1.0], [0, 0, 1], [0, 0, 0]]))
    assert found.complete.tolist() == [True, False, False]
    assert found.empty.tolist() == [False, False, True]


def test_training_and_scoring_see_the_same_numbers():
    draw = np.random.default_rng(0)
    columns = {"e": draw.normal(size=(20, 3)).tolist(), "s": draw.gamma(2, size=20).tolist(), "text": list("a" * 20)}
    columns["e"][4], columns["s"][7] = None, None
    pool = Dataset.from_dict(columns)
    builder = fit_builder(pool, ["e"], ["s"])
    whole = builder.build(pool[:])
    seen = []
    pool.map(lambda batch: seen.append(builder.build(batch)) or {}, batched=True, load_from_cache_file=False)
    seen.append(builder.build({name: read_column(pool, name, name) for name in builder.reads}))
    for found in seen:
        assert np.array_equal(found.embedding, whole.embedding) and np.array_equal(found.scores, whole.scores)
        assert np.array_equal(found.complete, whole.complete)
    rounded = builder.build(pool.with_format("numpy")[:])  # datasets hands these over in float32
    assert rounded.scores == pytest.approx(whole.scores, abs=1e-6)
    assert np.array_equal(rounded.complete, whole.complete)


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ({"e": [[1.0, 2.0]]}, r"`batch` lacks \['s'\]"),
        ({"e": [[1.0, 2.0, 3.0]], "s": [1.0]}, r"`e` holds lists of lengths \[3\], expected 2"),
        ({"e": ["cat"], "s": [1.0]}, "`e` holds no lists of numbers"),
        ({"e": [[1.0, 2.0]], "s": ["cat"]}, "`s` holds 'cat', expected one number"),
    ],
)
def test_columns_of_another_kind_are_refused(batch, message):
    with pytest.raises(BadRow, match=message):
        FeatureBuilder(("e",), (2,), ("s",), (0.0,), (1.0,), (0.5,)).build(batch)


def test_a_fit_without_columns_or_values_is_refused():
    pool = Dataset.from_dict({"e": [None, None], "s": [1.0, 2.0]})
    with pytest.raises(BadBudget, match="`embeddings` is 'clip', expected a column"):
        fit_builder(pool, ["clip"], [])
    with pytest.raises(BadRow, match="missing in all 2 rows"):
        fit_builder(pool, ["e"], [])
    with pytest.raises(BadRow, match="expected the name of at least one column"):
        fit_builder(pool, [], [])
