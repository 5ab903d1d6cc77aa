"""A recipe, run: warm up, score, select, train; every stage in its folder, finished stages reused."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from hf_datasel.errors import BadRecipe, DataselError
from hf_datasel.hub import Published, publish, publish_model, publish_page, render_card
from hf_datasel.hub.client import check_repo_id
from hf_datasel.proxy import Proxy
from hf_datasel.recipe import drawing, reporting
from hf_datasel.recipe.arms import Arms
from hf_datasel.recipe.columns import read_beside_content, written
from hf_datasel.recipe.files import read_json, slug, write_json, write_text
from hf_datasel.recipe.loading import scorers_on
from hf_datasel.recipe.schema import Recipe
from hf_datasel.rows import content_only, row_digest, with_row_ids
from hf_datasel.rows.identity import values_digest, with_encoded_media
from hf_datasel.rows.vision import is_vision_row
from hf_datasel.runs import Runner, spec_key
from hf_datasel.runs.score import score_and_fit
from hf_datasel.selectors import Selection, select


if TYPE_CHECKING:
    from datasets import Dataset

    from hf_datasel.contracts import Learner, Rule, Scorer

logger = logging.getLogger(__name__)

SELECTED = "selected"  # the arm of the recipe's own rule
SEEN = "seen_in_warmup"


@dataclass(frozen=True)
class Run:
    """A recipe and the folder its results go to.

    Each stage keys what it writes by everything that decides it, and does nothing when the folder already holds that.

    Args:
        recipe: checked.
        folder: made if missing.
        runner, processes: who scores (see `score`).
    """

    recipe: Recipe
    folder: Path
    runner: Runner = "local"
    processes: int = 1

    def write_recipe(self) -> None:
        """`recipe.yaml`: every default written out, local files by absolute path; it replays the run."""
        self._warn_of_another(self._recipe_text)
        write_text(self.folder / "recipe.yaml", self._recipe_text)

    def refuse_another_writer(self) -> None:
        """Say, at the end, that the folder is no longer this run's alone.

        Raises:
            DataselError: a run of another recipe has begun there meanwhile.
        """
        if (self.folder / "recipe.yaml").read_text(encoding="utf-8") != self._recipe_text:
            raise DataselError(
                f"`--output-dir` {str(self.folder)!r} was taken by a run of another recipe while this one worked there, expected a "
                f"folder of its own: what lies there is of both. Run the same again when the other has ended, or name another."
            )

    @cached_property
    def _recipe_text(self) -> str:
        text = yaml.safe_dump(self.recipe.resolved, sort_keys=False, allow_unicode=True, width=120)
        return "# Replay with: datasel run recipe.yaml --output-dir FOLDER\n" + text

    def _warn_of_another(self, text: str) -> None:
        """Say that the folder holds finished scores of another recipe, which are about to be replaced."""
        place = self.folder / "recipe.yaml"
        if not place.is_file() or not read_json(self.folder / "scores" / "done.json"):
            return
        try:
            before = yaml.safe_load(place.read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError):
            before = None
        now, before = yaml.safe_load(text), before if isinstance(before, dict) else {}
        other = [name for name in {**before, **now} if before.get(name) != now.get(name)]
        if other:
            logger.warning(
                "%s holds a finished run of another recipe (%s differ): what this one makes anew replaces it. Name another "
                "--output-dir to keep both.", self.folder, ", ".join(other),
            )  # fmt: skip

    @cached_property
    def pool(self) -> Dataset:
        """The pool with row ids."""
        return with_row_ids(self.recipe.pool_rows)

    @cached_property
    def contents(self) -> list[str]:
        """Digest of each row of the pool. Stages are keyed by these: a user's own row ids may outlive a row's content."""
        return [row_digest(row) for row in content_only(self.pool)]

    def scored(self) -> Dataset:
        """The pool with every scorer's columns, from `scores/` where they are finished there."""
        proxy, seen = self.warmed_proxy()
        scorers = scorers_on(self.recipe, proxy)
        specs = [spec_of(scorer) for scorer in scorers]
        key = spec_key({"scorers": specs, "rows": self.contents, "read": self._read(scorers)})
        folder = self.folder / "scores"
        if read_json(folder / "done.json").get("key") == key:
            return self.joined(folder / "scores.parquet")
        began = time.monotonic()
        scored, fitted = score_and_fit(
            self.pool, *scorers, journal=folder / "journal.sqlite", runner=self.runner, processes=self.processes
        )
        known = {content for row_id, content in zip(self.pool["row_id"], self.contents, strict=True) if row_id in seen}
        scored = scored.add_column(SEEN, [content in known for content in self.contents])  # copies are known as well
        columns = ["row_id", *(name for scorer in scorers for name in written(scorer)), SEEN]
        # Before the scores are replaced: it must never vouch for others than those beside it.
        (folder / "done.json").unlink(missing_ok=True)
        scored.select_columns(columns).to_parquet(str(folder / "scores.parquet"))
        write_json(
            folder / "done.json",
            {
                "key": key,
                "scorers": specs,
                "rows": len(scored),
                "seconds": time.monotonic() - began,
                "learned": {its.columns[0]: dict(its.learned) for its in fitted if hasattr(its, "learned")},
            },
        )
        return self.joined(folder / "scores.parquet")

    def _read(self, scorers: Sequence[Scorer | Learner]) -> dict[str, str]:
        """Digests of the columns, beside the rows' content, that decide what the scorers write."""
        names = read_beside_content(self.pool, scorers)
        columns = with_encoded_media(self.pool.select_columns(names).with_format(None))
        return {name: values_digest(columns[name]) for name in names}

    def selections(self) -> dict[str, Selection]:
        """The recipe's selection, and those trained beside it, by arm; saved in `selection/` and `selection/<arm>/`."""
        scored = self.scored()
        specs = read_json(self.folder / "scores" / "done.json")["scorers"]
        found: dict[str, Selection] = {}
        rules: dict[str, Rule] = {SELECTED: self.recipe.rule, **self.recipe.rules_beside}
        for arm, rule in rules.items():
            found[arm] = select(scored, rule, specs)
            found[arm].save(self._selection_folder(arm))
            self._account(rule, scored, self._selection_folder(arm))
        self._remove_results_of_others(found)
        return found

    def _remove_results_of_others(self, selections: Mapping[str, Selection]) -> None:
        """What was measured on other rows must not stand beside these, nor be published with them."""
        results = read_json(self.folder / "results.json")
        if results and results.get("kept_ids_sha256") != reporting.kept_ids(selections):
            logger.warning(
                "results.json, README.md and plots/ in %s were of other selections, and are removed: `datasel run` makes them "
                "anew. Finished trainings are kept.", self.folder,
            )  # fmt: skip
            for name in ("results.json", "README.md"):
                (self.folder / name).unlink(missing_ok=True)
            shutil.rmtree(self.folder / "plots", ignore_errors=True)

    def selection(self) -> Selection:
        """The recipe's own selection, saved nowhere."""
        return select(self.scored(), self.recipe.rule, read_json(self.folder / "scores" / "done.json")["scorers"])

    def account(self, arm: str = SELECTED) -> str:
        """What a rule that builds to constraints said of them, as text; empty for other rules."""
        place = self._selection_folder(arm) / "constraints.txt"
        return place.read_text(encoding="utf-8") if place.is_file() else ""

    def _selection_folder(self, arm: str) -> Path:
        return self.folder / "selection" / ("" if arm == SELECTED else slug(arm))

    def _account(self, rule: Any, scored: Dataset, folder: Path) -> None:
        """`constraints.txt` and `constraints.json`, of a rule that knows any."""
        if not hasattr(rule, "build"):
            for name in ("constraints.txt", "constraints.json"):  # of another rule, earlier
                (folder / name).unlink(missing_ok=True)
            return
        build = rule.build(scored)
        write_text(folder / "constraints.txt", f"{build}\n")
        write_json(folder / "constraints.json", build.report)

    def trained(self, selections: Mapping[str, Selection] | None = None) -> list[dict[str, Any]]:
        """One result per arm and seed, from `training/<arm>/seed-<n>/` where it is finished there.

        Args:
            selections: what `selections()` gave, where the caller has it.

        Raises:
            DataselError: the recipe has no `train` section.
        """
        arms = Arms(self.recipe, self.contents, self.folder / "training")
        assert self.recipe.train is not None  # noqa: S101 (Arms checked it)
        results = [arms.untrained()]
        for arm, selection in (selections or self.selections()).items():
            results += [arms.train(arm, selection, seed) for seed in self.recipe.train.seeds]
        return results

    def report(self, train: bool = True) -> str:
        """Do what is still to do, write `results.json`, `plots/` and `README.md`; the table for a terminal."""
        return reporting.table(self._report(self.selections(), train))

    def _report(self, selections: Mapping[str, Selection], train: bool) -> dict[str, Any]:
        trained = self.trained(selections) if train else []
        scored = selections[SELECTED].pool
        assert scored is not None  # noqa: S101 (`select` binds it)
        constraints = read_json(self._selection_folder(SELECTED) / "constraints.json").get("constraints", [])
        learned = read_json(self.folder / "scores" / "done.json").get("learned", {})
        results = reporting.gather(self.recipe, scored, selections, trained, constraints, learned)
        write_json(self.folder / "results.json", results)
        drawing.draw(self.recipe, scored, selections, results, self.folder / "plots")
        write_text(self.folder / "README.md", render_card(results))
        return results

    def publish(self, dry_run: bool = False) -> Published:
        """Put the selection on the Hub, and where the recipe names places for them the target and the report page.

        Writes `sft.yaml`, which trains the same target on what was published: `trl sft --config sft.yaml`. Not for a pool
        of images whose encoder stays frozen, which that command cannot do.

        Args:
            dry_run: write everything to `publish/` instead, and send nothing.

        Raises:
            BadRecipe: the recipe does not say where to.
            PublishError: see `hub.publish`.
        """
        section, train = self.recipe.publish, self.recipe.train
        if section.repo_id is None:
            raise BadRecipe(
                "`publish.repo_id` is missing, expected NAMESPACE/NAME of a dataset repository. Add it to the recipe, or "
                "pass --set publish.repo_id=me/data."
            )
        for repo_id in filter(None, (section.model_repo_id, section.space_repo_id)):
            check_repo_id(repo_id)
        if section.space_repo_id is not None and section.light:
            raise BadRecipe(
                "`publish.space_repo_id` is set and `publish.light` is true, expected one of both: the report page holds the "
                "rows' content, which a light publication leaves out."
            )
        if section.model_repo_id is not None and train is None:
            raise BadRecipe("`publish.model_repo_id` is set and the recipe has no `train` section, expected one.")
        place = (section.repo_id, section.config_name)
        labels = self.recipe.pool.labels
        # Whatever can be wrong is found before anything is sent.
        config = None
        if train and (not is_vision_row(self.pool.features) or train.target.trainable != "language"):
            config = train.target.trl_config(labels, *place, "sft-output", train.seeds[0])
        elif train:
            logger.warning("No sft.yaml is written: `trl sft` cannot leave the encoder of images frozen.")
        selections = self.selections()
        results = self._report(selections, train=train is not None)
        done = publish(
            selections[SELECTED], *place, sources=reporting.sources(self.recipe), license=section.license,
            title=section.title, about=section.about, limits=section.limits,
            results=results if results["arms"] else None, private=section.private, light=section.light,
            media_roots=self.recipe.pool.media_roots, dry_run=self.folder / "publish" if dry_run else None,
        )  # fmt: skip
        if config is not None and not section.light:
            write_text(self.folder / "sft.yaml", yaml.safe_dump(config, sort_keys=False))
        if section.model_repo_id is not None:
            self._publish_model(section.model_repo_id, done, results, dry_run)
        if section.space_repo_id is not None:
            from hf_datasel.recipe.page import report_of  # which reads runs, and so imports this

            publish_page(
                report_of(self), section.space_repo_id, done, title=section.title, private=section.private,
                dry_run=self.folder / "publish" / "space" if dry_run else None,
            )  # fmt: skip
        return done

    def _publish_model(self, repo_id: str, done: Published, results: Mapping[str, Any], dry_run: bool) -> None:
        train = self.recipe.train
        assert train is not None  # noqa: S101 (checked by the caller)
        target, seed = train.target, train.seeds[0]
        publish_model(
            self.folder / "training" / slug(SELECTED) / f"seed-{seed}" / "model", repo_id, done,
            base_model=target.target, training={"method": target.method, "protocol": target.protocol, "seed": seed},
            results=results, license=self.recipe.publish.license, private=self.recipe.publish.private,
            dry_run=self.folder / "publish" / "model" if dry_run else None,
        )  # fmt: skip

    def warmed_proxy(self) -> tuple[Proxy | None, set[str]]:
        """The proxy that scores, and the ids of the rows it was tuned on."""
        section = self.recipe.score
        if section.warm_up is None or section.proxy is None:
            return section.proxy, set()
        warmed = section.warm_up.fit(section.proxy, self.pool, self.recipe.pool.labels, self.folder / "warm_up")
        return warmed.proxy, set(warmed.seen_row_ids)

    def joined(self, scores: Path) -> Dataset:
        """The pool with the columns of `scores.parquet`.

        Raises:
            DataselError: it holds other rows than the pool.
        """
        from datasets import Dataset, concatenate_datasets

        columns = Dataset.from_parquet(str(scores), cache_dir=str(self.folder / "scores" / ".cache"))
        if columns["row_id"][:] != self.pool["row_id"][:]:
            raise DataselError(
                f"`{scores}` holds other rows than the pool, expected the same. Remove it to score again."
            )
        return concatenate_datasets([self.pool, columns.remove_columns("row_id")], axis=1)


def spec_of(scorer: Scorer | Learner) -> dict[str, Any]:
    """The scorer's account of what decides its numbers."""
    spec: dict[str, Any] = getattr(scorer, "spec", {"scorer": type(scorer).__name__})
    return spec
