"""What a published selection consists of, written to a folder: the same tree goes to the Hub."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from hf_datasel.errors import PublishError
from hf_datasel.hub.card import scorer_line
from hf_datasel.hub.provenance import FILE, Source, provenance, shareable, write_json
from hf_datasel.reports.row_text import prompt_and_answer
from hf_datasel.rows.identity import ROW_ID, content_only, row_digest
from hf_datasel.selectors import Selection


if TYPE_CHECKING:
    from datasets import Dataset

RANK = "selection_rank"
SCORED = "-scored"  # behind the name of the kept rows: all rows with their scores
ROWS_SHOWN = 3
CHARACTERS_SHOWN = 300
SPLIT = "train"
TAGS = ("hf_datasel", "data-selection")


def without_places(selection: Selection) -> Selection:
    """The selection with the specs of its scorers as they may be shown to others (see `shareable`)."""
    return replace(selection, scorers=tuple(shareable(spec) for spec in selection.scorers))


def tables(selection: Selection, config_name: str, light: bool) -> dict[str, Dataset]:
    """The configurations of the dataset repository, by name, the selection's own first.

    Args:
        selection: bound to its pool.
        config_name: of the kept rows; all rows with their scores are `<config_name>-scored`.
        light: ids, scores and ranks of all rows instead, as one configuration without any content.

    Raises:
        PublishError: the pool already has a column `selection_rank`.
    """
    pool = selection.pool
    if pool is None or not selection.num_kept:
        raise PublishError(
            "`selection` has no rows, expected some. Bind it to its pool with `apply(pool)`; an empty selection cannot be "
            "published."
        )
    if RANK in pool.column_names:
        raise PublishError(f"`selection` has rows with a column {RANK!r}, which publishing adds. Rename that column.")
    ranks: list[int | None] = [None] * selection.num_rows
    for place, index in enumerate(selection.indices.tolist(), start=1):
        ranks[index] = place
    ranked = pool.with_format(None).add_column(RANK, _nullable(ranks))
    if light:
        column = selection.rule.get("column")
        names = [ROW_ID, column, f"{column}_status", RANK]
        return {config_name: ranked.select_columns([name for name in names if name in ranked.column_names])}
    return {config_name: ranked.select(selection.indices), f"{config_name}{SCORED}": ranked}


def write_files(
    folder: Path, selection: Selection, config_name: str, sources: tuple[Source, ...], plots: bool
) -> dict[str, Any]:
    """`selections/<config_name>/` and `assets/<config_name>/`; what `provenance.json` there says."""
    own = folder / "selections" / config_name
    selection.save(own)
    said = provenance(selection, own, sources)
    write_json(own / FILE, said)
    if plots and "column" in selection.rule:
        from hf_datasel.reports.plots import plot_histogram
        from hf_datasel.reports.scales import scale_of

        assets = folder / "assets" / config_name
        assets.mkdir(parents=True, exist_ok=True)
        column = selection.rule["column"]
        plot_histogram(
            selection.scores, assets / "histogram.png", threshold=selection.threshold, kept=selection.mask, name=column,
            scale=scale_of(column, selection.scorers),
        )  # fmt: skip
    return said


def write_tables(folder: Path, found: Mapping[str, Dataset]) -> dict[str, Any]:
    """The rows as Parquet in the layout of `push_to_hub`, and the YAML that goes with it."""
    from datasets import Features

    configs, infos = [], []
    for name, table in found.items():
        path = folder / name / f"{SPLIT}-00000-of-00001.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        embedded(table).to_parquet(str(path))
        configs.append({"config_name": name, "data_files": [{"split": SPLIT, "path": f"{name}/{SPLIT}-*"}]})
        features: Features = table.features
        split = {"name": SPLIT, "num_examples": len(table), "num_bytes": path.stat().st_size}
        infos.append({"config_name": name, "features": features._to_yaml_list(), "splits": [split]})
    return {"configs": configs, "dataset_info": infos}


def embedded(table: Dataset) -> Dataset:
    """The table with images and videos in it, not their places on this machine; `push_to_hub` does the same."""
    from datasets.table import embed_table_storage

    if not only_embedded(table).column_names:
        return table
    return table.with_format("arrow").map(embed_table_storage, batched=True, batch_size=100).with_format(None)


def only_embedded(table: Dataset) -> Dataset:
    """The columns whose files go along when the table does."""
    from datasets.features.features import require_storage_embed

    return table.select_columns([name for name, feature in table.features.items() if require_storage_embed(feature)])


def card_values(
    selection: Selection,
    said: Mapping[str, Any],
    repo_id: str,
    config_name: str,
    light: bool,
    plots: bool,
    about: Mapping[str, Any],
) -> dict[str, Any]:
    """What the card says, as JSON-like values for `dataset_card.md.jinja`.

    Args:
        selection: bound to its pool.
        said: its provenance.
        repo_id, config_name, light, plots: what is published and how.
        about: `title`, `about`, `limits`, `license`, `sources` and `results`, all optional but the sources.
    """
    column = selection.rule.get("column")
    fields = ", ".join(f"{name}={value!r}" for name, value in selection.rule.items() if name != "rule")
    return {
        "title": about.get("title") or f"{repo_id}, {config_name}",
        "about": about.get("about") or "",
        "limits": about.get("limits") or "",
        "license": about.get("license"),
        "sources": [
            {"title": shareable(source.title, "dataset"), "license": source.license} for source in about["sources"]
        ],
        "results": about.get("results"),
        "repo_id": repo_id,
        "config_name": config_name,
        "light": light,
        "plots": plots and column is not None,
        "rule": f"{selection.rule['rule']}({fields})",
        "column": column,
        "threshold": selection.threshold,
        "counts": said["counts"],
        "kept_ids_sha256": said["kept_ids_sha256"],
        "versions": said["versions"],
        "scorers": [scorer_line(spec) for spec in selection.scorers],
        "statuses": _statuses(selection, column),
        "rows_shown": [] if light or column is None else _rows_shown(selection),
        "ids_from_content": _ids_from_content(selection),
    }


def with_section(readme: str, config_name: str, section: str) -> str:
    """A README's text with the section of one selection put in place of an older one, or behind everything else.

    Example:
        >>> print(with_section("Mine.", "top", "# Top"))
        Mine.
        <BLANKLINE>
        <!-- hf_datasel: top -->
        # Top
        <!-- hf_datasel: end of top -->
        <BLANKLINE>
    """
    begin, end = f"<!-- hf_datasel: {config_name} -->", f"<!-- hf_datasel: end of {config_name} -->"
    whole = f"{begin}\n{section.strip()}\n{end}\n"
    if begin in readme and end in readme:
        before, _, rest = readme.partition(begin)
        return before + whole + rest.partition(end)[2].lstrip("\n")
    return f"{readme.rstrip()}\n\n{whole}" if readme.strip() else whole


def with_metadata(metadata: Mapping[str, Any], config_name: str, about: Mapping[str, Any]) -> dict[str, Any]:
    """The YAML of a README with what a selection adds; what is there stays.

    The selection becomes the default configuration where there is none yet.
    """
    found = dict(metadata)
    if about.get("license"):
        found.setdefault("license", about["license"])
    found["tags"] = list(dict.fromkeys([*(found.get("tags") or []), *TAGS]))
    origins = [source.dataset for source in about["sources"] if re.fullmatch(r"[\w.-]+/[\w.-]+", source.dataset)]
    if origins or found.get("source_datasets"):
        found["source_datasets"] = list(dict.fromkeys([*(found.get("source_datasets") or []), *origins]))
    configs = [dict(config) for config in as_list(found.pop("configs", None))]
    if not any(config.get("default") or config["config_name"] == "default" for config in configs):
        for config in configs:
            if config["config_name"] == config_name:
                config["default"] = True
    # `push_to_hub` appends what it adds: in a fixed order, the same selection gives the same README again.
    infos = sorted(as_list(found.pop("dataset_info", None)), key=_config_name)
    return {**dict(sorted(found.items())), "configs": sorted(configs, key=_config_name), "dataset_info": infos}


def _config_name(entry: Mapping[str, Any]) -> str:
    return str(entry.get("config_name", "default"))


def without_configs(metadata: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """The YAML of a README without some of its configurations.

    Example:
        >>> without_configs({"license": "mit", "configs": [{"config_name": "top"}]}, ("top",))
        {'license': 'mit'}
    """
    found = dict(metadata)
    for key in ("configs", "dataset_info"):
        left = [entry for entry in as_list(found.pop(key, None)) if entry.get("config_name") not in names]
        if left:
            found[key] = left
    return found


def as_list(entries: Any) -> list[dict[str, Any]]:
    """What a README's YAML holds under `dataset_info`: a list, or a single configuration without one."""
    if not entries:
        return []
    return list(entries) if isinstance(entries, list) else [entries]


