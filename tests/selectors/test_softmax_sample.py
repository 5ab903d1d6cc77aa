from __future__ import annotations

import numpy as np
import pytest
from datasets import Dataset

from hf_datasel.errors import BadBudget
from hf_datasel.selectors import SoftmaxSample
from hf_datasel.selectors.softmax_sample import gumbel, sampling_keys


def test_known_answer() -> None:
    keys = sampling_keys(np.array([1.0, 0.0, 2.0]), np.array([0.1, 2.0, -0.5]), 1.0)
    assert keys.tolist() == [1.1, 2.0, 1.5]
    assert set(np.argsort(-keys)[:2].tolist()) == {1, 2}


def draw(scores: list[float], temperature: float, seed: int, fraction: float = 0.25) -> list[int]:
    scored = Dataset.from_dict({"row_id": [str(row) for row in range(len(scores))], "s": scores})
    return SoftmaxSample("s", fraction, temperature=temperature, seed=seed).rank(scored).tolist()


def test_first_draws_have_the_probabilities_of_the_softmax() -> None:
    scores = np.array([0.0, 1.0, 2.0, 5.0])
    standard = (scores - scores.mean()) / scores.std()
    expected = np.exp(standard / 0.8) / np.exp(standard / 0.8).sum()
    scored = Dataset.from_dict({"row_id": list("abcd"), "s": scores.tolist()})
    draws = [SoftmaxSample("s", 0.25, temperature=0.8, seed=seed).rank(scored)[0] for seed in range(1500)]
    first = np.bincount(draws, minlength=4) / 1500
    assert first == pytest.approx(expected, abs=0.04)  # three standard errors


def test_noise_is_gumbels() -> None:
    uniform = (np.arange(10_000) + 0.5) / 10_000
    assert gumbel(uniform).mean() == pytest.approx(np.euler_gamma, abs=1e-3)


def test_the_temperature_goes_from_the_best_to_an_even_draw() -> None:
    scores = list(range(400))
    assert draw(scores, 1e-3, 0) == list(range(399, 299, -1))
    means = [np.mean(draw(scores, temperature, 0)) for temperature in (0.5, 2.0, 1e6)]
    assert means[0] > means[1] > means[2] and means[2] == pytest.approx(199.5, abs=25)


def test_tokens_are_spent_and_never_overspent() -> None:
    scored = Dataset.from_dict({"row_id": ["a", "b", "c"], "s": [3.0, 2.0, 1.0], "n": [40, 50, 30]})
    rule = SoftmaxSample("s", tokens=100, temperature=1e-6, length_column="n")
    assert rule.rank(scored).tolist() == [0, 1]
    with pytest.raises(BadBudget, match="`tokens` is 39, expected at least 40"):
        SoftmaxSample("s", tokens=39, temperature=1e-6, length_column="n").rank(scored)
    with pytest.raises(BadBudget, match="`length_column` is 'n', which is missing or negative in 1"):
        rule.rank(scored.remove_columns("n").add_column("n", [40, None, 30]))


def test_what_is_out_of_range_is_refused() -> None:
    with pytest.raises(BadBudget, match="expected just one of them"):
        SoftmaxSample("s")
    with pytest.raises(BadBudget, match=r"`temperature` is 0, expected a number above 0"):
        SoftmaxSample("s", 0.5, temperature=0)
    with pytest.raises(BadBudget, match=r"`seed` is 0\.5"):
        SoftmaxSample("s", 0.5, seed=0.5)  # type: ignore[arg-type]
    with pytest.raises(BadBudget, match="infinite scores"):
        SoftmaxSample("s", 0.5).rank(Dataset.from_dict({"row_id": ["a"], "s": [float("inf")]}))
