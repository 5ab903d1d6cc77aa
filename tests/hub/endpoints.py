"""What the Hub answers, request by request."""

from __future__ import annotations

import json
import re
import secrets
from typing import Any
from urllib.parse import parse_qs, urlsplit

from .repositories import (
    Commit,
    Refused,
    Repository,
    changed_files,
    entries,
    file_entry,
    is_ignored,
    is_lfs,
    sha256,
    tree,
)
from .routing import ORGANIZATION, OWNED, USER, Answer, Request, Routes, repository


ROUTES = Routes()
route = ROUTES.add


# ---- repositories --------------------------------------------------------------------------------------------------


def named(request: Request) -> tuple[str, str]:
    """Type and id in the body of a request about a repository as a whole, which only its owner may make."""
    if request.role is None:
        raise Refused(401, "Invalid username or password.")
    kind, name = request.json.get("type") or "model", request.json.get("name") or ""
    namespace = request.json.get("organization") or USER
    if kind not in ("model", "dataset", "space") or not re.fullmatch(r"[\w.-]{1,96}", name):
        raise Refused(400, f"Invalid repository: {kind} {name!r}")
    if request.role != "write" or namespace not in OWNED:
        raise Refused(403, f"You don't have the rights to create a {kind} under the namespace {namespace!r}")
    return kind, f"{namespace}/{name}"


def is_private(wanted: dict[str, Any], otherwise: bool) -> bool:
    if "visibility" in wanted:
        return bool(wanted["visibility"] != "public")
    return bool(wanted.get("private", otherwise))


@route("POST", "/api/repos/create")
def create(request: Request) -> Any:
    kind, name = named(request)
    found = request.state.repos.get((kind, name))
    if found:
        url = f"{request.endpoint}/{found.path}"
        raise Refused(409, f"You already created this {kind} repo: {name}", url=url)
    repo = Repository(kind, name, private=is_private(request.json, otherwise=False))
    request.state.repos[kind, name] = repo
    return {"url": f"{request.endpoint}/{repo.path}", "name": name, "id": secrets.token_hex(12)}


@route("DELETE", "/api/repos/delete")
def delete(request: Request) -> Any:
    if request.state.repos.pop(named(request), None) is None:
        raise Refused(404, "Repository not found", "RepoNotFound")
    return {}


@route("PUT", "{api}/settings")
def settings(request: Request) -> Any:
    repo = repository(request, write=True)
    repo.private = is_private(request.json, otherwise=repo.private)
    repo.gated = request.json.get("gated", repo.gated)
    return {"private": repo.private, "gated": repo.gated}


@route("GET", "{api}(?:/revision/{revision})?")
def info(request: Request) -> Any:
    repo = repository(request)
    history = repo.history(request.parts.get("revision", "main"))
    commit = history[-1]
    dates = {"createdAt": history[0].date, "lastModified": commit.date}
    flags = {"private": repo.private, "gated": repo.gated, "disabled": False}
    card = front_matter(commit.files.get("README.md", b"").decode(errors="replace"))
    siblings = [sibling(commit, path, request.flag("blobs")) for path in sorted(commit.files)]
    answer = {"id": repo.id, "author": repo.namespace, "sha": commit.oid, **dates, **flags, "siblings": siblings}
    return {**answer, "downloads": 0, "likes": 0, "tags": [], "cardData": card if isinstance(card, dict) else None}


def sibling(commit: Commit, path: str, blobs: bool) -> dict[str, Any]:
    if not blobs:
        return {"rfilename": path}
    entry = file_entry(commit, path)
    lfs = {**entry["lfs"], "sha256": entry["lfs"]["oid"]} if "lfs" in entry else None
    return {"rfilename": path, "size": entry["size"], "blobId": entry["oid"]} | ({"lfs": lfs} if lfs else {})


# ---- branches, tags, history ---------------------------------------------------------------------------------------


