from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from datasets import Dataset, load_from_disk


@pytest.fixture
def on_disk(tmp_path: Path) -> Callable[[Dataset], Dataset]:
    """The same rows read from Arrow files, as they are outside tests."""

    def write_and_read(dataset: Dataset, name: str = "pool") -> Dataset:
        dataset.save_to_disk(str(tmp_path / name))
        return load_from_disk(str(tmp_path / name))

    return write_and_read


@pytest.fixture
def in_new_process() -> Callable[..., str]:
    """Runs Python code in a fresh interpreter with a given string-hash seed, and returns what it prints."""

    def run(code: str, *arguments: str, hash_seed: int = 0) -> str:
        environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed), "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run
