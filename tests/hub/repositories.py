"""Repositories as the Hub keeps them: branches of commits, each commit with all of its files."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from fnmatch import fnmatch
from pathlib import PurePosixPath
from typing import Any


LFS_SUFFIXES = (
    "7z|arrow|bin|bz2|ckpt|gif|gz|h5|jpeg|jpg|joblib|mp3|mp4|msgpack|npy|npz|onnx|parquet|pickle|pkl|png|pt|pth"
    "|safetensors|tar|tflite|tiff|wav|webp|xz|zip|zst"
)
LFS_SIZE = 10_000_000
# What a new repository holds. The Hub lists more suffixes; no client reads them.
GITATTRIBUTES = "".join(f"*.{name} filter=lfs diff=lfs merge=lfs -text\n" for name in LFS_SUFFIXES.split("|")).encode()


class Refused(Exception):
    """A request that cannot be carried out: its status, and the code by which clients tell the reason."""

    def __init__(self, status: int, message: str, code: str | None = None, **body: Any) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.body = status, message, code, body


@dataclass(frozen=True)
class Commit:
    """One state of a branch. `files` holds every file in full, `lfs` the paths of those that went through LFS."""

    oid: str
    parent: str | None
    title: str
    description: str
    date: str
    files: dict[str, bytes]
    lfs: frozenset[str]

    def is_folder(self, path: str) -> bool:
        return not path or any(name.startswith(f"{path}/") for name in self.files)


@dataclass
class Repository:
    """`branches` and `pull_requests` name lists of commits, oldest first; `stored` are LFS objects by sha256."""

    type: str
    id: str
    private: bool = False
    gated: str | bool = False
    branches: dict[str, list[Commit]] = field(default_factory=dict)
    pull_requests: dict[int, list[Commit]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    stored: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.branches["main"] = []
        self.land(self.branches["main"], "initial commit", {".gitattributes": GITATTRIBUTES})

    @property
    def namespace(self) -> str:
        return self.id.split("/")[0]

    @property
    def path(self) -> str:
        """Of its page."""
        return self.id if self.type == "model" else f"{self.type}s/{self.id}"

    @property
    def head(self) -> Commit:
        """The newest commit of the main branch."""
        return self.branches["main"][-1]

    @property
    def refs(self) -> dict[str, list[Commit]]:
        """What can be committed to, by full name."""
        branches = {f"refs/heads/{name}": commits for name, commits in self.branches.items()}
        return branches | {f"refs/pr/{number}": commits for number, commits in self.pull_requests.items()}

    def branch(self, revision: str) -> list[Commit]:
        """The list a commit to `revision` goes to."""
        found = self.refs.get(revision, self.branches.get(revision))
        if found is None:
            raise Refused(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return found

    def history(self, revision: str) -> list[Commit]:
        """The commits up to a branch, a pull request, a tag or a commit: oldest first."""
        oid = self.tags.get(revision.removeprefix("refs/tags/"), revision)
        for commits in self.refs.values():
            oids = [commit.oid for commit in commits]
            if oid in oids:
                return commits[: oids.index(oid) + 1]
        return self.branch(revision)

    def at(self, revision: str) -> Commit:
        return self.history(revision)[-1]

    def land(
        self,
        commits: list[Commit],
        title: str,
        files: dict[str, bytes],
        lfs: Iterable[str] = (),
        description: str = "",
    ) -> Commit:
        """Put a commit with exactly these files on top of a branch."""
        parent = commits[-1].oid if commits else None
        # Random, so that what clients cached of an earlier repository of the same name is never taken for this one.
        oid = secrets.token_hex(20)
        commits.append(Commit(oid, parent, title, description, now(), dict(files), frozenset(lfs)))
        return commits[-1]

    def open_pull_request(self, start: str) -> int:
        number = len(self.pull_requests) + 1
        self.pull_requests[number] = list(self.history(start))
        return number


def now() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def is_lfs(path: str, size: int) -> bool:
    # Storage takes no empty objects.
    return size > 0 and (size > LFS_SIZE or bool(re.search(rf"\.({LFS_SUFFIXES})$", path, re.IGNORECASE)))


def is_ignored(path: str, gitignore: str) -> bool:
    """As git decides in the simple cases: a name, a pattern, a folder."""
    lines = [line.strip().strip("/") for line in gitignore.splitlines() if line.strip() and not line.startswith("#")]
    pure = PurePosixPath(path)
    candidates = [path, *pure.parts, *(str(parent) for parent in pure.parents)]
    return any(fnmatch(candidate, line) for line in lines for candidate in candidates)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def git_sha1(data: bytes, kind: str = "blob") -> str:
    return hashlib.sha1(f"{kind} {len(data)}\0".encode() + data, usedforsecurity=False).hexdigest()


def pointer(data: bytes) -> bytes:
    """What git keeps in place of a file of LFS."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256(data)}\nsize {len(data)}\n".encode()


