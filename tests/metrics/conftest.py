from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def metric_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`evaluate` writes what it compares to disk: here, not to the user's home."""
    monkeypatch.setattr("evaluate.config.HF_METRICS_CACHE", str(tmp_path / "evaluate"))
