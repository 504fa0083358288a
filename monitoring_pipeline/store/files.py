"""The index of a dataset's input files: what each one held when it was last read, so that it is not read again."""

from __future__ import annotations

from collections.abc import Mapping

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


def save_files(store: Store, ref: DatasetRef, entries: Mapping[str, Mapping[str, object]]) -> None:
    """Make the index hold exactly these entries (JSON) by path; files that are gone leave it."""
    known = known_files(store, ref)
    changed = [
        {"dataset": ref.pk, "path": path, "entry": entries[path]}
        for path in sorted(entries)
        if known.get(path) != entries[path]
    ]
    gone = sorted(known.keys() - entries.keys())
    if not changed and not gone:
        return
    table = schema.source_file
    with store.begin() as connection:
        upsert(connection, table, changed)
        for start in range(0, len(gone), _CHUNK):
            paths = gone[start : start + _CHUNK]
            connection.execute(sa.delete(table).where(table.c.dataset == ref.pk, table.c.path.in_(paths)))
