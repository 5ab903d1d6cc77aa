"""Clusters of rows by their features: one clustering of all the rows there are, or of a part that the rest is put to."""

from __future__ import annotations

import warnings
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from hf_datasel.errors import BadRow, MissingExtra
from hf_datasel.scorers.coido.features import Features, Matrix
from hf_datasel.scorers.goal.text import Fidelity
from hf_datasel.selectors.neighbours import nearest


Clustering = Literal["spectral", "kmeans", "gmm"]
CLUSTERINGS: tuple[Clustering, ...] = ("spectral", "kmeans", "gmm")
BLOCK = 4096


def clustering_vectors(features: Features, embedding_share: float = 0.7, fidelity: Fidelity = "corrected") -> Matrix:
    """What rows are clustered by: their embedding, and beside it their scores, (n, D + S), each row of length 1.

    Args:
        features: of n rows.
        embedding_share: factor of the embedding; the scores have one minus this.
        fidelity: `"corrected"` scales each score to mean 0 and deviation 1 over the rows; `"authors"` scales the scores of a
            row among themselves, so that a row of high scores and one of low scores can be the same.

    Source: the release of CoIDO (NeurIPS 2025): 0.7 and 0.3.

    Example:
        >>> one, both = np.ones((2, 1), dtype=bool), np.eye(2, dtype=np.float32)
        >>> clustering_vectors(Features(both, np.zeros((2, 0), np.float32), one, one)).tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    unit = features.embedding / np.maximum(np.linalg.norm(features.embedding, axis=1, keepdims=True), 1e-12)
    scores = features.scores.astype(np.float64)
    if scores.shape[1]:
        axis = 1 if fidelity == "authors" else 0
        deviation = scores.std(axis=axis, keepdims=True)
        scores = (scores - scores.mean(axis=axis, keepdims=True)) / np.where(deviation > 1e-12, deviation, 1.0)
    joined = np.concatenate([embedding_share * unit, (1 - embedding_share) * scores], axis=1)
    lengths = np.linalg.norm(joined, axis=1, keepdims=True)
    return np.asarray(joined / np.where(lengths > 0, lengths, 1.0), dtype=np.float32)


def cluster_rows(
    vectors: Matrix,
    clusters: int = 20,
    method: Clustering = "spectral",
    neighbours: int = 30,
    seed: int = 42,
    sample: int = 20_000,
) -> npt.NDArray[np.int64]:
    """Each row's cluster (n,), counted from 0.

    Cost of `"spectral"`: up to `sample`^2 x D / 2 multiplications for the neighbours.

    Args:
        vectors: (n, D) of length 1 each, in an order that does not depend on the pool's.
        clusters: M, how many.
        method: `"spectral"` of a graph that joins each row to its nearest by cosine; `"kmeans"`; `"gmm"`, a mixture of
            Gaussians with a variance for each number.
        neighbours: rows that each row is joined to, itself among them.
        seed: of the start.
        sample: rows clustered at most, the first of them; the others join the cluster of the nearest of these.

    Raises:
        BadRow: there are fewer rows than clusters.
        MissingExtra: scikit-learn is not installed.

    Source: CoIDO (NeurIPS 2025), A.1 (cosine, nearest neighbours, spectral clustering), Tab. 8 (M = 20 of 5, 10, 20, 40); 30
        neighbours, weight 1 - (1 - cosine) / 2, averaged both ways, and the assignment from its release, which clusters chunks
        of 5000 rows apart and takes equal numbers for the same cluster; here there is one clustering.

    Example:
        >>> vectors = np.repeat(np.eye(2, dtype=np.float32), 4, axis=0)
        >>> found = cluster_rows(vectors, clusters=2, method="kmeans")
        >>> len(set(found[:4])), len(set(found[4:])), len(set(found))
        (1, 1, 2)
    """
    part = vectors[:sample]
    if len(part) < clusters:
        raise BadRow(
            f"`clusters` is {clusters}, expected at most {len(part)}, the rows to cluster. Lower it, or raise `fraction`."
        )
    try:
        labels = _fitted(part, clusters, method, neighbours, seed)
    except ImportError as error:
        raise MissingExtra("Clustering needs scikit-learn. Install it: pip install 'hf_datasel[clusters]'") from error
    rest = [labels[(vectors[at : at + BLOCK] @ part.T).argmax(1)] for at in range(len(part), len(vectors), BLOCK)]
    return np.concatenate([labels, *rest]).astype(np.int64)


def _fitted(vectors: Matrix, clusters: int, method: Clustering, neighbours: int, seed: int) -> npt.NDArray[Any]:
    if method == "kmeans":
        from sklearn.cluster import KMeans

        return np.asarray(KMeans(clusters, n_init=10, random_state=seed).fit_predict(vectors))
    if method == "gmm":
        from sklearn.mixture import GaussianMixture

        return np.asarray(GaussianMixture(clusters, covariance_type="diag", random_state=seed).fit_predict(vectors))
    from sklearn.cluster import SpectralClustering

    model = SpectralClustering(
        clusters, affinity="precomputed", assign_labels="discretize", random_state=seed, eigen_solver="lobpcg"
    )
    with warnings.catch_warnings():
        # Clusters that no neighbour joins to the others are the easy case.
        warnings.filterwarnings("ignore", message="Graph is not fully connected")
        warnings.filterwarnings(
            "ignore", message=".*Using a dense eigensolver", category=UserWarning
        )  # of a small graph
        return np.asarray(model.fit_predict(graph_of(vectors, neighbours)))


def graph_of(vectors: Matrix, neighbours: int) -> Any:
    """Who is near whom, a sparse (n, n): 1 - (1 - cosine) / 2 for rows among each other's nearest, half that if only one is."""
    from scipy.sparse import csr_matrix, identity

    n = len(vectors)
    ids, distances = nearest(vectors, neighbours - 1)
    k = ids.shape[1]
    # Of unit vectors: 1 - (1 - cosine) / 2, from squared distances.
    weights = (1 - distances / 4).ravel()
    graph = csr_matrix((weights, (np.repeat(np.arange(n), k), ids.ravel())), shape=(n, n))
    return (graph + graph.T) / 2 + identity(n, format="csr")  # no row is its own neighbour
