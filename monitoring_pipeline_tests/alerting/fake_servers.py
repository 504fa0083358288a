"""Local servers that answer as one wants, and remember what they were asked: for PagerDuty and for webhooks."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from monitoring_pipeline_tests.alerting.fake_slack import Answer

ACCEPTED = Answer(202, json.dumps({"status": "success", "message": "Event processed", "dedup_key": "k"}))


@dataclass
class Asked:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class FakeServer:
    """The running server. Answers `otherwise` when nothing else was asked for."""

    port: int
    otherwise: Answer
    answers: list[Answer] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    raw: Callable[[Any], None] | None = None
    """Instead of an answer: what to do with the socket's file."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hush7/hook?key=hush7"


@contextmanager
def fake_server(otherwise: Answer = ACCEPTED) -> Iterator[FakeServer]:
    """Run the server on a free local port."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            running.asked.append(Asked(self.path, dict(self.headers.items()), self.rfile.read(length)))
            answer = running.answers.pop(0) if running.answers else running.otherwise
            if answer.before is not None:
                answer.before()
            with suppress(ConnectionError):
                if running.raw is not None:
                    running.raw(self.wfile)
                elif not answer.drop:
                    self._reply(answer)
            self.close_connection = True

        def _reply(self, answer: Answer) -> None:
            payload = answer.body.encode()
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running = FakeServer(server.server_port, otherwise)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield running
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
