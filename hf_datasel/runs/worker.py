"""Scoring spread over processes: a pool in chunks of rows, each scored by whoever is free, on disk as soon as it is.

`python -m hf_datasel.runs JOB DIGEST` scores one process's share of a job; `torchrun` and `accelerate launch` start it.

The scorer travels as a pickle, which is a program to whoever reads it. So a worker is told the digest of the one that it
may read by whoever starts it, and not by the folder.
"""

from __future__ import annotations

import hashlib
import os
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_datasel.contracts import Scorer
from hf_datasel.errors import DataselError
from hf_datasel.rows.journal import using_journal


if TYPE_CHECKING:
    from datasets import Dataset

SCORER = "scorer.pickle"


def write_job(folder: Path, rows: Dataset, scorer: Scorer, chunk: int) -> tuple[list[Path], str]:
    """A job in a folder that all processes see: the scorer's spec, and the rows as Parquet, `chunk` in a file.

    A job that is there already is gone on with.

    Args:
        folder: of this job alone.
        rows: N rows of training content.
        scorer: what scores them.
        chunk: rows that are batched together.

    Returns:
        The files of rows, in order, and the digest of the scorer that belongs to them.
    """
    content = pickle.dumps(scorer)  # its fields alone; the model loads where it is used
    sources = [folder / "rows" / f"{start // chunk:06d}.parquet" for start in range(0, len(rows), chunk)]
    if not (folder / SCORER).is_file():
        (folder / "rows").mkdir(parents=True, exist_ok=True)
        (folder / "scores").mkdir(exist_ok=True)
        for index, source in enumerate(sources):
            rows.select(range(index * chunk, min((index + 1) * chunk, len(rows)))).to_parquet(str(source))
    # Written last: it marks the rows as whole. And anew each time: what is there may be of anybody who can write there.
    partial = folder / f"{SCORER}.partial"
    partial.write_bytes(content)
    os.replace(partial, folder / SCORER)
    return sources, hashlib.sha256(content).hexdigest()


def read_scorer(folder: Path, digest: str) -> Any:
    """The scorer of a job.

    Args:
        folder: of the job.
        digest: SHA-256 of the scorer's file, from the process that wrote it.

    Raises:
        DataselError: the file is another one. Nothing of it was run.
    """
    content = (folder / SCORER).read_bytes()
    if hashlib.sha256(content).hexdigest() != digest:
        raise DataselError(
            f"`job` {str(folder)!r} holds another {SCORER} than the one that was written, expected the same. Somebody else wrote "
            f"there, or another run of the same job began: start it again."
        )
    return pickle.loads(content)  # noqa: S301 (the very bytes that the starting process made)


def target_of(source: Path) -> Path:
    """Where the scores of a file of rows go."""
    return source.parent.parent / "scores" / source.name


def score_file(scorer: Any, source: Path, rank: int) -> None:
    """Score a file of rows, unless that is done. What is written is whole."""
    import pyarrow.parquet as pq
    from datasets import Dataset
    from datasets.table import InMemoryTable

    target = target_of(source)
    if target.is_file():
        return
    rows = Dataset(InMemoryTable(pq.read_table(source)))
    # One journal a file of rows: no two processes, on whatever machine, ever write to the same.
    journal = source.parent.parent / f"journal-{source.stem}.sqlite"
    with using_journal(journal):
        columns = scorer(rows[:], rank)
    partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
    Dataset.from_dict(columns).to_parquet(str(partial))
    os.replace(partial, target)
    for suffix in ("", "-wal", "-shm"):
        Path(f"{journal}{suffix}").unlink(missing_ok=True)


def share(files: list[Path], rank: int, world: int) -> list[Path]:
    """One process's contiguous share.

    Example:
        >>> [share([Path(name) for name in "abcde"], rank, 2) for rank in (0, 1)]
        [[PosixPath('a'), PosixPath('b'), PosixPath('c')], [PosixPath('d'), PosixPath('e')]]
    """
    size, more = divmod(len(files), world)
    start = rank * size + min(rank, more)
    return files[start : start + size + (rank < more)]


def main(folder: Path, digest: str) -> None:
    """Score this process's share, as its environment numbers it."""
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    scorer = read_scorer(folder, digest)
    for source in share(sorted((folder / "rows").glob("*.parquet")), rank, world):
        score_file(scorer, source, int(os.environ.get("LOCAL_RANK", rank)))
