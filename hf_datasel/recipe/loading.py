"""YAML to a checked recipe: all that is wrong is said at once, before any model loads."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from dataclasses import MISSING, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_datasel import learners as learner_room
from hf_datasel import scorers as scorer_room
from hf_datasel import selectors as selector_room
from hf_datasel.contracts import Learner, Scorer
from hf_datasel.errors import BadRecipe, DataselError, close_to, shown
from hf_datasel.recipe.binding import Problems, bind, plain
from hf_datasel.recipe.columns import check_rows
from hf_datasel.recipe.models import check_models
from hf_datasel.recipe.reading import not_plain, read_file
from hf_datasel.recipe.schema import (
    AnchorSection,
    PoolSection,
    PublishSection,
    Recipe,
    ScoreSection,
    Source,
    TrainSection,
)
from hf_datasel.recipe.tokens import refuse_tokens
from hf_datasel.rows import Labels
from hf_datasel.scorers.goal import CoverageFeatures, GoalBins, LeakGuard


if TYPE_CHECKING:
    from hf_datasel.proxy import Proxy

logger = logging.getLogger(__name__)

SECTIONS = ("pool", "anchors", "score", "select", "train", "publish")
RULES = {
    name: getattr(selector_room, name)
    for name in selector_room.__all__
    if hasattr(getattr(selector_room, name), "rank")
}
SCORERS: dict[str, Any] = {
    **{
        name: getattr(room, name)
        for room in (scorer_room, learner_room)
        for name in room.__all__
        if hasattr(getattr(room, name), "columns")
    },
    **{its.__name__: its for its in (CoverageFeatures, GoalBins, LeakGuard)},
}
# Where a recipe has what scorers call otherwise: a task's rows are its `anchors`, whatever a scorer does with them.
PLACES = {"evaluation": "train.evaluation", "proxy": "score.proxy", "validation": "anchors", "queries": "anchors"}
WORDS = ("title", "about", "license", "sources", "limits")  # of `publish`: they speak of the recipe's own rows
MOST_SAID = 40  # problems: those of one long list are alike
PATHS = re.compile(r"(?:^|_)(?:model|adapter|prompt)$")  # fields of scorers that may name a local file


def load_recipe(path: str | Path, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """Read, check and bind a recipe.

    Args:
        path: a YAML file with the sections `pool`, `anchors`, `score`, `select`, `train`, `publish`.
        overrides: values by dotted place, for example `{"score.proxy.dtype": "float64"}`. With another pool, what the
            recipe's `publish` says of its own rows is left out, with a warning.

    Raises:
        BadRecipe: lists every unknown key, wrong type, missing file and missing column.
    """
    path = Path(path)
    values = read_file(path)
    if not isinstance(values, dict):
        raise BadRecipe(f"`recipe` {str(path)!r} holds {type(values).__name__}, expected the sections {SECTIONS}.")
    fault = not_plain(dict(overrides or {}))
    if fault is not None:
        raise BadRecipe(f"`--set`: {fault}")
    own = _named_pool(values, path.parent)
    for place, value in (overrides or {}).items():
        _override(values, place, value)
    if _named_pool(values, path.parent) != own:
        _forget_words(values, overrides or {})
    return check_recipe(values, path.parent, str(path))


def check_recipe(values: dict[str, Any], folder: Path, name: str = "recipe") -> Recipe:
    """Check and bind the sections of a recipe; relative files are looked up in `folder`."""
    fault = not_plain(values)
    if fault is not None:  # nothing else is safe to look at
        raise BadRecipe(f"`{name}` has 1 problem:\n  - {fault}")
    refuse_tokens(values, name)
    problems = Problems()
    for key in values:
        if key not in SECTIONS:
            problems.append(f"`{key}` is unknown.{close_to(key, SECTIONS)} Known: {', '.join(SECTIONS)}.")
    problems.extend(
        f"`{key}` is missing, expected a section." for key in ("pool", "score", "select") if key not in values
    )
    pool = _section(PoolSection, values, "pool", problems, folder)
    anchors = _section(AnchorSection, values, "anchors", problems, folder)
    score = _section(ScoreSection, values, "score", problems, folder)
    train = _section(TrainSection, values, "train", problems, folder)
    publish = _section(PublishSection, values, "publish", problems, folder) or PublishSection()
    rule = _named(values["select"], "select", RULES, problems) if "select" in values else None
    beside = {
        arm: _named(spec, f"train.beside.{arm}", RULES, problems)
        for arm, spec in (train.beside if train else {}).items()
    }
    rows = {
        "pool": _rows(pool or _source_only(values.get("pool"), folder), "pool", problems),
        "anchors": _rows(anchors, "anchors", problems),
        "evaluation": _rows(train.evaluation if train else None, "train.evaluation", problems),
    }
    scorers = _scorers(score, score.proxy if score else None, rows, pool.labels if pool else Labels(), problems)
    all_scorers = score is not None and len(scorers) == len(score.scorers)
    check_models(score, train, problems)
    check_rows(rows, pool.labels if pool else Labels(), [rule, *beside.values()], scorers, all_scorers, problems)
    there = rows["evaluation"].column_names if rows["evaluation"] is not None else ("prompt", "completion")
    if train and train.answers and not {"prompt", "completion"} <= set(there):
        problems.append(
            f"`train.answers` is true, expected `prompt` and `completion` in `train.evaluation`, not {there}."
        )
    for where, settings in (("train.target", train and train.target), ("score.warm_up", score and score.warm_up)):
        if settings:
            try:
                settings.check()
            except DataselError as error:
                problems.extend(f"`{where}`: {line}" for line in str(error).splitlines())
    if problems or pool is None or score is None or rule is None:
        more = [f"and {len(problems) - MOST_SAID} more."] if len(problems) > MOST_SAID else []
        lines = "\n".join(f"  - {problem}" for problem in [*problems[:MOST_SAID], *more])
        raise BadRecipe(f"`{name}` has {len(problems)} problem{'s' * (len(problems) != 1)}:\n{lines}")
    resolved = {"pool": plain(pool), "score": plain(score), "select": values["select"], "publish": plain(publish)}
    resolved |= {key: plain(section) for key, section in (("anchors", anchors), ("train", train)) if section}
    return Recipe(
        pool, score, values["select"], anchors, train, publish, tuple(scorers), rule,
        {arm: its for arm, its in beside.items() if its is not None},
        {key: resolved[key] for key in SECTIONS if key in resolved},
        rows["pool"], rows["anchors"], rows["evaluation"],
    )  # fmt: skip


def scorers_on(recipe: Recipe, proxy: Proxy | None) -> tuple[Scorer | Learner, ...]:
    """The recipe's scorers on another proxy, for example the warmed-up one."""
    problems = Problems()
    rows = {"anchors": recipe.anchor_rows, "evaluation": recipe.evaluation_rows}
    found = _scorers(recipe.score, proxy, rows, recipe.pool.labels, problems)
    if problems:
        raise BadRecipe("\n".join(problems))
    return tuple(found)


