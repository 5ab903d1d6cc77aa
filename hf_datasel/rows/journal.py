"""The journal: finished rows on disk, so that a stopped run loses at most the batch in flight.

Scorers consult it themselves, so a plain `Dataset.map(scorer)` resumes too.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sqlite3
import stat
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from contextvars import ContextVar
from hashlib import blake2b
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from hf_datasel.contracts import Columns
from hf_datasel.errors import DataselError, shown
from hf_datasel.rows.identity import row_digest
from hf_datasel.rows.seal import sealed, unsealed


logger = logging.getLogger(__name__)

SECONDS_TO_WAIT = 60
VARIABLE = "HF_DATASEL_JOURNAL"
OFF = "off"


class Journal:
    """A SQLite file of finished rows, keyed by what scored them and by their content.

    Another scorer setting, proxy or row is another key, so a journal never answers for something else. Several
    processes may share one. A file that is damaged, or another database, is moved aside, with a warning, and a new one
    begun. Each row is sealed with a checksum: one that was changed is scored again.

    Args:
        path: the file, made with its folder when missing.

    Raises:
        DataselError: the file cannot be written, or is held by another process.

    Example:
        >>> import tempfile
        >>> journal = Journal(Path(tempfile.mkdtemp()) / "journal.sqlite")
        >>> journal.put({"scorer": "Length"}, {"row a": {"length": 3.0}})
        >>> journal.get({"scorer": "Length"}, ["row a", "row b"])
        {'row a': {'length': 3.0}}
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._connection: sqlite3.Connection | None = None
        is_file = True
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                is_file = stat.S_ISREG(os.stat(self.path).st_mode)
        except (OSError, ValueError) as error:
            raise DataselError(
                f"`journal` is {shown(str(path))}, expected a file that can be written ({shown(str(error))}). Name another."
            ) from error
        if not is_file:
            raise DataselError(f"`journal` is {shown(str(path))}, which is no file, expected one. Name another.")
        give_up = time.monotonic() + SECONDS_TO_WAIT
        while not self._prepared():
            if time.monotonic() > give_up:
                raise DataselError(
                    f"`journal` {str(self.path)!r} has been locked by another process for {SECONDS_TO_WAIT} s, expected "
                    f"a turn. Stop that process, or name another journal."
                )
            time.sleep(0.05)

    def get(self, spec: Mapping[str, Any], digests: Sequence[str]) -> dict[str, dict[str, Any]]:
        """The finished ones among the rows named by `digests`, with their columns; not those that are damaged."""
        key, found = spec_key(spec), {}
        with self.held() as connection, self._failures_said():
            for start in range(0, len(digests), 500):
                some = list(digests[start : start + 500])
                query = f"select row, columns from rows where scorer = ? and row in ({','.join('?' * len(some))})"  # noqa: S608 (placeholders only)
                kept = {
                    (row := bytes(name).decode("utf-8", "replace")): unsealed(key, row, columns)
                    for name, columns in connection.execute(query, (key, *some))
                }
                found.update({row: columns for row, columns in kept.items() if columns is not None})
                spoilt = [(key, row) for row, columns in kept.items() if columns is None]
                if spoilt:
                    logger.warning(
                        "The journal %s holds %d damaged rows: they are scored again.", self.path, len(spoilt)
                    )
                    with connection:
                        connection.executemany("delete from rows where scorer = ? and row = ?", spoilt)
        return found

    def put(self, spec: Mapping[str, Any], rows: Mapping[str, Mapping[str, Any]]) -> None:
        """Keep the columns of finished rows; safe from a kill when this returns. Floats keep every bit, NaN included.

        A row that is there already stays as it is: copies of a row share the first one's numbers to the last bit.
        """
        key = spec_key(spec)
        records = [(key, digest, sealed(key, digest, dict(columns))) for digest, columns in rows.items()]
        with self.held() as connection, self._failures_said(), connection:
            connection.executemany("insert or ignore into rows values (?, ?, ?)", records)

    @contextlib.contextmanager
    def held(self) -> Iterator[sqlite3.Connection]:
        """One connection for all that is got and put in here, by this thread.

        Closing one waits for the disk, which takes longer than scoring a batch of short rows.
        """
        if self._connection is not None:
            yield self._connection
            return
        sound = self._is_sound()
        with self._failures_said():
            self._connection = self._open()
        try:
            yield self._connection
        finally:
            self._connection.close()
            self._connection = None
            if sound:
                self._remember()

    @contextlib.contextmanager
    def _failures_said(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise DataselError(
                f"`journal` {str(self.path)!r} failed ({error}), expected a file that can be written. What it holds is "
                f"safe. Free some space or mend the disk, and run the same again."
            ) from error

    def _is_sound(self) -> bool:
        """Whether this process has read the file through as it is, or as it was before others let it grow to twice that.

        A journal that processes share is never as one of them left it; to read it through at every turn would take longer
        with every row in it.
        """
        left, read = _SOUND.get(str(self.path), ((), 0))
        now = self._signature()
        return bool(now) and (now == left or (now[:1] == left[:1] and left[1] < now[1] < 2 * read))

    def _remember(self, read: int | None = None) -> None:
        """The file as it is now, and how many bytes of it were read through; None for as many as before."""
        _SOUND[str(self.path)] = (self._signature(), _SOUND[str(self.path)][1] if read is None else read)

    def _signature(self) -> tuple[int, ...]:
        if not self.path.exists():
            return ()
        its = self.path.stat()
        return (its.st_ino, its.st_size, its.st_mtime_ns)

    def _prepared(self) -> bool:
        """Make the table. SQLite does not wait for its turn to switch to a write-ahead log, so the caller does."""
        sound = self._is_sound()
        try:
            with closing(self._open()) as connection, connection:
                connection.execute("pragma journal_mode=wal")
                connection.execute(
                    "create table if not exists rows (scorer text, row text, columns text, primary key (scorer, row))"
                    " without rowid"
                )
                connection.execute("select scorer, row, columns from rows limit 0")
                # Reads the whole file: not again where nobody else has touched it.
                damage = (
                    "ok"
                    if sound
                    else connection.execute("pragma quick_check").fetchone()[0].decode("utf-8", "replace")
                )
            self._remember(None if sound else self.path.stat().st_size)
            if damage != "ok":
                self._put_aside(damage)
                return False
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                return False
            if "no such column" in str(error) or "already a" in str(error):
                self._put_aside("it is another database")
                return False
            advice = "Free some space, and run the same again" if "full" in str(error) else "Name another"
            raise DataselError(
                f"`journal` {str(self.path)!r} cannot be opened ({error}), expected a file that can be written. {advice}."
            ) from error
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # the latter of damaged names in a message
            self._put_aside(str(error))
            return False
        return True

    def _put_aside(self, why: str) -> None:
        aside = self.path.with_name(f"{self.path.name}.damaged-{time.time_ns()}")
        logger.warning(
            "The journal %s is damaged (%s). It is moved to %s and a new one begun: its rows are scored again, nothing "
            "else is lost.", self.path, why, aside.name,
        )  # fmt: skip
        # With its log, which may hold all of it: a database of somebody else's stays whole, also one that is in use.
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):  # another process was faster
                os.replace(f"{self.path}{suffix}", f"{aside}{suffix}")

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=SECONDS_TO_WAIT)
        # A killed process loses nothing this way; only a machine that loses power may lose the last batches.
        connection.execute("pragma synchronous=normal")
        connection.text_factory = bytes  # damaged text is no UTF-8
        # Ids are random, so every row is a page of the log: the usual thousand pages are written back, and waited for,
        # several times a chunk of rows. This is 32 MiB.
        connection.execute("pragma wal_autocheckpoint=8192")
        return connection


