"""What a selection cost: seconds, and floating-point operations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hf_datasel.contracts import Learner
from hf_datasel.recipe.files import read_json, write_json
from hf_datasel.recipe.loading import scorers_on
from hf_datasel.recipe.running import Run
from hf_datasel.runs.flops import counted_flops
from hf_datasel.scorers import LLMJudge


COUNTED = "flops.json"


def selection_cost(run: Run) -> dict[str, Any]:
    """`seconds` and `flops` of warm-up and scoring, and the names of scorers that are `not_counted`.

    Counted on a sample of rows, once; learners learn from the whole pool and a judge works elsewhere, so they are not.

    Args:
        run: whose scores are finished.
    """
    done, warm_up = read_json(run.folder / "scores" / "done.json"), read_json(run.folder / "warm_up" / "warm_up.json")
    known = read_json(run.folder / "scores" / COUNTED)
    if known.get("key") != done["key"]:
        scorers = scorers_on(run.recipe, run.warmed_proxy()[0])
        scored = run.scored()
        counted = [its for its in scorers if not isinstance(its, Learner | LLMJudge)]
        known = {
            "key": done["key"], "scoring": sum(counted_flops(scorer, scored) for scorer in counted),
            "not_counted": [type(its).__name__ for its in scorers if isinstance(its, Learner | LLMJudge)],
        }  # fmt: skip
        write_json(run.folder / "scores" / COUNTED, known)
    return {
        "seconds": done["seconds"] + warm_up.get("seconds", 0.0), "flops": known["scoring"] + warm_up.get("flops", 0.0),
        "not_counted": known["not_counted"],
    }  # fmt: skip


def total_costs(arms: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Operations of selection and one training, by arm; empty where a training counts none, as some models do.

    Example:
        >>> total_costs([{"arm": "best", "flops": 2.0, "selection_flops": 3.0}])
        {'best': 5.0}
    """
    costs = {its["arm"]: float(its["flops"] + its["selection_flops"]) for its in arms}
    return costs if min(costs.values()) > 0 else {}


def arm_line(arm: str, trained: Sequence[Mapping[str, Any]], selection: Mapping[str, Any] | None) -> dict[str, Any]:
    """One arm under one protocol: result over the seeds, cost of a training, and of its selection.

    Args:
        arm: its name.
        trained: results of that protocol.
        selection: what `selection_cost` said; None for rows that are drawn, or all of them, where nothing is scored.
    """
    its = [result for result in trained if result["arm"] == arm]
    values = [result["heldout_loss"] for result in its]
    return {
        "arm": arm, "rows": its[0]["rows"], "samples": its[0]["curve"][-1]["samples"], "mean": sum(values) / len(values),
        "low": min(values), "high": max(values),
        "seconds": sum(result["seconds"] for result in its) / len(its),
        "flops": sum(result["flops"] for result in its) / len(its),
        "selection_seconds": selection["seconds"] if selection else 0.0,
        "selection_flops": selection["flops"] if selection else 0.0,
    }  # fmt: skip
