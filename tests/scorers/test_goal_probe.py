"""Descriptors from a probe's outputs, and coverage by centres."""

from __future__ import annotations

import pickle
import sys

import numpy as np
import pytest
from datasets import Dataset

from hf_datasel.errors import BadBudget, BadRow, MissingExtra
from hf_datasel.learners import Coverage
from hf_datasel.learners.coverage import GOAL_FEATURES
from hf_datasel.scorers.goal import CoverageFeatures, CoveredBy, probe_descriptors
from hf_datasel.scorers.goal.probe import answer_difficulty, keyword_necessity, temporal_necessity, video_dependence
from hf_datasel.selectors.ordering import hash_order


NAN = float("nan")


def test_video_dependence_is_what_sight_takes_off_the_loss():
    found = video_dependence([2.5, 1.0, NAN, np.inf, np.inf], [1.0, 1.5, 1.0, 1.0, np.inf])
    assert found[:2].tolist() == [1.5, -0.5] and np.isnan(found[2:]).all()


def test_difficulty_is_bounded_and_missing_stays_missing():
    found = answer_difficulty([np.log(7), 31.0, -31.0, NAN, np.inf])
    assert found[:3] == pytest.approx([7, np.exp(30), np.exp(-30)]) and np.isnan(found[3:]).all()


@pytest.mark.parametrize(
    ("verdict", "number"),
    [("Temporal", 1), ("temporal, since", 1), (" STATIC.", 0), ("Both", 0.5), ("", 0.5), ("Not temporal", 0.5)],
)
def test_verdicts(verdict, number):
    assert temporal_necessity(verdict) == number


def test_keywords_are_whole_words():
    assert [keyword_necessity(text) for text in ("What happens NEXT?", "Nextdoor?", "")] == [1.0, 0.0, 0.0]


def test_probe_outputs_become_the_columns_that_the_merge_reads():
    pool = Dataset.from_dict(
        {"loss_blind": [2.0, None], "loss_sighted": [1.0, 1.0], "temporal_verdict": ["Temporal", None]}
    )
    found = pool.map(probe_descriptors, batched=True)
    assert found["video_dependence"][0] == 1.0 and np.isnan(found["video_dependence"][1])
    assert found["answer_difficulty"][:] == pytest.approx([np.e, np.e])
    assert found["temporal_necessity"][0] == 1.0 and np.isnan(found["temporal_necessity"][1])
    assert "temporal_necessity" not in pool.remove_columns("temporal_verdict").map(probe_descriptors).column_names
    with pytest.raises(BadRow, match=r"`batch` lacks \['loss_blind'\]"):
        probe_descriptors({"loss_sighted": [1.0]})


def test_features_of_words_and_pixels():
    rows = {"question": ["red red ball", "ball"], "answer": ["", ""], "image": [np.zeros((2, 2, 3)), None]}
    rows["image"][0][..., 0] = [[0, 255], [0, 255]]
    found = CoverageFeatures()(rows)
    assert sorted(found["text_features"][0])[-2:] == pytest.approx([1 / 5**0.5, 2 / 5**0.5])
    assert found["vision_features"] == [[0.5, 0.0, 0.0, 0.5, 0.0, 0.0], None]


def test_words_fall_into_the_same_bins_whatever_the_hash_seed(in_new_process):
    code = (
        "from hf_datasel.scorers.goal import CoverageFeatures\n"
        "print(CoverageFeatures()({'question': ['What is this red ball?'], 'answer': ['A ball.']}))"
    )
    assert in_new_process(code, hash_seed=1) == in_new_process(code, hash_seed=2)


