"""Columns that a recipe counts on: what its rows have, what its scorers add, what its rules look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hf_datasel.contracts import Learner, Rule, Scorer
from hf_datasel.errors import DataselError, close_to
from hf_datasel.rows import Labels, check_columns, refuse_overlap
from hf_datasel.rows.identity import CONTENT_COLUMNS
from hf_datasel.selectors import Random, TopCount


if TYPE_CHECKING:
    from datasets import Dataset

# Fields of rules that name a column: one that a scorer may write, and one of the pool.
SCORED_FIELDS = ("column", "embedding", "trajectory", "loss", "anchor_similarity", "length_column", "weight")
VECTOR_FIELDS = ("embedding", "trajectory")
COLUMN_FIELDS = (*SCORED_FIELDS, "group", "balance")


def check_rows(
    rows: Mapping[str, Any],
    labels: Labels,
    rules: Sequence[Rule | None],
    scorers: Sequence[Scorer | Learner],
    all_scorers: bool,
    problems: list[str],
) -> None:
    """Columns that are missing, and anchors that are not apart.

    Args:
        rows: of `pool`, `anchors` and `evaluation`; None where there are none, or they could not be read.
        labels: of the pool.
        rules: the recipe's, None for one with faults of its own.
        scorers: the recipe's, in their order.
        all_scorers: whether none of them had faults of its own: while one has, nobody knows what it will write.
        problems: gets one line per fault.
    """
    for key, dataset in rows.items():
        if dataset is not None:
            try:
                check_columns(dataset.column_names, labels)
            except DataselError as error:
                problems.append(str(error).replace("`pool`", f"`{key}`", 1))
    if rows["pool"] is not None:
        there = {*rows["pool"].column_names, "row_id"}
        for scorer in scorers:
            if all_scorers:
                _check_needs(scorer, there, problems)
            taken = there & {*written(scorer)}
            if taken:
                problems.append(
                    f"`{type(scorer).__name__}` writes the columns {sorted(taken)}, which the pool or a scorer before it has, "
                    f"expected new ones. Rename the pool's, or score in another recipe."
                )
            there |= {*written(scorer)}
        for rule in rules:
            _check_rule(rule, there, all_scorers, problems)
            _check_kinds(rule, rows["pool"].features, scorers, problems)
            if isinstance(rule, TopCount | Random) and (rule.count or 0) > len(rows["pool"]):
                problems.append(
                    f"`{type(rule).__name__}.count` is {rule.count}, expected at most {len(rows['pool'])}, the rows of the pool."
                )
    others = {key: rows[key] for key in ("pool", "evaluation") if rows[key] is not None}
    if rows["anchors"] is not None:
        try:
            refuse_overlap(rows["anchors"], **others)
        except DataselError as error:
            problems.append(str(error))


def read_beside_content(pool: Dataset, scorers: Sequence[Scorer | Learner]) -> list[str]:
    """Columns of the pool, beside the rows' content, that some scorer reads: they decide its numbers too."""
    names = {name for scorer in scorers for name in getattr(scorer, "reads", ())}
    return [name for name in pool.column_names if name in names and name not in CONTENT_COLUMNS]


def balanced(rule: Any) -> tuple[str, ...]:
    """Columns whose values a rule gives shares of what it keeps: its groups, or what a goal asks for, or its strata.

    Example:
        >>> from hf_datasel.selectors import ForGoal, TopFractionPerGroup
        >>> balanced(TopFractionPerGroup("s", group="task", fraction=0.2)), balanced(ForGoal("Temp+"))
        (('task',), ('goal_bucket', 'goal_temporal', 'goal_source_group'))
    """
    rule = getattr(rule, "builder", rule)
    asked = [getattr(getattr(rule, name, None), "column", None) for name in ("modality", "temporal", "sources")]
    named = [getattr(rule, name, None) for name in ("group", "balance")]
    found = [name for name in (*named, *asked) if name is not None]
    strata: tuple[str, ...] = getattr(rule, "strata", ())
    return tuple(dict.fromkeys(found or strata))


def written(scorer: Any) -> tuple[str, ...]:
    """Names of the columns that a scorer, or what a learner returns, will write; its score first."""
    return tuple(scorer.columns)


def _check_needs(scorer: Any, there: set[str], problems: list[str]) -> None:
    absent = [name for name in getattr(scorer, "needs", ()) if name not in there]
    if absent:
        hint = " GoalBins writes them." if all(name.startswith("goal_") for name in absent) else ""
        problems.append(
            f"`{type(scorer).__name__}` needs the columns {absent}, expected them in the pool or of a scorer before it."
            f"{hint} There are: {sorted(there)}.{'' if hint else close_to(absent[0], there)}"
        )


def _check_rule(rule: Rule | None, there: set[str], all_scorers: bool, problems: list[str]) -> None:
    for name in COLUMN_FIELDS if all_scorers else COLUMN_FIELDS[len(SCORED_FIELDS) :]:
        column = getattr(rule, name, None)
        if column is not None and column not in there:
            problems.append(
                f"`{type(rule).__name__}.{name}` is {column!r}, expected a column of the pool or of a scorer: "
                f"{sorted(there)}.{close_to(column, there)}"
            )
    checked = {getattr(rule, name, None) for name in COLUMN_FIELDS}
    for column in getattr(rule, "reads", ()):
        if column not in there and column not in checked:
            problems.append(
                f"`{type(rule).__name__}` reads {column!r}, expected a column of the pool or of a scorer: {sorted(there)}."
                f"{close_to(column, there)}"
            )


def _check_kinds(rule: Rule | None, features: Mapping[str, Any], scorers: Sequence[Any], problems: list[str]) -> None:
    """Numbers where a rule computes with a column, lists of numbers where it compares rows by one."""
    texts = {name for scorer in scorers for name in written(scorer) if name.endswith("_status")}
    vectors = {name for scorer in scorers for name in getattr(scorer, "vectors", ())}
    scores = {name for name in (written(scorer)[0] for scorer in scorers) if f"{name}_status" in texts} - vectors
    for field in SCORED_FIELDS:
        column = getattr(rule, field, None)
        if not isinstance(column, str):
            continue
        kind = kind_of(features[column]) if column in features else None
        kind = (
            "texts" if column in texts else "lists" if column in vectors else "numbers" if column in scores else kind
        )
        expected = "lists" if field in VECTOR_FIELDS else "numbers"
        if kind is not None and kind != expected:
            wanted = "a list of numbers" if expected == "lists" else "a number"
            problems.append(
                f"`{type(rule).__name__}.{field}` is {column!r}, a column of {kind}, expected {wanted} in each row"
                f"{', as Embedding writes them' if expected == 'lists' else ''}. Name another."
            )


def kind_of(feature: Any) -> str | None:
    """What a column holds, as far as a rule cares; None where every row is null.

    Example:
        >>> from datasets import List, Value
        >>> kind_of(Value("int64")), kind_of(List(Value("float32"))), kind_of(Value("string")), kind_of(Value("null"))
        ('numbers', 'lists', 'texts', None)
    """
    inner = getattr(feature, "feature", None)
    if inner is not None:
        return "lists" if kind_of(inner) in ("numbers", None) else "lists of something else"
    name = str(getattr(feature, "dtype", "values"))
    if name == "null":
        return None
    numeric = name.startswith(("int", "uint", "float", "bool"))
    return "numbers" if numeric else "texts" if "string" in name else "something else"
