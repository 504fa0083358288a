"""The roll-up pyramid: profiles of days, weeks and months, merged from those of the dataset's own buckets.

Hours make days, days make weeks and months. A block is made when its time is over, and made again when a bucket in it
is written: `write_batch` notes the bucket in its own transaction, with the dataset's revision, and a block is clean
when no bucket in it was noted after the revision that the block was made from. Blocks live in `profile` and
`profile_sketch` beside the base grain, `rollup` lists them. Making one reads in one transaction and writes in another,
which does nothing when somebody wrote in between; a process that dies leaves a block as it was, to be made by the next.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from monitoring_pipeline.store import schema
from monitoring_pipeline.store.blocks import merged_rows
from monitoring_pipeline.store.database import Store, insert_tuples, upsert
from monitoring_pipeline.store.datasets import DatasetRef
from monitoring_pipeline.store.schema import BASE_GRAIN
from monitoring_pipeline.timegrid import Granularity, from_micros, to_micros

RETIRED, DELETED = "retention", "deletion"
"""Why a bucket's profiles are no longer there: `forgotten_bucket.cause`."""


EMPTY = -1
"""`rollup.revision` of a block whose profiles were removed because some of what it held was deleted."""


@dataclass(frozen=True)
class Level:
    """One floor of the pyramid: blocks of `granularity`, kept under `grain`, each merged from those of grain `source`."""

    grain: str
    granularity: Granularity
    source: str

    def start(self, micros: int) -> int:
        """Start of the block that holds a moment, both in microseconds."""
        return to_micros(self.granularity.floor(from_micros(micros)))

    def end(self, start: int) -> int:
        """End of the block that starts there, both in microseconds."""
        return to_micros(self.granularity.shift(from_micros(start), 1))

    def covering(self, span: range) -> range:
        """The span of the whole blocks that overlap one that is not empty, in microseconds."""
        return range(self.start(span.start), self.end(self.start(span.stop - 1)))


@dataclass(frozen=True)
class Block:
    """One block of the pyramid."""

    grain: str
    start: datetime


@dataclass(frozen=True)
class RolledUp:
    """What `roll_up` did: blocks that were made, and those that cannot be made again.

    `stuck`: something in them has changed, and others of their buckets have been retired, so that only profiling all
    of them again from the data would tell what they hold now. They stay as they were.
    """

    made: tuple[Block, ...]
    stuck: tuple[Block, ...]

    def notes(self, dataset_id: str) -> list[str]:
        """What could not be made, in words."""
        return [
            f"the {one.grain} of {one.start:%Y-%m-%d} stays without what has changed in it, because retention has "
            f"removed others of its profiles; `monitor backfill {dataset_id} --from … --to … --again` over all of it "
            "makes it whole, while the data is there"
            for one in self.stuck
        ]


_BY_DAY = (
    Level("day", Granularity.DAILY, BASE_GRAIN),
    Level("week", Granularity.WEEKLY, "day"),
    Level("month", Granularity.MONTHLY, "day"),
)
_LEVELS: Mapping[Granularity, tuple[Level, ...]] = {
    Granularity.QUARTER_HOURLY: _BY_DAY,
    Granularity.HOURLY: _BY_DAY,
    Granularity.DAILY: (
        Level("week", Granularity.WEEKLY, BASE_GRAIN),
        Level("month", Granularity.MONTHLY, BASE_GRAIN),
    ),
    Granularity.WEEKLY: (),  # a month is no sum of weeks
    Granularity.MONTHLY: (),
}


def levels(granularity: Granularity) -> tuple[Level, ...]:
    """The floors above the base grain, from the bottom; none above weeks and months."""
    return _LEVELS[granularity]


def mark_changed(connection: Connection, ref: DatasetRef, buckets: Collection[int]) -> None:
    """Note, inside a transaction that has locked the dataset, that buckets (microseconds) were written or deleted."""
    revision = sa.select(schema.dataset.c.revision).where(schema.dataset.c.pk == ref.pk).scalar_subquery()
    known = connection.execute(sa.select(revision)).scalar_one()
    rows = [{"dataset": ref.pk, "bucket": bucket, "revision": known} for bucket in sorted(buckets)]
    upsert(connection, schema.changed_bucket, rows)


def clean_blocks(connection: Connection, ref: DatasetRef, level: Level, span: range) -> dict[int, int]:
    """Blocks that start in a span and are what their buckets are: batches in each, by start; all in microseconds."""
    table = schema.rollup
    query = sa.select(table.c.bucket, table.c.revision, table.c.batches).where(
        table.c.dataset == ref.pk,
        table.c.grain == level.grain,
        table.c.revision != EMPTY,
        _within(table, span),
    )
    found = [(start, revision, batches) for start, revision, batches in connection.execute(query)]
    if not found:
        return {}
    newest = _newest_changes(level, _changed(connection, ref, level.covering(span)))
    return {start: batches for start, revision, batches in found if newest.get(start, -1) <= revision}


