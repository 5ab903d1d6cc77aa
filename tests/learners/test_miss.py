"""Adaptive greedy choice: the published slope by hand, and rounds of a real proxy."""

from dataclasses import replace

import numpy as np
import pytest
from datasets import Dataset

from hf_datasel import MISS, Labels, Perplexity, Proxy, ResponseLength, TopCount, WarmUp, score, select
from hf_datasel.errors import BadBudget
from hf_datasel.learners.miss import adaptive_picks


# A slope through the origin: A = B = (10, 10), C = (4, 8), fifty rows (1, 0). Which two lower it most when left out?
X = np.array([10.0, 10.0, 4.0] + [1.0] * 50)
Y = np.array([10.0, 10.0, 8.0] + [0.0] * 50)


def slope(left_out):
    kept = np.setdiff1d(np.arange(53), left_out)
    return (X[kept] @ Y[kept]) / (X[kept] @ X[kept])


def influence(left_out, leverage):
    """Fall of the slope when a row goes, to first order; with leverage, exactly."""
    kept = np.setdiff1d(np.arange(53), left_out)
    square = X[kept] @ X[kept]
    change = X * (Y - slope(left_out) * X) / square
    return change / (1 - X**2 / square) if leverage else change


@pytest.mark.parametrize(
    ("leverage", "rounds", "picks", "change"),
    [(False, 1, {0, 2}, -0.2055), (False, 2, {0, 2}, -0.2055), (True, 1, {0, 1}, -0.3873), (True, 2, {0, 1}, -0.3873)],
)
def test_the_slope_of_the_paper(leverage, rounds, picks, change):
    assert slope([]) == pytest.approx(0.8722, abs=5e-5)
    first = influence([], leverage)
    assert first[[0, 2]] == pytest.approx([0.0770, 0.0722] if leverage else [0.0481, 0.0678], abs=5e-5)
    found, _ = adaptive_picks(lambda picked, turn: influence(picked, leverage), 2, rounds)
    assert set(found) == picks
    assert slope(found) - slope([]) == pytest.approx(change, abs=5e-5)


def test_only_rounds_see_that_copies_say_the_same():
    def gain(picked, turn):  # rows 0 and 1 say the same, row 2 something else
        return np.array([3.0, 2.9, 1.0]) * (1 if not picked else np.array([0, 0, 1]))

    assert adaptive_picks(gain, 2, 1)[0] == [0, 1]
    assert adaptive_picks(gain, 2, 2)[0] == [0, 2]


def test_rounds_share_the_picks_evenly_and_unscored_rows_are_never_picked():
    values = np.array([5.0, np.nan, 4.0, 3.0, 2.0, 1.0])
    picks, turns = adaptive_picks(lambda picked, turn: values, 5, 3)
    assert picks == [0, 2, 3, 4, 5] and turns == [0, 1, 1, 2, 2]
    with pytest.raises(BadBudget, match="`count` is 6, expected at most 5"):
        adaptive_picks(lambda picked, turn: values, 6, 2)


def test_rounds_of_a_real_proxy(tiny_model, pool, tmp_path):
    labels = Labels(max_length=512)
    scorer = Perplexity(Proxy(tiny_model), keep="high", labels=labels)
    training = WarmUp(steps=3, batch_size=4, learning_rate=3e-3, sft={"logging_strategy": "no"})
    miss = MISS(scorer, 8, 2, training, str(tmp_path))
    rows = Dataset.from_list([*pool.to_list(), {**pool[0], "completion": ""}, pool[3]])
    scored = score(rows, miss, journal="off")
    before = np.array(score(rows, scorer, journal="off")["high_perplexity"])
    first = set(np.argsort(-np.nan_to_num(before[:24], nan=-1))[:4].tolist())
    turns = np.array(scored["miss_round"])
    assert set(np.flatnonzero(turns[:24] == 1).tolist()) == first
    # The second round's picks are the best of the rest under the proxy that has learned the first's.
    after = replace(scorer, proxy=Proxy(str(tmp_path / "round-1")))
    values = np.array(score(pool, after, journal="off")["high_perplexity"])
    values[sorted(first)] = -np.inf
    assert set(np.flatnonzero(turns[:24] == 2).tolist()) == set(np.argsort(-values)[:4].tolist())
    assert scored["miss_score_status"][24] == "empty_completion" and np.isnan(scored["miss_score"][24])
    assert scored["miss_score_status"][:].count("not_picked") >= 16
    kept = select(scored, TopCount("miss_score", 8)).kept
    assert len(kept) == 8 and kept["miss_score"][0] == 8.0
    assert np.array(scored["miss_score"])[[3, 25]].tolist() in ([scored["miss_score"][3]] * 2,) or np.isnan(
        scored["miss_score"][3]
    )


def test_one_round_is_plain_top_k_and_needs_no_proxy(pool):
    scored = score(pool, ResponseLength(), MISS(ResponseLength(), 5, rounds=1), journal="off")
    lengths = np.array(scored["response_length"])
    assert set(lengths[~np.isnan(np.array(scored["miss_score"]))]) == set(np.sort(lengths)[-5:])
    with pytest.raises(ValueError, match="`rounds` is 2 and ResponseLength has no `proxy`"):
        MISS(ResponseLength(), 5, rounds=2)
    with pytest.raises(ValueError, match="`rounds` is 6, expected 1 to `count`, which is 5"):
        MISS(ResponseLength(), 5, rounds=6)
