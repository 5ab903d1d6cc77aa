"""Known answers of the size, the quotas and the floors."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st

from hf_datasel.selectors import AutoBudget, GoalBuilder, SourceFloors
from hf_datasel.selectors.goal.budget import automatic_size
from hf_datasel.selectors.goal.quotas import largest_remainder, source_floors


STRATA = np.array([500, 300, 150, 50])
BUDGET = AutoBudget(
    min_count=10, max_count=400, min_fraction=0.001, max_fraction=0.5, strata_multiplier=16, coverage_mass=0.93,
    tail_rows=3.5, positive_rows=20, positive_multiplier=1.6,
)  # fmt: skip


def size(positive_share=None, **changes):
    return automatic_size(STRATA, dataclasses.replace(BUDGET, **changes), positive_share)


def test_the_size_is_the_known_one():
    steps = size()
    assert steps["effective_strata"] == pytest.approx(3.133404, abs=5e-7)
    assert (steps["by_strata"], steps["tail_share"], steps["by_tail"], steps["size"]) == (51, 0.15, 24, 51)
    assert steps["bound_by"] == "by_strata"
    deeper = size(coverage_mass=0.95, tail_rows=10)
    assert (deeper["by_tail"], deeper["size"], deeper["bound_by"]) == (67, 67, "by_tail")


def test_few_positive_rows_enlarge_it_as_known():
    steps = size(positive_share=0.2)
    assert (steps["before_positive"], steps["size"], steps["bound_by"]) == (51, 82, "positive_rows")
    assert size(positive_share=0.2, positive_multiplier=3)["size"] == 100
    assert size(positive_share=0.0)["size"] == 51  # none: nothing can be done
    assert size(positive_share=1.0)["size"] == 51  # plenty


@pytest.mark.parametrize(
    ("changes", "expected", "bound_by"),
    [
        ({"max_count": 30}, 30, "max_count"),
        ({"max_fraction": 0.04}, 40, "max_fraction"),
        ({"min_count": 300}, 300, "min_count"),
        ({"min_fraction": 0.29}, 290, "min_fraction"),
        ({"max_fraction": 0.0}, 1, "max_fraction"),
        ({"min_count": 9999, "max_count": 9999, "max_fraction": 1.0}, 1000, "max_fraction"),
    ],
)
def test_bounds_hold_and_are_named(changes, expected, bound_by):
    steps = size(**changes)
    assert (steps["size"], steps["bound_by"]) == (expected, bound_by)


def test_the_builder_counts_positives_among_measured_candidates():
    positive = [1.0] * 4 + [-1.0] * 16 + [float("nan")] * 980
    scored = Dataset.from_dict({"s": range(1000), "k": np.repeat(list("abcd"), STRATA), "vds": positive})
    rule = GoalBuilder("s", strata=["k"], automatic=dataclasses.replace(BUDGET, positive="vds"))
    assert rule.build(scored).report["size"]["positive_share"] == 0.2
    assert len(rule.rank(scored)) == 82
    # At the threshold a row is not positive: one in twenty is, and the size grows as far as it may.
    at_threshold = scored.remove_columns("vds").add_column("vds", [1.0] + [0.0] * 19 + [float("nan")] * 980)
    assert rule.build(at_threshold).report["size"]["positive_share"] == 0.05
    unmeasured = scored.remove_columns("vds").add_column("vds", [float("nan")] * 1000)
    assert len(rule.rank(unmeasured)) == 51


def test_the_shares_are_the_known_ones():
    assert largest_remainder(np.array([5, 3, 2, 1]), 7).tolist() == [3, 2, 1, 1]
    assert largest_remainder(np.array([1, 1, 1]), 2).tolist() == [1, 1, 0]  # ties: first come


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=30).filter(any), st.data())
def test_shares_add_up_and_are_within_one_of_proportion(counts, data):
    size = data.draw(st.integers(0, sum(counts)))
    quotas = largest_remainder(np.array(counts), size)
    assert quotas.sum() == size
    assert (np.abs(quotas - np.array(counts) * size / sum(counts)) < 1).all()
    assert (quotas <= np.array(counts)).all()


GROUPS = np.array([600, 300, 95, 5])


@pytest.mark.parametrize(
    ("fraction", "expected"),
    [
        (0.45, [(27, True), (14, True), (5, True), (5, False)]),
        (1.0, [(46, True), (23, True), (10, False), (5, False)]),
    ],
)
def test_the_floors_are_the_known_ones(fraction, expected):
    floors = source_floors(GROUPS, 100, SourceFloors("source", 4, 0.05, fraction))
    assert [(floor.required, floor.enforced) for floor in floors] == expected
    assert [floor.group for floor in floors] == [0, 1, 2, 3]


@given(
    st.lists(st.integers(1, 1000), min_size=1, max_size=30), st.floats(0, 0.2), st.floats(0, 1), st.integers(1, 40),
    st.data(),
)  # fmt: skip
def test_floors_never_ask_for_more_than_proportion_nor_seven_tenths(counts, least, fraction, top, data):
    size = data.draw(st.integers(1, sum(counts)))
    floors = source_floors(np.array(counts), size, SourceFloors("source", top, least, fraction))
    enforced = [floor for floor in floors if floor.enforced]
    assert len(floors) == min(top, len(counts))
    assert all(1 <= floor.required <= floor.expected for floor in enforced)
    # Each keeps at least one row, which may be more than its scaled share.
    alone = sum(floor.required == 1 for floor in enforced)
    assert sum(floor.required for floor in enforced) <= 7 * size // 10 + alone