@route("POST", "{api}/branch/{revision}")
def create_branch(request: Request) -> Any:
    repo, name = repository(request, write=True), request.parts["revision"]
    if name in repo.branches:
        raise Refused(409, f"Reference already exists: refs/heads/{name}")
    repo.branches[name] = list(repo.history(request.json.get("startingPoint", "main")))
    return {}


@route("DELETE", "{api}/branch/{revision}")
def delete_branch(request: Request) -> Any:
    repo, name = repository(request, write=True), request.parts["revision"]
    if name == "main":
        raise Refused(403, "Cannot delete refs/heads/main")
    repo.branch(f"refs/heads/{name}")
    del repo.branches[name]
    return {}


@route("POST", "{api}/tag/{revision}")
def create_tag(request: Request) -> Any:
    repo, name = repository(request, write=True), request.json["tag"]
    if name in repo.tags:
        raise Refused(409, f"Tag already exists: {name}")
    repo.tags[name] = repo.at(request.parts["revision"]).oid
    return {}


@route("DELETE", "{api}/tag/{revision}")
def delete_tag(request: Request) -> Any:
    if repository(request, write=True).tags.pop(request.parts["revision"], None) is None:
        raise Refused(404, "Tag not found", "RevisionNotFound")
    return {}


@route("GET", "{api}/refs")
def refs(request: Request) -> Any:
    repo = repository(request)

    def listed(prefix: str) -> list[dict[str, str]]:
        named = {ref: commits for ref, commits in repo.refs.items() if ref.startswith(prefix)}
        return [
            {"name": ref.removeprefix("refs/heads/"), "ref": ref, "targetCommit": commits[-1].oid}
            for ref, commits in named.items()
        ]

    tags = [{"name": tag, "ref": f"refs/tags/{tag}", "targetCommit": oid} for tag, oid in repo.tags.items()]
    answer = {"branches": listed("refs/heads/"), "converts": [], "tags": tags}
    return answer | ({"pullRequests": listed("refs/pr/")} if request.flag("include_prs") else {})


@route("GET", "{api}/commits/{revision}")
def commits(request: Request) -> Any:
    newest_first = reversed(repository(request).history(request.parts["revision"]))
    authors = [{"user": USER}]
    return [
        {"id": c.oid, "title": c.title, "message": c.description, "date": c.date, "authors": authors}
        for c in newest_first
    ]


# ---- files ---------------------------------------------------------------------------------------------------------


@route("GET", "{api}/tree/{revision}(?:/{path})?")
def list_tree(request: Request) -> Any:
    history = repository(request).history(request.parts["revision"])
    folder = request.parts.get("path", "").strip("/")
    return tree(history, folder, request.flag("recursive"), request.flag("expand"))


@route("POST", "{api}/paths-info/{revision}")
def paths_info(request: Request) -> Any:
    form = parse_qs(request.body.decode(), keep_blank_values=True)
    expand = form.get("expand", ["false"])[0].lower() == "true"
    history = repository(request).history(request.parts["revision"])
    return entries(history, [path.strip("/") for path in form.get("paths", [])], expand)


@route("GET|HEAD", "{page}/resolve/{revision}/{path}")
def download(request: Request) -> Any:
    commit, path = repository(request).at(request.parts["revision"]), request.parts["path"]
    headers = {"X-Repo-Commit": commit.oid}
    if path not in commit.files:
        message = {"X-Error-Code": "EntryNotFound", "X-Error-Message": "Entry not found"}
        return Answer(404, b"Entry not found", {**headers, **message})
    data, entry = commit.files[path], file_entry(commit, path)
    headers |= {"ETag": f'"{entry.get("lfs", entry)["oid"]}"', "Accept-Ranges": "bytes"}
    if path in commit.lfs:
        headers |= {"X-Linked-ETag": headers["ETag"], "X-Linked-Size": str(len(data))}
    return in_range(data, headers, request.headers.get("range"))


