"""Senders under `kill -9`: whether every message is accepted, and none twice but in the one window that cannot be closed.

`python -m monitoring_pipeline_tests.kills.senders --times 300 --seed 1` kills as often as asked and reports. A sender
is a process that opens the store and calls `deliver`, as the pipeline does; the other side is a real server that counts
what it accepts. A process that has done it once forks one sender per attempt, so that a life takes milliseconds.
"""

from __future__ import annotations

import argparse
import http.client
import json
import logging
import mmap
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from types import TracebackType
from typing import Any, Self

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.pool import Pool

from monitoring_pipeline.alerting.delivery import deliver
from monitoring_pipeline.alerting.digests import Digest, build_digests
from monitoring_pipeline.errors import DeliveryError
from monitoring_pipeline.store import digests, schema
from monitoring_pipeline.store.channel_states import LONGEST_REST
from monitoring_pipeline.store.database import open_store
from monitoring_pipeline.store.datasets import register_dataset
from monitoring_pipeline_tests.alerting.builders import RUN, document, result

NOW = datetime(2026, 2, 1, 6, 30, tzinfo=UTC)
SECOND = timedelta(seconds=1)
NAMES = ("steady", "keyed", "moody")
"""One channel that takes everything, one that knows a message by its key, one that refuses, slows down and breaks off."""

MESSAGES = 4
"""Messages of one round, each to every channel."""

MOST_DEATHS = 8
"""Deaths in one round, before senders are let live."""


class Post:
    """A channel that posts a digest's key to the server."""

    def __init__(self, name: str, port: int) -> None:
        self.name = name
        self._port = port

    def send(self, digest: Digest, *, thread: str | None = None) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        body = json.dumps({"key": digest.dedup_key, "thread": thread})
        try:
            connection.request("POST", f"/{self.name}", body)
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise DeliveryError(type(error).__name__) from None
        finally:
            connection.close()
        if answer.status == 200:
            return "ok"
        after = answer.headers.get("Retry-After")
        raise DeliveryError(
            f"HTTP {answer.status}",
            permanent=answer.status in (400, 403),
            retry_after=float(after) if after else None,
        )


@dataclass
class Receiver:
    """The server: what each channel accepted, in order, by key."""

    port: int
    chance: random.Random
    accepted: dict[str, list[str]] = field(default_factory=lambda: {name: [] for name in NAMES})
    busy: int = 0
    lock: Lock = field(default_factory=Lock)

    def settle(self) -> None:
        """Wait until everything has been read that anybody had sent before this call."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        connection.request("POST", "/ping", "{}")
        connection.getresponse().read()
        connection.close()
        while self.busy:
            time.sleep(0.001)

    def accepted_by(self, name: str) -> Counter[str]:
        with self.lock:
            return Counter(self.accepted[name])


@contextmanager
def receiver(chance: random.Random) -> Iterator[Receiver]:
    """Run the server on a free local port."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            body = self.rfile.read(length)
            name = self.path.removeprefix("/")
            if len(body) < length:  # the sender is dead
                return
            if name == "ping":
                self._answer(200)
                return
            with running.lock:
                mood = running.chance.choice([200, 200, 200, 200, 500, 429, 0]) if name == "moody" else 200
                key, known = json.loads(body)["key"], running.accepted[name]
                if mood == 200 and not (name == "keyed" and key in known):
                    known.append(key)
            if mood:
                self._answer(mood)
            else:
                self.close_connection = True

        def _answer(self, status: int) -> None:
            try:
                self.send_response(status)
                if status == 429:
                    self.send_header("Retry-After", "30")
                self.send_header("Content-Length", "0")
                self.end_headers()
            except ConnectionError:  # the sender is dead by now
                self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 128

        def process_request(self, request: Any, client_address: Any) -> None:
            with running.lock:
                running.busy += 1
            super().process_request(request, client_address)

        def process_request_thread(self, request: Any, client_address: Any) -> None:
            super().process_request_thread(request, client_address)
            with running.lock:
                running.busy -= 1

        def handle_error(self, request: Any, client_address: Any) -> None:
            pass

    server = Server(("127.0.0.1", 0), Handler)
    running = Receiver(server.server_port, chance)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield running
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass(frozen=True)
class Life:
    """One sender: where it works, at what time it thinks it is, and how it dies: after seconds, at a point, or not."""

    store_url: str
    port: int
    now: str
    die_after: float | None = None
    die_at: int | None = None


@dataclass(frozen=True)
class End:
    """How a sender ended: killed or not, how long it lived, which points it passed, what it died of otherwise."""

    killed: bool
    seconds: float
    points: int
    error: str


