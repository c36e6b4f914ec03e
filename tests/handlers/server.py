"""A real HTTP server on a port of its own, whose answers a test writes down, and what it was asked."""

from __future__ import annotations

import json
import threading
from collections import defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Answer:
    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    stalls: bool = False
    """Answers nothing until the server ends."""
    drips: bool = False
    """Begins to answer, and goes on for ever."""
    breaks: bool = False
    """Closes the connection in place of an answer."""


@dataclass
class Asked:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Server:
    """Answers each path with what was given for it, one after the other, the last one again and again; else 404."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.connections = 0
        self.ended = threading.Event()
        self._answers: dict[str, deque[Answer]] = defaultdict(deque)
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"

    def answers(self, path: str, *answers: Answer) -> None:
        self._answers[path] = deque(answers)

    def headers(self, name: str) -> list[str | None]:
        """Of that name, in each request."""
        return [asked.headers.get(name) for asked in self.asked]

    @contextmanager
    def running(self) -> Iterator[Server]:
        thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.ended.set()
            self._http.shutdown()
            self._http.server_close()

    def _next(self, path: str) -> Answer:
        found = self._answers.get(path.partition("?")[0])
        if not found:
            return Answer(404, {"error": "nothing here"})
        return found.popleft() if len(found) > 1 else found[0]

    def _handler(server) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - the handler has a self of its own
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                server.connections += 1

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                server.asked.append(Asked(self.command, self.path, headers, body))
                answer = server._next(self.path)
                if answer.stalls:
                    server.ended.wait(30)
                if answer.stalls or answer.breaks:
                    self.close_connection = True
                    return
                self.send(answer)

            def send(self, answer: Answer) -> None:
                text = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
                kind = "text/plain" if isinstance(answer.body, bytes) else "application/json"
                self.send_response(answer.status)
                for name, value in {"Content-Type": kind, **answer.headers}.items():
                    self.send_header(name, value)
                if answer.drips:
                    self.send_header("Transfer-Encoding", "chunked")
                    self.end_headers()
                    try:
                        while not server.ended.wait(0.02):
                            self.wfile.write(b"1\r\n.\r\n")
                    except OSError:
                        self.close_connection = True
                    return
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815 - as the library calls them

            def log_message(self, *_: Any) -> None:
                pass

        return Handler
