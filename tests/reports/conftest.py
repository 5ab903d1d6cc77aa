from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest


@pytest.fixture
def png_size() -> Callable[[Path], tuple[int, int]]:
    """Width and height in a PNG's own header."""

    def read(path: Path) -> tuple[int, int]:
        head = path.read_bytes()[:24]
        assert head[:8] == b"\x89PNG\r\n\x1a\n"
        width, height = struct.unpack(">II", head[16:24])
        return width, height

    return read


@pytest.fixture
def utilities() -> npt.NDArray[np.float64]:
    """300 utilities with heavy tails, a third of them negative."""
    return np.random.default_rng(0).standard_t(2, 300) * 2e-3 + 1e-3