class Nursery:
    """The process in which senders are born and killed."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "monitoring_pipeline_tests.kills.senders", "--nursery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()

    def start(self, life: Life) -> None:
        """Let a sender begin."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asdict(life)) + "\n")
        self._process.stdin.flush()

    def wait(self) -> End:
        """Wait for its end."""
        assert self._process.stdout is not None
        answer = self._process.stdout.readline()
        assert answer, "the nursery died"
        return End(**json.loads(answer))

    def run(self, life: Life) -> End:
        """Both."""
        self.start(life)
        return self.wait()


def _nursery() -> None:
    logging.disable(logging.WARNING)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    with tempfile.TemporaryDirectory() as folder, receiver(random.Random(0)) as server:
        url = f"sqlite:///{folder}/store.db"
        record(url, 0, now=NOW)
        _live(Life(url, server.port, NOW.isoformat()))
    for line in sys.stdin:
        answers.write(json.dumps(asdict(_watched(Life(**json.loads(line))))) + "\n")
        answers.flush()


def _watched(life: Life) -> End:
    """Fork a sender and see it to its end."""
    slate, began = mmap.mmap(-1, 4096), time.monotonic()
    child = os.fork()
    if child == 0:
        try:
            slate[:8] = _Points(life.die_at, slate).watch().to_bytes(8, "little")
            _live(life)
            os._exit(0)
        except BaseException as error:  # noqa: BLE001 - told to the one who asked
            text = f"{type(error).__name__}: {error}".encode()[:2000]
            slate[16 : 16 + len(text)] = text
            os._exit(1)
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            break
        if life.die_after is not None and time.monotonic() - began >= life.die_after:
            os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
            break
        time.sleep(0.0005)
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    points = int.from_bytes(slate[:8], "little")
    error = slate[16:2016].rstrip(b"\0").decode(errors="replace")
    slate.close()
    return End(killed, time.monotonic() - began, points, error)


def _live(life: Life) -> None:
    store = open_store(life.store_url, create=False)
    channels = {name: Post(name, life.port) for name in NAMES}
    deliver(store, channels, now=datetime.fromisoformat(life.now))
    store.close()


class _Points:
    """Points of interest: just before and after a commit, just before a message goes out and just after it was accepted."""

    def __init__(self, die_at: int | None, slate: mmap.mmap) -> None:
        self._die_at, self._slate = die_at, slate
        self._passed, self._committing, self._lock = 0, False, Lock()

    def watch(self) -> int:
        """From now on, in this process; returns 0, the points passed so far."""
        send = Post.send

        def sent(channel: Post, digest: Digest, *, thread: str | None = None) -> str:
            self._reached()
            receipt = send(channel, digest, thread=thread)
            self._reached()
            return receipt

        Post.send = sent  # type: ignore[method-assign]
        event.listen(Engine, "commit", self._before_commit)
        event.listen(Pool, "checkin", self._after_commit)
        return 0

    def _before_commit(self, connection: Connection) -> None:
        if connection.get_execution_options().get("store_writes"):
            self._committing = True
            self._reached()

    def _after_commit(self, *_: object) -> None:
        if self._committing:
            self._committing = False
            self._reached()

    def _reached(self) -> None:
        with self._lock:
            self._passed += 1
            self._slate[:8] = self._passed.to_bytes(8, "little")
            if self._passed == self._die_at:
                os.kill(os.getpid(), signal.SIGKILL)


def record(store_url: str, number: int, *, now: datetime) -> list[str]:
    """Record the messages of a round for every channel; returns their keys."""
    store = open_store(store_url)
    try:
        ref = register_dataset(store, "org-0", "lead-scoring", now=NOW)
        made = [
            build_digests(document(), [result(f"column_{number}_{one}")], now=now, run_id=RUN)[0]
            for one in range(MESSAGES)
        ]
        for one in made:
            digests.record_digest(store, ref, one.to_json(), NAMES, now)
        return [one.dedup_key for one in made]
    finally:
        store.close()


@dataclass
class Report:
    """What a campaign came to."""

    killed: int = 0
    aimed: int = 0
    messages: int = 0
    accepted_and_dead: int = 0
    """Messages that were accepted by a sender which died before it had noted that."""
    repeated: int = 0
    """Messages that a channel accepted once more."""
    problems: list[str] = field(default_factory=list)