def test_the_authors_bin_ascii_words_by_a_hash_that_must_be_fixed(in_new_process, monkeypatch):
    code = (
        "from hf_datasel.scorers.goal import CoverageFeatures\n"
        "rows = {'question': ['red red ball', 'что это'], 'answer': ['', '']}\n"
        "authors, corrected = (CoverageFeatures(fidelity)(rows)['text_features'] for fidelity in ('authors', 'corrected'))\n"
        "expected = [0.0] * 16\n"
        "for word in ('red', 'red', 'ball'): expected[hash(word) % 16] += 1\n"
        "norm = sum(x * x for x in expected) ** 0.5\n"
        "print(max(abs(a - b / norm) for a, b in zip(authors[0], expected)) < 1e-12, any(authors[1]), any(corrected[1]))"
    )
    for seed in (1, 2):
        assert in_new_process(code, hash_seed=seed).split() == ["True", "False", "True"]
    for seed in ("random", None):
        monkeypatch.setenv("PYTHONHASHSEED", seed) if seed else monkeypatch.delenv("PYTHONHASHSEED", raising=False)
        with pytest.raises(ValueError, match="PYTHONHASHSEED is 'random', expected a number"):
            CoverageFeatures("authors")
    monkeypatch.setenv("PYTHONHASHSEED", "3")
    assert CoverageFeatures("authors").spec["hash_seed"] == "3"


def test_features_are_16_and_6_of_at_most_6_frames():
    frames = [
        np.full((2, 2), 255 * (number % 2)) for number in range(11)
    ]  # of which 0, 2, 4, 6, 8 and 10 are looked at
    found = CoverageFeatures()({"question": ["a b c"], "answer": ["d"], "images": [frames]})
    assert len(found["text_features"][0]) == 16 and found["vision_features"] == [[0.0] * 6]


def blobs(num_rows=300):
    draw = np.random.default_rng(0)
    which = draw.integers(0, 3, num_rows)
    points = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])[which] + draw.normal(scale=0.1, size=(num_rows, 2))
    points[0] = [50.0, 50.0]  # far from everything
    return Dataset.from_dict({"row_id": range(num_rows), "embedding": points.tolist(), "which": which})


def test_centres_are_found_and_outliers_are_not_covered():
    pytest.importorskip("sklearn")
    pool = blobs()
    scorer = Coverage(["embedding"], clusters=12, batch_size=64).fit(pool)
    found = pool.map(scorer, batched=True)
    assert scorer.centres.shape == (12, 2)
    centres, which = np.array(found["coverage_centre"][:]), np.array(pool["which"])
    for centre in set(centres[1:].tolist()):
        assert len(set(which[1:][centres[1:] == centre].tolist())) == 1
    by_hand = (np.array(pool["embedding"][:]) - scorer.shift) / scorer.scale
    distances = np.linalg.norm(by_hand[:, None] - scorer.centres[None], axis=2).min(axis=1)
    assert found["coverage"][:] == pytest.approx(np.exp(-distances))
    assert np.median(found["coverage"][1:]) > 0.9


def test_the_settings_are_the_known_ones():
    its = Coverage()
    assert (its.clusters, its.batch_size, its.seed, its.fidelity) == (4096, 8192, 42, "corrected")


def test_the_authors_start_from_the_first_rows_and_this_from_any_three_times():
    cluster = pytest.importorskip("sklearn.cluster")
    points = np.random.default_rng(0).random((300, 2))
    pool = Dataset.from_dict({"row_id": range(300), "x": points.tolist()})
    fixed = {"batch_size": 64, "random_state": 42, "reassignment_ratio": 0.01, "init_size": 192}
    by_hand = cluster.MiniBatchKMeans(12, init=points[:12], n_init=1, **fixed).fit(points)
    authors = Coverage(["x"], 12, 64, fidelity="authors").fit(pool)
    np.testing.assert_allclose(authors.centres, by_hand.cluster_centers_)
    corrected = Coverage(["x"], 12, 64).fit(pool)
    scaled = (points[hash_order(pool, 42)] - points.mean(axis=0)) / points.std(axis=0)
    by_hand = cluster.MiniBatchKMeans(12, init="random", n_init=3, **fixed).fit(scaled)
    np.testing.assert_allclose(corrected.centres, by_hand.cluster_centers_)


def test_a_shuffle_changes_no_centre():
    pytest.importorskip("sklearn")
    pool, learner = blobs(), Coverage(["embedding"], clusters=5, batch_size=32)
    assert learner.fit(pool.shuffle(seed=3)).spec == learner.fit(pool).spec


