"""A classifier fitted on some rows' scores carries them to others."""

import numpy as np
import pytest
from datasets import Dataset

from hf_datasel import QualityClassifier, score
from hf_datasel.errors import BadBudget, BadRow


def sentences(seed, count):
    """Rows about animals score high, rows about tools low, with noise; some have no score."""
    draw = np.random.default_rng(seed)
    animals, tools = ["cat", "dog", "bird", "fish", "horse"], ["saw", "drill", "nail", "screw", "hammer"]
    kind = draw.random(count) < 0.5
    texts = [" ".join(draw.choice(animals if good else tools, 4)) + f" {n}" for n, good in enumerate(kind)]
    values = np.where(draw.random(count) < 0.1, np.nan, kind + draw.normal(0, 0.2, count))
    return Dataset.from_dict({"text": texts, "s": values.tolist()}), kind


def test_it_learns_what_the_score_likes(tmp_path):
    pytest.importorskip("fasttext")
    pool, _ = sentences(0, 400)
    scorer = QualityClassifier("s", str(tmp_path), dimensions=10, epochs=10).fit(pool)
    others, kind = sentences(1, 200)
    found = np.array(score(others.remove_columns("s"), scorer)["pre_select"])
    assert found[kind].min() > found[~kind].max()
    again = QualityClassifier("s", str(tmp_path / "again"), dimensions=10, epochs=10).fit(pool.shuffle(seed=3))
    assert np.array(score(others.remove_columns("s"), again)["pre_select"]).tolist() == found.tolist()


def test_it_may_stand_in_the_call_that_scores(tmp_path):
    pytest.importorskip("fasttext")
    pool, _ = sentences(0, 200)
    scored = score(pool, QualityClassifier("s", str(tmp_path), dimensions=4))
    assert np.isfinite(scored["pre_select"][:]).all()


def test_nothing_to_learn_is_refused(tmp_path):
    pool = Dataset.from_dict({"text": ["a", "b", "c"], "s": [1.0, 1.0, 1.0]})
    with pytest.raises(BadRow, match="`column` is 's', whose best 1 of 3 scored rows score no higher"):
        QualityClassifier("s", str(tmp_path)).fit(pool)
    with pytest.raises(BadRow, match=r"`fraction` is 0\.6, expected at most 0\.5"):
        QualityClassifier("s", str(tmp_path), fraction=0.6)
    with pytest.raises(BadBudget, match="`column` is 't'"):
        QualityClassifier("t", str(tmp_path)).fit(pool)
