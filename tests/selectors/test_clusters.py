"""Spherical k-means."""

from __future__ import annotations

import numpy as np
import pytest

from hf_datasel.selectors.clusters import cluster


def test_it_finds_groups_that_are_there() -> None:
    draw = np.random.default_rng(0)
    truth = np.repeat(np.arange(10), [200, 20, 100, 50, 30, 300, 40, 20, 80, 30])
    vectors = np.eye(16)[truth] + 0.005 * draw.normal(size=(len(truth), 16))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    labels, centroids = cluster(vectors, 10, seed=3)
    assert len({(a, b) for a, b in zip(truth, labels, strict=True)}) == 10
    assert np.linalg.norm(centroids, axis=1) == pytest.approx(np.ones(10), abs=1e-6)


def test_copies_make_fewer_clusters() -> None:
    labels, centroids = cluster(np.eye(2, dtype=np.float32)[[0, 1, 0, 0, 1]], 4, seed=0)
    assert centroids.shape == (2, 2)
    assert labels[0] == labels[2] == labels[3] != labels[1] == labels[4]


def test_opposite_rows_keep_a_direction() -> None:
    labels, centroids = cluster(np.array([[1.0, 0.0], [-1.0, 0.0]], dtype=np.float32), 1, seed=0)
    assert labels.tolist() == [0, 0]
    assert np.isfinite(centroids).all() and np.linalg.norm(centroids[0]) == pytest.approx(1)
