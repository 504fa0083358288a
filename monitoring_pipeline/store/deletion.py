"""Forgetting: everything that the store holds about a dataset goes, in one transaction."""

from __future__ import annotations

import sqlalchemy as sa

from monitoring_pipeline.store import schema
from monitoring_pipeline.store.database import Store
from monitoring_pipeline.store.datasets import DatasetRef


def delete_dataset(store: Store, ref: DatasetRef) -> None:
    """Delete all rows of a dataset: profiles, results, digests with their deliveries, documents, the dataset itself."""
    of_dataset = [
        table
        for table in reversed(schema.metadata.sorted_tables)
        if "dataset" in table.columns and table is not schema.dataset
    ]
    with store.begin() as connection:
        digests = sa.select(schema.digest.c.pk).where(schema.digest.c.dataset == ref.pk)
        connection.execute(sa.delete(schema.delivery).where(schema.delivery.c.digest.in_(digests)))
        for table in of_dataset:
            connection.execute(sa.delete(table).where(table.c.dataset == ref.pk))
        connection.execute(sa.delete(schema.dataset).where(schema.dataset.c.pk == ref.pk))
