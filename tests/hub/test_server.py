"""The stand-in answers as the Hub does: asked by the real client where it asks, bare where it does not."""

from __future__ import annotations

import hashlib
import io
import json
import signal
import subprocess
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest
from huggingface_hub import CommitOperationCopy, CommitOperationDelete, HfApi, hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError
from huggingface_hub.utils import get_session

from .conftest import API, add, status_of, write
from .repositories import is_lfs
from .server import LoopbackHub


@pytest.mark.parametrize(("repo_type", "page"), [("model", ""), ("dataset", "datasets/"), ("space", "spaces/")])
def test_a_repository_is_made_filled_read_and_deleted(hub: LoopbackHub, repo_type: str, page: str) -> None:
    url = API.create_repo("acme/x", repo_type=repo_type, space_sdk="static" if repo_type == "space" else None)
    assert url == f"{hub.url}/{page}acme/x"
    assert url == API.create_repo("acme/x", repo_type=repo_type, space_sdk="static", exist_ok=True)
    with pytest.raises(HfHubHTTPError) as refused:
        API.create_repo("acme/x", repo_type=repo_type, space_sdk="static")
    assert status_of(refused) == 409

    write("acme/x", path="one.txt", repo_type=repo_type)
    info = API.repo_info("acme/x", repo_type=repo_type, files_metadata=True)
    first, second = hub.commits("acme/x", repo_type)
    assert (info.id, info.sha, info.private) == ("acme/x", second.oid, False)
    assert (second.parent, second.title, len(second.oid)) == (first.oid, "write", 40)
    assert [(file.rfilename, file.size) for file in info.siblings][1:] == [("one.txt", 1)]
    assert Path(hf_hub_download("acme/x", "one.txt", repo_type=repo_type)).read_bytes() == b"b"

    API.delete_repo("acme/x", repo_type=repo_type)
    assert hub.repos == {}
    with pytest.raises(RepositoryNotFoundError):
        API.delete_repo("acme/x", repo_type=repo_type)


def test_what_is_not_there_is_told_apart(hub: LoopbackHub, repo: str) -> None:
    with pytest.raises(RepositoryNotFoundError):
        API.dataset_info("tester/other")
    with pytest.raises(RepositoryNotFoundError):
        API.model_info(repo)  # of another type
    with pytest.raises(RevisionNotFoundError):
        API.dataset_info(repo, revision="other")
    with pytest.raises(EntryNotFoundError):
        hf_hub_download(repo, "other.txt", repo_type="dataset")
    with pytest.raises(EntryNotFoundError):
        list(API.list_repo_tree(repo, "other", repo_type="dataset"))
    with pytest.raises(EntryNotFoundError):
        API.delete_file("other.txt", repo, repo_type="dataset")
    with pytest.raises(EntryNotFoundError):
        API.delete_folder("other", repo, repo_type="dataset")


def test_branches_tags_and_history(hub: LoopbackHub, repo: str) -> None:
    planted = hub.repo(repo).head
    API.create_branch(repo, branch="exp/1", repo_type="dataset")
    API.create_tag(repo, tag="v1", repo_type="dataset")
    with pytest.raises(HfHubHTTPError) as refused:
        API.create_branch(repo, branch="exp/1", repo_type="dataset")
    assert status_of(refused) == 409
    API.create_branch(repo, branch="exp/1", repo_type="dataset", exist_ok=True)
    newest = write(repo, path="d.txt")
    write(repo, revision="exp/1")
    write(repo, create_pr=True, path="c.txt")

    refs = API.list_repo_refs(repo, repo_type="dataset", include_pull_requests=True)
    found = {ref.ref: ref.target_commit for ref in [*refs.branches, *refs.tags, *refs.pull_requests]}
    assert (found["refs/heads/main"], found["refs/tags/v1"]) == (newest.oid, planted.oid)
    assert found["refs/heads/exp/1"] == hub.repo(repo).branches["exp/1"][-1].oid
    assert found["refs/pr/1"] == hub.repo(repo).pull_requests[1][-1].oid
    assert "pullRequests" not in httpx2.get(f"{hub.url}/api/datasets/{repo}/refs").json()
    titles = [commit.title for commit in API.list_repo_commits(repo, repo_type="dataset", revision="exp/1")]
    assert titles == ["write", "planted", "initial commit"]
    files = {
        revision: API.list_repo_files(repo, repo_type="dataset", revision=revision)[1:]
        for revision in (newest.oid, planted.oid, "v1", "exp/1", "refs/pr/1")
    }
    assert files == {
        newest.oid: ["a.txt", "d.txt"],
        planted.oid: ["a.txt"],
        "v1": ["a.txt"],
        "exp/1": ["a.txt", "b.txt"],
        "refs/pr/1": ["a.txt", "c.txt", "d.txt"],
    }

    API.delete_tag(repo, tag="v1", repo_type="dataset")
    API.delete_branch(repo, branch="exp/1", repo_type="dataset")
    with pytest.raises(HfHubHTTPError) as refused:
        API.delete_branch(repo, branch="main", repo_type="dataset")
    assert status_of(refused) == 403
    assert list(hub.repo(repo).branches) == ["main"]
    assert hub.repo(repo).tags == {}


