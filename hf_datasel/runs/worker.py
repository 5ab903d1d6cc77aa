"""Scoring spread over processes: a pool in chunks of rows, each scored by whoever is free, on disk as soon as it is.

`python -m hf_datasel.runs JOB` scores one process's share of a job; `torchrun` and `accelerate launch` start it.
"""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_datasel.contracts import Scorer
from hf_datasel.rows.journal import using_journal


if TYPE_CHECKING:
    from datasets import Dataset

SCORER = "scorer.pickle"


def write_job(folder: Path, rows: Dataset, scorer: Scorer, chunk: int) -> list[Path]:
    """A job in a folder that all processes see: the scorer's spec, and the rows as Parquet, `chunk` in a file.

    A job that is there already is gone on with.

    Args:
        folder: of this job alone.
        rows: N rows of training content.
        scorer: what scores them.
        chunk: rows that are batched together.

    Returns:
        The files of rows, in order.
    """
    sources = [folder / "rows" / f"{start // chunk:06d}.parquet" for start in range(0, len(rows), chunk)]
    if not (folder / SCORER).is_file():
        (folder / "rows").mkdir(parents=True, exist_ok=True)
        (folder / "scores").mkdir(exist_ok=True)
        for index, source in enumerate(sources):
            rows.select(range(index * chunk, min((index + 1) * chunk, len(rows)))).to_parquet(str(source))
        partial = folder / f"{SCORER}.partial"
        partial.write_bytes(pickle.dumps(scorer))  # its fields alone; the model loads where it is used
        os.replace(partial, folder / SCORER)
    return sources


def read_scorer(folder: Path) -> Any:
    """The scorer of a job that `write_job` wrote on this machine or on a file system of one's own."""
    return pickle.loads((folder / SCORER).read_bytes())  # noqa: S301 (our own bytes)


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


def main(folder: Path) -> None:
    """Score this process's share, as its environment numbers it."""
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    scorer = read_scorer(folder)
    for source in share(sorted((folder / "rows").glob("*.parquet")), rank, world):
        score_file(scorer, source, int(os.environ.get("LOCAL_RANK", rank)))
