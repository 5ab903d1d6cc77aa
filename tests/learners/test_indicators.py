"""Indicators that need the whole pool, and the tiny validation set: worked by hand."""

import pickle

import numpy as np
import pytest
from datasets import Dataset

from hf_datasel import ClusterRarity, SemanticDiversity, tiny_validation
from hf_datasel.errors import BadBudget, BadRow


def pool(*vectors):
    return Dataset.from_dict({"text": [f"row {n}" for n in range(len(vectors))], "embedding": list(vectors)})


def test_diversity_is_one_minus_the_mean_cosine_to_the_nearest():
    rows = pool([1.0, 0.0], [3.0, 4.0], [0.0, 2.0], [-1.0, 0.0], None)
    found = SemanticDiversity(neighbours=2).fit(rows)(rows[:])
    # Cosines: a-b .6, a-c 0, a-d -1, b-c .8, b-d -.6, c-d 0.
    expected = [1 - (0.6 + 0.0) / 2, 1 - (0.6 + 0.8) / 2, 1 - (0.8 + 0.0) / 2, 1 - (0.0 - 0.6) / 2, np.nan]
    assert found["semantic_diversity"] == pytest.approx(expected, abs=1e-6, nan_ok=True)
    assert found["semantic_diversity_status"] == ["ok"] * 4 + ["no_embedding"]


def test_copies_are_not_diverse_and_other_rows_are_not_known():
    rows = pool([1.0, 0.0], [1.0, 0.0], [0.0, 1.0])
    scorer = SemanticDiversity(neighbours=1).fit(rows)
    assert scorer(rows[:])["semantic_diversity"].tolist() == [0.0, 0.0, 1.0]
    assert scorer({"text": ["another"]})["semantic_diversity_status"] == ["not_in_pool"]
    assert scorer.spec == SemanticDiversity(neighbours=1).fit(rows.select([2, 0, 1])).spec
    assert pickle.dumps(scorer) == pickle.dumps(SemanticDiversity(neighbours=1).fit(rows))
    with pytest.raises(BadRow, match="1 row with an embedding"):
        SemanticDiversity().fit(pool([1.0, 0.0]))


def test_rarity_is_minus_the_log_of_the_share_of_a_cluster():
    rows = pool([1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [1.0, 0.05], None)
    found = ClusterRarity(clusters=2).fit(rows)(rows[:])
    assert found["cluster_rarity"] == pytest.approx(-np.log([0.75, 0.75, 0.25, 0.75, np.nan]), nan_ok=True)
    assert found["cluster_rarity_status"][-1] == "no_embedding"
    with pytest.raises(BadBudget, match="`clusters` is 0"):
        ClusterRarity(clusters=0)


def test_the_square_root_of_half_the_rows_is_the_number_of_clusters():
    rows = pool(*([np.cos(angle), np.sin(angle)] for angle in np.arange(18) / 3))
    rarity = ClusterRarity().fit(rows)(rows[:])["cluster_rarity"]
    assert (np.exp(rarity) / 18).sum() == pytest.approx(3)  # each of k clusters adds up to 1: sqrt(18 / 2)
    odd = rows.select(range(10))
    assert (np.exp(ClusterRarity().fit(odd)(odd[:])["cluster_rarity"]) / 10).sum() == pytest.approx(
        3
    )  # 2.24, rounded up


def test_ten_neighbours_count():
    # Ten rows alike and two across: the ten nearest of one are the nine others and one across.
    rows = pool(*([1.0, 0.001 * n] for n in range(10)), [0.0, 1.0], [0.0, -1.0])
    found = SemanticDiversity().fit(rows)(rows[:])["semantic_diversity"]
    assert found[0] == pytest.approx(1 / 10, abs=1e-3)


def test_a_tiny_validation_set_is_medoids_with_the_shares_of_their_clusters():
    around = [[np.cos(angle), np.sin(angle)] for angle in (0.0, 0.1, 0.2, 1.5, 1.6, 1.7, 1.8)]
    found = tiny_validation(pool(*around), size=2)
    assert found["text"][:] in (["row 1", "row 4"], ["row 1", "row 5"])
    assert found["validation_weight"][:] == pytest.approx([3 / 7, 4 / 7])
    whole = tiny_validation(pool(*around), size=7)
    assert len(whole) == 7 and whole["validation_weight"][:] == pytest.approx([1 / 7] * 7)
    with pytest.raises(BadRow, match="`validation` has no rows"):
        tiny_validation(pool(*around).select([]))
