"""Run one benchmark and write its figures with machine, versions, commit and command."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import pkgutil
import platform
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import benchmarks


PACKAGES = ("hf_datasel", "torch", "transformers", "trl", "datasets", "numpy")


def main() -> None:
    names = sorted(m.name for m in pkgutil.iter_modules(benchmarks.__path__) if not m.name.startswith("_"))
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", choices=names)
    parser.add_argument("--quick", action="store_true", help="fewer rows and repeats")
    parser.add_argument("--json", type=Path, required=True, help="where the figures go")
    arguments = parser.parse_args()
    revision = commit()  # now: some benchmarks write plots into the working tree
    began = time.monotonic()
    figures = importlib.import_module(f"benchmarks.{arguments.name}").run(quick=arguments.quick)
    record = {**figures, "provenance": provenance(revision, time.monotonic() - began)}
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(figures, indent=1))


def commit() -> str:
    """The commit that runs, and whether the working tree differs from it."""
    head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()  # noqa: S607
    changed = subprocess.run(["git", "status", "--porcelain"], capture_output=True, text=True, check=False).stdout  # noqa: S607
    return head + (" with changes" if changed.strip() else "")


def provenance(revision: str, seconds: float) -> dict:
    """Machine, versions, commit and command, so that the figures can be had again."""
    return {
        "command": " ".join(["python -m benchmarks", *sys.argv[1:]]),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "commit": revision,
        "machine": {"cores": os.cpu_count(), "processor": platform.machine(), "python": platform.python_version()},
        "versions": {name: version(name) for name in PACKAGES},
        "seconds": round(seconds, 1),
    }


if __name__ == "__main__":
    main()
