"""What a run found, gathered into `results.json`, plots and a card."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hf_datasel.hub import Source
from hf_datasel.hub.card import scorer_line
from hf_datasel.recipe.columns import written
from hf_datasel.recipe.schema import Recipe
from hf_datasel.reports.independence import independence
from hf_datasel.reports.utility_curve import utility_curve
from hf_datasel.scorers import WeightedSum


if TYPE_CHECKING:
    from datasets import Dataset

    from hf_datasel.selectors import Selection

MOST_VALUES = 12  # a column with more distinct values is no table
ROWS_SHOWN = 3
FEWEST_FOR_DRIFT = 3  # a line through two points always fits
NONE = "-"


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
    scores = np.asarray(scored[score_column(recipe)][:], dtype=np.float64)
    return {
        "card": vars(recipe.publish),
        "selection": {
            "rule": repr(recipe.rule), "rows": chosen.num_rows, "kept": chosen.num_kept,
            "not_scored": chosen.num_not_scored, "threshold": chosen.threshold,
        },
        "protocol": recipe.train.target.protocol if recipe.train else None,
        "seeds": len(recipe.train.seeds) if recipe.train else 0,
        "has_answers": bool(recipe.train and recipe.train.answers),
        "arms": arms(trained),
        "verdict": verdict(arms(trained)),
        "trained": [{key: value for key, value in result.items() if key != "key"} for result in trained],
        "constraints": list(constraints),
        "weights": (learned or {}).get(WeightedSum.columns[0]),
        "composition": composition(_told_apart(recipe, scored), selections),
        "overlaps": [
            {"arm": arm, "num_common": diff.num_common, "overlap": diff.overlap, "jaccard": diff.jaccard}
            for arm, diff in ((arm, chosen.diff(other)) for arm, other in list(selections.items())[1:])
        ],
        "statuses": _statuses(scored, recipe),
        "independence": _independence(scores),
        "curve": _curve(scores),
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
    """Which arm won, and whether by more than the seeds differ.

    Example:
        >>> loss = lambda mean, low, high: {"mean": mean, "low": low, "high": high, "seeds": 3}
        >>> verdict([{"arm": "a", "heldout_loss": loss(1, .9, 1.1)}, {"arm": "b", "heldout_loss": loss(2, 1.9, 2.1)}])
        'Lowest: **a**, below every seed of **b**, the next.'
    """
    ranked = sorted(lines, key=lambda line: line["heldout_loss"]["mean"])
    if len(ranked) < 2:
        return ""
    best, second = ranked[:2]
    apart = best["heldout_loss"]["high"] < second["heldout_loss"]["low"]
    how = "below every seed of" if apart else "but its seeds overlap with those of"
    return f"Lowest: **{best['arm']}**, {how} **{second['arm']}**, the next."


def composition(pool: Dataset, selections: Mapping[str, Selection]) -> list[dict[str, Any]]:
    """For each column of remarks with few values: the share of each value in the pool and in each selection."""
    from hf_datasel.rows.identity import CONTENT_COLUMNS

    tables = []
    for column in pool.column_names:
        if column in CONTENT_COLUMNS or getattr(pool.features[column], "dtype", "") not in ("string", "bool", "int64"):
            continue
        values = np.array([str(value) for value in pool[column][:]])
        known, counts = np.unique(values, return_counts=True)
        if not 2 <= len(known) <= MOST_VALUES:
            continue
        kept = [values[selection.indices] for selection in selections.values()]
        tables.append({
            "column": column,
            "arms": ["pool", *selections],
            "lines": [
                {"value": value, "shares": [count / len(values), *(float(np.mean(its == value)) for its in kept)]}
                for value, count in zip(known.tolist(), counts.tolist(), strict=True)
            ],
        })  # fmt: skip
    return tables


def _told_apart(recipe: Recipe, scored: Dataset) -> Dataset:
    """The pool's own columns, and those that the rule looks at."""
    looked_at = getattr(recipe.rule, "reads", ())
    names = [name for name in scored.column_names if name in recipe.pool_rows.column_names or name in looked_at]
    return scored.select_columns(names)


def draw(
    recipe: Recipe, scored: Dataset, selections: Mapping[str, Selection], results: Mapping[str, Any], folder: Path
) -> None:
    """The plots of the card."""
    from hf_datasel.reports import plots

    chosen = next(iter(selections.values()))
    column = score_column(recipe)
    scores = np.asarray(scored[column][:], dtype=np.float64)
    plots.plot_histogram(scores, folder / "histogram.png", threshold=chosen.threshold, name=column, kept=chosen.mask)
    if results["independence"]:
        plots.plot_independence(scores, folder / "independence.png")
    plots.plot_utility_curve(utility_curve(scores), folder / "utility_curve.png", chosen.num_kept / chosen.num_rows)
    order = np.argsort(-scores, kind="stable")
    ranked = order[: int(np.isfinite(scores).sum())]
    best, worst = scored.select(ranked[:ROWS_SHOWN]), scored.select(ranked[::-1][:ROWS_SHOWN])
    plots.plot_rows(best, worst, folder / "rows.png", column=column)
    if results["weights"]:
        plots.plot_indicator_weights(results["weights"], folder / "indicator_weights.png")
    if results["trained"]:
        points = [
            {"arm": result["arm"], "seed": result["seed"], "value": result["heldout_loss"]}
            for result in results["trained"]
            if result["seed"] is not None  # the untrained model would squeeze all others into one spot
        ]
        plots.plot_arms(
            points, folder / "arms.png", metric="held-out loss", unit="nats per token", lower_is_better=True
        )


def table(results: Mapping[str, Any]) -> str:
    """The figures that matter, for a terminal."""
    lines = [f"{'trained on':<28}{'rows':>6}{'passes':>8}  held-out loss, nats per token (lower is better)"]
    for arm in results["arms"]:
        loss = arm["heldout_loss"]
        passes = NONE if arm["epochs"] is None else f"{arm['epochs']:.2f}"
        spread = f"  [{loss['low']:.4f}, {loss['high']:.4f}] over {loss['seeds']} seeds" if loss["seeds"] > 1 else ""
        lines.append(f"{arm['arm']:<28}{arm['rows']:>6}{passes:>8}  {loss['mean']:.4f}{spread}")
    return "\n".join([*lines, results["verdict"].replace("**", "")]) if results["arms"] else repr(results["selection"])


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
