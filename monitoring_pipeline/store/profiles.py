"""Profiles of batches: written bucket by bucket, read as series of metrics or as whole profiles.

Writing a bucket replaces all that the store holds of it, in one transaction. Reading a series is one query, whatever
the number of columns and segments; the rows go from the driver straight into arrays. Scalars and sketches are kept
in two tables, so that a series never touches a sketch. The row of a segment itself has the column name "" and holds
the number of rows (`n`) and of columns (`n_columns`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.engine import Connection

from monitoring_pipeline.errors import StoreError
from monitoring_pipeline.profiling.profile import (
    DATASET_COLUMN,
    ColumnProfile,
    DatasetProfile,
    components_from_bytes,
    components_to_bytes,
)
from monitoring_pipeline.segments import OVERALL
from monitoring_pipeline.store import schema
from monitoring_pipeline.store.database import Store, insert_tuples
from monitoring_pipeline.store.datasets import DatasetRef, lock_dataset, numbers
from monitoring_pipeline.store.history import keep_superseded
from monitoring_pipeline.store.responses import repaired_in
from monitoring_pipeline.store.results import Resting, outdate, outdate_resting
from monitoring_pipeline.store.rollups import mark_changed
from monitoring_pipeline.store.schema import BASE_GRAIN, PROFILE_SCALARS
from monitoring_pipeline.store.selection import Scope, chosen, chunks_of, profile_conditions, scope_of
from monitoring_pipeline.timegrid import Granularity, TimeRange, from_micros, to_micros

Key = tuple[str, str]
"""Segment key, column name."""


@dataclass(frozen=True)
class BatchRow:
    """What the store knows of one bucket of one segment.

    `version` counts the loads of the bucket, from 1. `fingerprint` is that of the data it was made from. `quality`
    counts rows with problems by kind of problem; it belongs to the bucket, not to the segment. Times are UTC.
    """

    segment: str
    bucket: datetime
    rows: int
    files: int
    first_upload: datetime
    last_upload: datetime
    version: int
    fingerprint: str
    profiled_at: datetime
    quality: Mapping[str, int]


@dataclass(frozen=True)
class Series:
    """Metrics over time. Every bucket of the window is on the axis, whether it has data or not.

    `keys` are the (segment, column) pairs with any data in the window, sorted. `buckets` (n_buckets,) int64 are bucket
    starts in microseconds. `values[scalar]` is (n_keys, n_buckets) float64, NaN = missing.
    """

    keys: tuple[Key, ...]
    buckets: NDArray[np.int64]
    values: Mapping[str, NDArray[np.float64]]


def write_batch(
    store: Store,
    ref: DatasetRef,
    bucket: datetime,
    profile: DatasetProfile,
    *,
    fingerprint: str,
    first_upload: datetime,
    last_upload: datetime,
    files: int,
    quality: Mapping[str, int],
    now: datetime,
    resting: Sequence[Resting] = (),
) -> int:
    """Make the store hold exactly this profile for the bucket; return the bucket's version.

    One transaction: columns and segments that are not in the profile any more disappear. With the fingerprint that is
    stored already, the version and `profiled_at` stay, so that writing the same thing again changes nothing. With
    another one the version rises by one, the profile of before is kept as superseded, and the results become stale
    that the difference could change: those of the bucket, and of others whose baselines hold it (`resting`), for
    columns and segments whose metrics are not what they were. The roll-ups above the bucket are dirty until `roll_up`.
    """
    moment = to_micros(bucket)
    if OVERALL not in profile.rows:
        profile = replace(profile, rows={OVERALL: 0, **profile.rows})
    packed = list(_pack(profile))  # before the transaction, so that other writers wait for the database alone
    touched = {ref.pk: ref, **{one.ref.pk: one.ref for one in resting}}
    with store.begin() as connection:
        for pk in sorted(touched):  # in one order, or two that write at once may wait for each other
            lock_dataset(connection, touched[pk])
        segment_pk = numbers(connection, ref, schema.segment, ensure=profile.rows)
        column_pk = numbers(
            connection, ref, schema.column_name, ensure={column for _, column, _, _ in packed}
        )
        before = _batch_before(connection, ref, moment)
        same = before is not None and before.fingerprint == fingerprint
        version = 1 if before is None else before.version + (0 if same else 1)
        rows_before = {} if before is None or same else _rows_before(connection, ref, moment)
        if before is not None:
            if not same:
                keep_superseded(connection, ref, moment, now=now)
            _delete_batch(connection, ref, moment)
        mark_changed(connection, ref, [moment])
        _remember(connection, ref, moment)
        prefix = (ref.pk, BASE_GRAIN, moment)
        keys = sorted(
            (segment_pk[segment], column_pk[column], at) for at, (segment, column, _, _) in enumerate(packed)
        )
        insert_tuples(connection, schema.profile, [(*prefix, s, c, *packed[at][2]) for s, c, at in keys])
        insert_tuples(
            connection,
            schema.profile_sketch,
            [(*prefix, s, c, sketches) for s, c, at in keys if (sketches := packed[at][3]) is not None],
        )
        connection.execute(
            sa.insert(schema.batch),
            [
                {
                    "dataset": ref.pk,
                    "bucket": moment,
                    "segment": segment_pk[segment],
                    "rows": rows,
                    "files": files,
                    "first_upload": to_micros(first_upload),
                    "last_upload": to_micros(last_upload),
                    "version": version,
                    "fingerprint": fingerprint,
                    "profiled_at": before.profiled_at if before is not None and same else to_micros(now),
                    "quality": dict(quality),
                }
                for segment, rows in sorted(profile.rows.items())
            ],
        )
        if not same:
            rows_now = {
                (segment, column): scalars if column else (*scalars, own)
                for segment, column, scalars, own in packed
            }
            changed = None if before is None else _changed(rows_before, rows_now)
            outdate(connection, ref, moment, version=version, changed=changed)
            if before is not None and repaired_in(connection, ref, moment, now=now):
                changed = None  # a bucket that was bad is back in the baselines, with all of its columns
            if changed is None or changed:
                outdate_resting(connection, resting, changed=changed)
        return version


def batches(
    store: Store, ref: DatasetRef, window: TimeRange | None = None, *, segment: str = OVERALL
) -> list[BatchRow]:
    """Buckets of one segment that the store holds, ascending; those that start in the window, or all."""
    table, names = schema.batch, schema.segment
    query = (
        sa.select(*(column for column in table.columns if column.name not in ("dataset", "segment")))
        .join(names, names.c.pk == table.c.segment)
        .where(table.c.dataset == ref.pk, names.c.dataset == ref.pk, names.c.key == segment)
        .order_by(table.c.bucket)
    )
    if window is not None:
        query = query.where(table.c.bucket >= to_micros(window.start), table.c.bucket < to_micros(window.end))
    with store.read() as connection:
        return [
            BatchRow(
                segment=segment,
                bucket=from_micros(row["bucket"]),
                rows=row["rows"],
                files=row["files"],
                first_upload=from_micros(row["first_upload"]),
                last_upload=from_micros(row["last_upload"]),
                version=row["version"],
                fingerprint=row["fingerprint"],
                profiled_at=from_micros(row["profiled_at"]),
                quality=row["quality"],
            )
            for row in connection.execute(query).mappings()
        ]


def series(
    store: Store,
    ref: DatasetRef,
    scalars: Sequence[str],
    window: TimeRange,
    *,
    granularity: Granularity,
    columns: Collection[str] | None = None,
    segments: Collection[str] | None = None,
) -> Series:
    """Scalars of profiles over a window, as matrices.

    `columns` None means every column, without the segments' own rows: ask for those with `[DATASET_COLUMN]`.
    `segments` None means all. Names that the store does not know are left out. Raises StoreError for an unknown scalar.
    """
    unknown = [name for name in scalars if name not in PROFILE_SCALARS]
    if unknown:
        raise StoreError(
            f"no scalar {', '.join(unknown)} in a profile; accepted: {', '.join(PROFILE_SCALARS)}"
        )
    indices = np.array([granularity.index(start) for start in window.buckets(granularity)], dtype=np.int64)
    buckets = granularity.start_array(indices)
    with store.read() as connection:
        scope = scope_of(connection, ref, columns=columns, segments=segments)
        if not len(buckets) or scope.empty:
            return Series((), buckets, {name: np.empty((0, len(buckets))) for name in scalars})
        table = schema.profile
        span = range(int(buckets[0]), int(buckets[-1]) + 1)
        query = sa.select(
            table.c.segment, table.c.column, table.c.bucket, *(table.c[name] for name in scalars)
        ).where(*profile_conditions(connection, ref, table, scope, span))
        chunks = [np.array(chunk, dtype=np.float64) for chunk in chunks_of(connection, query)]
    rows = np.concatenate(chunks) if chunks else np.empty((0, 3 + len(scalars)))
    return _pivot(rows, scope, scalars, buckets, granularity=granularity)


def bucket_profiles(
    store: Store,
    ref: DatasetRef,
    window: TimeRange,
    *,
    columns: Collection[str] | None = None,
    segments: Collection[str] | None = None,
) -> dict[Key, dict[int, ColumnProfile]]:
    """Whole profiles, sketches included, of the buckets that start in the window: by key, then by bucket in
    microseconds, ascending. Columns and segments are chosen as in `series`.
    """
    table, sketch = schema.profile, schema.profile_sketch
    found: dict[Key, dict[int, ColumnProfile]] = {}
    with store.read() as connection:
        scope = scope_of(connection, ref, columns=columns, segments=segments)
        if scope.empty:
            return {}
        span = range(to_micros(window.start), to_micros(window.end))
        same = [table.c[column.name] == sketch.c[column.name] for column in sketch.primary_key]
        query = (
            sa.select(
                table.c.segment,
                table.c.column,
                table.c.bucket,
                sketch.c.components,
                *(table.c[name] for name in PROFILE_SCALARS),
            )
            .select_from(table.outerjoin(sketch, sa.and_(*same)))
            .where(*profile_conditions(connection, ref, table, scope, span))
            .order_by(table.c.bucket, table.c.segment, table.c.column)
        )
        for chunk in chunks_of(connection, query):
            for segment, column, bucket, components, *values in chunk:
                key = (scope.segments[segment], scope.columns[column])
                found.setdefault(key, {})[bucket] = ColumnProfile.from_parts(
                    dict(zip(PROFILE_SCALARS, values, strict=True)),
                    components_from_bytes(components) if components is not None else {},
                )
    return found


def write_reference(
    store: Store, ref: DatasetRef, profile_id: str, profile: DatasetProfile, now: datetime
) -> None:
    """Keep a profile under a name, to be a baseline; replaces what had that name. One transaction."""
    moment, table = to_micros(now), schema.reference_profile
    rows = [
        (segment, column, column_profile.to_bytes())
        for segment in sorted(profile.rows)
        for column, column_profile in [
            (
                DATASET_COLUMN,
                ColumnProfile.from_parts(
                    profile.dataset_scalars(segment), profile.components.get(segment, {})
                ),
            ),
            *sorted(profile.columns.get(segment, {}).items()),
        ]
    ]
    with store.begin() as connection:
        lock_dataset(connection, ref)
        segment_pk = numbers(connection, ref, schema.segment, ensure={segment for segment, _, _ in rows})
        column_pk = numbers(connection, ref, schema.column_name, ensure={column for _, column, _ in rows})
        connection.execute(
            sa.delete(table).where(table.c.dataset == ref.pk, table.c.profile_id == profile_id)
        )
        insert_tuples(
            connection,
            table,
            [
                (ref.pk, profile_id, segment_pk[segment], column_pk[column], moment, content)
                for segment, column, content in rows
            ],
        )


def reference_profile(
    store: Store,
    ref: DatasetRef,
    profile_id: str,
    *,
    columns: Collection[str] | None = None,
    segments: Collection[str] | None = None,
) -> dict[Key, ColumnProfile]:
    """The profiles kept under a name, by key; empty when there are none. Columns and segments as in `series`."""
    table = schema.reference_profile
    with store.read() as connection:
        scope = scope_of(connection, ref, columns=columns, segments=segments)
        if scope.empty:
            return {}
        query = (
            sa.select(table.c.segment, table.c.column, table.c.profile)
            .where(table.c.dataset == ref.pk, table.c.profile_id == profile_id)
            .where(*chosen(table, scope))
        )
        return {
            (scope.segments[segment], scope.columns[column]): ColumnProfile.from_bytes(bytes(content))
            for chunk in chunks_of(connection, query)
            for segment, column, content in chunk
        }


def _pack(profile: DatasetProfile) -> Iterator[tuple[str, str, tuple[float | None, ...], bytes | None]]:
    """Segment, column, scalars in the order of the table, and sketches as bytes; NaN becomes null."""
    for segment in profile.rows:
        own = profile.components.get(segment)
        row = _scalar_row(profile.dataset_scalars(segment))
        yield segment, DATASET_COLUMN, row, components_to_bytes(own) if own else None
        for column, column_profile in profile.columns.get(segment, {}).items():
            components = column_profile.components()
            yield (
                segment,
                column,
                _scalar_row(column_profile.scalars()),
                components_to_bytes(components) if components else None,
            )


def _scalar_row(scalars: Mapping[str, float | None]) -> tuple[float | None, ...]:
    values = (scalars[name] for name in PROFILE_SCALARS)
    return tuple(None if value is None or value != value else float(value) for value in values)


@dataclass(frozen=True)
class _Before:
    version: int
    fingerprint: str
    profiled_at: int


def _batch_before(connection: Connection, ref: DatasetRef, bucket: int) -> _Before | None:
    table = schema.batch
    query = (
        sa.select(table.c.version, table.c.fingerprint, table.c.profiled_at)
        .where(table.c.dataset == ref.pk, table.c.bucket == bucket)
        .limit(1)  # the same in every segment
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else _Before(*row)


def _rows_before(connection: Connection, ref: DatasetRef, bucket: int) -> dict[Key, tuple[object, ...]]:
    """The scalars of a bucket as they stand, by segment and column; of segments themselves with their components."""
    table, segments, columns = schema.profile, schema.segment, schema.column_name
    own = {(segment, DATASET_COLUMN): image for segment, image in _components_before(connection, ref, bucket)}
    query = (
        sa.select(segments.c.key, columns.c.name, *(table.c[name] for name in PROFILE_SCALARS))
        .join(segments, segments.c.pk == table.c.segment)
        .join(columns, columns.c.pk == table.c.column)
        .where(table.c.dataset == ref.pk, table.c.grain == BASE_GRAIN, table.c.bucket == bucket)
    )
    rows: list[tuple[Any, ...]] = [tuple(row) for row in connection.execute(query)]
    return {
        (segment, column): (*scalars, *([] if column else [own.get((segment, column))]))
        for segment, column, *scalars in rows
    }


def _components_before(connection: Connection, ref: DatasetRef, bucket: int) -> Iterator[tuple[str, bytes]]:
    """Components of the segments themselves, as bytes."""
    table, segments, columns = schema.profile_sketch, schema.segment, schema.column_name
    query = (
        sa.select(segments.c.key, table.c.components)
        .join(segments, segments.c.pk == table.c.segment)
        .join(columns, columns.c.pk == table.c.column)
        .where(table.c.dataset == ref.pk, table.c.grain == BASE_GRAIN, table.c.bucket == bucket)
        .where(columns.c.name == DATASET_COLUMN)
    )
    for segment, image in connection.execute(query):
        yield segment, bytes(image)


def _changed(before: Mapping[Key, tuple[object, ...]], now: Mapping[Key, tuple[object, ...]]) -> set[Key]:
    """Segments and columns whose numbers differ, or that are only on one side."""
    return {key for key in before.keys() | now.keys() if before.get(key) != now.get(key)}


def _delete_batch(connection: Connection, ref: DatasetRef, bucket: int) -> None:
    for table in (schema.profile, schema.profile_sketch):
        connection.execute(
            sa.delete(table).where(
                table.c.dataset == ref.pk, table.c.grain == BASE_GRAIN, table.c.bucket == bucket
            )
        )
    batch = schema.batch
    connection.execute(sa.delete(batch).where(batch.c.dataset == ref.pk, batch.c.bucket == bucket))


def _remember(connection: Connection, ref: DatasetRef, bucket: int) -> None:
    """A bucket that is written is no longer one that retention or a person has removed."""
    table = schema.forgotten_bucket
    connection.execute(sa.delete(table).where(table.c.dataset == ref.pk, table.c.bucket == bucket))


def _pivot(
    rows: NDArray[np.float64],
    scope: Scope,
    scalars: Sequence[str],
    buckets: NDArray[np.int64],
    *,
    granularity: Granularity,
) -> Series:
    """Rows (n_rows, 3 + n_scalars) of segment, column, bucket and scalars → matrices, keys sorted by name."""
    segment_names, column_names = sorted(scope.segments.values()), sorted(scope.columns.values())
    pair = _rank(rows[:, 0], scope.segments) * len(column_names) + _rank(rows[:, 1], scope.columns)
    present = np.zeros(len(segment_names) * len(column_names), dtype=bool)
    present[pair] = True
    at_key = (np.cumsum(present) - 1)[pair]
    moments = np.concatenate([buckets[:1], rows[:, 2].astype(np.int64)])
    indices = granularity.index_array(moments)
    at_bucket = indices[1:] - indices[0]
    keys = tuple(
        (segment_names[number // len(column_names)], column_names[number % len(column_names)])
        for number in np.flatnonzero(present).tolist()
    )
    values: dict[str, NDArray[np.float64]] = {}
    for position, name in enumerate(scalars, start=3):
        matrix = np.full((len(keys), len(buckets)), np.nan)
        matrix[at_key, at_bucket] = rows[:, position]
        values[name] = matrix
    return Series(keys, buckets, values)


def _rank(numbers_of_rows: NDArray[np.float64], names: Mapping[int, str]) -> NDArray[np.int64]:
    """Place of each row's segment or column, given by number, among the sorted names."""
    numbers_known = np.array(sorted(names), dtype=np.int64)
    place = {name: rank for rank, name in enumerate(sorted(names.values()))}
    ranks = np.array([place[names[number]] for number in numbers_known.tolist()], dtype=np.int64)
    return ranks[np.searchsorted(numbers_known, numbers_of_rows.astype(np.int64))]
