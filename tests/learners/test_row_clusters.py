"""Clusters that were planted are found; the rest of a large share joins the nearest."""

from __future__ import annotations

import numpy as np
import pytest

from hf_datasel.errors import BadRow
from hf_datasel.learners.row_clusters import CLUSTERINGS, cluster_rows, clustering_vectors, graph_of
from hf_datasel.scorers.coido.features import Features


def planted(per_cluster=60, clusters=5, width=16, seed=0):
    """Unit vectors about `clusters` directions, in a random order, and which is of which."""
    draw = np.random.default_rng(seed)
    truth = draw.permutation(np.repeat(np.arange(clusters), per_cluster))
    vectors = np.linalg.qr(draw.normal(size=(width, width)))[0][truth] + 0.1 * draw.normal(size=(len(truth), width))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), truth


def same_partition(one, other):
    return len(set(zip(one.tolist(), other.tolist(), strict=True))) == len(set(one)) == len(set(other))


@pytest.mark.parametrize("method", CLUSTERINGS)
def test_planted_clusters_are_found(method):
    vectors, truth = planted()
    assert same_partition(cluster_rows(vectors, 5, method, neighbours=10), truth)


def test_spectral_follows_a_shape_that_is_no_ball():
    # Two arcs, one within the other: neighbours lie along them.
    draw = np.random.default_rng(1)
    angle, truth = np.linspace(0, 3, 300), np.arange(300) % 2
    height = np.where(truth == 1, 1.0, 0.5)
    points = np.stack([np.cos(angle), np.sin(angle), height], axis=1) + 0.01 * draw.normal(size=(300, 3))
    vectors = (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)
    assert same_partition(cluster_rows(vectors, 2, "spectral", neighbours=6), truth)
    assert not same_partition(cluster_rows(vectors, 2, "kmeans"), truth)


def test_rows_beyond_the_sample_join_the_nearest():
    vectors, truth = planted(per_cluster=80)
    found = cluster_rows(vectors, 5, neighbours=10, sample=150)
    assert same_partition(found, truth)


def test_more_clusters_than_rows_are_refused():
    with pytest.raises(BadRow, match="`clusters` is 20, expected at most 10"):
        cluster_rows(planted(2)[0], 20)


def test_scores_are_scaled_over_the_rows_and_by_the_authors_within_each():
    embedding, there = np.ones((3, 1), np.float32), np.ones((3, 1), dtype=bool)
    features = Features(embedding, np.array([[-1, -1], [0, 0], [1, 1]], np.float32), there, np.ones((3, 2), bool))
    ours = clustering_vectors(features)
    z = 0.3 * np.sqrt(1.5)
    assert ours[2] == pytest.approx(np.array([0.7, z, z]) / np.linalg.norm([0.7, z, z]))
    theirs = clustering_vectors(features, fidelity="authors")
    assert theirs == pytest.approx(np.array([[1.0, 0, 0]] * 3))  # low, middling and high are all the same


def test_the_graph_weighs_neighbours_by_their_cosine():
    vectors = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    # Each has one other neighbour: the copies each other (weight 1), the third the first (cosine 0, weight 1/2), one way.
    assert graph_of(vectors, 2).toarray() == pytest.approx(np.array([[1, 1, 0.25], [1, 1, 0], [0.25, 0, 1]]))
