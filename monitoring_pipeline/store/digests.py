"""Digests and the outbox: what people are to be told, recorded before it is sent.

A digest and its deliveries, one per channel, are written in one transaction; the same digest (by its key) is written
once. A sender claims deliveries for a few minutes, sends them, and marks each as delivered or failed. When a sender
dies its claim runs out and another one takes over: a delivery is sent at least once, and once unless a sender dies
between sending and marking.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from monitoring_pipeline.errors import StoreError
from monitoring_pipeline.store import schema
from monitoring_pipeline.store.database import Store, insert
from monitoring_pipeline.store.datasets import DatasetRef
from monitoring_pipeline.timegrid import from_micros, to_micros

LEASE = timedelta(minutes=5)
"""How long a claimed delivery belongs to its sender."""

_digest, _delivery, _dataset = schema.digest, schema.delivery, schema.dataset


@dataclass(frozen=True)
class Delivery:
    """One digest on its way to one channel.

    `state` is `pending`, `delivered` or `failed` (given up). `attempts` counts the ones that failed. `digest` is the
    digest as it was recorded.
    """

    pk: int
    organisation: str
    dataset_id: str
    digest: Mapping[str, object]
    dedup_key: str
    channel: str
    state: str
    attempts: int
    created: datetime
    next_attempt: datetime
    delivered_at: datetime | None
    receipt: str | None
    error: str | None


@dataclass(frozen=True)
class RecordedDigest:
    """A digest as it was recorded, and how each of its deliveries stands (channel → state)."""

    organisation: str
    dataset_id: str
    dedup_key: str
    created: datetime
    content: Mapping[str, object]
    deliveries: Mapping[str, str]


def record_digest(
    store: Store, ref: DatasetRef, digest: Mapping[str, object], deliveries: Sequence[str], now: datetime
) -> bool:
    """Record a digest (JSON) with its deliveries by channel name; False when it has been recorded before.

    The digest has a `dedup_key` and a `monitor_id`, and may have `run_id` and `severity`. Raises StoreError without
    them.
    """
    with store.begin() as connection:
        return record(connection, ref, digest, deliveries, now=now)


def record(
    connection: Connection,
    ref: DatasetRef,
    digest: Mapping[str, object],
    deliveries: Sequence[str],
    *,
    now: datetime,
) -> bool:
    """The same inside a transaction."""
    missing = [name for name in ("dedup_key", "monitor_id") if not digest.get(name)]
    if missing:
        raise StoreError(f"a digest needs {' and '.join(missing)}")
    moment = to_micros(now)
    statement = insert(connection, _digest).values(
        dataset=ref.pk,
        dedup_key=digest["dedup_key"],
        monitor_id=digest["monitor_id"],
        run_id=digest.get("run_id"),
        severity=digest.get("severity"),
        created=moment,
        content=digest,
    )
    pk = connection.execute(statement.on_conflict_do_nothing().returning(_digest.c.pk)).scalar_one_or_none()
    if pk is None:
        return False
    pending = [
        {"digest": pk, "channel": channel, "state": "pending", "attempts": 0, "next_attempt": moment}
        for channel in dict.fromkeys(deliveries)
    ]
    if pending:
        connection.execute(sa.insert(_delivery), pending)
    return True


def pending_deliveries(
    store: Store,
    now: datetime,
    limit: int = 100,
    *,
    channels: Collection[str] | None = None,
    lease: timedelta = LEASE,
) -> list[Delivery]:
    """Claim deliveries whose time has come, oldest first, for the length of `lease`.

    What one sender has claimed no other sender gets until the lease has run out. With `channels` only those.
    """
    moment = to_micros(now)
    due = (
        sa.select(_delivery.c.pk)
        .where(_delivery.c.state == "pending", _delivery.c.next_attempt <= moment)
        .where(sa.or_(_delivery.c.claimed_until.is_(None), _delivery.c.claimed_until <= moment))
        .order_by(_delivery.c.next_attempt, _delivery.c.pk)
        .limit(limit)
        .with_for_update(skip_locked=True)  # SQLite has one writer at a time and ignores it
    )
    if channels is not None:
        due = due.where(_delivery.c.channel.in_(channels))
    with store.begin() as connection:
        claimed = list(connection.execute(due).scalars())
        if not claimed:
            return []
        connection.execute(
            sa.update(_delivery)
            .where(_delivery.c.pk.in_(claimed))
            .values(claimed_until=to_micros(now + lease))
        )
        return _deliveries(connection, _delivery.c.pk.in_(claimed))


def mark_delivered(store: Store, delivery: int, *, now: datetime, receipt: str | None = None) -> None:
    """Note that a channel accepted a delivery, with what it answered."""
    with store.begin() as connection:
        connection.execute(
            sa.update(_delivery)
            .where(_delivery.c.pk == delivery)
            .values(
                state="delivered",
                delivered_at=to_micros(now),
                receipt=receipt,
                claimed_until=None,
                error=None,
            )
        )


def mark_failed(
    store: Store, delivery: int, *, error: str, retry_at: datetime | None = None, permanent: bool = False
) -> None:
    """Note that a channel did not accept a delivery, and when to try again.

    It is given up when the failure is `permanent` or there is no `retry_at`. One that was delivered stays delivered.
    """
    give_up = permanent or retry_at is None
    values: dict[str, object] = {
        "state": "failed" if give_up else "pending",
        "attempts": _delivery.c.attempts + 1,
        "claimed_until": None,
        "error": error,
    }
    if retry_at is not None and not give_up:
        values["next_attempt"] = to_micros(retry_at)
    with store.begin() as connection:
        connection.execute(
            sa.update(_delivery)
            .where(_delivery.c.pk == delivery, _delivery.c.state != "delivered")
            .values(values)
        )


def undelivered(store: Store, ref: DatasetRef | None = None, *, limit: int | None = None) -> list[Delivery]:
    """Deliveries that no channel has accepted, pending and given up, oldest first; of one dataset or of all."""
    conditions = [_delivery.c.state != "delivered"]
    if ref is not None:
        conditions.append(_digest.c.dataset == ref.pk)
    with store.read() as connection:
        return _deliveries(connection, *conditions, limit=limit)


def digests(store: Store, ref: DatasetRef | None = None, *, limit: int | None = None) -> list[RecordedDigest]:
    """Recorded digests, newest first; of one dataset or of all."""
    query = (
        sa.select(
            _digest.c.pk,
            _dataset.c.organisation,
            _dataset.c.dataset_id,
            _digest.c.dedup_key,
            _digest.c.created,
            _digest.c.content,
        )
        .join(_dataset, _dataset.c.pk == _digest.c.dataset)
        .order_by(_digest.c.created.desc(), _digest.c.pk.desc())
        .limit(limit)
    )
    if ref is not None:
        query = query.where(_digest.c.dataset == ref.pk)
    states: dict[int, dict[str, str]] = {}
    with store.read() as connection:
        rows = connection.execute(query).all()
        wanted = sa.select(_delivery.c.digest, _delivery.c.channel, _delivery.c.state).order_by(
            _delivery.c.pk
        )
        if rows:
            wanted = wanted.where(
                _delivery.c.digest.between(min(r[0] for r in rows), max(r[0] for r in rows))
            )
            for digest, channel, state in connection.execute(wanted):
                states.setdefault(digest, {})[channel] = state
    return [
        RecordedDigest(organisation, dataset_id, key, from_micros(created), content, states.get(pk, {}))
        for pk, organisation, dataset_id, key, created, content in rows
    ]


def _deliveries(
    connection: Connection, *conditions: sa.ColumnElement[bool], limit: int | None = None
) -> list[Delivery]:
    query = (
        sa.select(
            _delivery,
            _digest.c.content,
            _digest.c.dedup_key,
            _digest.c.created,
            _dataset.c.organisation,
            _dataset.c.dataset_id,
        )
        .join(_digest, _digest.c.pk == _delivery.c.digest)
        .join(_dataset, _dataset.c.pk == _digest.c.dataset)
        .where(*conditions)
        .order_by(_delivery.c.next_attempt, _delivery.c.pk)
        .limit(limit)
    )
    return [
        Delivery(
            pk=row["pk"],
            organisation=row["organisation"],
            dataset_id=row["dataset_id"],
            digest=row["content"],
            dedup_key=row["dedup_key"],
            channel=row["channel"],
            state=row["state"],
            attempts=row["attempts"],
            created=from_micros(row["created"]),
            next_attempt=from_micros(row["next_attempt"]),
            delivered_at=None if row["delivered_at"] is None else from_micros(row["delivered_at"]),
            receipt=row["receipt"],
            error=row["error"],
        )
        for row in connection.execute(query).mappings()
    ]