def file_entry(commit: Commit, path: str) -> dict[str, Any]:
    data = commit.files[path]
    if path not in commit.lfs:
        return {"type": "file", "path": path, "oid": git_sha1(data), "size": len(data)}
    instead = pointer(data)
    lfs = {"oid": sha256(data), "size": len(data), "pointerSize": len(instead)}
    return {"type": "file", "path": path, "oid": git_sha1(instead), "size": len(data), "lfs": lfs}


def folder_entry(commit: Commit, path: str) -> dict[str, Any]:
    # Changes whenever a file in it does, which is all a client asks of it.
    listing = "\n".join(f"{name} {git_sha1(data)}" for name, data in files_below(commit, path))
    return {"type": "directory", "path": path, "oid": git_sha1(listing.encode(), "tree"), "size": 0}


def files_below(commit: Commit, folder: str) -> Iterator[tuple[str, bytes]]:
    prefix = f"{folder}/" if folder else ""
    yield from sorted((name, data) for name, data in commit.files.items() if name.startswith(prefix))


def tree(history: list[Commit], folder: str, recursive: bool, expand: bool) -> list[dict[str, Any]]:
    """The entries of a folder, and of the folders in it if `recursive`."""
    commit = history[-1]
    if not commit.is_folder(folder):
        raise Refused(404, f"{folder} does not exist", "EntryNotFound")
    top = PurePosixPath(folder)
    found: set[str] = set()
    for name, _ in files_below(commit, folder):
        parts = PurePosixPath(name).relative_to(top).parts
        depths = range(1, len(parts) + 1) if recursive else [1]
        found.update(str(top.joinpath(*parts[:depth])) for depth in depths)
    return entries(history, sorted(found), expand)


def entries(history: list[Commit], paths: list[str], expand: bool) -> list[dict[str, Any]]:
    """Of those paths that exist."""
    commit = history[-1]
    answer = []
    for path in paths:
        if path in commit.files:
            entry = file_entry(commit, path)
        elif path and commit.is_folder(path):
            entry = folder_entry(commit, path)
        else:
            continue
        if expand:
            changed = last_change(history, path)
            entry["lastCommit"] = {"id": changed.oid, "title": changed.title, "date": changed.date}
        answer.append(entry)
    return answer


def last_change(history: list[Commit], path: str) -> Commit:
    def content(commit: Commit) -> Any:
        return commit.files.get(path, dict(files_below(commit, path)))

    newest = history[-1]
    for before in reversed(history[:-1]):
        if content(before) != content(history[-1]):
            break
        newest = before
    return newest


def changed_files(
    repo: Repository, base: Commit, operations: list[dict[str, Any]]
) -> tuple[dict[str, bytes], set[str]]:
    """The files after the operations of a commit, and which of them are LFS."""
    files, lfs = dict(base.files), set(base.lfs)
    for operation in operations:
        key, value = operation["key"], operation["value"]
        path = value["path"].rstrip("/")
        if key == "file":
            files[path] = base64.b64decode(value["content"], validate=True)
            lfs.discard(path)
        elif key == "lfsFile":
            files[path] = stored_object(repo, value)
            lfs.add(path)
        elif key in ("deletedFile", "deletedFolder"):
            gone = [name for name in files if name == path or (key == "deletedFolder" and name.startswith(f"{path}/"))]
            if not gone:
                raise Refused(404, f"A file to delete does not exist: {path}", "EntryNotFound")
            for name in gone:
                del files[name]
                lfs.discard(name)
        else:
            raise Refused(400, f"Unknown operation: {key}")
    return files, lfs


def stored_object(repo: Repository, value: dict[str, Any]) -> bytes:
    data = repo.stored.get(value["oid"])
    if data is None or value.get("size", len(data)) != len(data):
        raise Refused(400, f"LFS pointer of {value['path']} points to an object that was not uploaded")
    return data