def readme_text(metadata: Mapping[str, Any], body: str) -> str:
    """A README as the Hub reads it."""
    header = yaml.safe_dump(dict(metadata), sort_keys=False, allow_unicode=True, width=10_000)
    return f"---\n{header}---\n\n{body.lstrip()}"


def _rows_shown(selection: Selection) -> list[dict[str, Any]]:
    """The best and the worst rows by score."""
    order = np.argsort(-selection.scores, kind="stable")
    scored = order[: int(np.isfinite(selection.scores).sum())]
    best = selection.indices[:ROWS_SHOWN].tolist()
    worst = [index for index in scored[::-1][:ROWS_SHOWN].tolist() if not selection.mask[index]]
    groups = [("Best of the kept rows", best), ("Worst of the dropped rows", worst)]
    return [
        {"title": title, "rows": [_row_shown(selection, index) for index in indices]}
        for title, indices in groups
        if len(indices)
    ]


def _row_shown(selection: Selection, index: int) -> dict[str, Any]:
    assert selection.pool is not None  # noqa: S101 (checked by `tables`)
    prompt, answer = prompt_and_answer(content_only(selection.pool)[index])
    return {"score": float(selection.scores[index]), "prompt": _clip(prompt), "answer": _clip(answer)}


def _clip(text: str) -> str:
    return text if len(text) <= CHARACTERS_SHOWN else text[:CHARACTERS_SHOWN].rstrip() + " …"


def _statuses(selection: Selection, column: str | None) -> list[dict[str, Any]]:
    if selection.pool is None or f"{column}_status" not in selection.pool.column_names:
        return []
    counted = Counter(selection.pool[f"{column}_status"][:])
    return [{"status": status, "rows": count} for status, count in counted.most_common()]


def _ids_from_content(selection: Selection) -> bool:
    assert selection.pool is not None  # noqa: S101 (checked by `tables`)
    first = content_only(selection.pool.select([0]))[0]
    return str(selection.pool[ROW_ID][0]) == row_digest(first)


def _nullable(ranks: list[int | None]) -> Any:
    import pyarrow as pa

    return pa.array(ranks, pa.int64())
