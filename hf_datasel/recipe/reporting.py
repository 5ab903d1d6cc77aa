"""What a run found, gathered into `results.json` and told in a terminal. Its plots are in `drawing`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hf_datasel.hub import Source
from hf_datasel.hub.card import scorer_line
from hf_datasel.hub.provenance import kept_ids_digest
from hf_datasel.recipe.arms import UNTRAINED
from hf_datasel.recipe.columns import balanced, written
from hf_datasel.recipe.files import slug
from hf_datasel.recipe.schema import Recipe
from hf_datasel.reports.independence import independence
from hf_datasel.reports.scales import scale_of
from hf_datasel.reports.utility_curve import utility_curve
from hf_datasel.scorers import WeightedSum


if TYPE_CHECKING:
    from datasets import Dataset

    from hf_datasel.selectors import Selection

MOST_VALUES = 12  # a column with more distinct values is no table
FEWEST_FOR_DRIFT = 3  # a line through two points always fits
NONE = "-"


def kept_ids(selections: Mapping[str, Selection]) -> dict[str, str]:
    """By arm, the digest of the rows it keeps: what was measured on other rows is not said of these."""
    return {arm: kept_ids_digest(its.ids) for arm, its in selections.items()}


def gather(
    recipe: Recipe,
    scored: Dataset,
    selections: Mapping[str, Selection],
    trained: Sequence[Mapping[str, Any]],
    constraints: Sequence[Mapping[str, Any]] = (),
    learned: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """Everything the card says, as JSON-like figures.

    Args:
        recipe: checked.
        scored: N rows with their scores.
        selections: by arm, the recipe's own first.
        trained: one result per arm and seed; may be empty.
        constraints: what the rule was to meet, and did; may be empty.
        learned: what learners say about what they learned, by their score.
    """
    chosen = next(iter(selections.values()))
    column = score_column(recipe)
    scores = np.asarray(scored[column][:], dtype=np.float64)
    scale = scale_of(column, chosen.scorers)
    return {
        "card": vars(recipe.publish),
        "selection": {
            "rule": repr(recipe.rule), "rows": chosen.num_rows, "kept": chosen.num_kept,
            "not_scored": chosen.num_not_scored, "threshold": chosen.threshold,
        },
        "kept_ids_sha256": kept_ids(selections),
        "score": {"column": column, **vars(scale)},
        "protocol": recipe.train.target.protocol if recipe.train else None,
        "seeds": len(recipe.train.seeds) if recipe.train else 0,
        "has_answers": bool(recipe.train and recipe.train.answers),
        "arms": arms(trained),
        "verdict": verdict(arms(trained)),
        "trained": [{key: value for key, value in result.items() if key != "key"} for result in trained],
        "constraints": list(constraints),
        "weights": (learned or {}).get(WeightedSum.columns[0]),
        "composition": compositions(recipe, scored, selections),
        "overlaps": [
            {"arm": arm, "num_common": diff.num_common, "overlap": diff.overlap, "jaccard": diff.jaccard}
            for arm, diff in ((arm, chosen.diff(other)) for arm, other in list(selections.items())[1:])
        ],
        "statuses": _statuses(scored, recipe),
        "independence": _independence(scores),
        # Sums, and where they peak, say something only of a score whose zero does.
        "curve": _curve(scores) if scale.toxic_below_zero else None,
        "scorers": [{**scorer_line(spec), "spec": dict(spec)} for spec in chosen.scorers],
        "versions": dict(chosen.versions),
    }  # fmt: skip


def sources(recipe: Recipe) -> list[Source]:
    """Where the pool comes from: as the recipe says, or the Hub dataset it was loaded from."""
    pool, section = recipe.pool, recipe.publish
    if section.sources:
        return [Source(name) for name in section.sources]
    if Path(pool.path).exists():
        return []
    return [Source(pool.path, pool.revision, pool.name, pool.split, section.license)]


def score_column(recipe: Recipe) -> str:
    """The score that the rule ranks by, or the first there is where the rule ranks by none."""
    columns = [written(scorer) for scorer in recipe.scorers]
    # What writes no status writes remarks, such as bins, and no score.
    first = next((names[0] for names in columns if f"{names[0]}_status" in names), columns[0][0])
    return str(getattr(recipe.rule, "column", None) or first)


def arms(trained: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Mean and range over seeds, one line per arm, in the order trained.

    Example:
        >>> runs = [{"arm": "full", "rows": 9, "epochs": 1.0, "heldout_loss": loss} for loss in (2.0, 1.0)]
        >>> arms(runs)[0]["heldout_loss"]
        {'mean': 1.5, 'low': 1.0, 'high': 2.0, 'seeds': 2}
    """
    lines = []
    for arm in dict.fromkeys(result["arm"] for result in trained):
        its = [result for result in trained if result["arm"] == arm]
        losses = [result["heldout_loss"] for result in its]
        line = {
            "arm": arm, "rows": its[0]["rows"], "epochs": its[0].get("epochs"),
            "heldout_loss": {"mean": float(np.mean(losses)), "low": min(losses), "high": max(losses), "seeds": len(its)},
        }  # fmt: skip
        if "answer_accuracy" in its[0]:
            line["answer_accuracy"] = float(np.mean([result["answer_accuracy"] for result in its]))
        lines.append(line)
    return lines


