"""Who is refused what, and every way to fail as the client sees it."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import httpx2
import pytest
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

from .conftest import API, status_of, write
from .server import LoopbackHub


def test_a_private_repository_is_invisible_without_a_token(hub: LoopbackHub) -> None:
    API.create_repo("acme/secret", repo_type="dataset", private=True)
    write("acme/secret", path="a.txt")
    assert API.dataset_info("acme/secret").private
    assert API.dataset_info("acme/secret", token=hub.read_token).private
    with pytest.raises(RepositoryNotFoundError) as refused:
        API.dataset_info("acme/secret", token=False)
    assert status_of(refused) == 404
    url = f"{hub.url}/datasets/acme/secret/resolve/main/a.txt"
    assert httpx2.get(url).headers["X-Error-Code"] == "RepoNotFound"
    API.update_repo_settings("acme/secret", private=False, repo_type="dataset")
    assert httpx2.get(url).content == b"b"
    API.update_repo_settings("acme/secret", visibility="private", repo_type="dataset")
    assert httpx2.get(url).status_code == 404
    hub.plant("someone/secret", private=True)
    assert not API.repo_exists("someone/secret", repo_type="dataset")


def test_who_may_do_what(hub: LoopbackHub, repo: str) -> None:
    hub.plant("someone/rows")
    me = API.whoami()
    assert (me["name"], me["orgs"][0]["name"], me["auth"]["accessToken"]["role"]) == ("tester", "acme", "write")
    assert API.whoami(token=hub.read_token)["auth"]["accessToken"]["role"] == "read"
    refusals = [
        (401, lambda: API.whoami(token="hf_unknown")),  # noqa: S106
        (401, lambda: API.dataset_info(repo, token="hf_unknown")),  # noqa: S106
        (401, lambda: write(repo, token=False)),
        (401, lambda: API.create_repo("tester/new", token=False)),
        (403, lambda: API.create_repo("tester/new", token=hub.read_token)),
        (403, lambda: API.create_repo("someone/new")),
        (403, lambda: API.delete_repo(repo, repo_type="dataset", token=hub.read_token)),
        (403, lambda: API.create_branch(repo, branch="b", repo_type="dataset", token=hub.read_token)),
        (403, lambda: write(repo, token=hub.read_token)),
        (403, lambda: write("someone/rows")),
    ]
    for status, call in refusals:
        with pytest.raises(HfHubHTTPError) as refused:
            call()
        assert status_of(refused) == status
    assert [len(hub.commits(name)) for name in (repo, "someone/rows")] == [2, 1]
    assert API.dataset_info(repo, token=hub.read_token).sha == API.dataset_info(repo, token=False).sha
    assert write("someone/rows", create_pr=True).pr_num == 1


# ---- faults ---------------------------------------------------------------------------------------------------------


def test_a_status_as_often_as_asked_for(hub: LoopbackHub, repo: str) -> None:
    fault = hub.fail("POST", "/commit/main", status=500, times=2)
    for _ in range(2):
        with pytest.raises(HfHubHTTPError) as refused:
            write(repo)
        assert status_of(refused) == 500
    assert (fault.times, len(hub.commits(repo))) == (0, 2)
    write(repo)
    assert [status for _, _, status in hub.requests("POST", "/commit/")] == [500, 500, 200]
    assert len(hub.commits(repo)) == 3


def test_a_status_some_requests_get_over(hub: LoopbackHub, repo: str) -> None:
    hub.fail("POST", "/preupload/")
    write(repo)  # the client waits a second and asks again
    assert [status for _, _, status in hub.requests("POST", "/preupload/")] == [503, 200]


def test_headers_of_a_status_reach_the_client(hub: LoopbackHub, repo: str) -> None:
    hub.fail("GET", "/api/datasets/", status=429, headers={"Retry-After": "7"})
    with pytest.raises(HfHubHTTPError) as refused:
        API.dataset_info(repo)
    assert (status_of(refused), refused.value.response.headers["Retry-After"]) == (429, "7")


def test_a_lost_answer_leaves_the_commit(hub: LoopbackHub, repo: str) -> None:
    hub.fail("POST", "/commit/", after=True)
    with pytest.raises(HfHubHTTPError) as refused:
        write(repo)
    assert status_of(refused) == 503
    assert hub.repo(repo).head.files["b.txt"] == b"b"


def test_a_cut_answer_leaves_the_commit(hub: LoopbackHub, repo: str) -> None:
    hub.fail("POST", "/commit/", cut=True)
    with pytest.raises(httpx2.RemoteProtocolError):
        write(repo)
    assert hub.repo(repo).head.files["b.txt"] == b"b"


def test_an_answer_without_a_body_is_cut_before_it_begins(hub: LoopbackHub, repo: str) -> None:
    hub.fail("HEAD", "/resolve/", cut=True)
    url = f"{hub.url}/datasets/{repo}/resolve/main/a.txt"
    with pytest.raises(httpx2.RemoteProtocolError):
        httpx2.head(url)
    assert httpx2.head(url).status_code == 200


def test_a_cut_download_is_begun_again(hub: LoopbackHub, repo: str) -> None:
    hub.fail("GET", "/resolve/", cut=True)
    assert Path(hf_hub_download(repo, "a.txt", repo_type="dataset")).read_bytes() == b"0123456789"
    assert [status for _, _, status in hub.requests("GET", "/resolve/")] == [200, 200]


def test_a_cut_upload_leaves_nothing(hub: LoopbackHub, repo: str) -> None:
    hub.fail("POST", "/commit/", cut_upload=True)
    with pytest.raises(httpx2.TransportError):
        write(repo, content=os.urandom(3_000_000))
    assert len(hub.commits(repo)) == 2
    hub.fail("PUT", "/lfs/", cut_upload=True)
    write(repo, path="b.bin", content=os.urandom(3_000_000))  # the client sends it again
    assert [status for _, _, status in hub.requests("PUT", "/lfs/")] == [0, 200]


@pytest.mark.parametrize("framing", ["Content-Length: 999", "Transfer-Encoding: chunked"])
def test_half_a_request_is_not_carried_out(hub: LoopbackHub, repo: str, framing: str) -> None:
    body = json.dumps({"key": "header", "value": {"summary": "half"}}) + "\n"
    chunk = f"{len(body):x}\r\n{body}\r\n" if "chunked" in framing else body
    head = f"POST /api/datasets/{repo}/commit/main HTTP/1.1\r\nAuthorization: Bearer {hub.token}\r\n{framing}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", hub.port)) as client:
        client.sendall((head + chunk).encode())
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""
    assert [commit.title for commit in hub.commits(repo)] == ["initial commit", "planted"]


def test_a_delay_outlasts_a_patience(hub: LoopbackHub, repo: str) -> None:
    hub.fail("GET", f"/api/datasets/{repo}", delay=1.0)
    with pytest.raises(httpx2.ReadTimeout):
        API.dataset_info(repo, timeout=0.05)
    assert API.dataset_info(repo).sha == hub.repo(repo).head.oid


def test_a_hub_that_is_down_comes_back(hub: LoopbackHub, repo: str) -> None:
    assert API.repo_exists(repo, repo_type="dataset")
    hub.stop()
    try:
        # The connection of before is ended too.
        for _ in range(2):
            with pytest.raises(httpx2.TransportError):
                API.dataset_info(repo)
    finally:
        hub.start()
    assert API.dataset_info(repo).sha == hub.repo(repo).head.oid
