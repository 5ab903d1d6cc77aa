"""Workers that die: an actor of Ray, a process under torchrun."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from benchmarks import _chaos_tasks as tasks
from benchmarks._chaos_kills import PATIENCE, Ground, Tally, lost_rows


ACTOR = """
import json, sys
from pathlib import Path
from datasets import Dataset
from hf_datasel import Labels, Perplexity, Proxy, score
import hf_datasel.runs.score
sys.modules["hf_datasel.runs.score"].CHUNK = 8
folder, runner, model = sys.argv[1:4]
rows = Dataset.from_json(folder + "/pool.jsonl", cache_dir=folder + "/cache")
found = score(rows, Perplexity(Proxy(model), labels=Labels(max_length=512)), journal=folder + "/" + runner + "/journal.sqlite",
    runner=runner, processes=2 if runner != "local" else 1)
Path(folder, runner + ".json").write_text(json.dumps({row["row_id"]: repr(row) for row in found}))
"""


def dying_workers(ground: Ground, runners: tuple[str, ...]) -> Tally:
    """An actor of Ray, or a process under torchrun, is killed while it scores; torchrun's run is begun again."""
    task = tasks.TASKS["scoring"]
    here = ground.folder / "workers"
    tasks.write(task, here, ground.judge)
    environment = {**os.environ, "PYTHONPATH": os.getcwd(), "RAY_DISABLE_IMPORT_WARNING": "1"}

    def command(runner: str) -> list[str]:
        return [sys.executable, "-c", ACTOR, str(here), runner, tasks.PROXY]

    subprocess.run(command("local"), env=environment, check=True, capture_output=True, timeout=PATIENCE)  # noqa: S603
    expected = json.loads((here / "local.json").read_text())
    injected = survived = lost = 0
    notes: list[str] = []
    for runner in runners:
        log = here / f"{runner}.log"
        with log.open("wb") as file:
            running = subprocess.Popen(  # noqa: S603
                command(runner), env=environment, stdout=file, stderr=file, start_new_session=True
            )
            victim = _victim(running, here / runner, runner)
            if victim is not None:
                injected += 1
                os.kill(victim, signal.SIGKILL)
            code = running.wait(PATIENCE)
            if code and runner == "torchrun":  # which ends when one of its processes does, and says so
                code = subprocess.run(  # noqa: S603
                    command(runner), env=environment, stdout=file, stderr=file, check=False, timeout=PATIENCE
                ).returncode
        place = here / f"{runner}.json"
        found = json.loads(place.read_text()) if code == 0 and place.is_file() else {}
        missing = lost_rows(expected, found)
        survived += victim is not None and not missing
        lost += len(missing)
        if victim is None:
            notes.append(f"{runner}: no process was found to kill: {log.read_text(errors='replace')[-400:]}")
        if missing:
            notes.append(f"{runner}: {len(missing)} rows differ: {log.read_text(errors='replace')[-600:]}")
    return Tally(injected, survived, lost, tuple(notes))


def _victim(running: subprocess.Popen[bytes], job: Path, runner: str) -> int | None:
    """A process that scores, descended from `running`, once a chunk is under way; None where the work ended before."""
    name = "RayWorker" if runner == "ray" else "hf_datasel.runs"
    give_up = time.monotonic() + PATIENCE
    while running.poll() is None and time.monotonic() < give_up:
        for process in Path("/proc").glob("[0-9]*") if list(job.glob("job-*/journal-*")) else ():
            said = _read(process / "cmdline").replace("\0", " ")
            if name in said and "torch.distributed.run" not in said and running.pid in _ancestors(int(process.name)):
                return int(process.name)
        time.sleep(0.005)
    return None


def _ancestors(pid: int) -> list[int]:
    found = []
    while pid > 1:
        stat = _read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
        pid = int(stat[1]) if stat else 0
        found.append(pid)
    return found


def _read(place: Path) -> str:
    try:
        return place.read_bytes().decode(errors="replace")
    except OSError:
        return ""  # it has ended
