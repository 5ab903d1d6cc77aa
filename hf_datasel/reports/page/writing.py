"""Writes the report page: one HTML file with everything in it."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hf_datasel.contracts import Indices
from hf_datasel.errors import DataselError
from hf_datasel.reports.page.packing import blocks, by_interest, packed
from hf_datasel.reports.page.pictures import pictures
from hf_datasel.reports.page.table import (
    STATUS,
    TOKENS,
    coded_texts,
    copies,
    fact_columns,
    group_columns,
    read_scores,
    score_columns,
)
from hf_datasel.reports.page.texts import PLAIN, fact, painted, said
from hf_datasel.reports.scales import scale_of
from hf_datasel.rows import with_row_ids
from hf_datasel.rows.identity import CONTENT_COLUMNS, MEDIA_COLUMNS, ROW_ID, with_encoded_media
from hf_datasel.selectors.columns import read_row_ids


if TYPE_CHECKING:
    from datasets import Dataset

    from hf_datasel.selectors import Selection

BUDGET = 24_000_000
OWN_BYTES = 150_000  # of the page itself, its script and the words about the run
SCRIPTS = ("data", "words", "threshold", "histogram", "curve", "summary", "cards", "rows", "main")


def write_report(
    scored: Dataset,
    path: str | Path,
    *,
    selections: Mapping[str, Selection] | None = None,
    column: str | None = None,
    title: str = "Selection report",
    about: str = "",
    scores: Mapping[str, str] | None = None,
    group: str | None = None,
    build: Mapping[str, Any] | None = None,
    results: Mapping[str, Any] | None = None,
    costs: Sequence[Mapping[str, Any]] = (),
    text_field: str = PLAIN,
    budget: int = BUDGET,
) -> Path:
    """Write a page to look at a scored pool: one HTML file that works offline and never asks the network for anything.

    A histogram with a threshold to drag, shares of groups, rows to read (with thumbnails, and token by token where the
    scorer wrote utilities of tokens), search over all rows, and whatever is known of constraints, results and cost.

    All scores are in the file. Utilities of tokens go in until a sixth of `budget` is spent, then texts, then pictures, for
    which a third is kept free; those of rows near the top, the bottom and the cut first. The page says of how many rows it
    has them.

    Args:
        scored: N rows with at least one score.
        path: the file to write, for example `report.html`. Missing folders are made.
        selections: by name, the one that counts first; made from `scored`, in its row order.
        column: the score that counts; by default that of the first selection's rule, or the first there is.
        title, about: heading, and a sentence or two on what was selected from what.
        scores: by column, what a score measures, in words.
        group: the column whose groups are shown first.
        build: what a rule that builds to constraints reports (`GoalBuild.report`).
        results: figures of a run, as `Run.report` writes them.
        costs: lines of the ledger: `{"what": …, "rows": …, "seconds": …}`.
        text_field: the column of plain text.
        budget: bytes of the file, at most, as long as the scores alone do not take more.

    Raises:
        DataselError: there is no score, or no column of that name, or a selection is of other rows.
        MissingExtra: the rows have images, and Pillow is not installed.

    Example:
        >>> from tempfile import mkdtemp
        >>> from datasets import Dataset
        >>> scored = Dataset.from_dict({"text": ["a", "b"], "s": [0.5, None], "s_status": ["ok", "no_targets"]})
        >>> write_report(scored, f"{mkdtemp()}/report.html").name
        'report.html'
    """
    scored = with_row_ids(scored.with_format(None))
    for name, its in (selections or {}).items():
        _refuse_others(scored, name, its)
    chosen = next(iter(selections.values()), None) if selections else None
    names = score_columns(scored, column or (chosen.rule.get("column") if chosen else None))
    groups = group_columns(scored, names, text_field)
    specs = chosen.scorers if chosen else ()
    table = _table(scored, names, groups, selections or {}, text_field)
    main = np.array([np.nan if value is None else value for value in table["scores"][names[0]]])
    order = by_interest(main, chosen.num_kept if chosen else len(main) // 2)
    first = [group] if group in groups else []
    about_page: dict[str, Any] = {
        "title": title, "about": about, "rows": len(scored), "scores": [_score(name, scores or {}, specs) for name in names],
        "groups": list(dict.fromkeys([*first, *groups])), "facts": fact_columns(scored, names, text_field),
        "has_tokens": all(name in scored.column_names for name in TOKENS),
        "has_pictures": any(name in scored.column_names for name in MEDIA_COLUMNS),
        "selections": {name: _rule(its) for name, its in (selections or {}).items()},
        "build": build, "results": results, "costs": list(costs),
        "made": _made(chosen),
    }  # fmt: skip
    columns = packed(table)
    room = budget - len(columns) - OWN_BYTES
    # Texts are searched, so they come first; a share is kept free for what is looked at row by row.
    tokens = blocks(_tokens(scored, order), room // 6)
    room -= sum(map(len, tokens))
    kept_free = room // 3 if about_page["has_pictures"] else 0
    texts = blocks(_texts(scored, order, about_page["facts"], text_field), room - kept_free)
    shown = blocks(_pictures(scored, order), room - sum(map(len, texts)))
    parts = {"columns": [columns], "texts": texts, "tokens": tokens, "pictures": shown}
    return _write(Path(path), _page(about_page, parts))


def _refuse_others(scored: Dataset, name: str, selection: Selection) -> None:
    if not selection.row_ids.equals(read_row_ids(scored)):
        raise DataselError(
            f"`selections` has {name!r}, made from {selection.num_rows} rows that are not those of `scored` in their order, "
            f"expected the same {len(scored)}. Bind it first: `selection.apply(scored)`."
        )


def _table(
    scored: Dataset, names: Sequence[str], groups: Any, selections: Mapping[str, Selection], text_field: str
) -> dict[str, Any]:
    values = {name: read_scores(scored, name) for name in names}
    return {
        "ids": [str(row_id) for row_id in scored[ROW_ID][:]],
        "scores": {name: [None if np.isnan(v) else v for v in its.tolist()] for name, its in values.items()},
        "status": {
            name: coded_texts(scored[f"{name}{STATUS}"][:])
            for name in names
            if f"{name}{STATUS}" in scored.column_names
        },
        "groups": groups,
        "kept": {name: its.indices.tolist() for name, its in selections.items()},
        "copies": copies(scored, text_field),
    }


def _texts(scored: Dataset, order: Indices, facts: Sequence[str], text_field: str) -> Iterator[tuple[int, Any]]:
    wanted = {*CONTENT_COLUMNS, text_field, *facts} - {*MEDIA_COLUMNS}
    rows = scored.select_columns([name for name in scored.column_names if name in wanted]).select(order)
    for number, row in zip(order.tolist(), rows, strict=True):
        yield number, [said(row, text_field), [fact(row.get(name)) for name in facts]]


def _tokens(scored: Dataset, order: Indices) -> Iterator[tuple[int, Any]]:
    if all(name in scored.column_names for name in TOKENS):
        for number, row in zip(order.tolist(), scored.select_columns(list(TOKENS)).select(order), strict=True):
            found = painted(*(row[name] for name in TOKENS))
            if found is not None:
                yield number, found


def _pictures(scored: Dataset, order: Indices) -> Iterator[tuple[int, Any]]:
    names = [name for name in scored.column_names if name in MEDIA_COLUMNS]
    if names:
        rows = with_encoded_media(scored.select_columns(names)).select(order)
        for number, row in zip(order.tolist(), rows, strict=True):
            yield number, pictures(row)


def _score(name: str, known: Mapping[str, str], specs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    scale = scale_of(name, specs)
    return {"name": name, "words": known.get(name, ""), "is_utility": scale.toxic_below_zero, "unit": scale.unit}


def _rule(selection: Selection) -> str:
    fields = ", ".join(f"{name}={value!r}" for name, value in selection.rule.items() if name != "rule")
    return f"{selection.rule['rule']}({fields})"


def _made(chosen: Selection | None) -> dict[str, Any]:
    """How the selection was made, for whoever wants to do it again."""
    return {"versions": chosen.versions, "data": chosen.data, "scorers": list(chosen.scorers)} if chosen else {}


def _page(about: Mapping[str, Any], parts: Mapping[str, Sequence[str]]) -> str:
    """The HTML: what the user's rows bring is in script elements of data only, which nothing ever parses as HTML."""
    here = files("hf_datasel.reports.page")
    library = here.joinpath("uplot/uPlot.iife.min.js").read_text(encoding="utf-8")
    script = "\n".join(here.joinpath(f"js/{name}.js").read_text(encoding="utf-8") for name in SCRIPTS)
    style = "\n".join(here.joinpath(name).read_text(encoding="utf-8") for name in ("uplot/uPlot.min.css", "page.css"))
    policy = (
        f"default-src 'none'; script-src {_hash(library)} {_hash(script)}; style-src {_hash(style)}; img-src data:; "
        f"base-uri 'none'; form-action 'none'"
    )
    told = json.dumps(about, default=str, allow_nan=False).replace("<", "\\u003c")
    data = [
        f'<script type="text/plain" data-part="{name}">{block}</script>'
        for name, its in parts.items()
        for block in its
    ]
    values = {
        "policy": policy, "title": html.escape(str(about["title"])), "style": style, "library": library,
        "script": script, "about": told, "data": "\n".join(data),
    }  # fmt: skip
    # Split, not replaced one by one: a value may hold what looks like another's place.
    pieces = here.joinpath("page.html").read_text(encoding="utf-8").split("%%")
    return "".join(values[piece] if number % 2 else piece for number, piece in enumerate(pieces))


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _write(path: Path, page: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    partial.write_text(page, encoding="utf-8", newline="\n")
    os.replace(partial, path)
    return path
