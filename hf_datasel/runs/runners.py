"""Who does a job: processes of this machine under torchrun, or the actors of a Ray cluster."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hf_datasel.contracts import Scorer
from hf_datasel.errors import DataselError, MissingExtra
from hf_datasel.rows.journal import spec_key
from hf_datasel.runs.worker import read_scorer, score_file, target_of, write_job


if TYPE_CHECKING:
    from datasets import Dataset

Runner = Literal["local", "torchrun", "ray"]
RUNNERS = ("local", "torchrun", "ray")
RETRIES = 4  # of an actor that dies: a chunk that kills whoever takes it must not be tried for ever


def spread(rows: Dataset, scorer: Scorer, folder: Path, chunk: int, runner: Runner, processes: int) -> Dataset:
    """All columns of one scorer, in row order, computed by several processes.

    The same numbers as one process computes, to the last bit: the chunks are the same.

    Args:
        rows: N rows of training content.
        scorer: pickled for the workers.
        folder: that all of them see. What is finished in it is not done again.
        chunk: rows that are batched together.
        runner: `"torchrun"` or `"ray"`.
        processes: how many; one per GPU where there are GPUs.

    Raises:
        DataselError: a worker failed.
        MissingExtra: Ray is not installed.
    """
    from datasets import Dataset

    key = spec_key(
        {"scorer": getattr(scorer, "spec", type(scorer).__name__), "rows": rows._fingerprint, "chunk": chunk}
    )
    job = folder / f"job-{key}"
    sources, digest = write_job(job, rows, scorer, chunk)
    (_torchrun if runner == "torchrun" else _ray)(job, digest, sources, processes)
    missing = [source.name for source in sources if not target_of(source).is_file()]
    if missing:
        raise DataselError(
            f"`runner` {runner!r} ended with {len(missing)} of {len(sources)} chunks not scored (first: {missing[0]}), "
            f"expected none. Run the same again: what is finished in {str(job)!r} is kept."
        )
    return Dataset.from_parquet([str(target_of(source)) for source in sources], cache_dir=str(job / ".cache"))


def _torchrun(job: Path, digest: str, sources: list[Path], processes: int) -> None:
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    # One thread each, unless told otherwise: together they fill the cores.
    environment = {"OMP_NUM_THREADS": "1", **os.environ}
    done = subprocess.run([*launch, "-m", "hf_datasel.runs", str(job), digest], check=False, env=environment)  # noqa: S603 (no shell)
    if done.returncode != 0:
        raise DataselError(
            f"`runner` 'torchrun' failed (exit code {done.returncode}); what a worker said is above. Run the same again: "
            f"what is finished in {str(job)!r} is kept."
        )


class RayWorker:
    """An actor that keeps the model between chunks. Ray starts another where one dies.

    Args:
        job: folder of the job, on a file system all nodes see.
        digest: of the scorer that was written there.
    """

    def __init__(self, job: str, digest: str) -> None:
        self.scorer = read_scorer(Path(job), digest)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        for source in batch["source"]:
            score_file(self.scorer, Path(str(source)), os.getpid() % 100_000)
        return batch


def _ray(job: Path, digest: str, sources: list[Path], processes: int) -> None:
    try:
        import ray
    except ImportError as error:
        raise MissingExtra("runner='ray' needs Ray. Install it with: pip install 'hf_datasel[ray]'") from error
    import torch

    left = [{"source": str(source.resolve())} for source in sources if not target_of(source).is_file()]
    if not left:
        return
    ray.data.DataContext.get_current().enable_progress_bars = False
    done = ray.data.from_items(left, override_num_blocks=len(left)).map_batches(
        RayWorker,
        batch_size=1,
        fn_constructor_kwargs={"job": str(job.resolve()), "digest": digest},
        compute=ray.data.ActorPoolStrategy(size=processes),
        num_gpus=1 if torch.cuda.is_available() else 0,
        max_restarts=RETRIES,
        max_task_retries=RETRIES,
    )
    try:
        done.materialize()
    except ray.exceptions.RayError as error:
        raise DataselError(
            f"A worker of runner='ray' failed ({str(error).strip().splitlines()[-1]}), expected none. What is finished is kept; "
            f"mend what failed and run the same again."
        ) from error
