"""The journal: finished rows on disk, so that a stopped run loses at most the batch in flight."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from hashlib import blake2b
from pathlib import Path
from typing import Any

from hf_datasel.errors import DataselError


SECONDS_TO_WAIT = 60


class Journal:
    """A SQLite file of finished rows, keyed by what scored them and by their content.

    Another scorer setting, proxy or row is another key, so a journal never answers for something else. Several
    processes may share one.

    Args:
        path: the file, made with its folder when missing.

    Raises:
        DataselError: the file is not a journal, or is damaged.

    Example:
        >>> import tempfile
        >>> journal = Journal(Path(tempfile.mkdtemp()) / "journal.sqlite")
        >>> journal.put({"scorer": "Length"}, {"row a": {"length": 3.0}})
        >>> journal.get({"scorer": "Length"}, ["row a", "row b"])
        {'row a': {'length': 3.0}}
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        give_up = time.monotonic() + SECONDS_TO_WAIT
        while not self._prepared():
            if time.monotonic() > give_up:
                raise DataselError(
                    f"`journal` {str(self.path)!r} has been locked by another process for {SECONDS_TO_WAIT} s, expected "
                    f"a turn. Stop that process, or name another journal."
                )
            time.sleep(0.05)

    def get(self, spec: Mapping[str, Any], digests: Sequence[str]) -> dict[str, dict[str, Any]]:
        """The finished ones among the rows named by `digests`, with their columns."""
        key, found = spec_key(spec), {}
        with closing(self._open()) as connection:
            for start in range(0, len(digests), 500):
                some = list(digests[start : start + 500])
                query = f"select row, columns from rows where scorer = ? and row in ({','.join('?' * len(some))})"  # noqa: S608 (placeholders only)
                found.update({row: json.loads(columns) for row, columns in connection.execute(query, (key, *some))})
        return found

    def put(self, spec: Mapping[str, Any], rows: Mapping[str, Mapping[str, Any]]) -> None:
        """Keep the columns of finished rows; on disk when this returns. Floats keep every bit, NaN included."""
        key = spec_key(spec)
        records = [(key, digest, json.dumps(dict(columns))) for digest, columns in rows.items()]
        with closing(self._open()) as connection, connection:
            connection.executemany("insert or replace into rows values (?, ?, ?)", records)

    def _prepared(self) -> bool:
        """Make the table. SQLite does not wait for its turn to switch to a write-ahead log, so the caller does."""
        try:
            with closing(self._open()) as connection, connection:
                connection.execute("pragma journal_mode=wal")
                connection.execute(
                    "create table if not exists rows (scorer text, row text, columns text, primary key (scorer, row))"
                    " without rowid"
                )
        except sqlite3.DatabaseError as error:
            if "locked" in str(error):
                return False
            raise DataselError(
                f"`journal` {str(self.path)!r} cannot be read ({error}), expected a SQLite file of finished rows. Move it "
                f"away to start a new one; nothing else is lost."
            ) from error
        return True

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, timeout=SECONDS_TO_WAIT)


def spec_key(spec: Mapping[str, Any]) -> str:
    """A short key for a JSON-like spec, the same in every process.

    Example:
        >>> spec_key({"a": 1, "b": 2}) == spec_key({"b": 2, "a": 1})
        True
    """
    canonical = json.dumps(spec, sort_keys=True, default=list)
    return blake2b(canonical.encode(), digest_size=12).hexdigest()
