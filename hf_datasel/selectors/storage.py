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
import pyarrow.parquet as pq

from hf_datasel.errors import DataselError
from hf_datasel.rows.identity import ROW_ID


if TYPE_CHECKING:
    from hf_datasel.selectors.selection import Selection

FORMAT = 1
MANIFEST = "selection.json"
ROWS = "rows.parquet"


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
        DataselError: a file is missing, the two do not belong together, or the format is not known.
    """
    for name in (MANIFEST, ROWS):
        if not (folder / name).is_file():
            raise DataselError(
                f"`folder` is {str(folder)!r}, which has no {name}, expected a folder `Selection.save` wrote. "
                f"Correct the path, or save the selection again."
            )
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    if manifest.get("format") != FORMAT:
        raise DataselError(
            f"`folder` {str(folder)!r} holds a selection of format {manifest.get('format')!r}, expected {FORMAT}. "
            f"Load it with the version of hf_datasel that wrote it: {manifest.get('versions')}."
        )
    if manifest["rows_digest"] != _digest(folder / ROWS):
        raise DataselError(
            f"`folder` {str(folder)!r} holds a {ROWS} that its {MANIFEST} was not written with, expected a pair: "
            f"saving was interrupted, or one of them was changed. Save the selection again."
        )
    rows = pq.read_table(folder / ROWS).combine_chunks()
    ranks = rows.column("rank").to_numpy()
    kept = np.flatnonzero(~np.isnan(ranks))
    return {
        "indices": kept[np.argsort(ranks[kept])].astype(np.int64),
        "row_ids": _one_array(rows.column(ROW_ID)).cast(pa.large_string()),
        "scores": rows.column("score").to_numpy().astype(np.float64),
        "rule": manifest["rule"],
        "scorers": tuple(manifest["scorers"]),
        "data": manifest["data"],
        "versions": manifest["versions"],
    }


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