# ---- files ----------------------------------------------------------------------------------------------------------


def test_the_tree_names_files_and_folders(hub: LoopbackHub) -> None:
    hub.plant("tester/rows", files={"data/deep/a.txt": b"a", "data/b.parquet": b"b"})
    write("tester/rows", "the third", path="data/c.parquet", content=b"ccc")

    def listed(folder: str | None = None, **how: bool) -> list[str]:
        return [entry.path for entry in API.list_repo_tree("tester/rows", folder, repo_type="dataset", **how)]

    assert listed() == [".gitattributes", "data"]
    assert listed("data") == ["data/b.parquet", "data/c.parquet", "data/deep"]
    assert listed("data", recursive=True) == ["data/b.parquet", "data/c.parquet", "data/deep", "data/deep/a.txt"]
    paths = ["data/c.parquet", "data", "data/b.parquet", "no.txt"]
    file, folder, other = API.get_paths_info("tester/rows", paths, repo_type="dataset", expand=True)
    assert file.size == file.lfs.size == 3
    assert file.lfs.sha256 == "64daa44ad493ff28a96effab6e77f1732a3d97d83241581b37dbd70a7a4900fe"
    head = httpx2.head(f"{hub.url}/datasets/tester/rows/resolve/main/data/c.parquet").headers
    assert (head["X-Linked-ETag"], head["X-Linked-Size"]) == (f'"{file.lfs.sha256}"', "3")
    assert (folder.last_commit.title, other.last_commit.title) == ("the third", "planted")


def test_names_of_any_script(hub: LoopbackHub, tmp_path: Path) -> None:
    names = ["täglich/日本 語.txt", "100%/a+b &c?d#e.txt", "Ünïcode.parquet"]
    for name in names:
        file = tmp_path / "from" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name, encoding="utf-8")
    API.create_repo("tester/rows", repo_type="dataset")
    API.upload_folder(repo_id="tester/rows", folder_path=tmp_path / "from", repo_type="dataset", revision="main")
    assert set(hub.repo("tester/rows").head.files) == {*names, ".gitattributes"}
    assert hub.repo("tester/rows").head.lfs == {"Ünïcode.parquet"}
    for name in names:
        kept = hf_hub_download("tester/rows", name, repo_type="dataset")
        assert Path(kept).read_text(encoding="utf-8") == name
    assert {entry.path for entry in API.get_paths_info("tester/rows", names, repo_type="dataset")} == set(names)
    assert [entry.path for entry in API.list_repo_tree("tester/rows", "100%", repo_type="dataset")] == names[1:2]


@pytest.mark.parametrize(
    ("wanted", "status", "body", "said"),
    [
        ("bytes=2-4", 206, b"234", "bytes 2-4/10"),
        ("bytes=7-", 206, b"789", "bytes 7-9/10"),
        ("bytes=8-99", 206, b"89", "bytes 8-9/10"),
        ("bytes=-2", 206, b"89", "bytes 8-9/10"),
        ("bytes=10-", 416, b"", "bytes */10"),
        ("lines=1-2", 200, b"0123456789", None),
    ],
)
def test_parts_of_a_file(hub: LoopbackHub, repo: str, wanted: str, status: int, body: bytes, said: str) -> None:
    url = f"{hub.url}/datasets/{repo}/resolve/main/a.txt"
    answer = httpx2.get(url, headers={"Range": wanted})
    assert (answer.status_code, answer.content, answer.headers.get("Content-Range")) == (status, body, said)
    head = httpx2.head(url)
    assert (head.status_code, head.content, head.headers["Content-Length"]) == (200, b"", "10")
    assert head.headers["X-Repo-Commit"] == hub.repo(repo).head.oid


# ---- uploads and commits --------------------------------------------------------------------------------------------