def verdict(lines: Sequence[Mapping[str, Any]]) -> str:
    """Which arm won, whether by more than the seeds differ, and which arms are no better than no training.

    Example:
        >>> loss = lambda mean, low, high: {"mean": mean, "low": low, "high": high, "seeds": 3}
        >>> verdict([{"arm": "a", "heldout_loss": loss(1, .9, 1.1)}, {"arm": "b", "heldout_loss": loss(2, 1.9, 2.1)}])
        'Lowest: **a**, below every seed of **b**, the next.'
        >>> one = {"mean": 3, "low": 3, "high": 3, "seeds": 1}
        >>> verdict([{"arm": "before training", "heldout_loss": one}, {"arm": "a", "heldout_loss": loss(4, 3.9, 4.1)}])
        'No better than before training: **a**.'
    """
    before = [line["heldout_loss"]["mean"] for line in lines if line["arm"] == UNTRAINED]
    ranked = sorted(
        (line for line in lines if line["arm"] != UNTRAINED), key=lambda line: line["heldout_loss"]["mean"]
    )
    said = []
    if len(ranked) > 1:
        best, second = ranked[:2]
        apart = best["heldout_loss"]["high"] < second["heldout_loss"]["low"]
        how = "below every seed of" if apart else "but its seeds overlap with those of"
        said = [f"Lowest: **{best['arm']}**, {how} **{second['arm']}**, the next."]
        if min(line["heldout_loss"]["seeds"] for line in ranked) == 1:
            said = [
                f"Lowest: **{best['arm']}**, then **{second['arm']}**; with one seed nobody knows how much is chance."
            ]
    worse = [f"**{line['arm']}**" for line in ranked if before and line["heldout_loss"]["mean"] >= before[0]]
    return " ".join([*said, *([f"No better than before training: {', '.join(worse)}."] if worse else [])])


def composition(pool: Dataset, selections: Mapping[str, Selection]) -> list[dict[str, Any]]:
    """For each column of remarks with few values: the share of each value in the pool and in each selection.

    Columns that say the same of every row share one table, under the name of the first; `same` names the others.
    """
    from hf_datasel.rows.identity import CONTENT_COLUMNS

    tables: list[dict[str, Any]] = []
    known_already: dict[bytes, dict[str, Any]] = {}
    for column in pool.column_names:
        if column in CONTENT_COLUMNS or getattr(pool.features[column], "dtype", "") not in ("string", "bool", "int64"):
            continue
        values = np.array([str(value) for value in pool[column][:]])
        known, counts = np.unique(values, return_counts=True)
        if not 2 <= len(known) <= MOST_VALUES:
            continue
        twin = known_already.get(values.tobytes())
        if twin is not None:
            twin["same"].append(column)
            continue
        kept = [values[selection.indices] for selection in selections.values()]
        tables.append({
            "column": column,
            "same": [],
            "arms": ["pool", *selections],
            "lines": [
                {"value": value, "shares": [count / len(values), *(float(np.mean(its == value)) for its in kept)]}
                for value, count in zip(known.tolist(), counts.tolist(), strict=True)
            ],
        })  # fmt: skip
        known_already[values.tobytes()] = tables[-1]
    return tables


