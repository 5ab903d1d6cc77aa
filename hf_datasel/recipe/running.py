"""A recipe, run: warm up, score, select, train; every stage in its folder, finished stages reused."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from hf_datasel.errors import BadRecipe, DataselError
from hf_datasel.hub import Published, publish, publish_model, render_card
from hf_datasel.hub.client import check_repo_id
from hf_datasel.proxy import Proxy
from hf_datasel.recipe import reporting
from hf_datasel.recipe.loading import scorers_on
from hf_datasel.recipe.schema import Recipe
from hf_datasel.rows import content_only, row_digest, with_row_ids
from hf_datasel.rows.batches import answer_text
from hf_datasel.rows.identity import with_encoded_media
from hf_datasel.rows.vision import images_of, is_vision_row
from hf_datasel.runs import Runner, score, spec_key
from hf_datasel.selectors import Selection, select


if TYPE_CHECKING:
    from datasets import Dataset

    from hf_datasel.contracts import Rule, Scorer

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
        text = yaml.safe_dump(self.recipe.resolved, sort_keys=False, allow_unicode=True, width=120)
        write_text(self.folder / "recipe.yaml", "# Replay with: datasel run recipe.yaml --output-dir FOLDER\n" + text)

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
        proxy, seen = self._warmed_proxy()
        scorers = scorers_on(self.recipe, proxy)
        key = spec_key({"scorers": [spec_of(scorer) for scorer in scorers], "rows": self.contents})
        folder = self.folder / "scores"
        if read_json(folder / "done.json").get("key") == key:
            return self._join(folder / "scores.parquet")
        scored = score(
            self.pool, *scorers, journal=folder / "journal.sqlite", runner=self.runner, processes=self.processes
        )
        known = {content for row_id, content in zip(self.pool["row_id"], self.contents, strict=True) if row_id in seen}
        scored = scored.add_column(SEEN, [content in known for content in self.contents])  # copies are known as well
        columns = ["row_id", *(name for scorer in scorers for name in scorer.columns), SEEN]
        scored.select_columns(columns).to_parquet(str(folder / "scores.parquet"))
        specs = [spec_of(scorer) for scorer in scorers]
        write_json(folder / "done.json", {"key": key, "scorers": specs, "rows": len(scored)})
        return self._join(folder / "scores.parquet")

    def selections(self) -> dict[str, Selection]:
        """The recipe's selection, and those trained beside it, by arm; saved in `selection/` and `selection/<arm>/`."""
        scored = self.scored()
        specs = read_json(self.folder / "scores" / "done.json")["scorers"]
        found: dict[str, Selection] = {}
        rules: dict[str, Rule] = {SELECTED: self.recipe.rule, **self.recipe.rules_beside}
        for arm, rule in rules.items():
            found[arm] = select(scored, rule, specs)
            found[arm].save(self.folder / "selection" / ("" if arm == SELECTED else slug(arm)))
        return found

    def trained(self) -> list[dict[str, Any]]:
        """One result per arm and seed, from `training/<arm>/seed-<n>/` where it is finished there.

        Raises:
            DataselError: the recipe has no `train` section.
        """
        train = self.recipe.train
        if train is None or self.recipe.evaluation_rows is None:
            raise DataselError(
                "`recipe` has no `train` section, expected one to train. Add it, or run `datasel select`."
            )
        selections = self.selections()
        results = [self._untrained()]
        for arm, selection in selections.items():
            results += [self._train_one(arm, selection, seed) for seed in train.seeds]
        return results

    def report(self, train: bool = True) -> str:
        """Do what is still to do, write `results.json`, `plots/` and `README.md`; the table for a terminal."""
        trained = self.trained() if train else []
        scored, selections = self.scored(), self.selections()
        results = reporting.gather(self.recipe, scored, selections, trained)
        write_json(self.folder / "results.json", results)
        reporting.draw(self.recipe, scored, selections, results, self.folder / "plots")
        write_text(self.folder / "README.md", render_card(results))
        return reporting.table(results)

    def publish(self, dry_run: bool = False) -> Published:
        """Put the selection on the Hub, and the target trained on it where the recipe names a place for it.

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
        if section.model_repo_id is not None:
            check_repo_id(section.model_repo_id)
            if train is None:
                raise BadRecipe("`publish.model_repo_id` is set and the recipe has no `train` section, expected one.")
        place = (section.repo_id, section.config_name)
        labels = self.recipe.pool.labels
        # Whatever can be wrong is found before anything is sent.
        config = None
        if train and (not is_vision_row(self.pool.features) or train.target.trainable != "language"):
            config = train.target.trl_config(labels, *place, "sft-output", train.seeds[0])
        elif train:
            logger.warning("No sft.yaml is written: `trl sft` cannot leave the encoder of images frozen.")
        self.report(train=train is not None)
        results = read_json(self.folder / "results.json")
        done = publish(
            self.selections()[SELECTED], *place, sources=reporting.sources(self.recipe), license=section.license,
            title=section.title, about=section.about, limits=section.limits,
            results=results if results["arms"] else None, private=section.private, light=section.light,
            dry_run=self.folder / "publish" if dry_run else None,
        )  # fmt: skip
        if config is not None and not section.light:
            write_text(self.folder / "sft.yaml", yaml.safe_dump(config, sort_keys=False))
        if section.model_repo_id is not None:
            self._publish_model(section.model_repo_id, done, results, dry_run)
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

    def _warmed_proxy(self) -> tuple[Proxy | None, set[str]]:
        section = self.recipe.score
        if section.warm_up is None or section.proxy is None:
            return section.proxy, set()
        warmed = section.warm_up.fit(section.proxy, self.pool, self.recipe.pool.labels, self.folder / "warm_up")
        return warmed.proxy, set(warmed.seen_row_ids)

    def _join(self, scores: Path) -> Dataset:
        from datasets import Dataset, concatenate_datasets

        columns = Dataset.from_parquet(str(scores), cache_dir=str(self.folder / "scores" / ".cache"))
        if columns["row_id"][:] != self.pool["row_id"][:]:
            raise DataselError(
                f"`{scores}` holds other rows than the pool, expected the same. Remove it to score again."
            )
        return concatenate_datasets([self.pool, columns.remove_columns("row_id")], axis=1)

    def _untrained(self) -> dict[str, Any]:
        train = self.recipe.train
        assert train is not None  # noqa: S101 (checked by the caller)
        folder = self.folder / "training" / "before"
        key = spec_key(self._judged_by())
        known = read_json(folder / "result.json")
        if known.get("key") != key:
            known = {
                "key": key,
                "arm": "before training",
                "seed": None,
                "rows": 0,
                **self._measure(train.target.target),
            }
            write_json(folder / "result.json", known)
        return known

    def _train_one(self, arm: str, selection: Selection, seed: int) -> dict[str, Any]:
        train = self.recipe.train
        assert train is not None  # noqa: S101 (checked by the caller)
        folder = self.folder / "training" / slug(arm) / f"seed-{seed}"
        rows = [self.contents[index] for index in selection.indices]
        key = spec_key({"target": asdict(train.target), "rows": rows, "seed": seed, **self._judged_by()})
        known = read_json(folder / "result.json")
        if known.get("key") == key:
            return known
        logger.info("Training %s, seed %d, on %d rows.", arm, seed, selection.num_kept)
        began = time.monotonic()
        trained = train.target.train(selection.kept, self.recipe.pool.labels, folder / "model", seed)
        result = {
            "key": key, "arm": arm, "seed": seed, "rows": trained.num_rows, "steps": trained.steps,
            "epochs": trained.epochs, "train_loss": trained.train_loss, "seconds": time.monotonic() - began,
            **self._measure(trained.folder),
        }  # fmt: skip
        write_json(folder / "result.json", result)
        return result

    def _judged_by(self) -> dict[str, Any]:
        """What decides a figure beside the rows trained on."""
        train, rows = self.recipe.train, self.recipe.evaluation_rows
        assert train is not None and rows is not None  # noqa: S101 (checked by the caller)
        return {
            "weights": Proxy(train.target.target, train.target.revision).digest,
            "labels": asdict(self.recipe.pool.labels),
            "evaluation": [row_digest(row) for row in content_only(rows)],
            "answers": train.max_new_tokens if train.answers else None,
        }

    def _measure(self, model: str, revision: str | None = None) -> dict[str, float]:
        from hf_datasel.training import generate_answers, heldout_loss

        train, rows = self.recipe.train, self.recipe.evaluation_rows
        assert train is not None and rows is not None  # noqa: S101 (checked by the caller)
        measured = {"heldout_loss": heldout_loss(model, rows, self.recipe.pool.labels, revision=revision)}
        if train.answers:
            from hf_datasel.metrics import AnswerAccuracy

            asked = list(with_encoded_media(rows))
            seen = [images_of(row) for row in asked] if is_vision_row(rows.features) else None
            answers = generate_answers(
                model, [row["prompt"] for row in asked], train.max_new_tokens, revision=revision, images=seen
            )
            measured |= AnswerAccuracy().compute(predictions=answers, references=[answer_text(row) for row in asked])
        return measured


def spec_of(scorer: Scorer) -> dict[str, Any]:
    """The scorer's account of what decides its numbers."""
    spec: dict[str, Any] = getattr(scorer, "spec", {"scorer": type(scorer).__name__})
    return spec


def slug(name: str) -> str:
    """A folder name.

    Example:
        >>> slug("Best 20 %, bare ranking")
        'best-20-bare-ranking'
    """
    return "-".join("".join(c if c.isalnum() else " " for c in name.lower()).split())


def read_json(path: Path) -> dict[str, Any]:
    """What a finished stage wrote, or nothing."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return values if isinstance(values, dict) else {}


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write whole or not at all."""
    write_text(path, json.dumps(values, indent=1, default=list) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
