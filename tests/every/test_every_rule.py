"""Promises that hold for every rule. A new rule adds one line to CASES; everything here then applies to it."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import json
import pickle
import random
import re
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from datasets import Dataset

from hf_datasel import selectors
from hf_datasel.contracts import Rule
from hf_datasel.errors import BadBudget, DataselError
from hf_datasel.selectors import (
    ICONS,
    S2L,
    AboveThreshold,
    AutoBudget,
    Coincide,
    CoveredTopFraction,
    D2Pruning,
    FacilityLocation,
    ForGoal,
    Full,
    GoalBuilder,
    KCenter,
    MiddleBand,
    NeighbourPenalty,
    Prototypes,
    Random,
    RepresentationFilter,
    SemDeDup,
    ShareFloor,
    ShareRange,
    SoftmaxSample,
    SoftQuotas,
    SourceFloors,
    TokenBudget,
    TopCount,
    TopCountPerGroup,
    TopFraction,
    TopFractionPerGroup,
    UniformControl,
    select,
)


TESTS = Path(__file__).resolve().parents[1]


class Case(NamedTuple):
    """A rule with growing budgets, and what it promises about them."""

    budgets: tuple[Rule, ...]
    prefixes: bool = True  # a smaller budget is the beginning of a larger one
    by_score: bool = True  # reads a score column, so NaN rows are out
    pool_order: bool = False  # ranks by nothing but the order of the pool


# The pool below has 120 rows, 40 in each of 3 groups, so that these fractions of a group are whole rows.
CASES: dict[str, Case] = {
    "AboveThreshold": Case(tuple(AboveThreshold("s", threshold) for threshold in (6.0, 3.0, -1.0))),
    "Coincide": Case(tuple(Coincide("e", f) for f in (0.01, 0.1, 0.5)), prefixes=False, by_score=False),
    "CoveredTopFraction": Case(
        tuple(CoveredTopFraction("s", "e", fraction) for fraction in (0.01, 0.1, 0.5)), prefixes=False
    ),
    "CoveredTopFraction, the blend by utility": Case(
        tuple(CoveredTopFraction("s", "e", f, shares="utility", loss="num_tokens") for f in (0.01, 0.1, 0.5)),
        prefixes=False,
    ),
    "D2Pruning": Case(tuple(D2Pruning("s", "e", fraction) for fraction in (0.01, 0.1, 0.5))),
    "FacilityLocation": Case(tuple(FacilityLocation("e", fraction) for fraction in (0.01, 0.1, 0.5)), by_score=False),
    "ForGoal": Case(tuple(ForGoal("Temp", "s", count=count) for count in (1, 10, 40)), prefixes=False),
    "Full": Case((Full(),), by_score=False, pool_order=True),
    "GoalBuilder": Case(
        tuple(
            GoalBuilder(
                "s",
                ("group", "text"),
                count=count,
                modality=ShareRange("group", ("web",), 0.4, 0.6),
                temporal=ShareFloor("num_tokens", (7, 8, 9), 0.1),
                sources=SourceFloors("group", 3, 0.1, 0.5),
                unique=("text", "group"),
                cap_by="num_tokens",
                cap=5,
            )
            for count in (1, 10, 50)
        ),
        prefixes=False,
    ),
    "GoalBuilder, sized by the pool": Case(
        (GoalBuilder("s", ("group",), automatic=AutoBudget(5, 60, max_fraction=1.0, positive="s", positive_rows=9)),)
    ),
    "ICONS": Case(
        tuple(ICONS(("s", "num_tokens"), fraction, vote_fraction=0.2) for fraction in (0.01, 0.1, 0.5)), by_score=False
    ),
    "KCenter": Case(tuple(KCenter("e", fraction) for fraction in (0.01, 0.1, 0.5)), by_score=False),
    "MiddleBand": Case(tuple(MiddleBand("s", 0.5 - half, 0.5 + half) for half in (0.02, 0.1, 0.3, 0.5))),
    "NeighbourPenalty": Case(tuple(NeighbourPenalty("s", "e", fraction) for fraction in (0.01, 0.1, 0.5))),
    "Prototypes": Case(tuple(Prototypes("e", fraction) for fraction in (0.01, 0.1, 0.5)), by_score=False),
    "Random": Case(tuple(Random(fraction, seed=7) for fraction in (0.01, 0.2, 1.0)), by_score=False),
    "Random, balanced": Case(
        tuple(Random(count=count, seed=7, balance="group") for count in (1, 7, 120)), by_score=False
    ),
    "RepresentationFilter": Case(tuple(RepresentationFilter("s", "e", f, threshold=0.99) for f in (0.01, 0.1, 0.2))),
    "SemDeDup": Case(tuple(SemDeDup("e", fraction) for fraction in (0.01, 0.1, 0.9)), by_score=False),
    "SemDeDup, by threshold": Case(
        tuple(SemDeDup("e", epsilon=epsilon, order="easy") for epsilon in (0.7, 0.1, 0.0)), by_score=False
    ),
    "SoftmaxSample": Case(tuple(SoftmaxSample("s", fraction) for fraction in (0.01, 0.1, 0.5))),
    "SoftmaxSample, by tokens": Case(
        tuple(SoftmaxSample("s", tokens=tokens, length_column="num_tokens") for tokens in (60, 500, 2000))
    ),
    "S2L": Case(
        tuple(S2L("e", fraction, clusters=9) for fraction in (0.01, 0.1, 0.5)), prefixes=False, by_score=False
    ),
    "SoftQuotas": Case(
        tuple(SoftQuotas("s", "group", "num_tokens", fraction, seed=3) for fraction in (0.01, 0.1, 0.5)),
        prefixes=False,
    ),
    "TokenBudget": Case(tuple(TokenBudget("s", tokens) for tokens in (60, 500, 10**6))),
    "TopCount": Case(tuple(TopCount("s", count) for count in (1, 10, 50, 90))),
    "TopCountPerGroup": Case(tuple(TopCountPerGroup("s", "group", c) for c in (2, 10, 50)), prefixes=False),
    "TopFraction": Case(tuple(TopFraction("s", fraction) for fraction in (0.001, 0.1, 0.29, 1.0))),
    "TopFraction, helpful rows": Case(
        tuple(TopFraction("s", fraction, drop_nonpositive=True) for fraction in (0.1, 0.3, 1.0))
    ),
    "TopFractionPerGroup": Case(
        tuple(TopFractionPerGroup("s", "group", fraction) for fraction in (0.025, 0.1, 0.25, 0.5))
    ),
    "UniformControl": Case(
        tuple(UniformControl(count, unique=("text", "group"), cap_by="group", cap=30) for count in (1, 10, 40)),
        by_score=False,
    ),
}
RULES = [
    pytest.param(rule, case, id=f"{name}-{number}")
    for name, case in CASES.items()
    for number, rule in enumerate(case.budgets)
]
NAN = float("nan")


def goal_columns(groups: list[str], texts: list[str]) -> dict[str, list[Any]]:
    """What `GoalBins` and `GoalScore` would add, made up from groups and texts."""
    kinds = ["short_video" if group == "web" else "image_qa" for group in groups]
    return {
        "goal_bucket": kinds,
        "goal_temporal": ["Temporal" if kind == "short_video" else "Static" for kind in kinds],
        "goal_source_group": groups,
        **{
            f"goal_{name}": ["short"] * len(kinds) for name in ("duration", "form", "question_length", "answer_length")
        },
        "goal_text_key": texts,
        "goal_media_key": groups,
        "goal_video_id": [
            f"clip {text}" if kind == "short_video" else None for text, kind in zip(texts, kinds, strict=True)
        ],
        "goal_vds3": [0.0] * len(kinds),
    }


def make_pool(with_ids: bool) -> Dataset:
    """120 rows, each there twice; many equal scores, a quarter of them NaN or missing."""
    draw = random.Random(0)  # noqa: S311
    scores = [float(row % 13) - 3 if row % 4 else (NAN if row % 8 else None) for row in range(60)]
    rows: dict[str, list[Any]] = {
        "text": [f"text {row}" for row in range(60)] * 2,
        "s": scores * 2,
        "num_tokens": [draw.randrange(60) for _ in range(60)] * 2,
        "e": [[draw.gauss(0, 1) for _ in range(4)] for _ in range(60)] * 2,
        "group": ["web", "book", "code"] * 40,
    }
    rows |= goal_columns(rows["group"], rows["text"])
    if with_ids:
        rows["row_id"] = [f"{draw.random():.10f}" for _ in range(120)]
    return Dataset.from_dict(rows)


POOL = make_pool(with_ids=True)
SCORES = np.array([NAN if score is None else score for score in POOL["s"]])


def exported_rules() -> dict[str, type]:
    return {
        name: thing
        for name in selectors.__all__
        if inspect.isclass(thing := getattr(selectors, name)) and hasattr(thing, "rank")
    }


@pytest.mark.parametrize("name", exported_rules())
def test_every_exported_rule_is_covered(name: str) -> None:
    rule = exported_rules()[name]
    assert any(case.split(",")[0] == name for case in CASES), (
        f"{name} is exported by hf_datasel.selectors but has no case: add it to CASES in tests/every/test_every_rule.py"
    )
    test_file = TESTS / "selectors" / f"test_{rule.__module__.rpartition('.')[2]}.py"
    assert test_file.is_file(), f"{name} has no test of its own: write {test_file.relative_to(TESTS.parent)}"


def test_every_case_is_of_an_exported_rule() -> None:
    for name, case in CASES.items():
        assert {type(rule).__name__ for rule in case.budgets} == {name.split(",")[0]}
        assert type(case.budgets[0]).__name__ in selectors.__all__


@pytest.mark.parametrize("name", exported_rules())
def test_a_rule_is_a_documented_frozen_dataclass_in_a_file_of_its_own(name: str) -> None:
    rule = exported_rules()[name]
    assert dataclasses.is_dataclass(rule)
    assert rule.__dataclass_params__.frozen, f"{name} can be changed after construction: @dataclass(frozen=True)"
    assert "Example:" in (rule.__doc__ or ""), f"{name} has no Example in its docstring"
    neighbours = {other.__module__ for other in exported_rules().values()} - {rule.__module__}
    imported = {getattr(thing, "__module__", None) for thing in vars(sys.modules[rule.__module__]).values()}
    assert not imported & neighbours, f"{name} imports from another rule: {imported & neighbours}"


@pytest.mark.parametrize(("rule", "case"), RULES)
def test_returns_unique_row_numbers_of_the_pool(rule: Rule, case: Case) -> None:
    ranking = rule.rank(POOL)
    assert ranking.dtype == np.int64
    assert ranking.ndim == 1
    assert len(ranking) > 0, "an empty ranking proves nothing here: widen the budget of this case"
    assert len(set(ranking.tolist())) == len(ranking)
    assert ranking.min() >= 0
    assert ranking.max() < len(POOL)


@pytest.mark.parametrize(("rule", "case"), RULES)
def test_never_keeps_a_row_without_a_score(rule: Rule, case: Case) -> None:
    if case.by_score:
        assert not np.isnan(SCORES[rule.rank(POOL)]).any()
        assert select(POOL, rule).num_not_scored == 30


@pytest.mark.parametrize("key", ["row_id", "text"])
@pytest.mark.parametrize(("rule", "case"), RULES)
def test_the_order_of_the_pool_changes_nothing(rule: Rule, case: Case, key: str) -> None:
    # Without ids the two copies of a row cannot be told apart, but they are the same text.
    pool = make_pool(with_ids=key == "row_id")
    expected = [pool[key][row] for row in rule.rank(pool)]
    for seed in range(3):
        shuffled = pool.shuffle(seed=seed)
        found = [shuffled[key][row] for row in rule.rank(shuffled)]
        assert found == expected if not case.pool_order else sorted(found) == sorted(expected)


@pytest.mark.parametrize(("rule", "case"), RULES)
def test_ranking_is_repeatable_and_leaves_the_pool_alone(rule: Rule, case: Case) -> None:
    pool = make_pool(with_ids=True)
    fingerprint = pool._fingerprint
    assert rule.rank(pool).tolist() == rule.rank(pool).tolist() == rule.rank(POOL).tolist()
    assert pool._fingerprint == fingerprint
    assert pool.to_dict().keys() == POOL.to_dict().keys()


@pytest.mark.parametrize(("rule", "case"), RULES)
def test_a_rule_survives_pickling_and_its_own_spec(rule: Rule, case: Case) -> None:
    assert pickle.loads(pickle.dumps(rule)) == rule  # noqa: S301
    spec = json.loads(json.dumps(select(POOL, rule).rule))
    assert getattr(selectors, spec.pop("rule"))(**spec) == rule


@pytest.mark.parametrize(("rule", "case"), RULES)
def test_filtering_keeps_what_was_ranked(rule: Rule, case: Case) -> None:
    selection = select(POOL, rule)
    filtered = POOL.filter(selection, with_indices=True, batched=True, batch_size=50)
    assert set(filtered["row_id"]) == set(selection.ids)
    assert set(selection.dropped["row_id"]) == set(POOL["row_id"]) - set(selection.ids)


@pytest.mark.parametrize(("rule", "case"), RULES)
def test_a_pool_without_scores_or_without_the_column_is_refused(rule: Rule, case: Case) -> None:
    if case.by_score:
        with pytest.raises(BadBudget, match="`column` is 's', which is NaN in all 120 rows"):
            rule.rank(POOL.remove_columns("s").add_column("s", [NAN] * 120))
        with pytest.raises(
            BadBudget, match="`column` is 's', expected a column of the scored dataset, which has: 'te"
        ):
            rule.rank(POOL.remove_columns("s"))


@pytest.mark.parametrize("name", CASES)
def test_one_row_is_a_pool(name: str) -> None:
    one = Dataset.from_dict(
        {"row_id": ["a"], "text": ["x"], "s": [7.0], "num_tokens": [5], "group": ["web"], "e": [[1.0, 0.0]]}
        | goal_columns(["web"], ["x"])
    )
    assert CASES[name].budgets[0].rank(one).tolist() == [0]


@pytest.mark.parametrize("name", CASES)
def test_a_smaller_budget_is_a_prefix_of_a_larger_one(name: str) -> None:
    case = CASES[name]
    rankings = [rule.rank(POOL).tolist() for rule in case.budgets]
    for smaller, larger in itertools.pairwise(rankings):
        assert len(smaller) < len(larger), "budgets of a case must grow"
        if case.prefixes:
            assert larger[: len(smaller)] == smaller


# Bad input that a rule can meet: each must be refused with a reason, or ranked like any other.
COLUMNS_OF_RULES = ("column", "columns", "embedding", "trajectory", "loss", "group", "weight", "length_column", "balance",
                    "unique", "cap_by", "exclude")  # fmt: skip
EMBEDDED = {name: case for name, case in CASES.items() if {"embedding", "trajectory"} & vars(case.budgets[0]).keys()}


def with_vectors(vectors: list[Any]) -> Dataset:
    return POOL.remove_columns("e").add_column("e", vectors)


def assert_a_ranking(ranking: Any, pool: Dataset) -> None:
    assert len(set(ranking.tolist())) == len(ranking) > 0
    assert ranking.min() >= 0
    assert ranking.max() < len(pool)


@pytest.mark.parametrize("name", EMBEDDED)
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_rows_with_a_bad_vector_are_never_kept(name: str) -> None:
    good = POOL["e"][:]
    bad = [None, [NAN] * 4, [float("inf"), 0.0, 0.0, 0.0]]
    pool = with_vectors([bad[row % 3] if row % 5 == 0 else good[row] for row in range(120)])
    for rule in EMBEDDED[name].budgets:
        ranking = rule.rank(pool)
        assert_a_ranking(ranking, pool)
        assert not (ranking % 5 == 0).any()


@pytest.mark.parametrize("name", EMBEDDED)
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_zero_vectors_do_no_harm(name: str) -> None:
    good = POOL["e"][:]
    pool = with_vectors([[0.0] * 4 if row % 3 == 0 else good[row] for row in range(120)])
    for rule in EMBEDDED[name].budgets:
        ranking = rule.rank(pool)
        assert_a_ranking(ranking, pool)
        if "Rows without one, or with zeros, are never kept" in " ".join((type(rule).__doc__ or "").split()):
            assert (ranking % 3 > 0).all()
    with pytest.raises(BadBudget, match=r"`(embedding|trajectory)` is 'e', which is missing, not finite or zero"):
        EMBEDDED[name].budgets[0].rank(with_vectors([None] * 119 + [[NAN] * 4]))


@pytest.mark.parametrize("name", EMBEDDED)
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_a_pool_that_is_one_point_is_ranked_the_same_in_any_order(name: str) -> None:
    pool = with_vectors([[0.6, 0.8, 0.0, 0.0]] * 120)
    for rule in EMBEDDED[name].budgets:
        ranking = rule.rank(pool)
        assert_a_ranking(ranking, pool)
        shuffled = pool.shuffle(seed=1)
        assert [shuffled["row_id"][row] for row in rule.rank(shuffled)] == [pool["row_id"][row] for row in ranking]


@pytest.mark.parametrize("name", CASES)
def test_more_than_there_is_is_refused_or_all_there_is(name: str) -> None:
    rule = CASES[name].budgets[-1]
    for field in ("count", "clusters", "neighbours", "cap", "tokens"):
        if getattr(rule, field, None) is None and not (field == "clusters" and hasattr(rule, field)):
            continue
        try:
            assert_a_ranking(dataclasses.replace(rule, **{field: 10**6}).rank(POOL), POOL)
        except BadBudget as error:
            assert f"`{field}` is 1000000, expected at most" in str(error)


@pytest.mark.parametrize("name", CASES)
def test_three_rows_are_a_pool(name: str) -> None:
    pool = POOL.select([9, 10, 11])  # scores of 6, 7 and 8
    for rule in CASES[name].budgets:
        try:
            assert_a_ranking(rule.rank(pool), pool)
        except BadBudget as error:
            assert "expected at most 3" in str(error) or "positive in no row" in str(error)


@pytest.mark.parametrize("name", CASES)
def test_an_unknown_column_is_named(name: str) -> None:
    rule = CASES[name].budgets[0]
    for field in COLUMNS_OF_RULES:
        value = getattr(rule, field, None)
        for column in (value,) if isinstance(value, str) else value or ():
            if column in POOL.column_names:  # else a default that this budget does not read
                with pytest.raises(BadBudget, match=rf"`[\w.]+` is '{column}', expected a column") as caught:
                    rule.rank(POOL.remove_columns(column))
                (named,) = re.findall(r"^`(\w+)[`.]", str(caught.value))
                assert column in str(getattr(rule, named)), f"it blames `{named}`"


@pytest.mark.parametrize("name", CASES)
def test_an_empty_pool_is_refused_or_empty(name: str) -> None:
    try:
        assert not len(CASES[name].budgets[0].rank(POOL.select([])))
    except DataselError as error:
        assert re.search("0 rows|no rows|at most 0, the rows of the pool", str(error))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_infinite_scores_are_refused_or_ranked(name: str) -> None:
    if not CASES[name].by_score:
        return
    scores = [float("inf") if row % 7 == 1 else float("-inf") if row % 7 == 2 else 1.0 + row % 3 for row in range(120)]
    pool = POOL.remove_columns("s").add_column("s", scores)
    for rule in CASES[name].budgets:
        try:
            assert_a_ranking(rule.rank(pool), pool)
        except BadBudget as error:
            assert "infinite" in str(error) or "expected finite" in str(error)
