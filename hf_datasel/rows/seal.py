"""Columns of a finished row as the journal keeps them, with a checksum: SQLite has none, and a changed digit is a made-up score."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any


SEAL = 8  # hexadecimal digits in front of a row's columns


def sealed(key: str, digest: str, columns: Mapping[str, Any]) -> str:
    """The columns as text that only this row of this scorer can open.

    Example:
        >>> unsealed("scorer", "row", sealed("scorer", "row", {"s": 1.5})), unsealed("other", "row", sealed("scorer", "row", {}))
        ({'s': 1.5}, None)
    """
    text = json.dumps(columns)
    return _checksum(key, digest, text) + text


def unsealed(key: str, digest: str, text: Any) -> dict[str, Any] | None:
    """The columns of a row, or None where the text (or its bytes) is not the one that was put in."""
    text = bytes(text).decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
    if text[:SEAL] != _checksum(key, digest, text[SEAL:]):
        return None
    columns: dict[str, Any] = json.loads(text[SEAL:])
    return columns


def _checksum(*texts: str) -> str:
    return blake2b("\n".join(texts).encode("utf-8", "surrogatepass"), digest_size=SEAL // 2).hexdigest()
