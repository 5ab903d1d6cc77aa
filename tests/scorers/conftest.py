from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest


@pytest.fixture
def in_new_process() -> Callable[..., str]:
    """Runs Python code in a fresh interpreter with a given string-hash seed, and returns what it prints."""

    def run(code: str, hash_seed: int = 0) -> str:
        environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed)}
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run
