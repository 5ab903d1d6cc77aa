"""A Hugging Face Hub on the loopback: what the libraries ask of the real one, answered from memory.

Tests get it from the fixture `hub`. By hand, `python tests/hub/server.py --port 0` serves until Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import re
import secrets
import socket
import sys
import threading
import time
import traceback
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote


if not __package__:  # run as a script: the imports below need a package
    sys.path[0] = str(Path(__file__).parents[2])
    __package__ = "tests.hub"

from .endpoints import ROUTES
from .repositories import Commit, Refused, Repository
from .routing import Answer, Request, State, error_answer


@dataclass
class Fault:
    """What is to happen to the next `times` requests of a kind. Without a status, they are carried out and answered."""

    method: str
    path: str
    status: int | None
    times: int
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False
    cut_upload: bool = False
    delay: float = 0.0
    after: bool = False

    def takes(self, method: str, target: str) -> bool:
        return self.times > 0 and bool(re.fullmatch(self.method, method) and re.search(self.path, target))

    def answer(self) -> Answer:
        body = json.dumps({"error": "the stand-in was told to fail"}).encode()
        return Answer(self.status or 503, body, {"Content-Type": "application/json", **self.headers})


class LoopbackHub:
    """The server and what it holds. Its address outlives `stop`: the libraries read it once, when imported."""

    def __init__(self, port: int = 0) -> None:
        self.token = f"hf_{secrets.token_hex(16)}"
        self.read_token = f"hf_{secrets.token_hex(16)}"
        self.lock = threading.RLock()
        self.port = port
        self._server: _Server | None = None
        self.reset()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> LoopbackHub:
        self._server = _Server(("127.0.0.1", self.port), _Handler)
        self._server.hub = self
        self.port = self._server.server_port
        # The default of half a second is how long `stop` would wait.
        threading.Thread(target=self._server.serve_forever, args=(0.05,), name="loopback-hub", daemon=True).start()
        return self

    def stop(self) -> None:
        """Refuse connections and end those that are open, until `start`. What is held stays."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server.end_connections()
            self._server = None

    def reset(self) -> None:
        """Forget everything but the tokens. Requests under way go on with what they began with."""
        with self.lock:
            self.state = State()
            self.faults: list[Fault] = []

    def fail(
        self,
        method: str,
        path_regex: str,
        status: int | None = None,
        times: int = 1,
        headers: dict[str, str] | None = None,
        **kind: Any,
    ) -> Fault:
        """Fail the next requests whose method and path (decoded, with its query) match.

        `status` is 503 unless a kind says what happens instead: `cut` ends the connection half-way through the answer,
        `cut_upload` half-way through the request, `delay` answers after so many seconds. `after` carries the request
        out before it is answered with the fault. The fault given back counts `times` down.
        """
        if status is None and not (kind.get("cut") or kind.get("cut_upload") or kind.get("delay")):
            status = 503
        fault = Fault(method, path_regex, status, times, headers or {}, **kind)
        with self.lock:
            self.faults.append(fault)
        return fault

    def race(self, times: int = 1, branch: str | None = None) -> None:
        """Before each of the next commits (to `branch`, or any), someone else's lands on the same branch."""
        with self.lock:
            self.state.races, self.state.raced_branch = times, branch

    @property
    def repos(self) -> dict[tuple[str, str], Repository]:
        """By type (`model`, `dataset`, `space`) and id."""
        return self.state.repos

    @property
    def log(self) -> list[tuple[str, str, int]]:
        """Method, decoded path with its query, status: 0 if the connection ended before there was one."""
        return self.state.log

    @property
    def unrouted(self) -> list[tuple[str, str]]:
        """Requests the Hub has an answer to, perhaps, but the stand-in does not."""
        return self.state.unrouted

    @property
    def errors(self) -> list[str]:
        """Tracebacks of the stand-in itself."""
        return self.state.errors

    def repo(self, repo_id: str, repo_type: str = "dataset") -> Repository:
        return self.repos[repo_type, repo_id]

    def commits(self, repo_id: str, repo_type: str = "dataset", branch: str = "main") -> list[Commit]:
        """Oldest first. The first one is that of the new repository."""
        return self.repo(repo_id, repo_type).branch(branch)

    def plant(
        self, repo_id: str, repo_type: str = "dataset", files: dict[str, bytes] | None = None, private: bool = False
    ) -> Repository:
        """A repository that is there already, of any namespace."""
        repo = Repository(repo_type, repo_id, private=private)
        if files:
            repo.land(repo.branches["main"], "planted", {**repo.head.files, **files})
        with self.lock:
            self.repos[repo_type, repo_id] = repo
        return repo

    def requests(self, method: str, path_regex: str) -> list[tuple[str, str, int]]:
        """Those of the log that match, as `fail` matches."""
        return [row for row in self.log if re.fullmatch(method, row[0]) and re.search(path_regex, row[1])]

    def take_fault(self, method: str, target: str) -> Fault | None:
        with self.lock:
            found = next((fault for fault in self.faults if fault.takes(method, target)), None)
            if found is not None:
                found.times -= 1
            return found

    def answer(self, request: Request) -> Answer:
        """Carry a request out, alone: what a client sees is one state or the next."""
        with self.lock:
            try:
                return self._answer(request)
            except Refused as refused:
                return error_answer(refused)
            except Exception as error:  # noqa: BLE001
                request.state.errors.append(traceback.format_exc())
                return error_answer(Refused(500, f"The stand-in broke: {error!r}"))

    def _answer(self, request: Request) -> Answer:
        endpoint = ROUTES.find(request)
        if endpoint is None:
            request.state.unrouted.append((request.method, request.target))
            raise Refused(404, f"The stand-in has no route for {request.method} {request.target}")
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        if bearer:
            request.role = {self.token: "write", self.read_token: "read"}.get(bearer)
            if request.role is None:
                raise Refused(401, "Invalid credentials in Authorization header")
        answer = endpoint(request)
        if isinstance(answer, Answer):
            return answer
        return Answer(200, json.dumps(answer).encode(), {"Content-Type": "application/json"})


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # Clients keep connections open: waiting for them to end would be waiting for the end of the tests.
    block_on_close = False
    hub: LoopbackHub

    def __init__(self, *arguments: Any) -> None:
        self._open: set[socket.socket] = set()
        super().__init__(*arguments)

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self._open.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def end_connections(self) -> None:
        for connection in list(self._open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                self._open.discard(connection)  # it ended by itself

    def handle_error(self, request: Any, client_address: Any) -> None:
        # Clients that hang up are part of the tests.
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def serve(self) -> None:
        hub, target = self.server.hub, unquote(self.path)
        state = hub.state
        fault = hub.take_fault(self.command, target)
        if fault and fault.cut_upload:
            self.rfile.read(int(self.headers.get("Content-Length", 0)) // 2)
            state.log.append((self.command, target, 0))
            self.hang_up()
            return
        body = self.read_body()
        if fault and fault.delay:
            time.sleep(fault.delay)
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(state, hub.url, self.command, self.path, headers, body, role=None)
        if fault is None or fault.after or fault.status is None:
            answer = hub.answer(request)
        if fault and fault.status is not None:
            answer = fault.answer()
        # Before it is sent: a test that has the answer looks into the log.
        state.log.append((self.command, target, answer.status))
        self.send(answer, cut=bool(fault and fault.cut))

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_CONNECT = serve

    def read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.read_exactly(int(self.headers.get("Content-Length", 0)))
        pieces = []
        while size := int(self.rfile.readline().split(b";")[0] or b"-1", 16):
            pieces.append(self.read_exactly(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass  # trailers
        return b"".join(pieces)

    def read_exactly(self, size: int) -> bytes:
        """Half a request must not be carried out: half a commit may look like a whole one."""
        found = self.rfile.read(max(size, 0))
        if len(found) != size:
            raise ConnectionError("the client hung up in the middle of its request")
        return found

    def send(self, answer: Answer, cut: bool) -> None:
        body = b"" if self.command == "HEAD" else answer.body
        if cut and not body:
            self.hang_up()
            return
        self.send_response(answer.status)
        for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if cut:
            self.wfile.write(body[: len(body) // 2])
            self.hang_up()
        else:
            self.wfile.write(body)

    def hang_up(self) -> None:
        self.close_connection = True
        try:
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # the client was first

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing is printed: there is `LoopbackHub.log`."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve a Hugging Face Hub on the loopback until Ctrl-C.")
    parser.add_argument("--port", type=int, default=0, help="0 for any that is free")
    hub = LoopbackHub(parser.parse_args().port).start()
    try:
        print(f"export HF_ENDPOINT={hub.url} HF_HUB_DISABLE_XET=1 HF_TOKEN={hub.token}", flush=True)
        threading.Event().wait()
    except KeyboardInterrupt:
        hub.stop()


if __name__ == "__main__":
    main()
