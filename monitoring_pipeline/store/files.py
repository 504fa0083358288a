"""The index of a dataset's input files: what each one held when it was last read, so that it is not read again."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import sqlalchemy as sa

from monitoring_pipeline.store import schema
from monitoring_pipeline.store.database import Store, upsert
from monitoring_pipeline.store.datasets import DatasetRef

_CHUNK = 500


def known_files(store: Store, ref: DatasetRef) -> dict[str, dict[str, object]]:
    """Entries by path, as they were saved."""
    table = schema.source_file
    query = sa.select(table.c.path, table.c.entry).where(table.c.dataset == ref.pk).order_by(table.c.path)
    with store.read() as connection:
        return dict(connection.execute(query).all())


def counts(store: Store) -> dict[tuple[str, str], int]:
    """How many files every dataset has, by (organisation, dataset id)."""
    table, names = schema.source_file, schema.dataset
    query = (
        sa.select(names.c.organisation, names.c.dataset_id, sa.func.count())
        .select_from(table.join(names, names.c.pk == table.c.dataset))
        .group_by(names.c.organisation, names.c.dataset_id)
    )
    with store.read() as connection:
        return {(owner, name): number for owner, name, number in connection.execute(query)}


def save_files(
    store: Store,
    ref: DatasetRef,
    entries: Mapping[str, Mapping[str, object]],
    *,
    gone: Collection[str] = (),
) -> None:
    """Write entries (JSON) by path, new or changed ones, and take the paths that are gone out of the index."""
    if not entries and not gone:
        return
    table, paths = schema.source_file, sorted(gone)
    with store.begin() as connection:
        upsert(
            connection,
            table,
            [{"dataset": ref.pk, "path": path, "entry": entries[path]} for path in sorted(entries)],
        )
        for start in range(0, len(paths), _CHUNK):
            some = paths[start : start + _CHUNK]
            connection.execute(sa.delete(table).where(table.c.dataset == ref.pk, table.c.path.in_(some)))