def in_range(data: bytes, headers: dict[str, str], wanted: str | None) -> Answer:
    found = re.fullmatch(r"bytes=(\d*)-(\d*)", wanted or "")
    if not found or found.groups() == ("", ""):
        return Answer(200, data, headers)
    first, last = found.groups()
    start = int(first) if first else max(0, len(data) - int(last))
    stop = min(int(last) + 1, len(data)) if first and last else len(data)
    if start >= stop:
        return Answer(416, b"", {**headers, "Content-Range": f"bytes */{len(data)}"})
    return Answer(206, data[start:stop], {**headers, "Content-Range": f"bytes {start}-{stop - 1}/{len(data)}"})


# ---- uploads and commits -------------------------------------------------------------------------------------------


@route("POST", "{api}/preupload/{revision}")
def preupload(request: Request) -> Any:
    """How each file is to be sent, and what is at its path now: a client leaves out what would not change."""
    repo = repository(request, write=True, anyones=request.flag("create_pr"))
    commit = repo.at(request.parts["revision"])
    gitignore = request.json.get("gitIgnore", commit.files.get(".gitignore", b"").decode(errors="replace"))
    answer = []
    for file in request.json["files"]:
        path = file["path"]
        entry = file_entry(commit, path) if path in commit.files else {"oid": None}
        mode = "lfs" if is_lfs(path, file["size"]) else "regular"
        oid = entry.get("lfs", entry)["oid"]
        answer.append({"path": path, "uploadMode": mode, "shouldIgnore": is_ignored(path, gitignore), "oid": oid})
    return {"files": answer}


@route("POST", r"{page}\.git/info/lfs/objects/batch")
def lfs_batch(request: Request) -> Any:
    repo = repository(request, write=True, anyones=True)
    if request.json.get("operation") != "upload" or request.json.get("hash_algo", "sha256") != "sha256":
        raise Refused(400, "Only uploads by sha256 are supported")
    objects = []
    for wanted in request.json["objects"]:
        answer = {"oid": wanted["oid"], "size": wanted["size"]}
        if wanted["oid"] not in repo.stored:
            key = secrets.token_hex(16)
            request.state.uploads[key] = (repo, wanted["oid"], wanted["size"])
            upload = {"href": f"{request.endpoint}/lfs/{wanted['oid']}?key={key}", "header": {}}
            verify = {"href": f"{request.endpoint}/{repo.path}.git/info/lfs/verify"}
            answer["actions"] = {"upload": upload, "verify": verify}
        objects.append(answer)
    return Answer(
        200,
        json.dumps({"transfer": "basic", "objects": objects}).encode(),
        {"Content-Type": "application/vnd.git-lfs+json"},
    )


@route("PUT", "/lfs/(?P<oid>[0-9a-f]{64})")
def lfs_store(request: Request) -> Any:
    """The key in the address is what allows it: as with storage elsewhere, no token is sent."""
    key = parse_qs(urlsplit(request.target).query).get("key", [""])[0]
    repo, oid, size = request.state.uploads.get(key, (None, None, 0))
    if repo is None or oid != request.parts["oid"]:
        raise Refused(403, "SignatureDoesNotMatch")
    if len(request.body) != size or sha256(request.body) != oid:
        raise Refused(400, f"BadDigest: {len(request.body)} bytes that are not {oid}")
    repo.stored[oid] = request.body
    return Answer(200, b"", {"ETag": f'"{oid}"'})


@route("POST", r"{page}\.git/info/lfs/verify")
def lfs_verify(request: Request) -> Any:
    stored = repository(request, write=True, anyones=True).stored.get(request.json["oid"])
    if stored is None or len(stored) != request.json["size"]:
        raise Refused(404, "Object was not uploaded")
    return {}


