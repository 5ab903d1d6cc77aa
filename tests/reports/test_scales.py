"""What is known of a score's unit and sign: for columns that are really written, and for no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from hf_datasel import learners, scorers
from hf_datasel.reports.scales import NATS, SCALES, Scale, scale_of


def test_every_column_named_is_one_that_a_scorer_says_it_writes() -> None:
    rooms = [Path(room.__file__ or "").parent for room in (scorers, learners)]
    said = " ".join(file.read_text(encoding="utf-8") for room in rooms for file in room.rglob("*.py"))
    unwritten = [column for column in SCALES if f"`{column}`" not in said and f'"{column}"' not in said]
    # What a caller may call it, and a column that is written under the name of its kind.
    assert unwritten == ["utility", "ost_utility_vote"] and "`ost_utility_mean`, `_minimum`, `_vote`" in said


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, Scale(NATS, True)),
        ({"normalize": "cosine"}, Scale("", True)),
        ({"anchor_groups": "task", "group_score": "vote"}, Scale("share of anchor groups", False)),
        ({"anchor_groups": "task", "group_score": "minimum"}, Scale(NATS, True)),
    ],
)
def test_settings_change_what_a_utility_is(settings: dict[str, str], expected: Scale) -> None:
    spec = {"scorer": "OneStepTrain", "normalize": "none", "group_score": "mean", **settings}
    assert scale_of("ost_utility", [{"scorer": "ResponseLength"}, spec]) == expected


def test_the_utilities_of_groups_are_utilities_and_their_vote_is_a_share() -> None:
    votes = [{"scorer": "OneStepTrain", "group_score": "vote"}]
    assert scale_of("ost_utility_group_svamp", votes) == scale_of("ost_utility_minimum", votes) == Scale(NATS, True)
    assert not scale_of("ost_utility_vote").toxic_below_zero


@pytest.mark.parametrize("column", ["goal_score", "low_perplexity", "response_length", "reward", "nobody_knows"])
def test_below_zero_nothing_is_toxic_unless_the_score_says_so(column: str) -> None:
    assert not scale_of(column).toxic_below_zero
