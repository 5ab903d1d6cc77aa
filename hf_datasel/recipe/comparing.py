"""Several selections under one training contract: metric against training samples, peak match, reduction factor."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_datasel.errors import BadRecipe
from hf_datasel.hub.card import render
from hf_datasel.recipe import drawing, reporting
from hf_datasel.recipe.arms import Arms
from hf_datasel.recipe.contract import FULL, RANDOM, UNIFORM, contract_problems, train_of, under
from hf_datasel.recipe.costs import arm_line, selection_cost, total_costs
from hf_datasel.recipe.files import slug, write_json, write_text
from hf_datasel.recipe.loading import load_recipe
from hf_datasel.recipe.running import Run
from hf_datasel.recipe.schema import Recipe
from hf_datasel.reports.convergence import matches
from hf_datasel.runs import Runner, spec_key
from hf_datasel.selectors import Full, GoalBuilder, Random, Selection, UniformControl, control_of, select
from hf_datasel.training.protocols import Protocol


if TYPE_CHECKING:
    from hf_datasel.contracts import Rule

logger = logging.getLogger(__name__)

TIMES = 10
METRIC = "heldout_loss"
PROTOCOLS: tuple[Protocol, ...] = ("A", "B")
PROTOCOL_WORDS = {"A": "as many passes over each arm's rows", "B": "as many steps for each arm"}


def compare(
    recipes: Mapping[str, Recipe | str | Path] | Sequence[str | Path],
    folder: str | Path,
    points: int = 5,
    runner: Runner = "local",
    processes: int = 1,
    protocols: Sequence[Protocol] = PROTOCOLS,
) -> dict[str, Any]:
    """Train on the selections of several recipes under one contract, and say when each is as good as all of the pool.

    Beside the selections: `random` (as many rows as each of them), `uniform 10x` (ten times the rows of the largest, no
    copies) and `full`. Every arm is trained for each seed and measured `points` times in training, and where smaller arms
    end, so that arms can be compared there. Writes `results.json`; for each protocol `convergence-<protocol>.png` and
    `pareto-<protocol>.png`, cost against result; `overlap.png`, `composition-<column>.png` for the columns that the rules
    balance, and `README.md`. Scores that recipes share are computed once; finished scores and
    trainings in the folder are reused, so a stopped study goes on where it stopped; so are scores that `datasel run` left in
    `runs/NAME`.

    Args:
        recipes: by the name of their arm, or files, named as they are. All must have the same pool, target, training
            settings, evaluation and seeds.
        folder: made if missing.
        points: evenly spaced measurements of a training; the paper saves 5 times.
        runner, processes: who scores (see `score`).
        protocols: how long to train: `"A"`, as many passes over a selection as over the pool; `"B"`, as many steps. The one
            that the recipes name is trained as they say; the other follows from it: A makes `epochs` passes, B takes as many
            steps as these passes over the pool.

    Returns:
        What `results.json` holds: by protocol (`protocols`) the `arms` with their cost, the `curves` and the `matches` (peak
        match and reduction against `full` and `uniform 10x`); `overlap` (Jaccard of the arms' rows); `scored` (what selection
        took); `trained`, every training. Operations (`flops`) are counted: of training by the Trainer, of scoring on a sample
        of rows; what a learner takes to learn and a judge elsewhere are not counted, and are named.

    Raises:
        BadRecipe: the recipes differ in more than scores and selection, or have no `train` section.

    Source: https://huggingface.co/papers/2603.12478, Figure 1, Table 1 (peak match, reduction) and 2.1 (the contract).

    Example:
        >>> compare(["recipes/goal_temp.yaml", "recipes/nowhere.yaml"], "runs/study")
        Traceback (most recent call last):
        hf_datasel.errors.BadRecipe: `recipe` 'recipes/nowhere.yaml' does not exist, expected a YAML file.
    """
    if isinstance(recipes, Mapping):
        loaded = {name: its if isinstance(its, Recipe) else load_recipe(its) for name, its in recipes.items()}
    else:
        loaded = load_recipes(recipes)
    return Comparison(loaded, Path(folder), points, runner, processes, tuple(protocols)).report()


def load_recipes(files: Sequence[str | Path], overrides: Mapping[str, Any] | None = None) -> dict[str, Recipe]:
    """Recipes by the names of their files.

    Raises:
        BadRecipe: two files have one name, or a recipe has faults.
    """
    if len({Path(file).stem for file in files}) < len(files):
        raise BadRecipe(f"`recipes` has {[str(file) for file in files]}, expected different file names.")
    return {Path(file).stem: load_recipe(file, overrides) for file in files}


@dataclass(frozen=True)
class Comparison:
    """A study in the making: see `compare`.

    Args:
        recipes: by the name of their arm.
        folder, points, runner, processes, protocols: see `compare`.
    """

    recipes: Mapping[str, Recipe]
    folder: Path
    points: int = 5
    runner: Runner = "local"
    processes: int = 1
    protocols: tuple[Protocol, ...] = PROTOCOLS

    def __post_init__(self) -> None:
        problems = contract_problems(self.recipes)
        if not self.protocols or not set(self.protocols) <= set(PROTOCOLS):
            problems.append(f"`protocols` is {list(self.protocols)}, expected 'A', 'B', or both.")
        if self.points < 1:
            problems.append(f"`points` is {self.points}, expected at least 1.")
        if problems:
            raise BadRecipe("\n".join(problems))

    @cached_property
    def runs(self) -> dict[str, Run]:
        """One run of each recipe; those that score alike share a folder, and so their scores."""
        found = {}
        for name, recipe in self.recipes.items():
            alike = spec_key({key: recipe.resolved.get(key) for key in ("pool", "anchors", "score")})
            place = self.folder / "scored" / alike
            _bring(Path("runs") / slug(name), place)
            found[name] = Run(recipe, place, self.runner, self.processes)
        return found

    @cached_property
    def selections(self) -> dict[str, Selection]:
        """By arm: of each recipe, and of the baselines; saved in `selections/`."""
        found = {name: run.selection() for name, run in self.runs.items()}
        first = next(iter(found.values())).pool
        assert first is not None  # noqa: S101 (`select` binds it)
        for name, rule in self._baselines(found).items():
            found[name] = select(first, rule)
        if found[UNIFORM].num_kept == first.num_rows:
            logger.warning("The pool is no larger than %s: the arm %s stands for it.", UNIFORM, FULL)
            del found[UNIFORM]
        for name, selection in found.items():
            selection.save(self.folder / "selections" / slug(name))
        return found

    def trained(self) -> list[dict[str, Any]]:
        """One result per protocol, arm and seed, each with its curve; the untrained target first."""
        run = next(iter(self.runs.values()))
        ends = tuple(sorted({its.num_kept for its in self.selections.values()}))
        found: list[dict[str, Any]] = []
        for protocol in self.protocols:
            recipe = under(run.recipe, protocol, len(run.contents))
            arms = Arms(recipe, run.contents, self.folder / "training" / protocol, self.points, ends)
            found += [] if found else [arms.untrained()]
            # Seed by seed, so that a study that is stopped has whole comparisons.
            found += [
                {**arms.train(arm, its, seed), "protocol": protocol}
                for seed in train_of(recipe).seeds
                for arm, its in self.selections.items()
            ]
        return found

    def report(self) -> dict[str, Any]:
        """Do what is still to do; write `results.json`, plots and `README.md`; the results."""
        from hf_datasel.reports.plots import plot_convergence, plot_overlap, plot_pareto

        results = self._results(self.trained())
        write_json(self.folder / "results.json", results)
        for stale in self.folder.glob("*.png"):
            stale.unlink()
        for protocol, found in results["protocols"].items():
            place, costs = self.folder / f"convergence-{protocol}.png", total_costs(found["arms"])
            plot_convergence(found["curves"], place, self._baseline, metric="held-out loss", unit="nats per token")
            if costs:
                plot_pareto(
                    {arm: (cost, [curve[-1][1] for curve in found["curves"][arm]]) for arm, cost in costs.items()},
                    self.folder / f"pareto-{protocol}.png",
                )
        plot_overlap(results["overlap"], self.folder / "overlap.png")
        for its in results["composition"]:
            drawing.draw_composition(its, self.folder)
        write_text(self.folder / "README.md", render("comparison.md.jinja", results))
        return results

    @property
    def _baseline(self) -> str:
        return UNIFORM if UNIFORM in self.selections else FULL

    def _baselines(self, selections: Mapping[str, Selection]) -> dict[str, Rule]:
        sizes = sorted({its.num_kept for its in selections.values()})
        largest = max(selections, key=lambda name: selections[name].num_kept)
        rule: Any = self.recipes[largest].rule
        builder = getattr(rule, "builder", rule)
        goal = isinstance(builder, GoalBuilder)
        control = control_of(builder, sizes[-1], TIMES) if goal else UniformControl(TIMES * sizes[-1])
        names = {size: RANDOM if len(sizes) == 1 else f"{RANDOM} {size}" for size in sizes}
        return {**{names[size]: Random(count=size) for size in sizes}, UNIFORM: control, FULL: Full()}

    def _scored(self) -> list[dict[str, Any]]:
        """What selection took, once for all recipes that score alike; rows that an earlier run had finished do not count."""
        alike: dict[Path, list[str]] = {}
        for name, run in self.runs.items():
            alike.setdefault(run.folder, []).append(name)
        return [{"recipes": names, **selection_cost(self.runs[names[0]])} for names in alike.values()]

    def _uniform_times(self) -> float | None:
        """How many times the largest selection the uniform arm holds: fewer than ten where the pool has no more."""
        if UNIFORM not in self.selections:
            return None
        return self.selections[UNIFORM].num_kept / max(self.selections[name].num_kept for name in self.recipes)

    def _composition(self) -> list[dict[str, Any]]:
        """What the arms are made of, by the columns that the recipes' rules balance."""
        tables: dict[str, dict[str, Any]] = {}
        for name, recipe in self.recipes.items():
            pool = self.selections[name].pool
            assert pool is not None  # noqa: S101 (`select` binds it)
            for its in reporting.compositions(recipe, pool, self.selections):
                if its["plot"]:
                    tables.setdefault(its["column"], its)
        return list(tables.values())

    def _results(self, trained: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        run, scored = next(iter(self.runs.values())), self._scored()
        train = train_of(run.recipe)
        return {
            "metric": METRIC, "points": self.points, "seeds": list(train.seeds), "untrained": trained[0][METRIC],
            "target": Path(train.target.target).name, "baseline": self._baseline,
            "protocols": {name: self._under(name, trained, scored) for name in self.protocols},
            "sizes": {name: self.selections[name].num_kept for name in self.recipes},
            "uniform_times": self._uniform_times(),
            "scored": scored,
            "overlap": _overlap(self.selections),
            "composition": self._composition(),
            "rules": {name: repr(its.rule) for name, its in self.recipes.items()},
            "trained": [{key: value for key, value in its.items() if key != "key"} for its in trained],
            "versions": next(iter(self.selections.values())).versions,
        }  # fmt: skip

    def _under(self, protocol: Protocol, trained: Sequence[Any], scored: Sequence[Any]) -> dict[str, Any]:
        """Arms, curves and matches of one protocol."""
        curves: dict[str, list[Any]] = {arm: [] for arm in self.selections}
        its = [result for result in trained[1:] if result["protocol"] == protocol]
        for result in its:
            points = [(point["samples"], point[METRIC]) for point in result["curve"]]
            curves[result["arm"]].append([(0, trained[0][METRIC]), *points])
        costs = {name: line for line in scored for name in line["recipes"]}
        return {
            "arms": [arm_line(arm, its, costs.get(arm)) for arm in self.selections],
            "matches": [
                line for name in (UNIFORM, FULL) if name in self.selections for line in matches(curves, name)
            ],
            "curves": curves,
        }  # fmt: skip


def table(results: Mapping[str, Any]) -> str:
    """The peak matches, for a terminal."""
    lines = []
    for protocol, found in results["protocols"].items():
        lines.append(f"Protocol {protocol}: {PROTOCOL_WORDS[protocol]}")
        lines.append(
            f"{'arm':<24}{'matches':<14}{'gain':>9}{'after samples':>15}{'reduction':>11}  seeds that get there"
        )
        for line in found["matches"]:
            after = "never" if line["samples"] is None else f"{line['samples']:.0f}"
            times = "-" if line["reduction"] is None else f"{line['reduction']:.1f}"
            seeds = f"{line['reached']} of {line['seeds']}"
            lines.append(
                f"{line['arm']:<24}{line['baseline']:<14}{line['gain']:>+9.4f}{after:>15}{times:>11}  {seeds}"
            )
    return "\n".join(lines)


def _bring(earlier: Path, place: Path) -> None:
    """Copy what `datasel run` or `score` of a recipe has finished; a run keys all of it, so that what is stale is not used."""
    if place.exists() or not (earlier / "scores" / "done.json").is_file():
        return
    partial = place.with_name(f"{place.name}.partial")  # a copy that was stopped half-way is none
    shutil.rmtree(partial, ignore_errors=True)
    for part in ("scores", "warm_up"):
        if (earlier / part).is_dir():
            shutil.copytree(earlier / part, partial / part)
    os.replace(partial, place)


def _overlap(selections: Mapping[str, Selection]) -> dict[str, dict[str, float]]:
    """Jaccard of the kept rows of each two arms."""
    kept = {name: set(its.ids) for name, its in selections.items()}
    return {
        one: {other: round(len(kept[one] & kept[other]) / max(1, len(kept[one] | kept[other])), 3) for other in kept}
        for one in kept
    }
