"""A local server that answers as Slack's Web API and its incoming webhooks do, and remembers what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SECRET_PATH = "/services/T000/B000/Xhush7X"
TOKEN = "xoxb-hush7-token"


@dataclass(frozen=True)
class Answer:
    """What the server says. `before` runs first, `drop` closes the connection instead."""

    status: int = 200
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    drop: bool = False
    before: Callable[[], object] | None = None


@dataclass
class Request:
    """What the server was asked."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass
class FakeSlack:
    """The running server."""

    url: str
    answers: list[Answer] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)

    @property
    def api_url(self) -> str:
        return f"{self.url}/api/"

    @property
    def webhook_url(self) -> str:
        return self.url + SECRET_PATH

    def will_answer(self, *answers: Answer) -> None:
        """Answer the next requests so; after them, accept everything."""
        self.answers.extend(answers)

    def will_refuse(self, error: str) -> None:
        """Answer the next call of the Web API with `ok: false`."""
        self.will_answer(Answer(body=json.dumps({"ok": False, "error": error})))


@contextmanager
def fake_slack() -> Iterator[FakeSlack]:
    """Run the server on a free local port."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length) or b"{}")
            slack.requests.append(Request(self.path, dict(self.headers.items()), body))
            webhook = self.path == SECRET_PATH
            accepted = (
                "ok" if webhook else json.dumps({"ok": True, "channel": "C123", "ts": "1700000000.000100"})
            )
            answer = slack.answers.pop(0) if slack.answers else Answer(body=accepted)
            if answer.before is not None:
                answer.before()
            if answer.drop:
                self.close_connection = True
                return
            with suppress(ConnectionError):  # a caller who was kept waiting is gone by now
                self.reply(answer, "text/plain" if webhook else "application/json")

        def reply(self, answer: Answer, kind: str) -> None:
            payload = answer.body.encode()
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    slack = FakeSlack(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield slack
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
