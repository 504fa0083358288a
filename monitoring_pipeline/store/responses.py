"""What people do about incidents, and the buckets that they called bad: kept for good, and in force at once.

One answer is one transaction: the incident's own columns, an event in its history, the buckets that leave the baselines
or return to them, and the verdicts that become stale by that. Of two people who answer at once one is second, and sees
what the first has done.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from monitoring_pipeline.errors import UsageError
from monitoring_pipeline.store import incidents, schema
from monitoring_pipeline.store.database import Store
from monitoring_pipeline.store.datasets import DatasetRef, lock_dataset
from monitoring_pipeline.store.results import Resting, outdate_resting
from monitoring_pipeline.timegrid import from_micros, parse_moment, to_micros

_incident, _event, _bad = schema.incident, schema.incident_event, schema.bad_bucket


@dataclass(frozen=True)
class Event:
    """Something that a person did about an incident. `details` are JSON values: to whom, until when, which series."""

    moment: datetime
    author: str
    action: str
    note: str | None = None
    details: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """What is to be written: the event, columns of the incident that change, and what becomes of its buckets.

    `record` replaces the incident's content; None leaves it. `bad` are buckets that leave the baselines from now on;
    with `good` those of this incident return.
    """

    event: Event
    changes: Mapping[str, object] = field(default_factory=dict)
    record: Mapping[str, object] | None = None
    bad: Collection[datetime] = ()
    good: bool = False


def answer(
    store: Store,
    ref: DatasetRef,
    incident_id: str,
    decide: Callable[[Mapping[str, object]], Answer | None],
    *,
    resting: Callable[[Sequence[datetime]], Iterable[Resting]],
    now: datetime,
) -> dict[str, object]:
    """Let `decide` say what an answer to an incident means, and write it; returns the incident as it is then.

    `decide` gets the incident's record; None from it means that nothing is new. `resting` names the verdicts that rest
    on buckets. Neither may use the store. Raises UsageError for an incident that is not there.
    """
    with store.begin() as connection:
        lock_dataset(connection, ref)
        before = _record(connection, ref, incident_id)
        found = decide(before)
        if found is None:
            return before
        if found.record is not None:
            incidents.save_in(connection, ref, [found.record], (), now=now)
        if found.changes:
            connection.execute(
                sa.update(_incident)
                .where(_incident.c.dataset == ref.pk, _incident.c.incident_id == incident_id)
                .values(**found.changes, updated=to_micros(now))
            )
        connection.execute(
            sa.insert(_event).values(
                dataset=ref.pk,
                incident_id=incident_id,
                moment=to_micros(found.event.moment),
                author=found.event.author,
                action=found.event.action,
                note=found.event.note,
                details=dict(found.event.details),
            )
        )
        turned = [
            *_call_bad(connection, ref, incident_id, found.bad, now=now),
            *(_lift(connection, ref, _bad.c.incident_id == incident_id, now=now) if found.good else ()),
        ]
        if turned:
            outdate_resting(connection, list(resting(turned)), changed=None)
        return _record(connection, ref, incident_id)


def history(store: Store, ref: DatasetRef, incident_id: str) -> list[Event]:
    """What people did about an incident, and about those that became part of it, oldest first."""
    with store.read() as connection:
        parts = _record(connection, ref, incident_id).get("absorbed")
        names = [incident_id, *(parts if isinstance(parts, list) else ())]
        query = (
            sa.select(_event)
            .where(_event.c.dataset == ref.pk, _event.c.incident_id.in_(names))
            .order_by(_event.c.moment, _event.c.pk)
        )
        return [
            Event(from_micros(row["moment"]), row["author"], row["action"], row["note"], row["details"])
            for row in connection.execute(query).mappings()
        ]


def bad_buckets(store: Store, ref: DatasetRef, *, at: datetime) -> frozenset[datetime]:
    """The buckets that people had called bad at a moment, and that had not been repaired by then."""
    moment = to_micros(at)
    query = sa.select(_bad.c.bucket).where(
        _bad.c.dataset == ref.pk,
        _bad.c.since <= moment,
        sa.or_(_bad.c.until.is_(None), _bad.c.until > moment),
    )
    with store.read() as connection:
        return frozenset(from_micros(bucket) for bucket in connection.execute(query).scalars())


def repaired_in(connection: Connection, ref: DatasetRef, bucket: int, *, now: datetime) -> bool:
    """Note, inside a transaction, that a bucket has new data: it is not bad any more. Returns whether it was."""
    return bool(_lift(connection, ref, _bad.c.bucket == bucket, now=now))


def _record(connection: Connection, ref: DatasetRef, incident_id: str) -> dict[str, object]:
    found = incidents.incidents_in(connection, ref, ids=[incident_id])
    if not found:
        raise UsageError(f"the dataset {ref.dataset_id} has no incident {incident_id}")
    return found[0]


def _call_bad(
    connection: Connection, ref: DatasetRef, incident_id: str, buckets: Collection[datetime], *, now: datetime
) -> list[datetime]:
    known = sa.select(_bad.c.bucket).where(
        _bad.c.dataset == ref.pk, _bad.c.incident_id == incident_id, _bad.c.until.is_(None)
    )
    there = {*connection.execute(known).scalars()}
    new = sorted({to_micros(bucket) for bucket in buckets} - there)
    if new:
        shared = {"dataset": ref.pk, "incident_id": incident_id, "since": to_micros(now), "until": None}
        connection.execute(sa.insert(_bad), [{**shared, "bucket": bucket} for bucket in new])
    return [from_micros(bucket) for bucket in new]


def _lift(
    connection: Connection, ref: DatasetRef, which: sa.ColumnElement[bool], *, now: datetime
) -> list[datetime]:
    in_force = (_bad.c.dataset == ref.pk, _bad.c.until.is_(None), which)
    buckets = sorted({*connection.execute(sa.select(_bad.c.bucket).where(*in_force)).scalars()})
    if buckets:
        connection.execute(sa.update(_bad).where(*in_force).values(until=to_micros(now)))
    return [from_micros(bucket) for bucket in buckets]


def buckets_of(record: Mapping[str, object]) -> list[datetime]:
    """The buckets in which an incident has anomalies, ascending."""
    members = record.get("members")
    found = (
        {str(one["bucket"]) for one in members if isinstance(one, dict)} if isinstance(members, list) else ()
    )
    return sorted(parse_moment(bucket) for bucket in found)