@route("POST", "{api}/commit/{revision}")
def commit(request: Request) -> Any:
    pull_request = request.flag("create_pr")
    repo = repository(request, write=True, anyones=pull_request)
    header, *operations = commit_lines(request.body)
    revision, parent = request.parts["revision"], header.get("parentCommit")
    raced = request.state.raced_branch in (None, revision)
    if request.state.races and raced and not pull_request:
        request.state.races -= 1
        commit_elsewhere(repo, revision)
    if pull_request:
        number = repo.open_pull_request(parent or revision)
        branch = repo.pull_requests[number]
    else:
        branch = repo.branch(revision)
        if parent not in (None, branch[-1].oid):
            raise Refused(412, "A commit has happened since. Please refresh and try again.")
    try:
        files, lfs = changed_files(repo, branch[-1], operations)
    except Refused:
        if pull_request:
            del repo.pull_requests[number]
        raise
    landed = repo.land(branch, header["summary"], files, lfs, header.get("description") or "")
    page = f"{request.endpoint}/{repo.path}"
    answer = {"success": True, "commitOid": landed.oid, "commitUrl": f"{page}/commit/{landed.oid}"}
    return answer | ({"pullRequestUrl": f"{page}/discussions/{number}"} if pull_request else {})


def commit_lines(body: bytes) -> list[dict[str, Any]]:
    """The value of the header, then the operations."""
    try:
        lines = [json.loads(line) for line in body.splitlines() if line.strip()]
    except ValueError as error:
        raise Refused(400, f"Not one JSON document a line: {error}") from error
    if not lines or lines[0].get("key") != "header" or not lines[0]["value"].get("summary"):
        raise Refused(400, "A commit begins with a header that has a summary")
    return [lines[0]["value"], *lines[1:]]


def commit_elsewhere(repo: Repository, revision: str) -> None:
    """Someone else is faster: a file of theirs lands first."""
    branch = repo.branch(revision)
    newest = branch[-1]
    files = {**newest.files, f"elsewhere-{len(branch)}.txt": b"someone else's\n"}
    repo.land(branch, "a commit from elsewhere", files, newest.lfs)


# ---- cards and users -----------------------------------------------------------------------------------------------


def front_matter(card: str) -> Any:
    """The metadata of a card: None without, the error if it is no YAML."""
    import yaml

    found = re.match(r"\s*---\r?\n(.*?)\r?\n---\s*(\n|$)", card, re.DOTALL)
    try:
        return yaml.safe_load(found[1]) if found else None
    except yaml.YAMLError as error:
        return error


@route("POST", "/api/validate-yaml")
def validate_yaml(request: Request) -> Any:
    data = front_matter(request.json.get("content", ""))
    if not data:
        return {"errors": [], "warnings": [{"message": "empty or missing yaml metadata in repo card"}]}
    if isinstance(data, dict):
        return {"errors": [], "warnings": []}
    reason = f"Invalid YAML: {data}" if isinstance(data, Exception) else '"metadata" must be of type object'
    answer = {"errors": [{"message": reason}], "warnings": []}
    return Answer(400, json.dumps(answer).encode(), {"Content-Type": "application/json"})


@route("GET", "/api/whoami-v2")
def whoami(request: Request) -> Any:
    if request.role is None:
        raise Refused(401, "Invalid username or password.")
    organization = {"type": "org", "name": ORGANIZATION, "fullname": ORGANIZATION, "roleInOrg": "write"}
    token = {"displayName": "tests", "role": request.role}
    user = {"type": "user", "id": "0" * 24, "name": USER, "fullname": USER, "email": f"{USER}@localhost"}
    return {**user, "orgs": [organization], "auth": {"type": "access_token", "accessToken": token}}


@route("GET", "/api/[a-z]+-harnesses")
def client_programs(request: Request) -> Any:
    """A list by which clients word their user agent, asked for once a process: nothing is on it."""
    return {}


@route("GET", r"datasets-server\.127\.0\.0\.1:\d+/(?:info|parquet)")
def dataset_viewer(request: Request) -> Any:
    """The viewer's host, as `datasets` makes it up from the endpoint: it has not looked at the dataset yet."""
    raise Refused(404, "Not found.")
