"""Round after round of arrivals, each tried by workers that are killed until one gets to the end; then the comparison.

After a number of deaths in a round one worker is let live, at least five minutes later, when the claims of the dead on
messages have run out. A message is identified by its text, which is made from the digest alone.
"""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from monitoring_pipeline.alerting.digests import Digest
from monitoring_pipeline.alerting.formats.slack_blocks import fallback_text, render_slack
from monitoring_pipeline.store import digests
from monitoring_pipeline.store.database import open_store
from monitoring_pipeline.store.digests import LEASE
from monitoring_pipeline_tests.kills.dump import Dump, differences, dump
from monitoring_pipeline_tests.kills.nursery import End, Nursery
from monitoring_pipeline_tests.kills.scenario import rounds
from monitoring_pipeline_tests.kills.worker import Job

SECOND = timedelta(seconds=1)

MOST_DEATHS = 6
"""Deaths in one round, before a worker is let live."""


@dataclass
class Receiver:
    """A webhook that accepts every message, and remembers their texts in order."""

    url: str
    messages: list[str] = field(default_factory=list)


@contextmanager
def receiver() -> Iterator[Receiver]:
    """Run a receiver on a free local port."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            running.messages.append(_canonical(json.loads(body)))
            try:
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")
            except ConnectionError:  # the sender is dead by now
                self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running = Receiver(f"http://127.0.0.1:{server.server_port}/services/T000/B000/X")
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield running
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass(frozen=True)
class Measured:
    """What a clean run of a round takes: seconds, and points of interest."""

    seconds: float
    points: int


@dataclass(frozen=True)
class Clean:
    """The store after a run in which nobody died, and what each round took."""

    state: Dump
    messages: Counter[str]
    rounds: Sequence[Measured]


@dataclass
class Report:
    """What a campaign came to."""

    kills: Counter[str] = field(default_factory=Counter)
    """Kills by the step in which they hit."""
    aimed: int = 0
    """Those that hit at a point of interest; the others at a random instant."""
    errors: list[str] = field(default_factory=list)
    """Of workers that were not killed and yet did not get to the end."""
    differences: list[str] = field(default_factory=list)
    """Between the final state and that of a clean run."""
    messages: int = 0
    accepted_and_dead: int = 0
    """Workers that died after a message was accepted and before that was noted."""
    repeated: int = 0
    """Messages that were sent once more."""

    @property
    def total(self) -> int:
        return self.kills.total()


def run_clean(nursery: Nursery, home: Path, store_url: str) -> Clean:
    """Every round with one worker that lives."""
    with receiver() as slack:
        measured: list[Measured] = []
        for one in rounds():
            one.arrive(home)
            end = nursery.run(Job.of(one, home=home, store_url=store_url, webhook=slack.url))
            assert not end.error, end.error
            measured.append(Measured(end.seconds, end.points))
        return Clean(dump(store_url), Counter(slack.messages), measured)


def run_killed(
    nursery: Nursery, home: Path, store_url: str, clean: Clean, *, chance: random.Random, most: int
) -> Report:
    """The same rounds, each tried until a worker gets to the end, or `MOST_DEATHS` have died in it; `most` in all.

    Of half of the workers the instant of death is chosen evenly over the time that a clean run takes, of the others
    among the points of interest that a clean run passes.
    """
    report = Report()
    with receiver() as slack:
        for one, measured in zip(rounds(), clean.rounds, strict=True):
            one.arrive(home)
            job, moment = Job.of(one, home=home, store_url=store_url, webhook=slack.url), one.now
            for _ in range(min(MOST_DEATHS, most - report.total)):
                aimed = chance.random() < 0.5
                mortal = replace(
                    job,
                    now=moment.isoformat(),
                    die_at=chance.randint(1, measured.points) if aimed else None,
                    die_after=None if aimed else chance.uniform(0, measured.seconds),
                )
                before = Counter(slack.messages)
                end = nursery.run(mortal)
                moment += chance.choice([SECOND, LEASE + SECOND])
                if not end.killed:
                    if end.error:
                        report.errors.append(f"{one.name}: {end.step}: {end.error}")
                    break
                report.kills[end.step] += 1
                report.aimed += aimed
                report.accepted_and_dead += _died_holding(store_url, slack, before, end)
            end = nursery.run(replace(job, now=(moment + LEASE).isoformat()))
            if end.killed or end.error:
                report.errors.append(f"{one.name}: {end.step}: the last worker died: {end.error}")
        _compare(report, clean, slack, store_url)
    return report


def run_two_at_once(
    nurseries: tuple[Nursery, Nursery], home: Path, store_url: str, clean: Clean, *, chance: random.Random
) -> Report:
    """The same rounds, each done by two workers at the same time, of which every other one is killed on the way."""
    report = Report()
    with receiver() as slack:
        for one, measured in zip(rounds(), clean.rounds, strict=True):
            one.arrive(home)
            job = Job.of(one, home=home, store_url=store_url, webhook=slack.url)
            second = replace(job, die_after=chance.choice([None, chance.uniform(0, 2 * measured.seconds)]))
            before = Counter(slack.messages)
            for nursery, chosen in zip(nurseries, (job, second), strict=True):
                nursery.start(chosen)
            ends = [nursery.wait() for nursery in nurseries]
            report.errors += [f"{one.name}: {end.step}: {end.error}" for end in ends if end.error]
            if ends[1].killed:
                report.kills[ends[1].step] += 1
                report.accepted_and_dead += _died_holding(store_url, slack, before, ends[1])
            later = (one.now + LEASE + SECOND).isoformat()
            end = nurseries[0].run(replace(job, now=later))
            if end.error:
                report.errors.append(f"{one.name}: {end.step}: the last worker failed: {end.error}")
        _compare(report, clean, slack, store_url)
    return report


def _compare(report: Report, clean: Clean, slack: Receiver, store_url: str) -> None:
    """Note everything in which the end differs from that of a clean run."""
    expected, got = _texts(store_url), Counter(slack.messages)
    report.messages = got.total()
    report.repeated = (got - Counter(expected.keys())).total()
    report.differences = differences(clean.state, dump(store_url))
    if missing := expected.keys() - got.keys():
        report.differences.append(f"{len(missing)} digests were never received")
    if got.keys() - expected.keys():
        report.differences.append("messages were received that are not in the outbox")
    if expected.keys() != clean.messages.keys():
        report.differences.append("the messages are not those of a clean run")
    if report.repeated != report.accepted_and_dead:
        report.differences.append(
            f"{report.repeated} messages came again, but {report.accepted_and_dead} workers died between the "
            "acceptance of a message and its note"
        )


def _died_holding(store_url: str, slack: Receiver, before: Counter[str], end: End) -> int:
    """Whether the worker died after a message was accepted, before it could note that."""
    if end.step != "deliver":
        return 0
    time.sleep(0.05)  # the receiver may be reading what the dead has sent
    waiting = {text for text, state in _texts(store_url).items() if state == "pending"}
    return sum(number for text, number in (Counter(slack.messages) - before).items() if text in waiting)


def _texts(store_url: str) -> dict[str, str]:
    """The message of every digest that goes to Slack, with the state of its delivery."""
    store = open_store(store_url, create=False)
    try:
        found: dict[str, str] = {}
        for one in digests.digests(store):
            if "slack" in one.deliveries:
                digest = Digest.from_json(one.content)
                text = _canonical({"text": fallback_text(digest), "blocks": render_slack(digest)})
                assert text not in found, "two digests with one text cannot be told apart"
                found[text] = one.deliveries["slack"]
        return found
    finally:
        store.close()


def _canonical(message: object) -> str:
    return json.dumps(message, sort_keys=True)
