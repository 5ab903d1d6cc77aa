"""The search for weights: worked cases, planted tasks, and noise."""

import numpy as np
import pytest

from hf_datasel.learners.weight_search import (
    Space,
    bootstrap_interval,
    held_out_shares,
    objective,
    search_weights,
    shares,
)


PROBES = np.array([[1, 0], [0.8, 0.6], [0.2, 0.9], [0, 1]])
LOSSES = np.array([[1.8, 1.2], [1.4, 0.8], [1.5, 0.9], [2.2, 1.0]])
GAINS = np.array([2.0, 1.0]) - LOSSES


@pytest.mark.parametrize(
    ("weights", "expected"), [((1, 0), 0.2), ((0, 1), 0.1), ((0.6, 0.4), 0.2), ((0.5, 0.5), 0.35), ((0.4, 0.6), 0.35)]
)
def test_known_answers(weights, expected):
    assert GAINS.mean(1) == pytest.approx([0, 0.4, 0.3, -0.1])
    assert objective(np.array(weights), PROBES, GAINS.mean(1), 0.5) == pytest.approx(expected)


@pytest.mark.parametrize("search", ["bayes", "random"])
def test_an_interior_weight_of_the_worked_case_is_found(search):
    found = search_weights(PROBES, GAINS.mean(1), Space(2), 0.5, search, rounds=8)
    assert objective(found.weights, PROBES, GAINS.mean(1), 0.5) == pytest.approx(0.35)


def test_ties_at_the_cut_count_in_part_and_at_least_one_row_is_selected():
    assert shares(np.array([1.0, 1.0, 1.0]), 0.34).tolist() == pytest.approx([1 / 3] * 3)
    assert shares(np.array([0.1 + 0.2, 0.3, 0.0]), 0.34).tolist() == [0.5, 0.5, 0.0]  # equal but for rounding
    assert shares(np.array([1.0, 3.0, 2.0]), 0.01).tolist() == [0.0, 1.0, 0.0]
    soft = shares(np.array([0.0, np.log(3)]), 0.5, temperature=1.0)
    assert soft == pytest.approx([0.25, 0.75])


def planted(weights, noise=0.3, rows=160, items=20, seed=0):
    """Indicators, and gains that follow a weighted sum of them, with noise of every item and of every row."""
    draw = np.random.default_rng(seed)
    indicators = draw.random((rows, len(weights)))
    own = indicators @ np.array(weights) + noise / 3 * draw.normal(size=rows)
    return indicators, own[:, None] + noise * draw.normal(size=(rows, items))


@pytest.mark.parametrize("search", ["bayes", "random", "ridge"])
def test_a_planted_trade_off_beats_every_vertex(search):
    indicators, gains = planted((1.0, 0.8, 0.0))
    found = search_weights(indicators, gains.mean(1), Space(3), 0.3, search, rounds=12)
    reached = objective(found.weights, indicators, gains.mean(1), 0.3)
    corners = [objective(corner, indicators, gains.mean(1), 0.3) for corner in np.eye(3)]
    assert reached > max(corners) + 0.05
    assert found.weights.sum() == pytest.approx(1) and (found.weights >= 0).all()
    assert found.weights[:2].min() > 0.2 and found.weights[2] < 0.25


def test_two_tasks_on_one_pool_have_two_weights():
    one, other = (planted(weights, seed=3) for weights in ((1.0, 0.1), (0.1, 1.0)))
    assert np.array_equal(one[0], other[0])
    found = [search_weights(x, g.mean(1), Space(2), 0.3, rounds=8).weights for x, g in (one, other)]
    assert found[0][0] > 0.6 and found[1][1] > 0.6


def test_a_sign_is_found_where_signs_are_allowed():
    indicators, gains = planted((1.0, -0.8))
    found = search_weights(indicators, gains.mean(1), Space(2, signed=True), 0.3, rounds=12)
    assert found.weights[0] > 0.5 and found.weights[1] < -0.3
    assert np.linalg.norm(found.weights) == pytest.approx(1)


def interval(indicators, gains):
    space = Space(indicators.shape[1])

    def learn(x, g):
        return search_weights(x, g, space, 0.3, "random", rounds=24).weights

    learned, uniform = held_out_shares(indicators, gains.mean(1), space, 0.3, learn, seed=0)
    assert [learned.sum(), uniform.sum()] == pytest.approx([1, 1])
    return bootstrap_interval(gains, learned, uniform, np.ones(gains.shape[1]), draws=500)


def test_a_real_gain_is_told_from_one_that_only_looks_so():
    assert interval(*planted((1.0, 0.0, 0.0, 0.0)))[0] > 0
    for seed in range(8):  # nothing to find, though the search always finds something in its own rows
        indicators, gains = planted((0.0, 0.0, 0.0, 0.0), seed=seed)
        found = search_weights(indicators, gains.mean(1), Space(4), 0.3, "random").weights
        in_sample = [objective(w, indicators, gains.mean(1), 0.3) for w in (found, Space(4).uniform)]
        assert in_sample[0] > in_sample[1]
        assert interval(indicators, gains)[0] < 0


def test_an_interval_by_hand():
    # Every item says the same, so resampling items alone leaves the difference: 0.35 - 0.15.
    gains = np.tile(GAINS.mean(1)[:, None], (1, 5))
    first, second = shares(np.array([0, 1, 1, 0.0]), 0.5), np.full(4, 0.25)
    assert bootstrap_interval(gains, first, second, np.ones(5), over_rows=False) == pytest.approx((0.2, 0.2))
    low, high = bootstrap_interval(gains, first, second, np.ones(5))
    assert low < 0.2 < high


def test_an_item_counts_by_its_weight():
    gains = np.array([[1.0, 5.0], [0.0, 9.0]])
    first, second = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    # Resamples without the first item say nothing; all others say 1 - 0.
    interval = bootstrap_interval(
        np.repeat(gains, 20, axis=1), first, second, np.repeat([1.0, 0.0], 20), over_rows=False
    )
    assert interval == pytest.approx((1.0, 1.0))


def test_the_first_design_is_vertices_centre_and_sixteen_draws():
    draw = np.random.default_rng(0)
    design = Space(3).design(draw)
    assert design.shape == (3 + 1 + 16, 3) and design[:3].tolist() == np.eye(3).tolist()
    assert design[3] == pytest.approx([1 / 3] * 3) and design.sum(1) == pytest.approx(np.ones(20))
    signed = Space(2, signed=True).design(draw)
    assert signed.shape == (4 + 1 + 16, 2) and np.linalg.norm(signed, axis=1) == pytest.approx(np.ones(21))
    assert len(search_weights(PROBES, GAINS.mean(1), Space(2), 0.5, "random").tried) == 2 + 1 + 16 + 40


def test_weights_are_learned_without_the_rows_they_select_among():
    own, seen = np.arange(20.0), []

    def learn(_, gains):
        seen.append(set(gains))
        return np.ones(1)

    held_out_shares(np.zeros((20, 1)), own, Space(1), 0.3, learn, seed=0)
    left_out = [set(own) - its for its in seen]
    assert [len(its) for its in left_out] == [4] * 5 and set().union(*left_out) == set(own)