def compositions(recipe: Recipe, scored: Dataset, selections: Mapping[str, Selection]) -> list[dict[str, Any]]:
    """`composition` of the pool's own columns and those a rule looks at; `plot` names the file of those a rule balances."""
    rules = (recipe.rule, *recipe.rules_beside.values())
    wanted = {name for rule in rules for name in balanced(rule)}
    tables = composition(_told_apart(recipe, scored), selections)
    drawn = [bool(wanted & {its["column"], *its["same"]}) for its in tables]
    return [{**its, "plot": composition_plot(its) if yes else None} for its, yes in zip(tables, drawn, strict=True)]


def composition_plot(table: Mapping[str, Any]) -> str:
    """Name of the file with a table of `composition` as bars."""
    return f"composition-{slug(table['column'])}.png"


def _told_apart(recipe: Recipe, scored: Dataset) -> Dataset:
    """The pool's own columns, and those that the rule looks at."""
    looked_at = getattr(recipe.rule, "reads", ())
    names = [name for name in scored.column_names if name in recipe.pool_rows.column_names or name in looked_at]
    return scored.select_columns(names)


def table(results: Mapping[str, Any]) -> str:
    """The figures that matter, for a terminal."""
    lines = [f"{'trained on':<28}{'rows':>6}{'passes':>8}  held-out loss, nats per token (lower is better)"]
    for arm in results["arms"]:
        loss = arm["heldout_loss"]
        passes = NONE if arm["epochs"] is None else f"{arm['epochs']:.2f}"
        spread = f"  [{loss['low']:.4f}, {loss['high']:.4f}] over {loss['seeds']} seeds" if loss["seeds"] > 1 else ""
        lines.append(f"{arm['arm']:<28}{arm['rows']:>6}{passes:>8}  {loss['mean']:.4f}{spread}")
    said = [selection_line(results)]
    return "\n".join([*said, "", *lines, results["verdict"].replace("**", "")] if results["arms"] else said)


def selection_line(results: Mapping[str, Any]) -> str:
    """What was kept, for a terminal.

    Example:
        >>> kept = {"rule": "TopFraction(column='s')", "rows": 9, "kept": 2, "not_scored": 1, "threshold": 0.5}
        >>> selection_line({"selection": kept, "score": {"column": "s", "unit": "characters"}})
        '2 of 9 rows kept by TopFraction, lowest kept s 0.5 characters; 1 row has no score.'
    """
    chosen, score = results["selection"], results["score"]
    parts = [f"{chosen['kept']} of {chosen['rows']} rows kept by {chosen['rule'].split('(')[0]}"]
    if chosen["threshold"] is not None:
        parts.append(f"lowest kept {score['column']} {chosen['threshold']:.4g} {score['unit']}".rstrip())
    count = chosen["not_scored"]
    unscored = f"; {count} row{'s have' if count > 1 else ' has'} no score" if count else ""
    return ", ".join(parts) + unscored + "."


def _statuses(scored: Dataset, recipe: Recipe) -> list[dict[str, Any]]:
    column = f"{score_column(recipe)}_status"
    if column not in scored.column_names:
        return []
    return [{"status": status, "rows": count} for status, count in Counter(scored[column][:]).most_common()]


def _independence(scores: np.ndarray[Any, Any]) -> dict[str, Any] | None:
    if len(np.unique(scores[np.isfinite(scores)])) < FEWEST_FOR_DRIFT:
        return None
    found = independence(scores)
    largest = float(np.max(np.abs(found.acf))) if len(found.acf) else None
    return {
        "slope": found.slope, "r_squared": found.r_squared, "t_statistic": found.t_statistic,
        "largest_acf": largest, "passed": found.passed,
    }  # fmt: skip


def _curve(scores: np.ndarray[Any, Any]) -> dict[str, Any]:
    found = utility_curve(scores)
    return {"suggested_fraction": found.suggested_fraction, "knee_fraction": found.knee_fraction}