def test_a_folder_goes_up_in_one_commit_and_not_twice(hub: LoopbackHub, tmp_path: Path) -> None:
    for name in ("weights.safetensors", "notes.txt", "empty.bin", "a.log", "runs/b.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("" if name == "empty.bin" else name)
    (tmp_path / ".gitignore").write_text("*.log\nruns/\n")
    API.create_repo("tester/model")
    API.upload_folder(repo_id="tester/model", folder_path=tmp_path)
    newest = hub.repo("tester/model", "model").head
    assert set(newest.files) == {".gitattributes", ".gitignore", "empty.bin", "notes.txt", "weights.safetensors"}
    assert newest.lfs == {"weights.safetensors"}
    assert newest.files["weights.safetensors"] == b"weights.safetensors"
    # A client that has ignored files to send commits, even if that is all it has.
    API.upload_folder(repo_id="tester/model", folder_path=tmp_path, ignore_patterns=["a.log", "runs/*"])
    assert len(hub.commits("tester/model", "model")) == 2
    assert len(hub.requests("PUT", "/lfs/")) == 1


def test_a_large_file_goes_through_lfs_whatever_its_name(hub: LoopbackHub, repo: str) -> None:
    write(repo, path="large.txt", content=b"x" * 10_000_001)
    assert hub.repo(repo).head.lfs == {"large.txt"}
    write(repo, path="large.txt", content=b"no more")
    assert hub.repo(repo).head.lfs == set()
    assert not is_lfs("empty.bin", 0)


def test_a_commit_adds_replaces_copies_and_deletes(hub: LoopbackHub) -> None:
    hub.plant("tester/rows", files={"old/a.txt": b"a", "old/b.txt": b"b", "c.txt": b"c", "older": b"d"})
    write("tester/rows", path="d.bin", content=b"d")
    operations = [
        CommitOperationDelete("old/"),
        add("c.txt", b"new"),
        CommitOperationCopy("d.bin", "e.bin"),
        CommitOperationDelete("d.bin"),
    ]
    API.create_commit("tester/rows", operations, commit_message="t", commit_description="why", repo_type="dataset")
    newest = hub.repo("tester/rows").head
    del newest.files[".gitattributes"]
    assert newest.files == {"c.txt": b"new", "e.bin": b"d", "older": b"d"}
    assert (newest.lfs, newest.description) == ({"e.bin"}, "why")


def test_a_stale_parent_is_refused(hub: LoopbackHub, repo: str) -> None:
    stale = hub.repo(repo).head.oid
    fresh = write(repo, parent_commit=stale).oid
    with pytest.raises(HfHubHTTPError) as refused:
        write(repo, path="c.txt", parent_commit=stale)
    assert status_of(refused) == 412
    assert "c.txt" not in hub.repo(repo).head.files
    write(repo, path="c.txt", parent_commit=fresh)
    assert "c.txt" in hub.repo(repo).head.files


def test_commits_at_once_land_one_after_the_other(hub: LoopbackHub, repo: str) -> None:
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: write(repo, path=f"{number}.txt"), range(8)))
    history = hub.commits(repo)
    assert [commit.parent for commit in history[1:]] == [commit.oid for commit in history[:-1]]
    assert set(history[-1].files) > {f"{number}.txt" for number in range(8)}


def test_a_race_is_lost_as_often_as_asked_for(hub: LoopbackHub, repo: str) -> None:
    hub.race(2)
    with pytest.raises(HfHubHTTPError) as refused:
        write(repo, parent_commit=hub.repo(repo).head.oid)
    assert status_of(refused) == 412
    write(repo)  # without a parent it lands on top of what came first
    write(repo, path="c.txt", parent_commit=hub.repo(repo).head.oid)
    titles = [commit.title for commit in hub.commits(repo)]
    assert titles[2:] == ["a commit from elsewhere", "a commit from elsewhere", "write", "write"]
    assert set(hub.repo(repo).head.files) > {"a.txt", "b.txt", "c.txt", "elsewhere-2.txt", "elsewhere-3.txt"}


def test_a_pull_request_leaves_the_branch_alone(hub: LoopbackHub, repo: str) -> None:
    before = hub.repo(repo).head
    done = write(repo, create_pr=True)
    assert (done.pr_num, done.pr_url) == (1, f"{hub.url}/datasets/{repo}/discussions/1")
    write(repo, revision=done.pr_revision, path="c.txt")
    assert hub.repo(repo).head is before
    assert {"a.txt", "b.txt", "c.txt"} < set(hub.repo(repo).pull_requests[1][-1].files)
    with pytest.raises(EntryNotFoundError):
        API.delete_file("c.txt", repo, repo_type="dataset", create_pr=True)
    write(repo, path="d.txt")
    assert write(repo, create_pr=True, parent_commit=before.oid).pr_num == 2
    assert [commit.title for commit in hub.repo(repo).pull_requests[2]] == ["initial commit", "planted", "write"]


