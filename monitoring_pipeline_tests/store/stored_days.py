"""Small profiles of days, written as the pipeline writes them, for tests of what becomes of them later."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import sqlalchemy as sa

from monitoring_pipeline.profiling.profile import DatasetProfile
from monitoring_pipeline.profiling.profiler import profile
from monitoring_pipeline.store import schema
from monitoring_pipeline.store.database import Store
from monitoring_pipeline.store.datasets import DatasetRef
from monitoring_pipeline.store.profiles import write_batch
from monitoring_pipeline.store.schema import BASE_GRAIN
from monitoring_pipeline.timegrid import from_micros

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
MONDAY = datetime(2026, 3, 2, tzinfo=UTC)


def some_table(seed: int, *, rows: int = 30) -> pa.Table:
    """A number with nulls, a text of three values and a boolean."""
    generator = np.random.default_rng(seed)
    return pa.table(
        {
            "age": pa.array(generator.normal(seed, 2, rows), mask=generator.random(rows) < 0.1),
            "region": generator.choice(["EU", "US", "ASIA"], rows),
            "ok": generator.random(rows) < 0.5,
        }
    )


def some_profile(seed: int) -> DatasetProfile:
    """Of `some_table`, with a segment for each region."""
    return profile(some_table(seed), [["region"]])


def write(
    store: Store, ref: DatasetRef, bucket: datetime, content: DatasetProfile, *, fingerprint: str = "first"
) -> None:
    """Write one bucket."""
    write_batch(
        store, ref, bucket, content, fingerprint=fingerprint, first_upload=bucket, last_upload=bucket,
        files=1, quality={}, now=bucket + DAY,
    )  # fmt: skip


def write_days(store: Store, ref: DatasetRef, days: int, *, first: datetime = MONDAY) -> None:
    """Write so many days."""
    for day in range(days):
        write(store, ref, first + day * DAY, some_profile(day))


def held(store: Store, ref: DatasetRef, grain: str = BASE_GRAIN) -> list[datetime]:
    """The buckets or blocks of a grain whose profiles are in the store."""
    table = schema.profile
    query = (
        sa.select(table.c.bucket)
        .where(table.c.dataset == ref.pk, table.c.grain == grain)
        .distinct()
        .order_by(table.c.bucket)
    )
    with store.read() as connection:
        return [from_micros(bucket) for bucket in connection.execute(query).scalars()]


def count(store: Store, ref: DatasetRef, table: sa.Table) -> int:
    """Rows of a dataset in a table."""
    query = sa.select(sa.func.count()).select_from(table).where(table.c.dataset == ref.pk)
    with store.read() as connection:
        return connection.execute(query).scalar_one()
