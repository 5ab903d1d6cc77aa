"""Anchors are drawn in proportion, whatever the order of rows, and kept apart from what they measure."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from hf_datasel.errors import BadRow, OverlapError
from hf_datasel.rows import content_rows, refuse_overlap, stratified
from hf_datasel.rows.anchors import largest_remainder


@pytest.mark.parametrize(
    ("counts", "size", "seats"),
    [
        ({"a": 50, "b": 30, "c": 20}, 10, {"a": 5, "b": 3, "c": 2}),  # no remainder
        ({"a": 5, "b": 3, "c": 2}, 4, {"a": 2, "b": 1, "c": 1}),  # 2.0, 1.2, 0.8
        ({"a": 6, "b": 3, "c": 1}, 4, {"a": 3, "b": 1, "c": 0}),  # 2.4, 1.2, 0.4: a ties with c and is named first
        ({"c": 1, "b": 1, "a": 1}, 2, {"a": 1, "b": 1, "c": 0}),  # all tie: by name, not by order
        ({"a": 47, "b": 16, "c": 15.0, "d": 12, "e": 6, "f": 4}, 10, {"a": 5, "b": 2, "c": 1, "d": 1, "e": 1, "f": 0}),
        ({"a": 10**17, "b": 1}, 1, {"a": 1, "b": 0}),
        ({"a": 3, "b": 2}, 5, {"a": 3, "b": 2}),
    ],
)
def test_largest_remainder(counts: dict[str, int], size: int, seats: dict[str, int]) -> None:
    found = largest_remainder({name: int(count) for name, count in counts.items()}, size)
    assert found == seats


def test_ten_equal_strata_get_ten_each() -> None:
    """The paper's anchors: 100 of a held-out 500 in ten domains."""
    assert largest_remainder({str(i): 50 for i in range(10)}, 100) == {str(i): 10 for i in range(10)}


@pytest.fixture
def held_out() -> Any:
    from datasets import Dataset

    kinds = ["algebra"] * 30 + ["geometry"] * 20 + ["sets"] * 10
    return Dataset.from_dict({"text": [f"question {i}" for i in range(60)], "kind": kinds})


def test_a_draw_follows_the_shares(held_out: Any) -> None:
    anchors = stratified(held_out, size=12, by="kind")
    assert Counter(anchors["kind"]) == {"algebra": 6, "geometry": 4, "sets": 2}
    assert len(set(anchors["text"])) == 12
    assert anchors.column_names == held_out.column_names


@pytest.mark.parametrize("by", [None, "kind"])
def test_a_draw_does_not_depend_on_row_order(held_out: Any, by: str | None) -> None:
    drawn = set(stratified(held_out, size=12, by=by)["text"])
    for seed in range(3):
        assert set(stratified(held_out.shuffle(seed=seed), size=12, by=by)["text"]) == drawn
    scored = held_out.add_column("score", range(60))
    assert set(stratified(scored, size=12, by=by)["text"]) == drawn


def test_another_seed_is_another_draw(held_out: Any) -> None:
    draws = {frozenset(stratified(held_out, size=12, seed=seed)["text"]) for seed in (0, 1, -1)}
    assert len(draws) == 3


def test_a_smaller_draw_is_part_of_a_larger_one(held_out: Any) -> None:
    assert set(stratified(held_out, size=6)["text"]) < set(stratified(held_out, size=12)["text"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 61}, "`size` is 61, expected a whole number of 1 to 60"),
        ({"size": 0}, "`size` is 0, expected a whole number of 1 to 60"),
        ({"size": 5, "by": "topic"}, r"`by` is 'topic', expected one of the columns \['text', 'kind'\]"),
    ],
)
def test_what_cannot_be_drawn_is_refused(held_out: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(BadRow, match=message):
        stratified(held_out, **arguments)


def test_overlap_is_refused_by_content(held_out: Any) -> None:
    anchors = stratified(held_out, size=12)
    rest = held_out.filter(lambda row: row["text"] not in set(anchors["text"]))
    refuse_overlap(anchors, pool=rest, evaluation=rest)
    renamed = held_out.remove_columns("kind").add_column("row_id", [f"other {i}" for i in range(60)])
    with pytest.raises(
        OverlapError, match=r"`evaluation` shares 12 rows with `anchors` \(first: row \d+\).*drop them"
    ):
        refuse_overlap(anchors, pool=rest, evaluation=renamed)
    with pytest.raises(OverlapError, match="`pool` shares 1 rows"):
        refuse_overlap([{"text": "question 7"}], pool=held_out)


def test_content_rows_are_what_is_trained_on(held_out: Any) -> None:
    assert content_rows(held_out.select([0])) == [{"text": "question 0"}]
    assert content_rows(held_out.select([0]), keep="kind") == [{"text": "question 0", "kind": "algebra"}]
    with pytest.raises(BadRow, match="`anchors` has no column 'topic'"):
        content_rows(held_out, keep="topic")