def _section(cls: type[Any], values: Mapping[str, Any], key: str, problems: Problems, folder: Path) -> Any:
    if key not in values:
        return None
    section = bind(cls, values[key], key, problems)
    if section is None and values[key] is not None:
        problems.unread |= {key, *(place for place in PLACES.values() if place.startswith(f"{key}."))}
    if isinstance(section, Source):
        return _beside(section, folder)
    if isinstance(section, TrainSection):
        target = replace(section.target, target=_local(section.target.target, folder))
        return replace(section, evaluation=_beside(section.evaluation, folder), target=target)
    if isinstance(section, ScoreSection):
        proxy = section.proxy and replace(section.proxy, model=_local(section.proxy.model, folder))
        return replace(section, proxy=proxy, scorers=_local_models(section.scorers, folder))
    return section


def _local_models(value: Any, folder: Path) -> Any:
    """Plain values with local paths where a scorer names a model or a prompt of its own, however deep."""
    if isinstance(value, Mapping):
        return {
            key: _local(item, folder)
            if isinstance(item, str) and PATHS.search(str(key))
            else _local_models(item, folder)
            for key, item in value.items()
        }
    return [_local_models(item, folder) for item in value] if isinstance(value, list) else value


def _source_only(values: Any, folder: Path) -> Source | None:
    """Where the rows come from, of a section with faults elsewhere: so that missing columns are found in the same go."""
    known = (
        {key: values[key] for key in Source.__dataclass_fields__ if key in values} if isinstance(values, dict) else {}
    )
    source = bind(Source, known, "", Problems())
    return source and _beside(source, folder)


def _beside(source: Any, folder: Path) -> Any:
    root = None if source.media_root is None else str((folder / source.media_root).resolve())
    return replace(source, path=_local(source.path, folder), media_root=root)


