"""The report page of a run folder: what is there is shown, nothing is computed again."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_datasel.errors import DataselError, shown
from hf_datasel.hub.tree import without_places
from hf_datasel.recipe.columns import written
from hf_datasel.recipe.files import read_json, slug
from hf_datasel.recipe.loading import load_recipe
from hf_datasel.recipe.reporting import score_column
from hf_datasel.recipe.running import SELECTED, Run
from hf_datasel.reports.page import write_report
from hf_datasel.selectors import Selection


if TYPE_CHECKING:
    from hf_datasel.recipe.schema import Recipe

PAGE = "report.html"
OWN = "the selection"  # what the page calls the recipe's own, in the middle of sentences


def report(folder: str | Path, path: str | Path | None = None) -> Path:
    """Write the report page of a run, `report.html` in its folder: a file that works offline.

    Shows as much as the run has: after `datasel score` the scores alone, after `datasel run` all of it.

    Args:
        folder: of a run.
        path: of the page, where it is to go elsewhere.

    Raises:
        DataselError: the folder holds no scores, or the rows are no longer those that were scored.
        BadRecipe: what the run's recipe names is no longer there.
    """
    folder = Path(folder)
    if os.path.isdir(folder / "scored") and os.path.isfile(folder / "results.json"):
        raise DataselError(
            f"`run` is {str(folder)!r}, a comparison, expected a run. Its page is {folder / 'README.md'}."
        )
    if not read_json(folder / "scores" / "done.json") or not os.path.isfile(folder / "recipe.yaml"):
        raise DataselError(
            f"`run` is {shown(str(folder))}, expected the folder of a run with finished scores. Make one with: datasel run RECIPE "
            f"--output-dir FOLDER"
        )
    return report_of(Run(load_recipe(folder / "recipe.yaml"), folder), path)


def report_of(run: Run, path: str | Path | None = None) -> Path:
    """The same of a run at hand, whose scores are finished."""
    recipe, folder = run.recipe, run.folder
    done, results = read_json(folder / "scores" / "done.json"), _renamed(read_json(folder / "results.json"))
    scored = run.joined(folder / "scores" / "scores.parquet")
    selections = {
        OWN if arm == SELECTED else arm: without_places(Selection.load(place, scored))
        for arm in (SELECTED, *recipe.rules_beside)
        if (place := folder / "selection" / ("" if arm == SELECTED else slug(arm)))
        .joinpath("selection.json")
        .is_file()
    }
    card = recipe.publish
    return write_report(
        scored,
        path or folder / PAGE,
        selections=selections,
        column=score_column(recipe),
        title=card.title if card.title != type(card).title else folder.resolve().name,
        about=card.about,
        scores=_words(recipe),
        group=getattr(recipe.rule, "group", None),
        build=read_json(folder / "selection" / "constraints.json") or None,
        results=results or None,
        costs=_costs(done, read_json(folder / "warm_up" / "warm_up.json"), results),
        text_field=recipe.pool.labels.dataset_text_field,
    )


def _words(recipe: Recipe) -> dict[str, str]:
    """What each score measures: the first line of its scorer's own documentation."""
    return {
        written(scorer)[0]: (inspect.getdoc(type(scorer)) or "").split("\n\n")[0].replace("\n", " ")
        for scorer in recipe.scorers
    }


def _renamed(results: dict[str, Any]) -> dict[str, Any]:
    """The results with the recipe's own arm called as the page calls it; of the rest, what the page shows."""
    if not results:
        return {}
    arms, trained = (
        [{**its, "arm": OWN if its["arm"] == SELECTED else its["arm"]} for its in results[key]]
        for key in ("arms", "trained")
    )
    verdict = results["verdict"].replace(f"**{SELECTED}**", f"**{OWN}**")
    shown = {key: results[key] for key in ("has_answers", "card")}
    return {**shown, "arms": arms, "trained": trained, "verdict": verdict}


def _costs(done: Mapping[str, Any], warm_up: Mapping[str, Any], results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Seconds of warm-up and scoring, and of training each arm over all its seeds, as the run measured them."""
    lines = [{"what": "scoring the pool", "rows": done["rows"], "seconds": done.get("seconds")}]
    if warm_up.get("seconds") is not None:
        lines.insert(
            0, {"what": "warming the proxy up", "rows": len(warm_up["seen_row_ids"]), "seconds": warm_up["seconds"]}
        )
    trained = [its for its in results.get("trained", ()) if its.get("seconds") is not None]
    for arm in dict.fromkeys(its["arm"] for its in trained):
        own = [its for its in trained if its["arm"] == arm]
        what = f"training on {arm}" + (f", {len(own)} seeds" if len(own) > 1 else "")
        lines.append({"what": what, "rows": own[0]["rows"], "seconds": sum(its["seconds"] for its in own)})
    return lines
