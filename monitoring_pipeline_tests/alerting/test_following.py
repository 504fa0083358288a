"""From an incident that was told to whoever hears of it next: escalations, what became of it, channels that are down."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import yaml

from monitoring_pipeline import outgoing, overview
from monitoring_pipeline.alerting.channels import Step
from monitoring_pipeline.alerting.digests import Digest, build_digests
from monitoring_pipeline.alerting.incidents import Incident, group_anomalies
from monitoring_pipeline.alerting.messages import Message
from monitoring_pipeline.errors import DeliveryError
from monitoring_pipeline.settings import Settings
from monitoring_pipeline.store import digests as outbox
from monitoring_pipeline.store import incidents as incident_store
from monitoring_pipeline.store import schema, telling
from monitoring_pipeline.store.datasets import DatasetRef, register_dataset
from monitoring_pipeline.store.telling import Telling
from monitoring_pipeline.store.turns import turn
from monitoring_pipeline.timegrid import TimeRange, to_micros
from monitoring_pipeline.workspace import Workspace
from monitoring_pipeline_tests.alerting.builders import NOW, RUN, day, document, monitor, result

HOUR = timedelta(hours=1)
FILE = {
    "channels": {name: {"type": "console"} for name in ("slack", "mail", "pager")},
    "escalation": [{"after": "PT30M", "levels": ["warning", "critical"], "to": ["mail", "pager"]}],
    "outage": {"after": "PT2H", "to": ["mail"]},
}


class Chat:
    """A channel with threads that takes any message; it fails as often as told."""

    threads = True

    def __init__(self, name: str) -> None:
        self.name = name
        self.failing = False
        self.heard: list[tuple[str, str | None]] = []

    def send(self, digest: Digest, *, thread: str | None = None) -> str:
        return self._heard(f"digest of {digest.dataset}", thread)

    def say(self, message: Message, *, key: str, thread: str | None = None) -> str:
        assert key
        return self._heard(message.title, thread)

    def _heard(self, text: str, thread: str | None) -> str:
        if self.failing:
            raise DeliveryError("not available")
        self.heard.append((text, thread))
        return f"receipt-{len(self.heard)}"


class Pager:
    """A channel that keeps the state of each incident by its id."""

    name = "pager"

    def __init__(self) -> None:
        self.events: list[tuple[str, ...]] = []

    def send(self, digest: Digest, *, thread: str | None = None) -> str:
        self.events += [("trigger", incident.id) for incident in digest.incidents]
        return thread or "ok"

    def update(self, incident: Incident, step: Step, *, dataset: str) -> str:
        self.events.append((step.value, incident.id))
        return dataset


class World:
    """A workspace whose clock is turned by hand, with its channels."""

    def __init__(self, home: Path) -> None:
        (home / "channels.yaml").write_text(yaml.safe_dump(FILE))
        folder = home / "datasets" / "lead-scoring"
        folder.mkdir(parents=True)
        (folder / "dataset.yaml").write_text(
            "id: lead-scoring\ngranularity: daily\nsource: {path: landing}\ntimestamp: at\n"
        )
        self.home, self.now = home, NOW
        self.slack, self.mail, self.pager = Chat("slack"), Chat("mail"), Pager()
        self.channels: dict[str, Any] = {one.name: one for one in (self.slack, self.mail, self.pager)}
        with self.open() as workspace:
            self.ref = register_dataset(workspace.store, "org-0", "lead-scoring", now=NOW)

    @contextmanager
    def open(self) -> Iterator[Workspace]:
        with Workspace(Settings(home=self.home, now=self.now)) as workspace:
            yield workspace

    def tell(self, *to: str, days: Sequence[int] = (0,), status: str = "open") -> str:
        """An incident over some days, and a digest of it; returns the incident's id."""
        results = [result(bucket=day(one)) for one in days]
        (digest,) = build_digests(document(monitor(severity=1)), results, now=self.now, run_id=RUN)
        (incident,) = group_anomalies(digest.sample)
        incident = replace(incident, severity=1)
        with self.open() as workspace:
            record = {**incident.to_json(), "status": status}
            incident_store.save_incidents(workspace.store, self.ref, [record], now=self.now)
            outbox.record_digest(workspace.store, self.ref, digest.to_json(), to, self.now)
        return incident.id

    def note(self, incident: str, **values: Any) -> None:
        """What a person does, straight into the store."""
        moments = {key: to_micros(one) if isinstance(one, datetime) else one for key, one in values.items()}
        table = schema.incident
        with self.open() as workspace, workspace.store.begin() as connection:
            connection.execute(sa.update(table).where(table.c.incident_id == incident).values(**moments))

    def deliver(self, after: timedelta = timedelta()) -> None:
        self.now += after
        with self.open() as workspace:
            outgoing.send(workspace, channels=self.channels)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_what_nobody_acknowledges_is_told_elsewhere_once(world: World) -> None:
    incident = world.tell("slack")
    world.deliver()
    world.deliver(HOUR / 2)
    world.deliver(HOUR)
    assert [text for text, _ in world.slack.heard] == ["digest of lead-scoring"]
    assert [text for text, _ in world.mail.heard] == [
        "Nobody has acknowledged this for 30 minutes: lead-scoring: a high severity issue"
    ]
    assert world.pager.events == [("trigger", incident)]