def spec_key(spec: Mapping[str, Any]) -> str:
    """A short key for a JSON-like spec, the same in every process.

    Example:
        >>> spec_key({"a": 1, "b": 2}) == spec_key({"b": 2, "a": 1})
        True
    """
    canonical = json.dumps(spec, sort_keys=True, default=list)
    return blake2b(canonical.encode(), digest_size=12).hexdigest()


# By path: journals this process has read through, as it left them, and how many bytes of them it read.
_SOUND: dict[str, tuple[tuple[int, ...], int]] = {}
_CHOSEN: ContextVar[str | None] = ContextVar("journal", default=None)
_PROGRESS: ContextVar[Callable[[int], Any] | None] = ContextVar("progress", default=None)


@contextlib.contextmanager
def using_journal(path: str | Path | None, progress: Callable[[int], Any] | None = None) -> Iterator[None]:
    """Scorers called in here keep finished rows in the file at `path`, and tell `progress` how many rows are done.

    Args:
        path: of the journal; None leaves the choice to the environment (see `default_journal`).
        progress: called with a number of rows, as they are finished.
    """
    chosen, told = _CHOSEN.set(str(path) if path is not None else None), _PROGRESS.set(progress)
    try:
        yield
    finally:
        _CHOSEN.reset(chosen)
        _PROGRESS.reset(told)


