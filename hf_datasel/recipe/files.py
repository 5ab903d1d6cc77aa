"""Small files of a run folder: written whole or not at all, read back or taken for missing."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def slug(name: str) -> str:
    """A folder name.

    Example:
        >>> slug("Best 20 %, bare ranking")
        'best-20-bare-ranking'
    """
    return "-".join("".join(c if c.isalnum() else " " for c in name.lower()).split())


def read_json(path: Path) -> dict[str, Any]:
    """What a finished stage wrote, or nothing."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):  # missing, no path at all, no JSON
        return {}
    return values if isinstance(values, dict) else {}


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write whole or not at all."""
    write_text(path, json.dumps(values, indent=1, default=list) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
