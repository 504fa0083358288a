"""One component of many profiles at once: what drift needs of hundreds of thousands of them, and nothing else."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

import sqlalchemy as sa

from monitoring_pipeline.profiling.profile import component_from_bytes
from monitoring_pipeline.store import schema
from monitoring_pipeline.store.database import Store
from monitoring_pipeline.store.datasets import DatasetRef
from monitoring_pipeline.store.selection import Scope, chunks_of, key_conditions, present_buckets, scope_of
from monitoring_pipeline.timegrid import TimeRange, to_micros

Component = tuple[tuple[str, str], int, bytes]
"""Segment key and column name, start of the bucket in microseconds, the component."""

_FETCH = 4_096
"""Profiles that are held with all their components at a time."""


@dataclass(frozen=True)
class Components:
    """The component `name` of the profiles of some segments and columns in a window. Made by `components`."""

    store: Store
    ref: DatasetRef
    name: str
    _scope: Scope
    _span: range
    _listed: Collection[int] | None

    def of(self, columns: Collection[str]) -> Iterator[Component]:
        """Those of some of the columns, with one query, in no order. Raises ProfileError for a damaged profile."""
        asked = set(columns)
        chosen = {pk: column for pk, column in self._scope.columns.items() if column in asked}
        scope = replace(self._scope, columns=chosen, all_columns=False)
        if scope.empty:
            return
        keys = {
            (segment, column): (key, column_name)
            for segment, key in scope.segments.items()
            for column, column_name in chosen.items()
        }
        table = schema.profile_sketch
        query = sa.select(table.c.segment, table.c.column, table.c.bucket, table.c.components).where(
            *key_conditions(self.ref, table, scope, self._span, self._listed)
        )
        with self.store.read() as connection:
            for chunk in chunks_of(connection, query, size=_FETCH):
                for segment, column, bucket, packed in chunk:
                    image = component_from_bytes(packed, self.name)
                    if image is not None:
                        yield keys[segment, column], bucket, image


def components(
    store: Store,
    ref: DatasetRef,
    name: str,
    window: TimeRange,
    *,
    columns: Collection[str],
    segments: Collection[str],
) -> Components:
    """One component of the profiles of these columns and segments in the window, to be read in parts."""
    span = range(to_micros(window.start), to_micros(window.end))
    with store.read() as connection:
        scope = scope_of(connection, ref, columns=columns, segments=segments)
        return Components(store, ref, name, scope, span, present_buckets(connection, ref, scope, span))
