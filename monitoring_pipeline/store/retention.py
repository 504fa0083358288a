"""Retention: what is old enough goes, grain by grain, and never before something coarser holds what it says.

A bucket's own profiles go when every block that is made from it is clean and wholly as old as was asked; its batch
stays, with a note, so that its data is not taken for new. Each step removes a few buckets in one transaction, and looks
again, inside it, whether they may go: others read and write meanwhile, and a process that dies leaves what is whole.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from monitoring_pipeline.store import audit, schema
from monitoring_pipeline.store.audit import AuditEntry
from monitoring_pipeline.store.database import Store, insert
from monitoring_pipeline.store.datasets import DatasetRef, lock_dataset
from monitoring_pipeline.store.rollups import (
    DELETED,
    RETIRED,
    Level,
    clean_blocks,
    forgotten,
    levels,
    remove_blocks,
)
from monitoring_pipeline.store.schema import BASE_GRAIN
from monitoring_pipeline.timegrid import Granularity, TimeRange, from_micros, to_micros

BUCKETS_AT_ONCE = 8
"""Buckets that one transaction removes: others wait for it."""

_ALL = range(-(2**62), 2**62)


@dataclass(frozen=True)
class Limits:
    """Until when (excluded) things go: profiles by grain, verdicts with digests and incidents, superseded profiles.

    What is missing, or None, stays for ever.
    """

    profiles: Mapping[str, datetime] = field(default_factory=dict)
    results: datetime | None = None
    superseded: datetime | None = None


@dataclass(frozen=True)
class Retired:
    """What goes, or has gone. Counts, and the buckets or blocks by grain, ascending.

    `needed` and `unrolled` are base buckets that are old enough and stay, because analyzers may still look at them, or
    because no clean roll-up holds what they say.
    """

    profiles: Mapping[str, Sequence[datetime]]
    results: int = 0
    digests: int = 0
    incidents: int = 0
    superseded: int = 0
    needed: int = 0
    unrolled: int = 0

    @property
    def counts(self) -> dict[str, int]:
        """How many of each there are, by name; what there is none of is absent."""
        found = {f"profiles of grain {grain}": len(gone) for grain, gone in self.profiles.items()}
        found |= {name: getattr(self, name) for name in ("results", "digests", "incidents")}
        found["superseded batches"] = self.superseded
        return {name: count for name, count in found.items() if count}


def forgotten_buckets(
    store: Store, ref: DatasetRef, window: TimeRange | None = None, *, cause: str | None = None
) -> dict[datetime, str]:
    """Buckets whose profiles were removed on purpose, by retention (`RETIRED`) or by a person (`DELETED`), ascending."""
    span = None if window is None else range(to_micros(window.start), to_micros(window.end))
    with store.read() as connection:
        found = forgotten(connection, ref, cause=cause, span=span)
    return {from_micros(bucket): why for bucket, why in found.items()}


def plan(
    store: Store, ref: DatasetRef, granularity: Granularity, limits: Limits, *, keep: Iterable[TimeRange] = ()
) -> Retired:
    """What would go now. `keep` are times whose base buckets are still looked at."""
    with store.read() as connection:
        return _plan(connection, ref, _Question(granularity, limits, tuple(keep)))


def retire(
    store: Store,
    ref: DatasetRef,
    granularity: Granularity,
    limits: Limits,
    *,
    keep: Iterable[TimeRange] = (),
    now: datetime,
    actor: str,
) -> Retired:
    """Remove what `plan` says, and note it in the audit table when there was anything. Returns what has gone.

    Safe while others read and write, several times at once, and to kill.
    """
    question = _Question(granularity, limits, tuple(keep))
    with store.read() as connection:
        planned = _plan(connection, ref, question)
    gone = {
        grain: _retire_profiles(store, ref, question, grain, [to_micros(one) for one in starts], now=now)
        for grain, starts in planned.profiles.items()
    }
    with store.begin() as connection:
        lock_dataset(connection, ref)
        told = _remove_told(connection, ref, limits.results) if limits.results else (0, 0, 0)
        superseded = _remove_superseded(connection, ref, limits.superseded) if limits.superseded else 0
        done = Retired(
            {grain: [from_micros(one) for one in starts] for grain, starts in gone.items() if starts},
            *told,
            superseded=superseded,
            needed=planned.needed,
            unrolled=planned.unrolled,
        )
        if done.counts:
            details = {"dataset": ref.dataset_id, "removed": done.counts}
            audit.record(connection, AuditEntry(ref.organisation, now, actor, "retention", details))
    return done


@dataclass(frozen=True)
class _Question:
    granularity: Granularity
    limits: Limits
    keep: Sequence[TimeRange]

    def limit(self, grain: str) -> int | None:
        moment = self.limits.profiles.get(grain)
        return None if moment is None else to_micros(moment)

    def above(self, grain: str) -> list[Level]:
        """The floors that are made from a grain."""
        return [level for level in levels(self.granularity) if level.source == grain]

    def is_kept(self, bucket: int) -> bool:
        start = from_micros(bucket)
        end = self.granularity.shift(start, 1)
        return any(window.start < end and start < window.end for window in self.keep)


def _plan(connection: Connection, ref: DatasetRef, question: _Question) -> Retired:
    profiles: dict[str, Sequence[datetime]] = {}
    base, needed, unrolled = _base_to_retire(connection, ref, question, _ALL)
    gone: dict[str, set[int]] = {BASE_GRAIN: base}
    for level in levels(question.granularity):
        gone[level.grain] = _blocks_to_retire(connection, ref, question, level, _ALL, gone[level.source])
    for grain, starts in gone.items():
        if starts:
            profiles[grain] = [from_micros(one) for one in sorted(starts)]
    told = _count_told(connection, ref, question.limits.results)
    return Retired(
        profiles,
        *told,
        superseded=_count_superseded(connection, ref, question.limits.superseded),
        needed=needed,
        unrolled=unrolled,
    )


def _base_to_retire(
    connection: Connection, ref: DatasetRef, question: _Question, span: range
) -> tuple[set[int], int, int]:
    """Base buckets of a span that may go; how many stay because they are looked at, or not rolled up."""
    limit = question.limit(BASE_GRAIN)
    above = question.above(BASE_GRAIN)
    if limit is None or not above:
        return set(), 0, 0
    whole = range(span.start, min(span.stop, limit))
    held = _held(connection, ref, whole)
    old = {bucket for bucket in held if all(level.end(level.start(bucket)) <= limit for level in above)}
    free = {bucket for bucket in old if not question.is_kept(bucket)}
    if not free:
        return set(), len(old), 0
    reach = range(min(free), max(free) + 1)
    clean = {level: clean_blocks(connection, ref, level, level.covering(reach)) for level in above}
    safe = {bucket for bucket in free if all(level.start(bucket) in clean[level] for level in above)}
    return safe, len(old) - len(free), len(free) - len(safe)


def _blocks_to_retire(
    connection: Connection,
    ref: DatasetRef,
    question: _Question,
    level: Level,
    span: range,
    going: Collection[int],
) -> set[int]:
    """Blocks of a span that may go: nothing finer is left in them, save for what is `going`, and what is coarser is there."""
    limit = question.limit(level.grain)
    if limit is None:
        return set()
    table = schema.rollup
    query = sa.select(table.c.bucket).where(
        table.c.dataset == ref.pk, table.c.grain == level.grain, table.c.bucket < limit
    )
    starts = [start for start in connection.execute(query).scalars() if start in span]
    old = {start for start in starts if level.end(start) <= limit}
    if not old:
        return set()
    reach = range(min(old), level.end(max(old)))
    if level.source == BASE_GRAIN:
        finer = _held(connection, ref, reach)
    else:
        query = sa.select(table.c.bucket).where(table.c.dataset == ref.pk, table.c.grain == level.source)
        query = query.where(table.c.bucket >= reach.start, table.c.bucket < reach.stop)
        finer = set(connection.execute(query).scalars())
    old -= {level.start(one) for one in finer - {*going}}
    for above in question.above(level.grain):
        clean = clean_blocks(connection, ref, above, above.covering(reach))
        old = {
            start for start in old if above.start(start) in clean and above.end(above.start(start)) <= limit
        }
    return old


def _held(connection: Connection, ref: DatasetRef, span: range) -> set[int]:
    """Buckets of a span whose own profiles are there."""
    table = schema.batch
    query = (
        sa.select(table.c.bucket)
        .where(table.c.dataset == ref.pk, table.c.bucket >= span.start, table.c.bucket < span.stop)
        .distinct()
    )
    return set(connection.execute(query).scalars()) - forgotten(connection, ref, span=span).keys()


def _retire_profiles(
    store: Store, ref: DatasetRef, question: _Question, grain: str, starts: Sequence[int], *, now: datetime
) -> list[int]:
    gone: list[int] = []
    for first in range(0, len(starts), BUCKETS_AT_ONCE):
        some = starts[first : first + BUCKETS_AT_ONCE]
        span = range(some[0], some[-1] + 1)
        with store.begin() as connection:
            lock_dataset(connection, ref)
            if grain == BASE_GRAIN:
                free, _, _ = _base_to_retire(connection, ref, question, span)
            else:
                level = next(one for one in levels(question.granularity) if one.grain == grain)
                free = _blocks_to_retire(connection, ref, question, level, span, ())
            chosen = sorted(free & {*some})
            remove_blocks(connection, ref, grain, chosen)
            if grain == BASE_GRAIN:
                note_forgotten(connection, ref, chosen, cause=RETIRED, now=now)
        gone += chosen
    return gone


def note_forgotten(
    connection: Connection, ref: DatasetRef, buckets: Collection[int], *, cause: str, now: datetime
) -> None:
    """Remember, inside a transaction, that the profiles of buckets were removed on purpose."""
    if cause not in (RETIRED, DELETED):
        raise ValueError(f"no cause {cause!r}")
    rows = [
        {"dataset": ref.pk, "bucket": bucket, "cause": cause, "forgotten_at": to_micros(now)}
        for bucket in sorted(buckets)
    ]
    if not rows:
        return
    statement = insert(connection, schema.forgotten_bucket)
    changed = {name: statement.excluded[name] for name in ("cause", "forgotten_at")}
    connection.execute(
        statement.on_conflict_do_update(index_elements=["dataset", "bucket"], set_=changed), rows
    )


def _old_digests(ref: DatasetRef, limit: int) -> sa.Select[int]:
    """Digests from before a moment that nobody waits for any more."""
    digest, delivery = schema.digest, schema.delivery
    pending = sa.select(delivery.c.pk).where(delivery.c.digest == digest.c.pk, delivery.c.state == "pending")
    return sa.select(digest.c.pk).where(
        digest.c.dataset == ref.pk, digest.c.created < limit, ~pending.exists()
    )


def _old_incidents(ref: DatasetRef, limit: int) -> tuple[sa.ColumnElement[bool], ...]:
    table = schema.incident
    return (table.c.dataset == ref.pk, table.c.end_time < limit, table.c.status != "open")


def _count_told(connection: Connection, ref: DatasetRef, until: datetime | None) -> tuple[int, int, int]:
    """Verdicts, digests and incidents from before a moment."""
    if until is None:
        return 0, 0, 0
    limit, result = to_micros(until), schema.analyzer_result

    def count(query: sa.Select[int]) -> int:
        return connection.execute(query).scalar_one()

    number = sa.func.count()
    return (
        count(
            sa.select(number).select_from(result).where(result.c.dataset == ref.pk, result.c.bucket < limit)
        ),
        count(sa.select(number).select_from(_old_digests(ref, limit).subquery())),
        count(sa.select(number).select_from(schema.incident).where(*_old_incidents(ref, limit))),
    )


def _remove_told(connection: Connection, ref: DatasetRef, until: datetime) -> tuple[int, int, int]:
    """Remove verdicts with their feedback, digests and incidents from before a moment. What was judged stays known."""
    limit, result, feedback = to_micros(until), schema.analyzer_result, schema.feedback
    old = (result.c.dataset == ref.pk, result.c.bucket < limit)
    connection.execute(
        sa.delete(feedback).where(
            feedback.c.dataset == ref.pk,
            feedback.c.analysis_id.in_(sa.select(result.c.analysis_id).where(*old)),
        )
    )
    verdicts = connection.execute(sa.delete(result).where(*old)).rowcount
    digests = remove_digests(connection, list(connection.execute(_old_digests(ref, limit)).scalars()))
    over = sa.select(schema.incident.c.incident_id).where(*_old_incidents(ref, limit))
    event = schema.incident_event
    connection.execute(sa.delete(event).where(event.c.dataset == ref.pk, event.c.incident_id.in_(over)))
    incidents = connection.execute(sa.delete(schema.incident).where(*_old_incidents(ref, limit))).rowcount
    return verdicts, digests, incidents


def remove_digests(connection: Connection, digests: Sequence[int]) -> int:
    """Remove digests by their numbers, with their deliveries, inside a transaction; returns how many there were."""
    rows = [{"gone": pk} for pk in digests]
    if rows:
        for column in (schema.delivery.c.digest, schema.digest.c.pk):
            connection.execute(sa.delete(column.table).where(column == sa.bindparam("gone")), rows)
    return len(rows)


def _old_superseded(ref: DatasetRef, until: datetime) -> tuple[sa.ColumnElement[bool], ...]:
    table = schema.superseded_batch
    return (table.c.dataset == ref.pk, table.c.superseded_at < to_micros(until))


def _count_superseded(connection: Connection, ref: DatasetRef, until: datetime | None) -> int:
    if until is None:
        return 0
    table = schema.superseded_batch
    versions = sa.select(table.c.bucket, table.c.version).where(*_old_superseded(ref, until)).distinct()
    return connection.execute(sa.select(sa.func.count()).select_from(versions.subquery())).scalar_one()


def _remove_superseded(connection: Connection, ref: DatasetRef, until: datetime) -> int:
    batch, profile = schema.superseded_batch, schema.superseded_profile
    query = sa.select(batch.c.bucket, batch.c.version).where(*_old_superseded(ref, until)).distinct()
    rows = [{"at": bucket, "which": version} for bucket, version in connection.execute(query)]
    for table in (profile, batch) if rows else ():
        of_version = (table.c.bucket == sa.bindparam("at"), table.c.version == sa.bindparam("which"))
        connection.execute(sa.delete(table).where(table.c.dataset == ref.pk, *of_version), rows)
    return len(rows)