def default_journal() -> str | None:
    """Where scorers keep finished rows: `HF_DATASEL_JOURNAL`, or `datasel/journal.sqlite` in `HF_HOME`; None if "off"."""
    chosen = _CHOSEN.get() or os.environ.get(VARIABLE)
    if chosen == OFF:
        return None
    if chosen:
        return chosen
    home = os.environ.get("HF_HOME") or os.path.join(os.path.expanduser("~"), ".cache", "huggingface")
    return os.path.join(home, "datasel", "journal.sqlite")


class Buckets(Protocol):
    """Scores rows in batches of its own choosing, all at once or a few at a time."""

    def __call__(
        self, rows: Sequence[Mapping[str, Any]], missing: frozenset[int]
    ) -> Iterable[tuple[list[int], Columns]]:
        """Batches as (places in `rows`, columns), for every batch with a place in `missing`.

        How rows are batched must not depend on `missing`: a resumed run then computes the same numbers to the last bit.
        """
        ...


def resumed(
    spec: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    score: Buckets,
    names: Sequence[str],
    text_field: str = "text",
    settled: Callable[[Mapping[str, Any]], bool] = lambda columns: True,
) -> Columns:
    """The columns of B rows: those the journal knows from there, the others scored and put into it batch by batch.

    Copies of a row are scored once.

    Args:
        spec: of the scorer; with a row's content, the key.
        rows: B rows.
        score: scores what is missing.
        names: of the columns.
        text_field: see `row_digest`.
        settled: whether a row's columns are worth keeping; others are scored again the next time.
    """
    place = default_journal()
    journal = Journal(place) if place else None
    digests = [row_digest(row, text_field) for row in rows]
    copies = Counter(digests)
    distinct = list(copies)
    first = {digest: place for place, digest in reversed(list(enumerate(digests)))}
    with journal.held() if journal else contextlib.nullcontext():
        found = journal.get(spec, distinct) if journal else {}
        told = _PROGRESS.get() or (lambda count: None)
        told(sum(copies[digest] for digest in found))
        missing = frozenset(place for place, digest in enumerate(distinct) if digest not in found)
        if missing:
            for places, columns in score([rows[first[digest]] for digest in distinct], missing):
                fresh = {
                    distinct[place]: {name: _plain(columns[name][at]) for name in names}
                    for at, place in enumerate(places)
                    if place in missing
                }
                if journal:
                    journal.put(spec, {digest: its for digest, its in fresh.items() if settled(its)})
                found.update(fresh)
                told(sum(copies[digest] for digest in fresh))
    return {name: _column([found[digest][name] for digest in digests]) for name in names}


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else value


def _column(values: list[Any]) -> Any:
    return np.array(values, np.float64) if values and isinstance(values[0], float) else values
