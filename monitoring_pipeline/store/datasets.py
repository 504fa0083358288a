"""Datasets in the store, and the numbers that stand for their segments and column names.

A dataset is known by (organisation, dataset id). Everything else in the store refers to its row number, so two
organisations may use the same id and never see each other.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from monitoring_pipeline.store import schema
from monitoring_pipeline.store.database import Store, insert
from monitoring_pipeline.timegrid import from_micros, to_micros


@dataclass(frozen=True)
class DatasetRef:
    """A dataset's row in the store. `registered_at` is when the store first heard of it, UTC."""

    pk: int
    organisation: str
    dataset_id: str
    registered_at: datetime


def register_dataset(
    store: Store, organisation: str, dataset_id: str, *, now: datetime | None = None
) -> DatasetRef:
    """The dataset's row, made when it is new. `now` is the present unless given."""
    known = find_dataset(store, organisation, dataset_id)
    if known is not None:
        return known
    moment = to_micros(now or datetime.now(UTC))
    with store.begin() as connection:
        statement = insert(connection, schema.dataset).values(
            organisation=organisation, dataset_id=dataset_id, registered_at=moment
        )
        connection.execute(statement.on_conflict_do_nothing())
        return _refs(connection, organisation=organisation, dataset_id=dataset_id)[0]


def find_dataset(store: Store, organisation: str, dataset_id: str) -> DatasetRef | None:
    """The dataset's row, or None when the store has never heard of it."""
    with store.read() as connection:
        return next(iter(_refs(connection, organisation=organisation, dataset_id=dataset_id)), None)


def datasets(store: Store, organisation: str | None = None) -> list[DatasetRef]:
    """Every dataset of the store, or of one organisation, ordered by organisation and id."""
    with store.read() as connection:
        return _refs(connection, organisation=organisation)


def segments(store: Store, ref: DatasetRef) -> list[str]:
    """Keys of all segments that the dataset ever had, sorted; the overall segment is ""."""
    with store.read() as connection:
        return sorted(numbers(connection, ref, schema.segment))


def columns(store: Store, ref: DatasetRef) -> list[str]:
    """Names of all columns that the dataset ever had, sorted; without "", which stands for the dataset itself."""
    with store.read() as connection:
        return sorted(name for name in numbers(connection, ref, schema.column_name) if name)


def revisions(store: Store) -> dict[tuple[str, str], int]:
    """How often each dataset's batches, results or documents were written, by (organisation, dataset id)."""
    table = schema.dataset
    query = sa.select(table.c.organisation, table.c.dataset_id, table.c.revision)
    with store.read() as connection:
        return {(owner, name): revision for owner, name, revision in connection.execute(query)}


def lock_dataset(connection: Connection, ref: DatasetRef) -> None:
    """Let one transaction at a time change a dataset, and count the change: whoever sees the same revision again sees
    the same batches and evaluations.
    """
    table = schema.dataset
    connection.execute(sa.update(table).where(table.c.pk == ref.pk).values(revision=table.c.revision + 1))


def numbers(
    connection: Connection, ref: DatasetRef, table: sa.Table, *, ensure: Collection[str] = ()
) -> dict[str, int]:
    """Row number of every text in `segment` or `column_name` of a dataset; those of `ensure` are made when new."""
    text = table.c.key if table is schema.segment else table.c.name
    query = sa.select(text, table.c.pk).where(table.c.dataset == ref.pk)
    known = dict(connection.execute(query).all())
    missing = [{"dataset": ref.pk, text.name: name} for name in sorted(set(ensure) - known.keys())]
    if not missing:
        return known
    connection.execute(insert(connection, table).on_conflict_do_nothing(), missing)
    return dict(connection.execute(query).all())


def _refs(
    connection: Connection, *, organisation: str | None = None, dataset_id: str | None = None
) -> list[DatasetRef]:
    table = schema.dataset
    query = sa.select(table.c.pk, table.c.organisation, table.c.dataset_id, table.c.registered_at)
    if organisation is not None:
        query = query.where(table.c.organisation == organisation)
    if dataset_id is not None:
        query = query.where(table.c.dataset_id == dataset_id)
    rows = connection.execute(query.order_by(table.c.organisation, table.c.dataset_id))
    return [DatasetRef(pk, owner, name, from_micros(registered)) for pk, owner, name, registered in rows]