def test_scaling_keeps_one_feature_from_deciding_alone():
    pytest.importorskip("sklearn")
    draw = np.random.default_rng(1)
    pool = Dataset.from_dict(
        {"row_id": range(200), "a": draw.normal(size=200), "ppl": np.exp(draw.uniform(0, 30, 200))}
    )
    corrected, authors = (Coverage(["a", "ppl"], 4, 64, fidelity=its).fit(pool) for its in ("corrected", "authors"))
    assert corrected.scale[1] > 1e9 and authors.scale.tolist() == [1.0, 1.0]
    # Perplexity alone decides the distance, so a row at 10^12 of the nearest centre is not covered at all.
    assert (np.array(pool.map(authors, batched=True)["coverage"][:]) == 0).mean() > 0.5
    assert (np.array(pool.map(corrected, batched=True)["coverage"][:]) > 0.1).mean() > 0.5


def test_missing_features_are_neutral_or_zero():
    pytest.importorskip("sklearn")
    pool = Dataset.from_dict({"row_id": range(6), "a": [1.0, 2, 3, 4, None, None], "b": [1.0, 2, 3, 4, 2.5, None]})
    scorer = Coverage(["a", "b"], clusters=1, batch_size=8).fit(pool)
    found = pool.map(scorer, batched=True)
    assert found["coverage_status"][:] == ["ok"] * 4 + ["partial", "no_features"]
    # 2.5 is the mean of b, so the row lies where both features are 0.
    assert found["coverage"][4] == pytest.approx(np.exp(-np.linalg.norm(scorer.centres[0])))
    assert np.isnan(found["coverage"][5]) and found["coverage_centre"][5] == -1
    authors = Coverage(["a", "b"], clusters=1, batch_size=8, fidelity="authors").fit(pool)
    assert authors({"a": [None], "b": [2.5]})["coverage"] == np.exp(-np.linalg.norm(authors.centres[0] - [0, 2.5]))


def test_batches_single_rows_and_pickles_agree():
    covered = CoveredBy(("a", "b"), (1, 2), np.eye(3), np.zeros(3), np.ones(3))
    pool = Dataset.from_dict({"b": [[0.0, 1.0], [1.0, 0.0], [3.0, 0.1]], "a": [0.0, 1.0, None]})
    batched, single = pool.map(covered, batched=True), pool.map(covered)
    assert batched["coverage"][:] == single["coverage"][:]
    assert covered({"a": 0.0, "b": [0.0, 1.0]})["coverage"] == 1.0
    assert pickle.loads(pickle.dumps(covered)).spec == covered.spec  # noqa: S301 (our own bytes)
    alone = CoveredBy(("b",), (2,), np.zeros((1, 2)), np.zeros(2), np.ones(2))
    assert alone({"b": [0.0, 0.0]})["coverage"] == 1.0


def test_what_is_wrong_is_named(monkeypatch):
    with pytest.raises(ValueError, match="`features` is 'embedding', expected a list"):
        Coverage("embedding")
    with pytest.raises(BadBudget, match="`clusters` is 0"):
        Coverage(clusters=0)
    with pytest.raises(BadRow, match=r"`batch` lacks \['a'\], expected the features"):
        CoveredBy(("a",), (1,), np.eye(1), np.zeros(1), np.ones(1))({"b": [1.0]})
    with pytest.raises(BadRow, match=r"`b` has \(3,\) numbers in row 1, expected 2"):
        CoveredBy(("b",), (2,), np.eye(2), np.zeros(2), np.ones(2))({"b": [[1, 2], [1, 2, 3]]})
    assert len(GOAL_FEATURES) == 7
    monkeypatch.setitem(sys.modules, "sklearn.cluster", None)
    with pytest.raises(MissingExtra, match=r"pip install 'hf_datasel\[clusters\]'"):
        Coverage(["embedding"], clusters=2).fit(blobs())


def test_more_clusters_than_rows_are_refused():
    pytest.importorskip("sklearn")
    with pytest.raises(BadRow, match="`clusters` is 4096, expected at most 300"):
        Coverage(["embedding"]).fit(blobs())
    with pytest.raises(BadBudget, match="`features` is 'text_features', expected a column"):
        Coverage().fit(blobs())
