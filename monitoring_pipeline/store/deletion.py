"""Forgetting: a dataset, or a time range of it, and all that derives from it, in one transaction.

What is gone is counted, and the counts are noted in the audit table with who asked. Nobody's data is touched: files stay
where they are, and deleted buckets are remembered, so that their files are not taken for new ones.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from monitoring_pipeline.errors import UsageError
from monitoring_pipeline.segments import OVERALL
from monitoring_pipeline.store import audit, schema
from monitoring_pipeline.store.audit import AuditEntry
from monitoring_pipeline.store.database import Store
from monitoring_pipeline.store.datasets import DatasetRef, lock_dataset
from monitoring_pipeline.store.results import Resting, outdate_resting
from monitoring_pipeline.store.retention import note_forgotten, remove_digests
from monitoring_pipeline.store.rollups import (
    DELETED,
    EMPTY,
    RETIRED,
    Level,
    empty_blocks,
    forgotten,
    levels,
    remove_blocks,
)
from monitoring_pipeline.store.schema import BASE_GRAIN
from monitoring_pipeline.timegrid import Granularity, TimeRange, from_micros, parse_moment, to_micros

_NAMES = {
    "batch": "batches (one per bucket and segment)",
    "profile": "profiles of columns",
    "rollup": "roll-ups",
    "analyzer_result": "verdicts",
    "incident": "incidents",
    "digest": "digests",
    "feedback": "answers of people",
    "superseded_profile": "superseded profiles",
    "reference_profile": "profiles in references",
    "document_version": "versions of documents",
    "source_file": "entries in the index of files",
}
"""What is counted, by table; the other tables only serve these."""


@dataclass(frozen=True)
class Deletion:
    """What goes, or has gone: `counts` by name, without what there is none of, and the buckets, ascending."""

    counts: Mapping[str, int]
    buckets: Sequence[datetime]


def count_dataset(store: Store, ref: DatasetRef) -> Deletion:
    """What `delete_dataset` would delete now."""
    with store.read() as connection:
        return _whole(connection, ref)


def delete_dataset(
    store: Store, ref: DatasetRef, *, actor: str | None = None, now: datetime | None = None
) -> Deletion:
    """Delete all rows of a dataset: profiles, results, digests with their deliveries, documents, the dataset itself.

    With `actor` and `now` that is noted in the audit table, whose entries stay.
    """
    of_dataset = [
        table
        for table in reversed(schema.metadata.sorted_tables)
        if "dataset" in table.columns and table is not schema.dataset
    ]
    with store.begin() as connection:
        lock_dataset(connection, ref)
        gone = _whole(connection, ref)
        digests = sa.select(schema.digest.c.pk).where(schema.digest.c.dataset == ref.pk)
        connection.execute(sa.delete(schema.delivery).where(schema.delivery.c.digest.in_(digests)))
        for table in of_dataset:
            connection.execute(sa.delete(table).where(table.c.dataset == ref.pk))
        connection.execute(sa.delete(schema.dataset).where(schema.dataset.c.pk == ref.pk))
        if actor is not None and now is not None:
            _note(connection, ref, gone, "delete dataset", {}, actor=actor, now=now)
    return gone


def count_range(store: Store, ref: DatasetRef, granularity: Granularity, window: TimeRange) -> Deletion:
    """What `delete_range` would delete now. Raises as it does."""
    with store.read() as connection:
        return _Range.of(connection, ref, granularity, window).deletion(connection)


def delete_range(
    store: Store,
    ref: DatasetRef,
    granularity: Granularity,
    window: TimeRange,
    *,
    resting: Iterable[Resting] = (),
    actor: str,
    now: datetime,
) -> Deletion:
    """Delete what derives from the buckets that start in a window: batches, profiles, roll-ups over them, superseded
    versions, verdicts and what was said of them. One transaction.

    Roll-ups that hold other buckets as well are made again by the next `roll_up`. Verdicts elsewhere that rest on the
    buckets (`resting`) become stale. Incidents and digests go when any of the time that they are about lies in the
    window, undelivered ones too. References and documents stay: they are of no time. The buckets are remembered as
    deleted, and are profiled again only when somebody asks for that.

    Raises UsageError when the window cuts a bucket, or a roll-up that is the only one to tell of other buckets, because
    retention has removed their own profiles.
    """
    with store.begin() as connection:
        lock_dataset(connection, ref)
        asked = _Range.of(connection, ref, granularity, window)
        gone = asked.deletion(connection)
        asked.remove(connection, now=now)
        outdate_resting(connection, list(resting), changed=None)
        if gone.counts:
            details = {"from": window.start.isoformat(), "to": window.end.isoformat()}
            _note(connection, ref, gone, "delete range", details, actor=actor, now=now)
    return gone


@dataclass(frozen=True)
class _Range:
    """A window of a dataset with what of it is in the store."""

    ref: DatasetRef
    granularity: Granularity
    window: TimeRange
    held: Collection[int]
    digests: Sequence[int]

    @classmethod
    def of(
        cls, connection: Connection, ref: DatasetRef, granularity: Granularity, window: TimeRange
    ) -> _Range:
        for moment in (window.start, window.end):
            if granularity.floor(moment) != moment:
                before = granularity.floor(moment)
                raise UsageError(
                    f"{moment:%Y-%m-%d %H:%M} lies inside a bucket of {granularity} data; accepted: "
                    f"{before:%Y-%m-%dT%H:%M} or {granularity.shift(before, 1):%Y-%m-%dT%H:%M}"
                )
        span = range(to_micros(window.start), to_micros(window.end))
        held = _buckets(connection, schema.batch, ref, span)
        found = cls(ref, granularity, window, held, _digests(connection, ref, window))
        found._check(connection)
        return found

    @property
    def span(self) -> range:
        return range(to_micros(self.window.start), to_micros(self.window.end))

    def deletion(self, connection: Connection) -> Deletion:
        counts: dict[str, int] = {}
        for name in ("batch", "profile", "analyzer_result", "incident", "feedback", "superseded_profile"):
            table = schema.metadata.tables[name]
            query = sa.select(sa.func.count()).select_from(table).where(*self._conditions(table))
            counts[_NAMES[name]] = connection.execute(query).scalar_one()
        counts[_NAMES["rollup"]] = sum(len(starts) for _, starts in self._blocks(connection))
        counts[_NAMES["digest"]] = len(self.digests)
        found = {name: count for name, count in counts.items() if count}
        return Deletion(found, [from_micros(bucket) for bucket in sorted(self.held)])

    def remove(self, connection: Connection, *, now: datetime) -> None:
        remove_digests(connection, self.digests)
        for level, starts in self._blocks(connection):
            others = _buckets(connection, schema.batch, self.ref, self._reach()) - {*self.held}
            cut = {level.start(bucket) for bucket in others}
            empty_blocks(connection, self.ref, level.grain, [start for start in starts if start in cut])
            remove_blocks(connection, self.ref, level.grain, [start for start in starts if start not in cut])
        for table in (
            schema.feedback,
            schema.analyzer_result,
            schema.incident_event,
            schema.incident,
            schema.bad_bucket,
            schema.evaluation,
            schema.failed_work,
            schema.superseded_profile,
            schema.superseded_batch,
            schema.profile_sketch,
            schema.profile,
            schema.batch,
            schema.changed_bucket,
        ):
            connection.execute(sa.delete(table).where(*self._conditions(table)))
        self._remove_segments(connection)
        note_forgotten(connection, self.ref, self.held, cause=DELETED, now=now)

    def _conditions(self, table: sa.Table) -> tuple[sa.ColumnElement[bool], ...]:
        """Which rows of a table are of the window."""
        mine, result = table.c.dataset == self.ref.pk, schema.analyzer_result
        if table is schema.feedback:
            judged = sa.select(result.c.analysis_id).where(*self._conditions(result))
            return mine, table.c.analysis_id.in_(judged)
        if table is schema.incident_event:
            gone = sa.select(schema.incident.c.incident_id).where(*self._conditions(schema.incident))
            return mine, table.c.incident_id.in_(gone)
        if table is schema.incident:
            return mine, table.c.start_time < self.span.stop, table.c.end_time > self.span.start
        within = (mine, table.c.bucket >= self.span.start, table.c.bucket < self.span.stop)
        return (*within, table.c.grain == BASE_GRAIN) if "grain" in table.c else within

    def _cut(self, level: Level) -> set[int]:
        """Starts of the blocks of a floor that hold any of the buckets."""
        return {level.start(bucket) for bucket in self.held}

    def _blocks(self, connection: Connection) -> list[tuple[Level, list[int]]]:
        """The roll-ups that hold any of the buckets, floor by floor."""
        if not self.held:
            return []
        return [
            (level, sorted(_blocks_in(connection, self.ref, level, self._reach()) & self._cut(level)))
            for level in levels(self.granularity)
        ]

    def _reach(self) -> range:
        """Where the buckets lie that share a block with one of these."""
        reach = range(min(self.held), max(self.held) + 1)
        coverings = [level.covering(reach) for level in levels(self.granularity)] or [reach]
        return range(min(one.start for one in coverings), max(one.stop for one in coverings))

    def _check(self, connection: Connection) -> None:
        """Refuse to lose what only a roll-up knows that also holds some of the buckets."""
        floors = levels(self.granularity)
        if not self.held or not floors:
            return
        reach = self._reach()
        retired = forgotten(connection, self.ref, cause=RETIRED, span=reach)
        others = [bucket for bucket in retired if bucket not in self.span]
        if not others:
            return
        # A block of a neighbour may begin before any block of these.
        wide = {level: level.covering(reach) for level in floors}
        kept = {
            level: _blocks_in(connection, self.ref, level, wide[level]) - self._cut(level) for level in floors
        }
        lost = [
            bucket for bucket in others if not any(level.start(bucket) in kept[level] for level in floors)
        ]
        if lost:
            month = Granularity.MONTHLY
            start = month.floor(self.window.start)
            end = month.shift(month.floor(from_micros(self.span.stop - 1)), 1)
            raise UsageError(
                f"{from_micros(lost[0]):%Y-%m-%d %H:%M} and {len(lost) - 1:,} more buckets outside the range are known "
                f"only by roll-ups that cannot be told apart from it, because retention has removed their own profiles; "
                f"accepted: whole months, --from {start:%Y-%m-%d} --to {end:%Y-%m-%d}, or profile them again first with "
                f"`monitor backfill {self.ref.dataset_id} --from {start:%Y-%m-%d} --to {end:%Y-%m-%d} --again`"
            )

    def _remove_segments(self, connection: Connection) -> None:
        """Values of segments that no bucket has any more may say something of those that had them."""
        table = schema.segment
        used = [
            sa.select(user.c.segment).where(user.c.dataset == self.ref.pk)
            for user in (schema.batch, schema.superseded_batch, schema.reference_profile)
        ]
        connection.execute(
            sa.delete(table).where(
                table.c.dataset == self.ref.pk,
                table.c.key != OVERALL,
                *(table.c.pk.not_in(query) for query in used),
            )
        )


def _whole(connection: Connection, ref: DatasetRef) -> Deletion:
    counts: dict[str, int] = {}
    for name, words in _NAMES.items():
        table = schema.metadata.tables[name]
        query = sa.select(sa.func.count()).select_from(table).where(table.c.dataset == ref.pk)
        counts[words] = connection.execute(query).scalar_one()
    buckets = _buckets(connection, schema.batch, ref, range(-(2**62), 2**62))
    found = {name: count for name, count in counts.items() if count}
    return Deletion(found, [from_micros(bucket) for bucket in sorted(buckets)])


def _buckets(connection: Connection, table: sa.Table, ref: DatasetRef, span: range) -> set[int]:
    query = sa.select(table.c.bucket).where(
        table.c.dataset == ref.pk, table.c.bucket >= span.start, table.c.bucket < span.stop
    )
    return set(connection.execute(query.distinct()).scalars())


def _blocks_in(connection: Connection, ref: DatasetRef, level: Level, span: range) -> set[int]:
    """Starts of the blocks of a floor in a span that are there, clean or not."""
    table = schema.rollup
    query = sa.select(table.c.bucket).where(
        table.c.dataset == ref.pk,
        table.c.grain == level.grain,
        table.c.bucket >= span.start,
        table.c.bucket < span.stop,
        table.c.revision != EMPTY,
    )
    return set(connection.execute(query).scalars())


def _digests(connection: Connection, ref: DatasetRef, window: TimeRange) -> list[int]:
    """Digests that tell of any of the window, by number."""
    table = schema.digest
    found: list[int] = []
    for pk, content in connection.execute(
        sa.select(table.c.pk, table.c.content).where(table.c.dataset == ref.pk)
    ):
        period = content.get("period") if isinstance(content, Mapping) else None
        if not isinstance(period, Mapping):
            continue
        start, end = (parse_moment(str(period[name])) for name in ("start", "end"))
        if start < window.end and end > window.start:
            found.append(pk)
    return found


def _note(
    connection: Connection,
    ref: DatasetRef,
    gone: Deletion,
    action: str,
    details: Mapping[str, object],
    *,
    actor: str,
    now: datetime,
) -> None:
    told = {"dataset": ref.dataset_id, **details, "buckets": len(gone.buckets), "removed": dict(gone.counts)}
    audit.record(connection, AuditEntry(ref.organisation, now, actor, action, told))
