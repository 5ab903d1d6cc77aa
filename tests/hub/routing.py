"""Requests as endpoints see them, and the way to the one that answers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from .repositories import Refused, Repository


USER, ORGANIZATION = "tester", "acme"
OWNED = (USER, ORGANIZATION)


@dataclass
class State:
    """Everything a reset forgets. `uploads` are the LFS objects promised, by the key in their address."""

    repos: dict[tuple[str, str], Repository] = field(default_factory=dict)
    uploads: dict[str, tuple[Repository, str, int]] = field(default_factory=dict)
    races: int = 0
    raced_branch: str | None = None
    log: list[tuple[str, str, int]] = field(default_factory=list)
    unrouted: list[tuple[str, str]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


@dataclass
class Request:
    """`role` is what the token allows: None without one. `parts` are the named parts of the path."""

    state: State
    endpoint: str
    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    role: str | None
    parts: dict[str, str] = field(default_factory=dict)

    @cached_property
    def path(self) -> str:
        """As sent; with the host before it if a client took the stand-in for its proxy."""
        parts = urlsplit(self.target)
        return parts.netloc + parts.path

    @cached_property
    def json(self) -> dict[str, Any]:
        try:
            found = json.loads(self.body or b"{}")
        except ValueError as error:
            raise Refused(400, f"Body is no JSON: {error}") from error
        if not isinstance(found, dict):
            raise Refused(400, "Body is no JSON object")
        return found

    def flag(self, name: str) -> bool:
        return parse_qs(urlsplit(self.target).query).get(name, [""])[-1].lower() in ("1", "true")


@dataclass
class Answer:
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


Endpoint = Callable[[Request], Any]
PARTS = {
    "{api}": r"/api/(?P<type>model|dataset|space)s/(?P<id>[^/]+(?:/[^/]+)?)",
    "{page}": r"/(?:(?P<type>dataset|space)s/)?(?P<id>[^/]+(?:/[^/]+)?)",
    "{revision}": r"(?P<revision>[^/]+)",
    "{path}": r"(?P<path>.+)",
}


class Routes:
    """Which function answers which requests. The first that fits is taken."""

    def __init__(self) -> None:
        self.routes: list[tuple[str, re.Pattern[str], Endpoint]] = []

    def add(self, method: str, path: str) -> Callable[[Endpoint], Endpoint]:
        for name, pattern in PARTS.items():
            path = path.replace(name, pattern)

        def register(endpoint: Endpoint) -> Endpoint:
            self.routes.append((method, re.compile(path), endpoint))
            return endpoint

        return register

    def find(self, request: Request) -> Endpoint | None:
        """Parts are read from the path as sent: a revision may hold an encoded slash."""
        for method, pattern, endpoint in self.routes:
            found = pattern.fullmatch(request.path)
            if found and re.fullmatch(method, request.method):
                request.parts = {name: unquote(part) for name, part in found.groupdict().items() if part is not None}
                return endpoint
        return None


def repository(request: Request, write: bool = False, anyones: bool = False) -> Repository:
    """The repository of a request that may read it, or may `write` to it; to `anyones`, with any write token."""
    if write and request.role is None:
        raise Refused(401, "Invalid username or password.")
    kind, name = request.parts.get("type", "model"), request.parts["id"]
    repo = request.state.repos.get((kind, name))
    if repo is None or (repo.private and (request.role is None or repo.namespace not in OWNED)):
        raise Refused(404, "Repository not found", "RepoNotFound")
    if write and (request.role != "write" or not (anyones or repo.namespace in OWNED)):
        raise Refused(403, "Forbidden: you don't have the rights to write to this repository")
    return repo


def error_answer(refused: Refused) -> Answer:
    headers = {"Content-Type": "application/json", "X-Error-Message": quote(refused.message, safe=" ,.:;'\"()/")}
    if refused.code:
        headers["X-Error-Code"] = refused.code
    return Answer(refused.status, json.dumps({"error": refused.message, **refused.body}).encode(), headers)
