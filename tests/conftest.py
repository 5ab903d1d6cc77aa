"""Shared by all tests: a real tiny pretrained proxy, real rows, and no way to the network."""

import json
import os
from pathlib import Path


# Read when Hugging Face libraries are imported, so set before anything else is.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Workers of pytest-xdist fill the cores; more threads each would only wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from datasets import Dataset


QUICKSTART = Path(__file__).parents[1] / "recipes" / "quickstart"


@pytest.fixture(scope="session")
def tiny_model() -> str:
    """Folder of stories260K, a pretrained Llama of 260 thousand parameters."""
    return str(QUICKSTART / "proxy")


def rows_of_file(name: str, count: int) -> Dataset:
    lines = (QUICKSTART / name).read_text(encoding="utf-8").splitlines()
    # Short rows, so that many fit into a test.
    rows = sorted((json.loads(line) for line in lines), key=lambda row: len(row["prompt"] + row["completion"]))
    return Dataset.from_list(rows[:count])


@pytest.fixture(scope="session")
def real_rows():
    """A function of file name and count: the shortest rows of a file of the quickstart."""
    return rows_of_file


@pytest.fixture(scope="session")
def pool() -> Dataset:
    """24 real rows: word problems and solutions."""
    rows = rows_of_file("pool.jsonl", 240)
    return rows.select(range(0, 240, 10))


@pytest.fixture(scope="session")
def anchors() -> Dataset:
    """6 real rows of the target task, apart from the pool."""
    return rows_of_file("held_out.jsonl", 6)
