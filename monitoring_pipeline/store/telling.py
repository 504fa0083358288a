"""Telling of a run: its incidents and its digests are written together, once, or not at all.

Whoever tells of a run reads the incidents as they are, changes them by what the run has found, and records what
monitors say about it. All of this and the note that it was done is one transaction, in which nobody else changes the
dataset: of two that want to tell of the same run one does, two that tell of different runs leave both their marks, and
one that dies leaves nothing. What is said of an incident later, because nobody cares or because it is over, is decided
and recorded in the same way, without a run.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from monitoring_pipeline.store import backlogs, channel_states, digests, incidents, schema
from monitoring_pipeline.store.backlogs import Backlog
from monitoring_pipeline.store.channel_states import ChannelState
from monitoring_pipeline.store.database import Store
from monitoring_pipeline.store.datasets import DatasetRef, lock_dataset
from monitoring_pipeline.store.held_back import Held, hold
from monitoring_pipeline.timegrid import TimeRange, from_micros, to_micros

FOLLOWED = timedelta(days=30)
"""How long after its end an incident is looked at, so that those who were told hear of it."""


@dataclass(frozen=True)
class Telling:
    """What is to be written of a run: incidents and the ids of those that are merged, as for `save_incidents`, and
    digests, each with the names of its channels, as for `record_digest`."""

    incidents: Sequence[Mapping[str, object]]
    merged: Collection[str]
    digests: Sequence[tuple[Mapping[str, object], Sequence[str]]]
    held: Sequence[Held] = ()
    """What monitors tell of later, when their schedule comes."""
    reopened: Collection[str] = ()
    """Ids of the incidents that were over and have come back."""


def tell_run(
    store: Store,
    ref: DatasetRef,
    run_id: str,
    tell: Callable[[Sequence[Mapping[str, object]]], Telling],
    *,
    window: TimeRange,
    now: datetime,
) -> set[str]:
    """Let `tell` say what is to be written of a run, write it, and note that the run has been told.

    `tell` gets the incidents that overlap the window or are open, each once; it must not use the store. It is not
    called when the run has been told already. Returns the keys of the digests that are new.
    """
    run = schema.analysis_run
    with store.begin() as connection:
        lock_dataset(connection, ref)
        told = connection.execute(
            sa.update(run)
            .where(run.c.dataset == ref.pk, run.c.run_id == run_id, run.c.told_at.is_(None))
            .values(told_at=to_micros(now))
        )
        if not told.rowcount:
            return set()
        near = [
            *incidents.incidents_in(connection, ref, window=window),
            *incidents.incidents_in(connection, ref, status="open"),
        ]
        telling = tell(list({str(record["id"]): record for record in near}.values()))
        incidents.save_in(
            connection, ref, telling.incidents, telling.merged, now=now, reopened=telling.reopened
        )
        hold(connection, ref, telling.held, now=now)
        for record in telling.incidents:
            parts = record.get("absorbed")
            digests.inherit(connection, ref, str(record["id"]), parts if isinstance(parts, Sequence) else ())
        return {
            str(digest["dedup_key"])
            for digest, channels in telling.digests
            if digests.record(connection, ref, digest, channels, now=now)
        }


@dataclass(frozen=True)
class Standing:
    """An incident that people were told of: how it stands, what people said, and what has been said to them since.

    `told` is when the first digest that speaks of it was recorded, `heard_until` its end as the last message knew it,
    `channels` are all that were to be told, `said` the names of the later messages (`monitor_id`).
    """

    dataset: DatasetRef
    incident: str
    status: str
    severity: int
    start: datetime
    end: datetime
    told: datetime
    heard_until: datetime | None
    resolved: datetime | None
    reopened: datetime | None
    acknowledged: datetime | None
    acknowledged_by: str | None
    snoozed_until: datetime | None
    verdict: str | None
    channels: tuple[str, ...]
    said: frozenset[str]


@dataclass(frozen=True)
class Saying:
    """One message to record about an incident: its kind, its content, the names of its channels."""

    kind: str
    content: Mapping[str, object]
    channels: Sequence[str]


def standings(store: Store, *, now: datetime) -> list[Standing]:
    """Incidents that people were told of, and that are open or were until recently, of all datasets."""
    with store.read() as connection:
        return _standings(connection, now=now)


def tell_more(
    store: Store,
    ref: DatasetRef,
    say: Callable[[Standing, Mapping[str, object]], Sequence[Saying]],
    *,
    incidents_of: Collection[str],
    now: datetime,
) -> int:
    """Let `say` decide what is to be said of incidents as they are now, and record it, in one transaction.

    `say` gets an incident's standing and its record; it must not use the store. What has been said is not recorded
    again. Returns how many messages are new.
    """
    with store.begin() as connection:
        lock_dataset(connection, ref)
        present = {one.incident: one for one in _standings(connection, now=now, ref=ref)}
        wanted = [one for one in incidents_of if one in present]
        table = schema.incident
        query = sa.select(table.c.incident_id, table.c.content).where(
            table.c.dataset == ref.pk, table.c.incident_id.in_(wanted)
        )
        records = dict(connection.execute(query).all())
        return sum(
            digests.record(connection, ref, one.content, one.channels, now=now, kind=one.kind)
            for name in wanted
            if name in records
            for one in say(present[name], records[name])
        )


@dataclass(frozen=True)
class Announcement:
    """What is to be recorded about a channel: the message, and the key of the outage that it tells of.

    It is kept under `dataset`; without one it tells that the outage is over, and goes where the outage was told.
    """

    channel: str
    outage: str
    content: Mapping[str, object]
    channels: Sequence[str]
    dataset: DatasetRef | None


def tell_of_channels(
    store: Store,
    say: Callable[[Mapping[str, ChannelState], Sequence[Backlog]], Sequence[Announcement]],
    *,
    now: datetime,
) -> int:
    """Let `say` decide what is to be said of channels that are down, and record it, in one transaction.

    Returns how many messages are new.
    """
    new = 0
    with store.begin() as connection:
        states = channel_states.channel_states_in(connection)
        for one in say(states, backlogs.backlogs_in(connection)):
            is_over = one.dataset is None
            channel_states.told_in(connection, one.channel, outage=None if is_over else one.outage)
            ref, channels = (
                (one.dataset, one.channels)
                if one.dataset
                else _heard(connection, one.outage.removesuffix(":over"))
            )
            kind = digests.RECOVERY if is_over else digests.OUTAGE
            if ref is not None:
                new += digests.record(connection, ref, one.content, channels, now=now, kind=kind)
    return new


def _heard(connection: Connection, key: str) -> tuple[DatasetRef | None, list[str]]:
    """The dataset and the channels of a message; none when it is gone."""
    digest, delivery, dataset = schema.digest, schema.delivery, schema.dataset
    query = (
        sa.select(dataset, delivery.c.channel)
        .join(digest, digest.c.dataset == dataset.c.pk)
        .outerjoin(delivery, delivery.c.digest == digest.c.pk)
        .where(digest.c.dedup_key == key, digest.c.kind == digests.OUTAGE)
        .order_by(delivery.c.pk)
    )
    rows = connection.execute(query).mappings().all()
    if not rows:
        return None, []
    first = rows[0]
    ref = DatasetRef(
        first["pk"], first["organisation"], first["dataset_id"], from_micros(first["registered_at"])
    )
    return ref, [row["channel"] for row in rows if row["channel"] is not None]


def _standings(connection: Connection, *, now: datetime, ref: DatasetRef | None = None) -> list[Standing]:
    incident, spoken, digest = schema.incident, schema.digest_incident, schema.digest
    delivery, dataset = schema.delivery, schema.dataset
    recent = sa.and_(incident.c.status == "resolved", incident.c.resolved >= to_micros(now - FOLLOWED))
    looked_at = [sa.or_(incident.c.status == "open", recent)]
    if ref is not None:
        looked_at.append(incident.c.dataset == ref.pk)
    told = (
        sa.select(sa.func.min(digest.c.created))
        .join(spoken, spoken.c.digest == digest.c.pk)
        .where(spoken.c.dataset == incident.c.dataset, spoken.c.incident_id == incident.c.incident_id)
        .where(digest.c.kind == digests.DIGEST)
        .correlate(incident)
        .scalar_subquery()
    )
    heard = (
        sa.select(sa.func.max(spoken.c.until))
        .where(spoken.c.dataset == incident.c.dataset, spoken.c.incident_id == incident.c.incident_id)
        .correlate(incident)
        .scalar_subquery()
    )
    names = (
        "dataset", "incident_id", "status", "severity", "start_time", "end_time", "resolved", "reopened_at",
        "acknowledged_at", "acknowledged_by", "snoozed_until", "verdict",
    )  # fmt: skip
    query = (
        sa.select(
            *(incident.c[name] for name in names),
            told.label("told"),
            heard.label("heard_until"),
            dataset.c.organisation,
            dataset.c.dataset_id,
            dataset.c.registered_at,
        )
        .join(dataset, dataset.c.pk == incident.c.dataset)
        .where(*looked_at, told.is_not(None))
        .order_by(incident.c.dataset, incident.c.opened, incident.c.incident_id)
    )
    rows = connection.execute(query).mappings().all()
    if not rows:
        return []
    of_them = sa.and_(spoken.c.dataset == incident.c.dataset, spoken.c.incident_id == incident.c.incident_id)
    speaks = sa.select(spoken.c.dataset, spoken.c.incident_id).join(incident, of_them).where(*looked_at)
    said: dict[tuple[int, str], set[str]] = {}
    later = speaks.add_columns(digest.c.monitor_id).join(digest, digest.c.pk == spoken.c.digest)
    for number, name, saying in connection.execute(later.where(digest.c.kind != digests.DIGEST)):
        said.setdefault((number, name), set()).add(saying)
    channels: dict[tuple[int, str], set[str]] = {}
    by_channel = speaks.add_columns(delivery.c.channel).join(delivery, delivery.c.digest == spoken.c.digest)
    for number, name, channel in connection.execute(
        by_channel.where(delivery.c.state != "failed").distinct()
    ):
        channels.setdefault((number, name), set()).add(channel)
    return [
        Standing(
            dataset=DatasetRef(
                row["dataset"], row["organisation"], row["dataset_id"], from_micros(row["registered_at"])
            ),
            incident=row["incident_id"],
            status=row["status"],
            severity=row["severity"],
            start=from_micros(row["start_time"]),
            end=from_micros(row["end_time"]),
            told=from_micros(row["told"]),
            heard_until=_moment(row["heard_until"]),
            resolved=_moment(row["resolved"]),
            reopened=_moment(row["reopened_at"]),
            acknowledged=_moment(row["acknowledged_at"]),
            acknowledged_by=row["acknowledged_by"],
            snoozed_until=_moment(row["snoozed_until"]),
            verdict=row["verdict"],
            channels=tuple(sorted(channels.get((row["dataset"], row["incident_id"]), ()))),
            said=frozenset(said.get((row["dataset"], row["incident_id"]), ())),
        )
        for row in rows
    ]


def _moment(value: int | None) -> datetime | None:
    return None if value is None else from_micros(value)