def forgotten(
    connection: Connection, ref: DatasetRef, *, cause: str | None = None, span: range | None = None
) -> dict[int, str]:
    """Buckets whose profiles were removed on purpose, and why, in microseconds, ascending."""
    table = schema.forgotten_bucket
    query = sa.select(table.c.bucket, table.c.cause).where(table.c.dataset == ref.pk).order_by(table.c.bucket)
    if cause is not None:
        query = query.where(table.c.cause == cause)
    if span is not None:
        query = query.where(_within(table, span))
    return dict(connection.execute(query).all())


def roll_up(store: Store, ref: DatasetRef, granularity: Granularity, *, now: datetime) -> RolledUp:
    """Make every block that is over by now and is not what its buckets are. Two short queries when there is none.

    `granularity` is the dataset's. Safe to run at any time, several times at once, and to kill.
    """
    floors, moment = levels(granularity), to_micros(now)
    with store.read() as connection:
        changed, emptied = _changed(connection, ref), _emptied(connection, ref)
        if not changed and not emptied:
            return RolledUp((), ())
        dirty = _dirty(connection, ref, floors, changed, emptied, moment)
    over = any(all(level.end(level.start(bucket)) <= moment for level in floors) for bucket in changed)
    made: list[Block] = []
    stuck: list[Block] = []
    for level, start in dirty:
        outcome = _make(store, ref, level, start, moment)
        if outcome is not None:
            (made if outcome else stuck).append(Block(level.grain, from_micros(start)))
    if made or (over and not dirty):
        _settle(store, ref, floors)
    return RolledUp(tuple(made), tuple(stuck))


def remove_blocks(connection: Connection, ref: DatasetRef, grain: str, starts: Collection[int]) -> int:
    """Remove blocks (or base buckets) of profiles, inside a transaction; returns how many profiles there were."""
    removed = 0
    for start in sorted(starts):
        for table in (schema.rollup, schema.profile_sketch, schema.profile):
            done = connection.execute(
                sa.delete(table).where(
                    table.c.dataset == ref.pk, table.c.grain == grain, table.c.bucket == start
                )
            )
            removed += done.rowcount if table is schema.profile else 0
    return removed


def empty_blocks(connection: Connection, ref: DatasetRef, grain: str, starts: Collection[int]) -> None:
    """Remove the profiles of blocks, inside a transaction; the next `roll_up` makes them of what is left."""
    held = [{"dataset": ref.pk, "grain": grain, "bucket": start} for start in sorted(starts)]
    remove_blocks(connection, ref, grain, starts)
    upsert(connection, schema.rollup, [one | {"revision": EMPTY, "batches": 0, "made_at": 0} for one in held])


def _within(table: sa.Table, span: range) -> sa.ColumnElement[bool]:
    return sa.and_(table.c.bucket >= span.start, table.c.bucket < span.stop)


def _changed(connection: Connection, ref: DatasetRef, span: range | None = None) -> dict[int, int]:
    """Buckets that were written since all their blocks were made, and at which revision of the dataset."""
    table = schema.changed_bucket
    query = sa.select(table.c.bucket, table.c.revision).where(table.c.dataset == ref.pk)
    if span is not None:
        query = query.where(_within(table, span))
    return dict(connection.execute(query).all())


def _newest_changes(level: Level, changed: Mapping[int, int]) -> dict[int, int]:
    newest: dict[int, int] = {}
    for bucket, revision in changed.items():
        start = level.start(bucket)
        newest[start] = max(newest.get(start, revision), revision)
    return newest


def _dirty(
    connection: Connection,
    ref: DatasetRef,
    floors: Sequence[Level],
    changed: Mapping[int, int],
    emptied: Collection[tuple[str, int]],
    moment: int,
) -> list[tuple[Level, int]]:
    """Blocks that are over and are not clean, floor by floor from the bottom."""
    found: list[tuple[Level, int]] = []
    for level in floors:
        starts = {level.start(bucket) for bucket in changed}
        if starts:
            span = range(min(starts), max(starts) + 1)
            starts -= clean_blocks(connection, ref, level, span).keys()
        starts |= {start for grain, start in emptied if grain == level.grain}
        found += [(level, start) for start in sorted(starts) if level.end(start) <= moment]
    return found


