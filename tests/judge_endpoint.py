"""An OpenAI-compatible endpoint on the loopback, whose replies a test decides."""

from __future__ import annotations

import functools
import json
import threading
import zlib
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


Answer = Callable[[dict[str, Any]], Any]  # of a request's body: a text, (status, headers, text), or None for silence


class JudgeEndpoint:
    """Answers on a port of its own, and remembers what it was asked and how many at once.

    Args:
        answer: of the body of a request. `None` closes the connection without a word.
    """

    def __init__(self, answer: Answer) -> None:
        self.answer, self.requests, self.headers = answer, [], []
        self.lock, self.now, self.most_at_once = threading.Lock(), 0, 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                outer.serve(self)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        with self.lock:
            self.requests.append(body)
            self.headers.append(dict(handler.headers) | {"path": handler.path})
            self.now += 1
            self.most_at_once = max(self.most_at_once, self.now)
        try:
            found = self.answer(body)
        finally:
            with self.lock:
                self.now -= 1
        if found is None:
            handler.close_connection = True
            return
        status, headers, text = found if isinstance(found, tuple) else (200, {}, completion(found, body))
        handler.send_response(status)
        for name, value in {
            "Content-Type": "application/json",
            "Content-Length": str(len(text.encode())),
            **headers,
        }.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(text.encode())

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def completion(text: str, body: dict[str, Any]) -> str:
    """A reply as vLLM writes it; a word counts as a token."""
    asked = sum(len(str(message["content"]).split()) for message in body["messages"])
    usage = {"prompt_tokens": asked, "completion_tokens": len(text.split()), "total_tokens": asked + len(text.split())}
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    return json.dumps(
        {
            "id": "1",
            "object": "chat.completion",
            "created": 0,
            "model": body["model"],
            "choices": [choice],
            "usage": usage,
        }
    )


def shown(body: dict[str, Any]) -> str:
    """The text of the user's message."""
    content = body["messages"][1]["content"]
    return content if isinstance(content, str) else content[0]["text"]


@functools.cache
def fair_judge() -> JudgeEndpoint:
    """One for the whole process: a rating up to 5, or a verdict, that follows from the row and the seed."""

    def answer(body: dict[str, Any]) -> str:
        number = zlib.crc32(f"{body['seed']} {shown(body)}".encode())
        verifies = "ACCEPT or REJECT" in body["messages"][0]["content"]
        return f"{('REJECT', 'ACCEPT')[number % 2] if verifies else number % 51 / 10}\nBecause."

    return JudgeEndpoint(answer)