def test_what_somebody_acknowledges_in_time_is_told_nobody_else_and_goes_into_the_thread(
    world: World,
) -> None:
    incident = world.tell("slack", "pager")
    world.deliver()
    world.note(incident, acknowledged_at=world.now + HOUR / 4, acknowledged_by="ada")
    world.deliver(HOUR)
    world.note(incident, status="resolved", resolved=world.now)
    world.deliver(HOUR)
    world.deliver(HOUR)
    assert world.mail.heard == []
    assert world.pager.events == [("trigger", incident), ("acknowledged", incident), ("resolved", incident)]
    (_, first), (acknowledged, second), (resolved, third) = world.slack.heard
    assert (first, second, third) == (None, "receipt-1", "receipt-1")
    assert acknowledged.startswith("lead-scoring: acknowledged by ada: ")
    assert resolved.startswith("lead-scoring: resolved: ")


def test_what_became_of_an_incident_waits_for_the_message_that_it_follows(world: World) -> None:
    incident = world.tell("slack")
    world.slack.failing = True
    world.deliver()
    world.note(incident, status="resolved", resolved=world.now)
    world.deliver(HOUR)
    world.slack.failing = False
    world.deliver(HOUR)
    assert [thread for _, thread in world.slack.heard] == [None, "receipt-1"]


def test_an_incident_of_which_nobody_was_told_neither_escalates_nor_follows(world: World) -> None:
    incident = world.tell()
    with world.open() as workspace, workspace.store.begin() as connection:
        connection.execute(sa.delete(schema.digest))  # a past that was filled quietly
    world.note(incident, status="resolved", resolved=world.now)
    world.deliver(99 * HOUR)
    assert world.mail.heard == world.slack.heard == world.pager.events == []


def test_a_part_of_an_incident_follows_it_under_its_own_name_too(world: World) -> None:
    part = world.tell("pager", days=[2])
    world.deliver()
    whole = replace(incident_over(0, 1, 2), absorbed=(part,))

    def tell(_: object) -> Telling:
        return Telling([whole.to_json()], [part], [])

    with world.open() as workspace:
        run = schema.analysis_run
        with workspace.store.begin() as connection:
            moment = to_micros(world.now)
            connection.execute(sa.insert(run).values(dataset=world.ref.pk, run_id="r2", written_at=moment))
        telling.tell_run(workspace.store, world.ref, "r2", tell, window=TimeRange.always(), now=world.now)
    world.note(whole.id, status="resolved", resolved=world.now)
    world.deliver(HOUR / 4)
    assert world.pager.events == [("trigger", part), ("resolved", part), ("resolved", whole.id)]


def incident_over(*days: int) -> Incident:
    (digest,) = build_digests(document(), [result(bucket=day(one)) for one in days], now=NOW, run_id=RUN)
    (incident,) = group_anomalies(digest.sample)
    return incident


def test_a_channel_that_is_down_is_told_of_elsewhere_once_and_so_is_its_end(world: World) -> None:
    world.tell("slack")
    world.slack.failing = True
    for _ in range(4):
        world.deliver(HOUR)
    outages = [text for text, _ in world.mail.heard if "refused" in text]
    assert outages == ["`slack` has refused messages for 2 hours: 1 message waits"]
    with world.open() as workspace:
        (line, *_) = [
            one for one in overview.undelivered(workspace, world.ref.dataset_id) if "to slack" in one
        ]
    assert line.startswith(
        "1 message to slack since 2026-02-01 06:30, 4 attempts; slack has refused messages"
    )
    world.slack.failing = False
    for _ in range(3):
        world.deliver(HOUR)
    assert [text for text, _ in world.slack.heard][:1] == ["digest of lead-scoring"]
    assert [(text, thread) for text, thread in world.mail.heard if "again" in text] == [
        ("`slack` takes messages again", "receipt-2")
    ]


def test_two_that_escalate_at_the_same_time_record_it_once(tmp_path: Path, database_url: str) -> None:
    world = World(tmp_path)
    settings = Settings(home=tmp_path, store_url=database_url, now=NOW + HOUR)
    with Workspace(settings) as workspace:
        ref: DatasetRef = register_dataset(workspace.store, "org-0", "lead-scoring", now=NOW)
        (digest,) = build_digests(document(monitor(severity=1)), [result()], now=NOW, run_id=RUN)
        record = replace(incident_over(0), severity=1).to_json()
        incident_store.save_incidents(workspace.store, ref, [record], now=NOW)
        outbox.record_digest(workspace.store, ref, digest.to_json(), ["slack"], NOW)
        counts: list[int] = []
        both = [
            threading.Thread(
                target=lambda: counts.append(outgoing.escalate(workspace, channels=world.channels))
            )
            for _ in range(2)
        ]
        for one in both:
            one.start()
        for one in both:
            one.join()
        assert sorted(counts) == [0, 1]


def test_a_turn_is_one_senders_until_it_ends(database_url: str) -> None:
    with Workspace(Settings(store_url=database_url)) as workspace:
        store = workspace.store
        with turn(store, "slack") as mine, turn(store, "mail") as other, turn(store, "slack") as second:
            assert (mine, other, second) == (True, True, False)
        with turn(store, "slack") as again:
            assert again
