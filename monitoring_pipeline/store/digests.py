"""Digests and the outbox: what people are to be told, recorded before it is sent.

A message and its deliveries, one per channel, are written in one transaction; the same message (by its key) is written
once. Most are digests; the others (`kind`) tell that nobody has acknowledged an incident, what became of one, or that a
channel is down. A sender claims deliveries for a few minutes, sends them, and marks each as delivered or failed. When a
sender dies its claim runs out and another one takes over: a delivery is sent at least once, and once unless a sender
dies between sending and marking. What a channel's answer says about the channel itself is noted with the mark.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from monitoring_pipeline.errors import StoreError
from monitoring_pipeline.store import channel_states, schema
from monitoring_pipeline.store.database import Store, insert
from monitoring_pipeline.store.datasets import DatasetRef
from monitoring_pipeline.timegrid import from_micros, to_micros

LEASE = timedelta(minutes=5)
"""How long a claimed delivery belongs to its sender."""

NONSENSE = timedelta(hours=6)
"""A claim or a next attempt that lies further in the future was written by a clock that was wrong, and holds nobody up."""

DIGEST, ESCALATION, STEP, OUTAGE, RECOVERY = "digest", "escalation", "step", "outage", "recovery"
"""Kinds of messages. A step is what became of an incident that people were told of."""

_digest, _delivery, _dataset = schema.digest, schema.delivery, schema.dataset
_spoken = schema.digest_incident


@dataclass(frozen=True)
class Delivery:
    """One message on its way to one channel.

    `state` is `pending`, `delivered` or `failed` (given up). `attempts` counts the ones that failed. `digest` is the
    message as it was recorded, `message` and `dataset` are row numbers, `claimed_until` is the claim of its sender.
    """

    pk: int
    message: int
    dataset: int
    kind: str
    organisation: str
    dataset_id: str
    digest: Mapping[str, object]
    dedup_key: str
    channel: str
    state: str
    attempts: int
    created: datetime
    next_attempt: datetime
    claimed_until: datetime | None
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
    kind: str = DIGEST,
) -> bool:
    """The same inside a transaction, for messages of any kind.

    The incidents that it speaks of are those of its `incidents`, each with an `id`.
    """
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
        kind=kind,
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
    ids = _incidents_of(digest)
    table = schema.incident
    ends = sa.select(table.c.incident_id, table.c.end_time).where(
        table.c.dataset == ref.pk, table.c.incident_id.in_(ids)
    )
    until = dict(connection.execute(ends).all()) if ids else {}
    spoken = [{"digest": pk, "incident_id": one, "dataset": ref.pk, "until": until.get(one)} for one in ids]
    if spoken:
        connection.execute(sa.insert(_spoken), spoken)
    return True


def _incidents_of(message: Mapping[str, object]) -> list[str]:
    """Ids of the incidents that a message speaks of, each once."""
    told = message.get("incidents")
    entries = told if isinstance(told, Sequence) and not isinstance(told, str) else ()
    return list(dict.fromkeys(str(one["id"]) for one in entries if isinstance(one, Mapping) and "id" in one))


def inherit(connection: Connection, ref: DatasetRef, incident: str, absorbed: Collection[str]) -> None:
    """What was told of incidents that have become part of another one was told of that one, inside a transaction."""
    if not absorbed:
        return
    of_parts = (
        sa.select(_spoken.c.digest, sa.literal(incident), _spoken.c.dataset, sa.func.max(_spoken.c.until))
        .where(_spoken.c.dataset == ref.pk, _spoken.c.incident_id.in_(absorbed))
        .group_by(_spoken.c.digest, _spoken.c.dataset)
    )
    columns = ["digest", "incident_id", "dataset", "until"]
    statement = insert(connection, _spoken).from_select(columns, of_parts)
    connection.execute(statement.on_conflict_do_nothing())


def pending_deliveries(
    store: Store,
    now: datetime,
    limit: int = 100,
    *,
    channels: Collection[str] | None = None,
    lease: timedelta = LEASE,
) -> list[Delivery]:
    """Claim deliveries whose time has come, oldest first, for the length of `lease`.

    What one sender has claimed no other sender gets until the lease has run out. With `channels` only those. What became
    of an incident waits until the channel has taken, or will never take, what was said of the incident before.
    """
    due = (
        sa.select(_delivery.c.pk)
        .where(*_due(now))
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


def due_channels(store: Store, now: datetime) -> list[str]:
    """Channels that have something to send now and that are not left alone for a while."""
    with store.read() as connection:
        resting = channel_states.resting_in(connection, now=now)
        query = sa.select(_delivery.c.channel).where(*_due(now)).distinct().order_by(_delivery.c.channel)
        return [name for name in connection.execute(query).scalars() if name not in resting]


def due_deliveries(store: Store, now: datetime) -> list[tuple[int, int]]:
    """What could be sent now: the deliveries by number, each with the attempts behind it."""
    with store.read() as connection:
        resting = channel_states.resting_in(connection, now=now)
        query = sa.select(_delivery.c.pk, _delivery.c.attempts).where(*_due(now)).order_by(_delivery.c.pk)
        if resting:
            query = query.where(_delivery.c.channel.not_in(resting))
        return [(pk, attempts) for pk, attempts in connection.execute(query)]


def _due(now: datetime) -> tuple[sa.ColumnElement[bool], ...]:
    moment, nonsense = to_micros(now), to_micros(now + NONSENSE)
    earlier, said = _delivery.alias("earlier"), _spoken.alias("said")
    before = (
        sa.select(earlier.c.pk)
        .join(said, said.c.digest == earlier.c.digest)
        .join(_spoken, _spoken.c.incident_id == said.c.incident_id)
        .where(_spoken.c.digest == _delivery.c.digest, _spoken.c.dataset == said.c.dataset)
        .where(earlier.c.channel == _delivery.c.channel, earlier.c.state == "pending")
        .where(earlier.c.digest < _delivery.c.digest)
        .correlate(_delivery)
    )
    steps = sa.select(_digest.c.pk).where(_digest.c.pk == _delivery.c.digest, _digest.c.kind == STEP)
    return (
        _delivery.c.state == "pending",
        sa.or_(_delivery.c.next_attempt <= moment, _delivery.c.next_attempt > nonsense),
        sa.or_(
            _delivery.c.claimed_until.is_(None),
            _delivery.c.claimed_until <= moment,
            _delivery.c.claimed_until > nonsense,
        ),
        ~sa.and_(steps.correlate(_delivery).exists(), before.exists()),
    )


def mark_delivered(store: Store, delivery: int, *, now: datetime, receipt: str | None = None) -> None:
    """Note that a channel accepted a delivery, with what it answered, and that the channel works."""
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
        channel_states.works_in(connection, _channel_of(delivery))


def mark_failed(
    store: Store,
    delivery: int,
    *,
    error: str,
    retry_at: datetime | None = None,
    permanent: bool = False,
    now: datetime | None = None,
    rests_until: datetime | None = None,
    claim: datetime | None = None,
) -> None:
    """Note that a channel did not accept a delivery, and when to try again.

    It is given up when the failure is `permanent` or there is no `retry_at`. One that was delivered stays delivered, and
    one that somebody else has claimed meanwhile stays his, where the `claim` is given under which it was sent. With
    `now` the channel counts as failing from then on, and is left alone until `rests_until`.
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
    mine = [_delivery.c.pk == delivery, _delivery.c.state != "delivered"]
    if claim is not None:
        mine.append(_delivery.c.claimed_until == to_micros(claim))
    with store.begin() as connection:
        connection.execute(sa.update(_delivery).where(*mine).values(values))
        if now is not None:
            channel_states.fails_in(
                connection, _channel_of(delivery), error=error, rests_until=rests_until, now=now
            )


