from __future__ import annotations

import numpy as np
import pytest
from datasets import Dataset

from hf_datasel.errors import BadBudget
from hf_datasel.selectors import CoveredTopFraction, TopFraction, TopFractionPerGroup
from hf_datasel.selectors.covered_top_fraction import shared_out


NAN = float("nan")


def regions(*sizes: int) -> Dataset:
    """Regions of these sizes around as many directions; earlier ones score higher throughout."""
    of_row = np.repeat(np.arange(len(sizes)), sizes)
    draw = np.random.default_rng(0)
    vectors = np.eye(8)[of_row] + 0.01 * draw.normal(size=(len(of_row), 8))
    scores = np.arange(len(of_row), 0, -1).astype(float)
    return Dataset.from_dict(
        {"row_id": [f"{i:04}" for i in range(len(of_row))], "s": scores, "e": vectors.tolist(), "region": of_row}
    )


@pytest.mark.parametrize(
    ("count", "weights", "capacity", "expected"),
    [
        (10, [5, 3, 2], [9, 9, 9], [5, 3, 2]),
        (7, [7, 5, 3], [9, 9, 9], [3, 2, 2]),  # due 3.27, 2.33, 1.4
        (10, [8, 1, 1], [4, 9, 9], [4, 3, 3]),  # the first is full; the others share its rest
        (10, [1, 0, 1], [3, 9, 4], [3, 0, 4]),  # nothing without a weight
        (1, [1, 1, 1], [0, 1, 1], [0, 1, 0]),
        (5, [1, 1], [1, 1], [1, 1]),
    ],
)
def test_shares(count: int, weights: list[float], capacity: list[int], expected: list[int]) -> None:
    assert shared_out(count, np.array(weights, dtype=float), np.array(capacity)).tolist() == expected


def test_it_keeps_what_true_groups_would() -> None:
    pool = regions(40, 20, 20)
    covered = CoveredTopFraction("s", "e", 0.2, clusters=3).rank(pool)
    assert covered.tolist() == TopFractionPerGroup("s", "region", 0.2).rank(pool).tolist()
    assert set(covered.tolist()) != set(TopFraction("s", 0.2).rank(pool).tolist())


@pytest.mark.parametrize(("shares", "expected"), [("size", [4, 4]), ("anchors", [6, 2]), ("utility", [7, 1])])
def test_what_a_cluster_weighs(shares: str, expected: list[int]) -> None:
    pool = regions(20, 20).remove_columns("s").add_column("s", [7.0] * 20 + [1.0, -9.0] * 5 + [1.0] * 10)
    pool = pool.add_column("anchors", [3.0] * 20 + [1.0] * 19 + [NAN])
    column = "anchors" if shares == "anchors" else None
    kept = CoveredTopFraction("s", "e", 0.2, shares=shares, anchor_similarity=column, clusters=2).rank(pool)
    assert np.bincount(np.array(pool["region"])[kept]).tolist() == expected


def test_the_blend_is_the_mean_of_two_ranks() -> None:
    # Ranks of utility 4 3 2 1, of minus the loss 1 3 4 2: sums 5, 6, 6, 3. Of b and c, b has more utility.
    pool = Dataset.from_dict({"row_id": list("abcd"), "u": [4, 3, 2, 1], "l": [9, 2, 1, 3], "e": [[1.0, 0.0]] * 4})
    assert CoveredTopFraction("u", "e", 1.0, loss="l").rank(pool).tolist() == [1, 2, 0, 3]
    assert CoveredTopFraction("u", "e", 1.0).rank(pool).tolist() == [0, 1, 2, 3]
    pool = pool.add_column("m", [NAN, 2.0, None, 3.0])
    assert CoveredTopFraction("u", "e", 1.0, loss="m").rank(pool).tolist() == [1, 3]
    with pytest.raises(BadBudget, match="`loss` is 'n', which is NaN in every row with a score"):
        CoveredTopFraction("u", "e", 1.0, loss="n").rank(pool.add_column("n", [NAN] * 4))


def test_rows_without_an_embedding_or_a_score_are_not_kept() -> None:
    pool = Dataset.from_dict(
        {"row_id": list("abcd"), "s": [4.0, 3.0, NAN, 1.0], "e": [None, [1.0, 0.0], [1.0, 0.0], [0.0, 0.0]]}
    )
    assert CoveredTopFraction("s", "e", 1.0).rank(pool).tolist() == [1]


def test_bad_options_are_refused() -> None:
    with pytest.raises(BadBudget, match="`shares` is 'mass', expected 'size'"):
        CoveredTopFraction("s", "e", 0.5, shares="mass")
    with pytest.raises(BadBudget, match="`anchor_similarity` is None and `shares` 'anchors'"):
        CoveredTopFraction("s", "e", 0.5, shares="anchors")
    with pytest.raises(BadBudget, match="`column` is 's', which is positive in no row"):
        CoveredTopFraction("s", "e", 0.5, shares="utility").rank(
            Dataset.from_dict({"row_id": ["a"], "s": [-1.0], "e": [[1.0]]})
        )
