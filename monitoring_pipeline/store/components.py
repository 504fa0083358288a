"""One component of many profiles at once: what drift needs of hundreds of thousands of them, and nothing else."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

import numpy as np
import sqlalchemy as sa

from monitoring_pipeline.profiling.extracting import Blobs, Indices, extract
from monitoring_pipeline.store import schema
from monitoring_pipeline.store.database import Store
from monitoring_pipeline.store.datasets import DatasetRef
from monitoring_pipeline.store.selection import Scope, chunks_of, key_conditions, present_buckets, scope_of
from monitoring_pipeline.timegrid import TimeRange, to_micros


@dataclass(frozen=True)
class Found:
    """Components of some profiles, in no order: `of` (n,) places in `keys` (segment key, column name), `buckets` (n,)
    their starts in microseconds.
    """

    keys: list[tuple[str, str]]
    of: Indices
    buckets: Indices
    images: Blobs


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

    def of(self, columns: Collection[str]) -> Iterator[Found]:
        """Those of some of the columns, with one query, some at a time. Raises ProfileError for a damaged profile."""
        asked = set(columns)
        chosen = {pk: column for pk, column in self._scope.columns.items() if column in asked}
        scope = replace(self._scope, columns=chosen, all_columns=False)
        if scope.empty:
            return
        segment_pks, column_pks = sorted(scope.segments), sorted(chosen)
        keys = [(scope.segments[segment], chosen[column]) for segment in segment_pks for column in column_pks]
        table = schema.profile_sketch
        query = sa.select(table.c.segment, table.c.column, table.c.bucket, table.c.components).where(
            *key_conditions(self.ref, table, scope, self._span, self._listed)
        )
        with self.store.read() as connection:
            for chunk in chunks_of(connection, query, size=_FETCH):
                *numbers, packed = zip(*chunk, strict=True)
                there, images = extract(packed, self.name)
                segments, columns_of, buckets = (np.array(one, np.int64)[there] for one in numbers)
                places = np.searchsorted(segment_pks, segments) * len(column_pks)
                yield Found(keys, places + np.searchsorted(column_pks, columns_of), buckets, images)


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
