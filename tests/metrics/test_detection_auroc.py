from __future__ import annotations

import math

import numpy as np
import pytest

from hf_datasel.metrics import DetectionAuroc


NAN = float("nan")


def auroc(scores: list[float | None], good: list[bool | None]) -> float:
    value: float = DetectionAuroc().compute(predictions=scores, references=good)["detection_auroc"]
    return value


def test_four_rows_by_hand() -> None:
    # Good 0.9 and 0.4 against bad 0.4 and 0.1: three wins and a tie of four pairs.
    assert auroc([0.9, 0.4, 0.4, 0.1], [True, True, False, False]) == 3.5 / 4


def test_perfect_upside_down_and_blind() -> None:
    good = [True, False, True, False]
    assert auroc([2, 1, 3, 0], good) == 1.0
    assert auroc([-2, -1, -3, 0], good) == 0.0
    assert auroc([5, 5, 5, 5], good) == 0.5


def test_it_is_the_share_of_pairs_won() -> None:
    rng = np.random.default_rng(3)
    scores, good = rng.integers(0, 12, 90).astype(float), rng.random(90) < 0.3
    wins = [(g > b) + 0.5 * (g == b) for g in scores[good] for b in scores[~good]]
    assert auroc(scores.tolist(), good.tolist()) == pytest.approx(np.mean(wins), abs=1e-12)


def test_rows_without_score_or_label_are_dropped_and_counted() -> None:
    result = DetectionAuroc().compute(
        predictions=[1.0, NAN, 2.0, None, 9.0], references=[False, True, True, False, None]
    )
    assert result == {"detection_auroc": 1.0, "num_dropped": 3}


@pytest.mark.parametrize("good", [[True, True], [False, False]])
def test_one_kind_of_row_alone_cannot_be_told_apart(good: list[bool | None]) -> None:
    assert math.isnan(auroc([1.0, 2.0], good))
