"""The inferred schema of a dataset's columns (data type, discreteness, classifier), one per dataset, as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import sqlalchemy as sa

from monitoring_pipeline.store import schema as tables
from monitoring_pipeline.store.database import Store, upsert
from monitoring_pipeline.store.datasets import DatasetRef
from monitoring_pipeline.timegrid import from_micros, to_micros


def save_schema(
    store: Store, ref: DatasetRef, content: Mapping[str, object], *, now: datetime | None = None
) -> None:
    """Replace the dataset's inferred schema, and note that it was learned now. `now` is the present unless given."""
    row = {"dataset": ref.pk, "content": content, "updated": to_micros(now or datetime.now(UTC))}
    with store.begin() as connection:
        upsert(connection, tables.entity_schema, [row])


def schema(store: Store, ref: DatasetRef) -> dict[str, object] | None:
    """The dataset's inferred schema as it was saved, or None."""
    table = tables.entity_schema
    with store.read() as connection:
        return connection.execute(
            sa.select(table.c.content).where(table.c.dataset == ref.pk)
        ).scalar_one_or_none()


def learned_at(store: Store, ref: DatasetRef) -> datetime | None:
    """When the dataset's inferred schema was last saved, UTC; None when it never was."""
    table = tables.entity_schema
    with store.read() as connection:
        moment = connection.execute(
            sa.select(table.c.updated).where(table.c.dataset == ref.pk)
        ).scalar_one_or_none()
        return None if moment is None else from_micros(moment)