def campaign(store_url: str, nursery: Nursery, *, times: int, chance: random.Random) -> Report:
    """Rounds of messages, each tried by senders that are killed, until as many have died as asked."""
    report, number, now = Report(), 0, NOW
    seconds, points = 0.2, 40
    with receiver(chance) as server:
        while report.killed < times:
            keys = record(store_url, number, now=now)
            number += 1
            for _ in range(min(MOST_DEATHS, times - report.killed)):
                aimed = chance.random() < 0.6
                life = Life(
                    store_url,
                    server.port,
                    now.isoformat(),
                    die_at=chance.randint(1, points) if aimed else None,
                    die_after=None if aimed else chance.uniform(0, seconds),
                )
                before = {name: server.accepted_by(name) for name in NAMES}
                end = nursery.run(life)
                server.settle()
                if end.error:
                    report.problems.append(end.error)
                if end.killed:
                    report.killed += 1
                    report.aimed += aimed
                    report.accepted_and_dead += _held(store_url, server, before)
                else:
                    seconds, points = max(0.02, end.seconds), max(6, end.points)
                now += chance.choice([SECOND, 40 * SECOND, digests.LEASE + SECOND])
            for _ in range(40):  # one message in two is refused by the moody channel at worst
                now += LONGEST_REST / 12
                end = nursery.run(Life(store_url, server.port, now.isoformat()))
                if end.error:
                    report.problems.append(end.error)
                if not _waiting(store_url):
                    break
            _judge(report, server, keys)
        if _waiting(store_url):
            report.problems.append("messages still wait")
    return report


def _judge(report: Report, server: Receiver, keys: list[str]) -> None:
    server.settle()
    for name in NAMES:
        accepted = server.accepted_by(name)
        report.messages += len(keys)
        report.problems += [f"{name} never got {key[:8]}" for key in keys if not accepted[key]]
        report.repeated += sum(accepted[key] - 1 for key in keys if accepted[key])


def _held(store_url: str, server: Receiver, before: dict[str, Counter[str]]) -> int:
    """How many messages were accepted in this life that the store does not know to be delivered, and will come again."""
    store = open_store(store_url, create=False)
    try:
        open_ = {(one.channel, one.dedup_key) for one in digests.undelivered(store)}
    finally:
        store.close()
    return sum(
        count
        for name in NAMES
        for key, count in (server.accepted_by(name) - before[name]).items()
        if (name, key) in open_ and name != "keyed"
    )


def _waiting(store_url: str) -> bool:
    store = open_store(store_url, create=False)
    try:
        with store.read() as connection:
            left = sa.select(sa.func.count()).where(schema.delivery.c.state != "delivered")
            return bool(connection.execute(left).scalar_one())
    finally:
        store.close()


def together(
    store_url: str, nurseries: tuple[Nursery, Nursery], *, rounds: int, chance: random.Random
) -> Report:
    """Rounds that two senders serve at the same time, the clock of one of them minutes or days off; nobody dies."""
    report, now = Report(), NOW
    with receiver(chance) as server:
        for number in range(rounds):
            keys = record(store_url, number, now=now)
            for _ in range(40):
                skew = chance.choice([0, 0, 600, 86_400, -600]) * SECOND
                for nursery, moment in zip(nurseries, (now, now + skew), strict=True):
                    nursery.start(Life(store_url, server.port, moment.isoformat()))
                for nursery in nurseries:
                    if error := nursery.wait().error:
                        report.problems.append(error)
                now += LONGEST_REST / 12
                if not _waiting(store_url):
                    break
            _judge(report, server, keys)
    return report


def main() -> int:
    """Exit code 0 when nothing was lost, and nothing came again that no death explains."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=200, help="how many senders are killed")
    parser.add_argument("--two", type=int, default=0, help="rounds of two senders at once")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--store", help="URL of an empty store to use instead of SQLite")
    parser.add_argument("--nursery", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.nursery:
        _nursery()
        return 0
    chance, began = random.Random(asked.seed), time.monotonic()
    with Nursery() as one, Nursery() as other, tempfile.TemporaryDirectory() as folder:
        url = asked.store or f"sqlite:///{Path(folder) / 'store.db'}"
        report = campaign(url, one, times=asked.times, chance=chance)
        both = Report()
        if asked.two:
            both = together(
                f"sqlite:///{Path(folder) / 'two.db'}", (one, other), rounds=asked.two, chance=chance
            )
    print(
        f"{report.killed} senders killed ({time.monotonic() - began:.0f} s), {report.aimed} of them at a point of interest\n"
        f"{report.messages} messages for {len(NAMES)} channels; {report.accepted_and_dead} were accepted by a sender that "
        f"died before it noted that, {report.repeated} came again\n"
        f"two at once: {both.messages} messages, {both.repeated} came again"
    )
    for line in [*report.problems, *both.problems]:
        print(f"  {line}")
    wrong = report.problems or both.problems or both.repeated or report.repeated != report.accepted_and_dead
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
