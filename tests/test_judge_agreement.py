"""The benchmark of judges against people: its arithmetic on worked cases, and all of it through an endpoint."""

import numpy as np
import pytest

from benchmarks import judge_agreement
from benchmarks.judge_agreement import agreement, majority, people, preferred

from .judge_endpoint import JudgeEndpoint, shown


VOTES = np.array([[1, 1, 2], [2, 2, 2], [0, 0, 1], [0, 1, 2]])


def test_known_answers():
    assert preferred(np.array([3.0, 1.0, 2.0, 5.0, 4.0, 4.0, np.nan, 1.0])) == pytest.approx(
        [1, 2, 0, np.nan], nan_ok=True
    )
    assert majority(VOTES) == pytest.approx([1, 2, 0, np.nan], nan_ok=True)
    # Pairs of people that agree: 1 and 2 in three rows, 1 and 3 in one, 2 and 3 in one, of four.
    assert people(VOTES) == pytest.approx((3 + 1 + 1) / 12, abs=1e-3)
    found = agreement(np.array([1.0, 0.0, 0.0, 1.0]), VOTES, np.arange(4))
    assert (found["same"], found["prefers_the_better"], found["ties"]) == (pytest.approx(2 / 3, abs=1e-3), 0.75, 0.667)
    found = agreement(np.array([np.nan, 2.0, 1.0, np.nan]), VOTES, np.arange(4))
    assert (found["same"], found["prefers_the_better"], found["pairs_without_a_verdict"]) == (0.5, 1.0, 2)


@pytest.mark.skipif(not judge_agreement.DATA.is_dir(), reason="the PandaLM test set is not here")
def test_a_judge_that_knows_the_votes_agrees_with_them(monkeypatch):
    pairs = judge_agreement.read_pairs(12)
    wanted = majority(np.array([[pair[f"annotator{number}"] for number in (1, 2, 3)] for pair in pairs]))
    ratings = {
        pair[f"response{number}"]: 8 if said == number else 5 if said == 0 else 2
        for pair, said in zip(pairs, wanted, strict=True)
        for number in (1, 2)
    }
    knows = JudgeEndpoint(
        lambda body: str(ratings[shown(body).partition("<answer ")[2].split("\n", 1)[1].rsplit("\n", 1)[0]])
    )
    monkeypatch.setenv("HF_DATASEL_JUDGE_URL", knows.url)
    monkeypatch.setenv("HF_DATASEL_JUDGE_MODEL", "knows")
    monkeypatch.setattr(judge_agreement, "read_pairs", lambda count: pairs)
    figures = judge_agreement.run(quick=True)
    found = figures["with_the_majority_of_people"]
    assert found["judge_rating"]["same"] == found["judge_rating"]["prefers_the_better"] == 1.0
    assert found["response_length"]["prefers_the_better"] < 1.0
    assert (
        figures["ledger"]["calls"] == len(knows.requests) == len(set(ratings) - {""})
        and figures["ledger"]["unread"] == 0
    )
    knows.close()
