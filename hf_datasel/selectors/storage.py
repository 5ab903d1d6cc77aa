"""How a selection lies on disk: `selection.json` says how it was made, `rows.parquet` holds its rows."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hf_datasel.errors import DataselError, shown
from hf_datasel.rows.identity import ROW_ID


if TYPE_CHECKING:
    from hf_datasel.selectors.selection import Selection

FORMAT = 1
MANIFEST = "selection.json"
ROWS = "rows.parquet"
PARTS: dict[str, type] = {"rule": dict, "scorers": list, "data": dict, "versions": dict}


def save(selection: Selection, folder: Path) -> Path:
    """Write a selection into a folder, each file in one piece."""
    folder.mkdir(parents=True, exist_ok=True)
    ranks = np.zeros(selection.num_rows, dtype=np.int64)
    ranks[selection.indices] = np.arange(1, selection.num_kept + 1)
    rows = pa.table(
        {
            ROW_ID: selection.row_ids,
            "score": pa.array(selection.scores, mask=np.isnan(selection.scores)),
            "rank": pa.array(ranks, mask=ranks == 0),
        }
    )
    _write_whole(folder / ROWS, lambda path: pq.write_table(rows, path))
    manifest = {
        "format": FORMAT,
        "rule": selection.rule,
        "scorers": list(selection.scorers),
        "data": selection.data,
        "versions": selection.versions,
        "threshold": selection.threshold,
        "counts": {
            "rows": selection.num_rows,
            "kept": selection.num_kept,
            "dropped": selection.num_rows - selection.num_kept,
            "not_scored": selection.num_not_scored,
        },
        # Two files cannot be replaced in one piece: the digest tells whether they belong together.
        "rows_digest": _digest(folder / ROWS),
    }
    text = json.dumps(manifest, indent=2) + "\n"
    _write_whole(folder / MANIFEST, lambda path: path.write_text(text, encoding="utf-8"))
    return folder


def load(folder: Path) -> dict[str, Any]:
    """Read a folder `save` wrote, as the fields of a Selection without its pool.

    Raises:
        DataselError: a file is missing or damaged, the two do not belong together, or the format is not known.
    """
    for name in (MANIFEST, ROWS):
        if not (folder / name).is_file():
            raise DataselError(
                f"`folder` is {str(folder)!r}, which has no {name}, expected a folder `Selection.save` wrote. "
                f"Correct the path, or save the selection again."
            )
    manifest = _manifest(folder)
    if manifest.get("format") != FORMAT:
        raise DataselError(
            f"`folder` {str(folder)!r} holds a selection of format {manifest.get('format')!r}, expected {FORMAT}. "
            f"Load it with the version of hf_datasel that wrote it: {manifest.get('versions')}."
        )
    if manifest.get("rows_digest") != _digest(folder / ROWS):
        raise DataselError(
            f"`folder` {str(folder)!r} holds a {ROWS} that its {MANIFEST} was not written with, expected a pair: "
            f"saving was interrupted, or one of them was changed. Save the selection again."
        )
    return {
        **_rows(folder, looks_at_scores="column" in manifest["rule"]),
        "rule": manifest["rule"],
        "scorers": tuple(manifest["scorers"]),
        "data": manifest["data"],
        "versions": manifest["versions"],
    }


def _manifest(folder: Path) -> dict[str, Any]:
    """How the selection was made, as far as its parts are of the right kinds."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(folder, MANIFEST, str(error)) from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        return manifest if isinstance(manifest, dict) else {}
    for name, kind in PARTS.items():
        if not isinstance(manifest.get(name), kind):
            raise _damaged(folder, MANIFEST, f"{name!r} is {shown(manifest.get(name))}, expected a {kind.__name__}")
    if not isinstance(manifest["rule"].get("rule"), str) or not all(
        isinstance(its, dict) for its in manifest["scorers"]
    ):
        raise _damaged(folder, MANIFEST, "it names no rule, or its scorers are not described")
    return manifest


def _rows(folder: Path, looks_at_scores: bool) -> dict[str, Any]:
    """Ids, scores and the order of what is kept, checked: a file with the right digest may still be one's own."""
    try:
        rows = pq.read_table(folder / ROWS).combine_chunks()
        ids, scores, ranks = (_one_array(rows.column(name)) for name in (ROW_ID, "score", "rank"))
        row_ids = ids.cast(pa.large_string())
        row_ids.validate(full=True)  # what is no UTF-8 would fail later
        scores = scores.cast(pa.float64()).to_numpy(zero_copy_only=False)
        ranks = ranks.cast(pa.int64())
    except (pa.ArrowException, KeyError, OSError, ValueError) as error:
        raise _damaged(folder, ROWS, str(error)) from error
    kept = np.flatnonzero(ranks.is_valid().to_numpy(zero_copy_only=False)).astype(np.int64)
    places = ranks.drop_null().to_numpy()
    order = np.argsort(places)
    if not np.array_equal(places[order], np.arange(1, len(kept) + 1)):
        raise _damaged(folder, ROWS, "its ranks are not 1, 2, 3 and so on")
    if row_ids.null_count or pc.count_distinct(row_ids).as_py() < len(row_ids):
        raise _damaged(folder, ROWS, f"its {ROW_ID!r} are missing or repeated")
    indices = kept[order]
    if looks_at_scores and np.isnan(scores[indices]).any():
        raise _damaged(folder, ROWS, "a kept row has no score")
    return {"indices": indices, "row_ids": row_ids, "scores": scores}


def _damaged(folder: Path, name: str, why: str) -> DataselError:
    return DataselError(
        f"`folder` {str(folder)!r} holds a {name} that cannot be read ({shown(why)[1:-1]}), expected what `Selection.save` wrote. "
        f"Save the selection again."
    )


def _one_array(column: Any) -> Any:
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def _write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _digest(path: Path) -> str:
    digest = blake2b(digest_size=16)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