def _local(path: str, folder: Path) -> str:
    """A path relative to the recipe, when there is something; otherwise as it stands (a Hub id)."""
    return str((folder / path).resolve()) if os.path.exists(folder / path) else path


def _named(spec: Any, where: str, known: Mapping[str, Any], problems: Problems, **given: Any) -> Any:
    """`{ClassName: {arguments}}` as an instance of one of the known classes."""
    if not isinstance(spec, Mapping) or len(spec) != 1:
        problems.append(f"`{where}` is {shown(spec)}, expected one class with its arguments, of {', '.join(known)}.")
        return None
    name, arguments = next(iter(spec.items()))
    if name not in known:
        problems.append(f"`{where}.{name}` is unknown.{close_to(name, known)} Known: {', '.join(known)}.")
        return None
    cls = known[name]
    fields = cls.__dataclass_fields__
    # What the recipe does not have is missed only where the class cannot do without.
    wanted = {
        key: value
        for key, value in given.items()
        if key in fields and not (value is None and fields[key].default is not MISSING)
    }
    for key, value in wanted.items():
        if value is None:
            place = PLACES.get(key, key)
            if place in problems.unread:
                return None
            problems.append(f"`{where}.{name}` needs `{place}`, expected it in the recipe. Add that section.")
            return None
    if not isinstance(arguments, Mapping | None):
        problems.append(f"`{where}.{name}` is {shown(arguments)}, expected a mapping of {name}'s arguments.")
        return None
    arguments = dict(arguments or {})
    if "scorer" in fields and "scorer" in arguments:  # one that calls another: `MISS`
        wanted["scorer"] = _named(arguments.pop("scorer"), f"{where}.{name}.scorer", known, problems, **given)
        if wanted["scorer"] is None:
            return None
    return bind(cls, arguments, f"{where}.{name}", problems, **wanted)


def _scorers(
    section: ScoreSection | None, proxy: Proxy | None, rows: Mapping[str, Any], labels: Labels, problems: Problems
) -> list[Scorer | Learner]:
    found = []
    for number, spec in enumerate(section.scorers if section else []):
        scorer = _named(
            spec, f"score.scorers[{number}]", SCORERS, problems,
            proxy=proxy, labels=labels, anchors=rows["anchors"], validation=rows["anchors"], queries=rows["anchors"],
            evaluation=rows["evaluation"],
        )  # fmt: skip
        if scorer is not None:
            found.append(scorer)
    return found


def _rows(source: Source | None, where: str, problems: Problems) -> Any:
    if source is None:
        return None
    problems.unread.add(where)
    try:
        dataset = source.load()
        problems.unread.discard(where)
        return dataset
    except (OSError, ValueError, DataselError) as error:
        problems.append(f"`{where}.path` {source.path!r} cannot be read: {error}")
    except Exception as error:
        # datasets wraps what its readers raise; a broken file is the user's to mend, so it joins the list.
        if type(error).__module__.split(".")[0] != "datasets":
            raise
        problems.append(f"`{where}.path` {source.path!r} cannot be read: {error}")
    return None


def _named_pool(values: Mapping[str, Any], folder: Path) -> tuple[Any, Any]:
    """Which rows a recipe names."""
    pool = values.get("pool")
    if not isinstance(pool, Mapping):
        return pool, None
    place = pool.get("path")
    return _local(place, folder) if isinstance(place, str) else place, pool.get("name")


def _forget_words(values: dict[str, Any], overrides: Mapping[str, Any]) -> None:
    """Leave out what `publish` says of the recipe's own rows: of others it would be false."""
    section = values.get("publish")
    if not isinstance(section, Mapping) or "publish" in overrides:
        return
    untrue = [name for name in WORDS if name in section and f"publish.{name}" not in overrides]
    if untrue:
        values["publish"] = {name: value for name, value in section.items() if name not in untrue}
        logger.warning(
            "The pool is another than the recipe's own: its words about rows are left out of the card (%s). Give yours "
            "with --set %s=...", ", ".join(f"publish.{name}" for name in untrue), f"publish.{untrue[0]}",
        )  # fmt: skip


def _override(values: dict[str, Any], place: str, value: Any) -> None:
    *parents, last = place.split(".")
    for key in parents:
        values = values.setdefault(key, {})
        if not isinstance(values, dict):
            raise BadRecipe(f"`--set {place}` goes through {key!r}, which is {shown(values)}, expected a section.")
    values[last] = value