def _channel_of(delivery: int) -> sa.ScalarSelect[str]:
    return sa.select(_delivery.c.channel).where(_delivery.c.pk == delivery).scalar_subquery()


def try_again(store: Store, channels: Collection[str] | None = None, *, now: datetime) -> int:
    """Let deliveries that were given up be sent after all; to some channels, or all. Returns how many."""
    given_up = [_delivery.c.state == "failed"]
    if channels is not None:
        given_up.append(_delivery.c.channel.in_(channels))
    with store.begin() as connection:
        values = {"state": "pending", "attempts": 0, "next_attempt": to_micros(now), "claimed_until": None}
        return connection.execute(sa.update(_delivery).where(*given_up).values(values)).rowcount


def undelivered(store: Store, ref: DatasetRef | None = None, *, limit: int | None = None) -> list[Delivery]:
    """Deliveries that no channel has accepted, pending and given up, oldest first; of one dataset or of all."""
    conditions = [_delivery.c.state != "delivered"]
    if ref is not None:
        conditions.append(_digest.c.dataset == ref.pk)
    with store.read() as connection:
        return _deliveries(connection, *conditions, limit=limit)


def digests(store: Store, ref: DatasetRef | None = None, *, limit: int | None = None) -> list[RecordedDigest]:
    """Recorded digests, newest first; of one dataset or of all. Messages of other kinds are not among them."""
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
        .where(_digest.c.kind == DIGEST)
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
            _digest.c.kind,
            _digest.c.dataset,
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
            message=row["digest"],
            dataset=row["dataset"],
            kind=row["kind"],
            organisation=row["organisation"],
            dataset_id=row["dataset_id"],
            digest=row["content"],
            dedup_key=row["dedup_key"],
            channel=row["channel"],
            state=row["state"],
            attempts=row["attempts"],
            created=from_micros(row["created"]),
            next_attempt=from_micros(row["next_attempt"]),
            claimed_until=None if row["claimed_until"] is None else from_micros(row["claimed_until"]),
            delivered_at=None if row["delivered_at"] is None else from_micros(row["delivered_at"]),
            receipt=row["receipt"],
            error=row["error"],
        )
        for row in connection.execute(query).mappings()
    ]
