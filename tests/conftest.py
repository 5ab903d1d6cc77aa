"""Shared by all tests: a real tiny pretrained proxy, real rows, a Hub on the loopback, and no way to the network."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

from .hub.environment import serve_this_process


# Read when Hugging Face libraries are imported, so set before anything else is. Each worker of pytest-xdist has its own.
HUB = serve_this_process()
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Workers of pytest-xdist fill the cores; more threads each would only wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A test must not find what another one scored. Those about resuming name a journal of their own.
os.environ["HF_DATASEL_JOURNAL"] = "off"

import pytest  # noqa: E402
from datasets import Dataset  # noqa: E402
from hypothesis import settings  # noqa: E402

from . import vlm  # noqa: E402
from .hub.server import LoopbackHub  # noqa: E402


# The same examples every time, however busy the machine: a test that fails, fails again.
settings.register_profile("house", deadline=None, derandomize=True, database=None)
settings.load_profile("house")

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


@pytest.fixture(scope="session")
def vlm_folder(tmp_path_factory):
    """A function of a family's name: the folder of a tiny vision-language model with random weights."""
    made = {}

    def folder(family: str) -> str:
        if family not in made:
            made[family] = vlm.save(family, tmp_path_factory.mktemp(family))
        return made[family]

    return folder


@pytest.fixture(scope="session")
def image_rows():
    """A function of a count: real questions about real pictures (encoded), with their answers."""
    return vlm.real_rows


@pytest.fixture
def hub() -> Iterator[LoopbackHub]:
    """The Hub all libraries talk to, empty: any request it had no route for, or broke at, fails the test."""
    from huggingface_hub import HfFileSystem

    HUB.reset()
    # Remembers listings of repositories that are no more.
    HfFileSystem.clear_instance_cache()
    yield HUB
    assert HUB.unrouted == []
    assert HUB.errors == []
