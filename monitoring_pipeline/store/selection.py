"""Which segments and columns a question is about, as conditions that the databases answer by seeking."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from monitoring_pipeline.profiling.profile import DATASET_COLUMN
from monitoring_pipeline.segments import OVERALL
from monitoring_pipeline.store import schema
from monitoring_pipeline.store.datasets import DatasetRef, numbers
from monitoring_pipeline.store.schema import BASE_GRAIN

_FETCH = 65_536
"""Rows that are held as Python objects at a time."""

LISTED_BUCKETS = 1_000
"""Up to so many buckets are named one by one in a query that asks for some columns or segments only."""


@dataclass(frozen=True)
class Scope:
    """Names by number of the segments and columns that are asked for, and whether that is all there are.

    `overall` and `dataset_column` are the numbers of the overall segment and of the column "", which stands for the
    segment itself; None while nothing has been written.
    """

    segments: Mapping[int, str]
    columns: Mapping[int, str]
    all_segments: bool
    all_columns: bool
    overall: int | None
    dataset_column: int | None

    @property
    def empty(self) -> bool:
        """Whether nothing that is asked for exists."""
        return not self.segments or not self.columns


def scope_of(
    connection: Connection,
    ref: DatasetRef,
    *,
    columns: Collection[str] | None,
    segments: Collection[str] | None,
) -> Scope:
    """What of a dataset is asked for. None is everything, except the column "" of the segments themselves."""
    segment_pk = numbers(connection, ref, schema.segment)
    column_pk = numbers(connection, ref, schema.column_name)
    wanted = column_pk.keys() - {DATASET_COLUMN} if columns is None else set(columns)
    return Scope(
        {pk: key for key, pk in segment_pk.items() if segments is None or key in segments},
        {pk: name for name, pk in column_pk.items() if name in wanted},
        all_segments=segments is None,
        all_columns=columns is None,
        overall=segment_pk.get(OVERALL),
        dataset_column=column_pk.get(DATASET_COLUMN),
    )


def profile_conditions(
    connection: Connection, ref: DatasetRef, table: sa.Table, scope: Scope, span: range
) -> list[sa.ColumnElement[bool]]:
    """Conditions on the key of `profile` from its front: dataset, grain, buckets in `span` (microseconds), segments,
    columns.
    """
    everything = scope.all_segments and scope.all_columns
    listed = None if everything else present_buckets(connection, ref, scope, span)
    return key_conditions(ref, table, scope, span, listed)


def key_conditions(
    ref: DatasetRef,
    table: sa.Table,
    scope: Scope,
    span: range,
    listed: Collection[int] | None,
    *,
    grain: str = BASE_GRAIN,
) -> list[sa.ColumnElement[bool]]:
    """The conditions of `profile_conditions`, where `listed` are the buckets that there are; None: too many.

    A database seeks by the later parts only where the earlier ones are given as values, so a question about less than
    everything names its buckets, and all segments when it asks for some columns.
    """
    conditions = [table.c.dataset == ref.pk, table.c.grain == grain]
    if listed is None:
        conditions += [table.c.bucket >= span.start, table.c.bucket < span.stop]
    else:
        conditions.append(one_of(table.c.bucket, listed))
    return [*conditions, *chosen(table, scope, name_segments=not scope.all_columns)]


def present_buckets(
    connection: Connection, ref: DatasetRef, scope: Scope, span: range
) -> Collection[int] | None:
    """Buckets in `span` that hold data; None when there are more than can be named in a query."""
    batch = schema.batch
    present = (
        sa.select(batch.c.bucket)
        .where(batch.c.dataset == ref.pk, batch.c.segment == scope.overall)
        .where(batch.c.bucket >= span.start, batch.c.bucket < span.stop)
        .limit(LISTED_BUCKETS + 1)
    )
    listed = list(connection.execute(present).scalars())
    return listed if len(listed) <= LISTED_BUCKETS else None


def chosen(table: sa.Table, scope: Scope, *, name_segments: bool = False) -> list[sa.ColumnElement[bool]]:
    """Conditions on segment and column; none on segments when all are asked for, unless `name_segments`."""
    conditions: list[sa.ColumnElement[bool]] = []
    if not scope.all_segments or name_segments:
        conditions.append(one_of(table.c.segment, scope.segments))
    if not scope.all_columns:
        conditions.append(one_of(table.c.column, scope.columns))
    elif scope.dataset_column is not None:
        conditions.append(table.c.column != scope.dataset_column)
    return conditions


def one_of(column: sa.Column[int], values: Collection[int]) -> sa.ColumnElement[bool]:
    """`column IN (…)` with the numbers written out: no limit on bound variables applies."""
    listed = sa.bindparam(f"{column.name}s", sorted(values), expanding=True, literal_execute=True)
    return column.in_(listed)


def chunks_of(
    connection: Connection, query: sa.Select[*tuple[Any, ...]], *, size: int = _FETCH
) -> Iterator[Sequence[Sequence[Any]]]:
    """Rows as the driver gives them, `size` at a time: a Row object for each would double the time."""
    cursor = connection.execute(query).cursor
    assert cursor is not None  # noqa: S101 - a SELECT has one
    while chunk := cursor.fetchmany(size):
        yield chunk
