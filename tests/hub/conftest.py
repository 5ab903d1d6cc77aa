"""One repository, and the shortest way to write to it."""

from __future__ import annotations

import time
import types
from typing import Any

import pytest
from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import _http

from hf_datasel.hub import client

from .server import LoopbackHub


API = HfApi()


def add(path: str, content: bytes) -> CommitOperationAdd:
    return CommitOperationAdd(path, content)


@pytest.fixture(autouse=True)
def no_long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between attempts: ours, and those of the Hub's own client."""
    monkeypatch.setattr(client, "SECONDS", 0.01)
    short = types.SimpleNamespace(**{**vars(time), "sleep": lambda seconds: time.sleep(min(seconds, 0.01))})
    monkeypatch.setattr(_http, "time", short)


@pytest.fixture
def repo(hub: LoopbackHub) -> str:
    """A dataset repository with one file."""
    hub.plant("tester/rows", files={"a.txt": b"0123456789"})
    return "tester/rows"


def write(repo: str, message: str = "write", path: str = "b.txt", content: bytes = b"b", **keywords: Any) -> Any:
    return API.create_commit(
        repo, [add(path, content)], commit_message=message, repo_type=keywords.pop("repo_type", "dataset"), **keywords
    )


def status_of(error: pytest.ExceptionInfo[HfHubHTTPError]) -> int:
    return error.value.response.status_code
