"""One block of the pyramid: the rows of a day or a month, merged from the profiles that it consists of.

They are read and merged in slices of segments and columns, so that memory does not grow with the number of either.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from monitoring_pipeline.profiling.profile import (
    DATASET_COLUMN,
    DatasetProfile,
    components_from_bytes,
    components_to_bytes,
    merge_datasets,
)
from monitoring_pipeline.store import schema
from monitoring_pipeline.store.datasets import DatasetRef, numbers
from monitoring_pipeline.store.schema import PROFILE_SCALARS

PROFILES_AT_ONCE = 8_192
"""Profiles with sketches that are held in memory at a time; some 80 MB."""

_N, _N_COLUMNS = PROFILE_SCALARS.index("n"), PROFILE_SCALARS.index("n_columns")

Row = tuple[int, int, tuple[float | None, ...], bytes | None]
"""Numbers of segment and column, scalars in the order of the table, sketches."""


def merged_rows(connection: Connection, ref: DatasetRef, grain: str, sources: Sequence[int]) -> Iterator[Row]:
    """The rows of a block that is merged from the profiles of these buckets, by segment and column."""
    column_pk = numbers(connection, ref, schema.column_name)
    itself = column_pk.pop(DATASET_COLUMN, None)
    segments = _segments(connection, ref, grain, sources)
    width = dict.fromkeys(segments, 0)
    column = schema.profile.c.column
    for some_segments, some_columns in _slices(segments, sorted(column_pk.values()), len(sources)):
        chosen = sa.and_(column.between(some_columns[0], some_columns[-1]), column != itself)
        for row in _merged_columns(connection, ref, grain, sources, some_segments, chosen):
            width[row[0]] += row[2][_N_COLUMNS] is None  # else the column came with outcomes only
            yield row
    if itself is not None:
        yield from _merged_segments(connection, ref, grain, sources, itself, width)


def _segments(connection: Connection, ref: DatasetRef, grain: str, sources: Sequence[int]) -> list[int]:
    table = schema.profile
    query = (
        sa.select(table.c.segment)
        .where(table.c.dataset == ref.pk, table.c.grain == grain, table.c.bucket.in_(sources))
        .distinct()
        .order_by(table.c.segment)
    )
    return list(connection.execute(query).scalars())


def _slices(
    segments: Sequence[int], columns: Sequence[int], n_sources: int
) -> Iterator[tuple[Sequence[int], Sequence[int]]]:
    """Segments and columns, ascending, whose profiles in so many buckets fit in memory."""
    most = max(PROFILES_AT_ONCE // max(n_sources, 1), 1)
    many = max(most // max(len(columns), 1), 1)
    for first in range(0, len(segments), many):
        for at in range(0, len(columns), most):
            yield segments[first : first + many], columns[at : at + most]


def _merged_columns(
    connection: Connection,
    ref: DatasetRef,
    grain: str,
    sources: Sequence[int],
    segments: Sequence[int],
    chosen: sa.ColumnElement[bool],
) -> Iterator[Row]:
    from monitoring_pipeline.profiling.bulk_merging import merge_groups

    found = _profiles(connection, ref, grain, sources, segments, chosen)
    if not found:
        return
    keys = np.array([row[:2] for row in found], np.int64)
    order = np.lexsort((keys[:, 1], keys[:, 0]))
    keys, rows = keys[order], [found[at] for at in order.tolist()]
    last = np.append((keys[1:] != keys[:-1]).any(axis=1), True)
    ends = np.flatnonzero(last) + 1
    values = np.array([row[4:] for row in rows], np.float64)
    images: list[bytes | None] = [row[3] for row in rows]
    components = [{} if image is None else components_from_bytes(image) for image in images]
    merged = merge_groups(ends, values, components)
    for (segment, column), profile in zip(keys[last].tolist(), merged, strict=True):
        own = profile.components()
        yield segment, column, _scalar_row(profile.scalars()), components_to_bytes(own) if own else None


def _merged_segments(
    connection: Connection,
    ref: DatasetRef,
    grain: str,
    sources: Sequence[int],
    column: int,
    width: Mapping[int, int],
) -> Iterator[Row]:
    """The rows of the segments themselves, which have so many columns."""
    parts: dict[int, list[DatasetProfile]] = {}
    for row in _profiles(connection, ref, grain, sources, sorted(width), schema.profile.c.column == column):
        own = {"": components_from_bytes(row[3])} if row[3] is not None else {}
        parts.setdefault(row[0], []).append(DatasetProfile({"": int(row[4 + _N] or 0)}, components=own))
    for segment in sorted(parts):
        merged = merge_datasets(parts[segment])
        own = merged.components.get("")
        scalars = merged.dataset_scalars("") | {"n_columns": width[segment]}
        yield segment, column, _scalar_row(scalars), components_to_bytes(own) if own else None


def _profiles(
    connection: Connection,
    ref: DatasetRef,
    grain: str,
    sources: Sequence[int],
    segments: Sequence[int],
    of_columns: sa.ColumnElement[bool],
) -> Sequence[Sequence[Any]]:
    """Segment, column, bucket, sketches and the scalars of profiles, in no order."""
    table, sketch = schema.profile, schema.profile_sketch
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
        .where(table.c.dataset == ref.pk, table.c.grain == grain)
        .where(table.c.bucket.in_(sources), table.c.segment.in_(segments), of_columns)
    )
    cursor = connection.execute(query).cursor
    assert cursor is not None  # noqa: S101 - a SELECT has one
    return cursor.fetchall()


def _scalar_row(scalars: Mapping[str, float | None]) -> tuple[float | None, ...]:
    values = (scalars[name] for name in PROFILE_SCALARS)
    return tuple(None if value is None or value != value else float(value) for value in values)