def test_objects_are_what_was_announced(hub: LoopbackHub, repo: str) -> None:
    """Bytes that are not the object, an address nobody gave out, and a commit of an object never sent."""
    stored = hashlib.sha256(b"first").hexdigest()
    write(repo, path="once.bin", content=b"first")
    headers = {"Authorization": f"Bearer {hub.token}"}
    batch, oid = f"{hub.url}/datasets/{repo}.git/info/lfs/objects/batch", "0" * 64
    wanted = {"operation": "upload", "objects": [{"oid": oid, "size": 3}]}
    href = httpx2.post(batch, headers=headers, json=wanted).json()["objects"][0]["actions"]["upload"]["href"]
    assert httpx2.put(href, content=b"abc").status_code == 400
    assert httpx2.put(href.split("?")[0], content=b"abc").status_code == 403
    for sent in ({"oid": oid, "size": 3}, {"oid": stored, "size": 6}):
        lines = [
            {"key": "header", "value": {"summary": "s"}},
            {"key": "lfsFile", "value": {"path": "x.bin", "algo": "sha256", **sent}},
        ]
        body = "\n".join(json.dumps(line) for line in lines)
        commit = httpx2.post(f"{hub.url}/api/datasets/{repo}/commit/main", headers=headers, content=body)
        assert (commit.status_code, "not uploaded" in commit.text) == (400, True)
    assert len(hub.commits(repo)) == 3


def test_bodies_without_a_length(hub: LoopbackHub, repo: str) -> None:
    lines = [
        {"key": "header", "value": {"summary": "s"}},
        {"key": "file", "value": {"path": "x", "content": "eA==", "encoding": "base64"}},
    ]
    pieces = (json.dumps(line).encode() + b"\n" for line in lines)
    headers = {"Authorization": f"Bearer {hub.token}"}
    with httpx2.Client(headers=headers) as client:
        client.post(f"{hub.url}/api/datasets/{repo}/commit/main", content=pieces).raise_for_status()
        assert hub.repo(repo).head.files["x"] == b"x"
        assert client.get(f"{hub.url}/api/whoami-v2").json()["name"] == "tester"  # on the same connection


# ---- the stand-in itself --------------------------------------------------------------------------------------------


def test_other_requests_are_remembered(hub: LoopbackHub) -> None:
    with pytest.raises(HfHubHTTPError):
        list(API.list_models())
    assert [path.split("?")[0] for _, path in hub.unrouted] == ["/api/models"]
    hub.unrouted.clear()


def test_no_other_host_is_reached(hub: LoopbackHub) -> None:
    assert get_session().get("http://huggingface.co/api/whoami-v2").status_code == 404
    with pytest.raises(httpx2.ProxyError):
        get_session().get("https://huggingface.co/api/whoami-v2")
    with pytest.raises(OSError, match="Tunnel connection failed"):
        urllib.request.urlopen("https://huggingface.co")
    assert hub.unrouted[1:] == [("CONNECT", "huggingface.co:443")] * 2
    hub.unrouted.clear()


def test_its_own_mistakes_are_remembered(hub: LoopbackHub, repo: str) -> None:
    headers = {"Authorization": f"Bearer {hub.token}"}
    answer = httpx2.post(f"{hub.url}/api/datasets/{repo}/preupload/main", headers=headers, json={})
    assert answer.status_code == 500
    assert ["KeyError: 'files'" in error for error in hub.errors] == [True]
    hub.errors.clear()


def test_a_reset_forgets(hub: LoopbackHub, repo: str) -> None:
    hub.fail("GET", ".*")
    hub.race()
    hub.reset()
    assert (hub.repos, hub.log, hub.unrouted) == ({}, [], [])
    API.create_repo(repo, repo_type="dataset")
    write(repo)
    assert API.dataset_info(repo).sha == hub.repo(repo).head.oid
    assert len(hub.commits(repo)) == 2


@pytest.mark.parametrize("start", [["tests/hub/server.py"], ["-m", "tests.hub.server"]])
def test_it_serves_by_hand(start: list[str]) -> None:
    command = [sys.executable, *start, "--port", "0"]
    served = subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True)
    try:
        said = served.stdout.readline().split()
        settings = dict(word.split("=", 1) for word in said[1:])
        assert (said[0], settings["HF_HUB_DISABLE_XET"]) == ("export", "1")
        api = HfApi(endpoint=settings["HF_ENDPOINT"], token=settings["HF_TOKEN"])
        api.create_repo("x")
        api.upload_file(path_or_fileobj=io.BytesIO(b"x"), path_in_repo="x.txt", repo_id="tester/x")
        assert api.file_exists("tester/x", "x.txt")
    finally:
        served.send_signal(signal.SIGINT)
        assert served.wait(timeout=10) == 0