def _make(store: Store, ref: DatasetRef, level: Level, start: int, moment: int) -> bool | None:
    """Make one block; False when it cannot be made any more, None when somebody else wrote and it has to wait."""
    span = range(start, level.end(start))
    with store.read() as connection:
        revision = _revision(connection, ref)
        held = _batches(connection, ref, span)
        sources, lost = _sources(connection, ref, level, span, held)
        if sources is None and not lost:
            return None
        rows = list(merged_rows(connection, ref, level.source, sources)) if sources else []
    if sources is None:
        return None if _give_up(store, ref, level, start) else False
    with store.begin() as connection:
        if not _hold(connection, ref) or _overtaken(connection, ref, level, span, revision, held):
            return None
        remove_blocks(connection, ref, level.grain, [start])
        prefix = (ref.pk, level.grain, start)
        insert_tuples(
            connection, schema.profile, [(*prefix, segment, column, *row) for segment, column, row, _ in rows]
        )
        insert_tuples(
            connection,
            schema.profile_sketch,
            [(*prefix, segment, column, image) for segment, column, _, image in rows if image is not None],
        )
        note = {"dataset": ref.pk, "grain": level.grain, "bucket": start}
        upsert(
            connection,
            schema.rollup,
            [note | {"revision": revision, "batches": len(held), "made_at": moment}],
        )
    return True


def _give_up(store: Store, ref: DatasetRef, level: Level, start: int) -> bool:
    """Strike out a block that is empty and that nothing is left to make from; False when it is as it was."""
    table = schema.rollup
    with store.begin() as connection:
        done = connection.execute(
            sa.delete(table).where(
                table.c.dataset == ref.pk,
                table.c.grain == level.grain,
                table.c.bucket == start,
                table.c.revision == EMPTY,
            )
        )
        return done.rowcount > 0


def _emptied(connection: Connection, ref: DatasetRef, span: range | None = None) -> set[tuple[str, int]]:
    """Grain and start of blocks whose profiles were removed, to be made again."""
    table = schema.rollup
    query = sa.select(table.c.grain, table.c.bucket).where(
        table.c.dataset == ref.pk, table.c.revision == EMPTY
    )
    if span is not None:
        query = query.where(_within(table, span))
    return {(grain, start) for grain, start in connection.execute(query)}


def _revision(connection: Connection, ref: DatasetRef) -> int:
    table = schema.dataset
    return (
        connection.execute(sa.select(table.c.revision).where(table.c.pk == ref.pk)).scalar_one_or_none() or 0
    )


def _batches(connection: Connection, ref: DatasetRef, span: range) -> set[int]:
    table = schema.batch
    query = sa.select(table.c.bucket).where(table.c.dataset == ref.pk, _within(table, span)).distinct()
    return set(connection.execute(query).scalars())


def _sources(
    connection: Connection, ref: DatasetRef, level: Level, span: range, held: Collection[int]
) -> tuple[list[int] | None, bool]:
    """What a block is merged from, None when not all of it is there; and whether it will never be, as far as known."""
    retired = forgotten(connection, ref, cause=RETIRED, span=span)
    if level.source == BASE_GRAIN:
        lost = any(bucket in retired for bucket in held)
        return (None if lost else sorted(held)), lost
    below = next(one for one in _BY_DAY if one.grain == level.source)
    wanted = {below.start(bucket) for bucket in held}
    missing = wanted - clean_blocks(connection, ref, below, span).keys()
    if not missing:
        return sorted(wanted), False
    # A day comes back only when one of its hours has changed and all of them are there.
    coming = {below.start(bucket) for bucket in _changed(connection, ref, span)}
    coming |= {start for grain, start in _emptied(connection, ref, span) if grain == below.grain}
    return None, not missing <= coming - {below.start(bucket) for bucket in retired}


def _hold(connection: Connection, ref: DatasetRef) -> bool:
    """Keep others from writing to the dataset for the length of a transaction; False when it is no longer there."""
    table = schema.dataset
    query = sa.select(table.c.pk).where(table.c.pk == ref.pk).with_for_update(key_share=True)
    return connection.execute(query).scalar_one_or_none() is not None


def _overtaken(
    connection: Connection, ref: DatasetRef, level: Level, span: range, revision: int, held: Collection[int]
) -> bool:
    """Whether a bucket of the block was written or deleted since a revision, or a newer block is there."""
    table = schema.rollup
    newer = sa.select(table.c.revision).where(
        table.c.dataset == ref.pk,
        table.c.grain == level.grain,
        table.c.bucket == span.start,
        table.c.revision > revision,
    )
    return (
        any(seen > revision for seen in _changed(connection, ref, span).values())
        or _batches(connection, ref, span) != held
        or connection.execute(newer).first() is not None
    )


def _settle(store: Store, ref: DatasetRef, floors: Sequence[Level]) -> None:
    """Strike out the changed buckets all of whose blocks have been made since."""
    table = schema.changed_bucket
    with store.begin() as connection:
        if not _hold(connection, ref):
            return
        changed = _changed(connection, ref)
        if not changed:
            return
        span = range(min(changed), max(changed) + 1)
        clean = {level: clean_blocks(connection, ref, level, level.covering(span)) for level in floors}
        done = [
            {"done": bucket}
            for bucket in changed
            if all(level.start(bucket) in clean[level] for level in floors)
        ]
        if done:
            connection.execute(
                sa.delete(table).where(table.c.dataset == ref.pk, table.c.bucket == sa.bindparam("done")),
                done,
            )
