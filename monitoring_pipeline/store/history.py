"""The store as it was: profiles that other data has replaced are kept, and a moment of the past can be looked at again.

Event time is the bucket, ingest time the version of its load. `as_of` makes a small store of its own that holds what was
known of some buckets at a moment, and nothing that came later, so that whatever reads a store can be asked about then.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from monitoring_pipeline.store import schema
from monitoring_pipeline.store.database import Store, open_store
from monitoring_pipeline.store.datasets import DatasetRef
from monitoring_pipeline.store.schema import BASE_GRAIN, PROFILE_SCALARS
from monitoring_pipeline.timegrid import TimeRange, to_micros

_IDENTITY = ("analyzer_id", "analyzer_version", "segment", "column", "bucket")


def keep_superseded(connection: Connection, ref: DatasetRef, bucket: int, *, now: datetime) -> None:
    """Copy, inside a transaction, what the store holds of a bucket to where superseded versions are kept."""
    batch, profile, sketch = schema.batch, schema.profile, schema.profile_sketch
    kept = schema.superseded_batch
    names = [column.name for column in kept.columns if column.name != "superseded_at"]
    connection.execute(
        sa.insert(kept).from_select(
            [*names, "superseded_at"],
            sa.select(*(batch.c[name] for name in names), sa.literal(to_micros(now))).where(
                batch.c.dataset == ref.pk, batch.c.bucket == bucket
            ),
        )
    )
    same = [profile.c[column.name] == sketch.c[column.name] for column in sketch.primary_key]
    of_batch = sa.and_(
        batch.c.dataset == profile.c.dataset,
        batch.c.bucket == profile.c.bucket,
        batch.c.segment == profile.c.segment,
    )
    connection.execute(
        sa.insert(schema.superseded_profile).from_select(
            ["dataset", "bucket", "version", "segment", "column", *PROFILE_SCALARS, "components"],
            sa.select(
                profile.c.dataset,
                profile.c.bucket,
                batch.c.version,
                profile.c.segment,
                profile.c.column,
                *(profile.c[name] for name in PROFILE_SCALARS),
                sketch.c.components,
            )
            .select_from(profile.join(batch, of_batch).outerjoin(sketch, sa.and_(*same)))
            .where(profile.c.dataset == ref.pk, profile.c.grain == BASE_GRAIN, profile.c.bucket == bucket),
        )
    )


@contextmanager
def as_of(store: Store, parts: Mapping[DatasetRef, TimeRange], moment: datetime) -> Iterator[Store]:
    """A store that holds what was known of some datasets' buckets at a moment: profiles, batches, results.

    `parts` are the datasets and the buckets of each whose profiles and results matter; the list of batches comes whole.
    Reference profiles and the entity schema come as they are now: they
    have no versions. A result counts as known when it was created before the moment; of several of one verdict the
    newest does. The store is a temporary file that disappears with the context; numbers and names are as in the
    original, so that a DatasetRef of the original is one of it.
    """
    with tempfile.TemporaryDirectory(prefix="monitoring-as-of-") as folder:
        then = open_store(f"sqlite:///{Path(folder) / 'then.db'}")
        try:
            with store.read() as source, then.begin() as target:
                for ref, window in parts.items():
                    _copy_dataset(source, target, ref)
                    _copy_profiles(source, target, ref, window, to_micros(moment))
                    _copy_results(source, target, ref, window, to_micros(moment))
            yield then
        finally:
            then.close()


def _copy_dataset(source: Connection, target: Connection, ref: DatasetRef) -> None:
    for table in (
        schema.dataset,
        schema.segment,
        schema.column_name,
        schema.reference_profile,
        schema.entity_schema,
        schema.bad_bucket,  # which of them were bad by then is for the reader to say
    ):
        owner = table.c.pk if table is schema.dataset else table.c.dataset
        _copy(source, target, table, sa.select(table).where(owner == ref.pk))


def _copy_profiles(
    source: Connection, target: Connection, ref: DatasetRef, window: TimeRange, moment: int
) -> None:
    batch, kept = schema.batch, schema.superseded_batch
    span = to_micros(window.start), to_micros(window.end) - 1
    now = sa.select(batch).where(batch.c.dataset == ref.pk, batch.c.profiled_at <= moment)
    names = [column.name for column in batch.columns]
    then = sa.select(*(kept.c[name] for name in names)).where(
        kept.c.dataset == ref.pk,
        kept.c.profiled_at <= moment,
        kept.c.superseded_at > moment,
    )
    _copy(source, target, batch, now)
    _copy(source, target, batch, then)
    for table in (schema.profile, schema.profile_sketch):
        of_batch = sa.and_(
            batch.c.dataset == table.c.dataset,
            batch.c.bucket == table.c.bucket,
            batch.c.segment == table.c.segment,
            batch.c.profiled_at <= moment,
        )
        query = (
            sa.select(table)
            .join(batch, of_batch)
            .where(table.c.dataset == ref.pk, table.c.grain == BASE_GRAIN, table.c.bucket.between(*span))
        )
        _copy(source, target, table, query)
    _copy_superseded(source, target, ref, span, moment)


def _copy_superseded(
    source: Connection, target: Connection, ref: DatasetRef, span: tuple[int, int], moment: int
) -> None:
    profile, kept = schema.superseded_profile, schema.superseded_batch
    valid = sa.and_(
        kept.c.dataset == profile.c.dataset,
        kept.c.bucket == profile.c.bucket,
        kept.c.version == profile.c.version,
        kept.c.segment == profile.c.segment,
        kept.c.profiled_at <= moment,
        kept.c.superseded_at > moment,
    )
    grain = sa.literal(BASE_GRAIN).label("grain")
    key = [profile.c.dataset, grain, profile.c.bucket, profile.c.segment, profile.c.column]
    rows = (
        sa.select(*key, *(profile.c[name] for name in PROFILE_SCALARS))
        .join(kept, valid)
        .where(profile.c.dataset == ref.pk, profile.c.bucket.between(*span))
    )
    _copy(source, target, schema.profile, rows)
    sketches = (
        sa.select(*key, profile.c.components)
        .join(kept, valid)
        .where(
            profile.c.dataset == ref.pk, profile.c.bucket.between(*span), profile.c.components.is_not(None)
        )
    )
    _copy(source, target, schema.profile_sketch, sketches)


def _copy_results(
    source: Connection, target: Connection, ref: DatasetRef, window: TimeRange, moment: int
) -> None:
    table = schema.analyzer_result
    query = (
        sa.select(table)
        .where(table.c.dataset == ref.pk, table.c.created < moment)
        .where(table.c.bucket >= to_micros(window.start), table.c.bucket < to_micros(window.end))
        .order_by(table.c.created, table.c.pk)
    )
    newest: dict[tuple[object, ...], Mapping[str, Any]] = {
        tuple(row[name] for name in _IDENTITY): {**row, "state": "current"}
        for row in source.execute(query).mappings()
    }
    if newest:
        target.execute(sa.insert(table), [dict(row) for row in newest.values()])


def _copy(
    source: Connection, target: Connection, table: sa.Table, query: sa.Select[*tuple[Any, ...]]
) -> None:
    """Rows of a query into the table's namesake, by the names of its columns."""
    found = source.execute(query)
    names: Sequence[str] = list(found.keys())
    rows = [dict(zip(names, row, strict=True)) for row in found]
    if rows:
        target.execute(sa.insert(table), rows)
