"""A whole store from one database into another: SQLite to PostgreSQL and back, every row of every table.

The source is read in one transaction, so the copy is the source as it was at one moment, whatever is written meanwhile.
The target is written in one transaction and read again before it is committed: it holds all of the copy, compared row by
row, or nothing. A copy that was killed is begun anew by running it again. Rows stream through; no table is held in memory.
"""

from __future__ import annotations

import hashlib
import marshal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from monitoring_pipeline.errors import StoreError, StoreVersionError, UsageError
from monitoring_pipeline.store import schema
from monitoring_pipeline.store.database import Store, insert_tuples, open_store

Progress = Callable[[str, int, int], None]
"""Called with what is done to which table, how many rows of all tables were copied or compared, and how many there are."""

_Value = str | bytes | int | float | None
_Row = tuple[_Value, ...]

_CHUNK = 2_000
"""Rows that are held at a time; the widest hold sketches of some kilobytes."""


@dataclass(frozen=True)
class Copied:
    """Rows by table, and whether they were there already: the target was found to be the same as the source."""

    rows: dict[str, int]
    present: bool


@dataclass(frozen=True)
class _Sum:
    """How many rows, and the sum of their 128-bit hashes, which no order of rows changes."""

    rows: int = 0
    checksum: int = 0

    def of(self, rows: Sequence[_Row]) -> _Sum:
        """With more rows."""
        added = sum(
            int.from_bytes(hashlib.blake2b(marshal.dumps(row, 2), digest_size=16).digest()) for row in rows
        )
        return _Sum(self.rows + len(rows), (self.checksum + added) % (1 << 128))


def copy_store(source_url: str, target_url: str, *, progress: Progress | None = None) -> Copied:
    """Copy the store at one URL into the empty database (or store) at another, and compare what arrived.

    Both have the schema version of this release; a target without tables gets them. A target that holds the same rows
    already is left as it is. Raises UsageError when both are one database, StoreVersionError, and StoreError when the target
    holds anything else, when a database fails, or when a row did not arrive as it left: then the target holds nothing.
    """
    source = open_store(source_url, create=False)
    try:
        try:
            target = open_store(target_url)
        except StoreVersionError as error:
            raise StoreVersionError(f"the target is of another release: {error}") from error
        try:
            return _copy(source, target, progress or (lambda *_: None))
        finally:
            target.close()
    finally:
        source.close()


def _copy(source: Store, target: Store, progress: Progress) -> Copied:
    if source.url == target.url:
        raise UsageError(f"{target} is the store that is to be copied; --to names another database")
    with source.read() as reading, target.begin() as writing:
        _lock(writing)
        totals = {table.name: _count(reading, table) for table in _tables()}
        work = _Work(progress, 2 * sum(totals.values()))
        present = any(_any(writing, table) for table in _tables())
        if present:
            sums = _compared(source, reading, target, writing, totals=totals, work=work)
        else:
            sums = {table.name: _moved(source, reading, writing, table, work=work) for table in _tables()}
            for table in _tables():
                _verify(table, sums[table.name], _sum_of(target, writing, table, work))
            _set_sequences(writing)
    return Copied({name: one.rows for name, one in sums.items()}, present=present)


@dataclass
class _Work:
    """How far the copy is."""

    progress: Progress
    total: int
    done: int = 0

    def add(self, what: str, rows: int) -> None:
        self.done += rows
        self.progress(what, self.done, self.total)


def _tables() -> Sequence[sa.Table]:
    """Every table, those that others refer to first."""
    return schema.metadata.sorted_tables


def _lock(connection: Connection) -> None:
    """Keep other copies, and whoever else writes, out of the target. SQLite's transaction has done so by itself."""
    if connection.dialect.name != "sqlite":
        connection.execute(sa.text("LOCK TABLE dataset IN SHARE ROW EXCLUSIVE MODE"))


def _count(connection: Connection, table: sa.Table) -> int:
    return connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()


def _any(connection: Connection, table: sa.Table) -> bool:
    return connection.execute(sa.select(sa.literal(1)).select_from(table).limit(1)).first() is not None


def _compared(
    source: Store,
    reading: Connection,
    target: Store,
    writing: Connection,
    *,
    totals: dict[str, int],
    work: _Work,
) -> dict[str, _Sum]:
    """What a target holds that is not empty. Raises StoreError unless it is what the source holds."""
    refusal = StoreError(
        f"{target} is not empty and holds something else than the store that is to be copied; "
        "accepted: an empty database. Nothing was written"
    )
    if any(_count(writing, table) != totals[table.name] for table in _tables()):
        raise refusal
    sums = {table.name: _sum_of(source, reading, table, work) for table in _tables()}
    if any(_sum_of(target, writing, table, work) != sums[table.name] for table in _tables()):
        raise refusal
    return sums


def _moved(source: Store, reading: Connection, writing: Connection, table: sa.Table, *, work: _Work) -> _Sum:
    total = _Sum()
    for rows in _rows(source, reading, table):
        insert_tuples(writing, table, rows)
        total = total.of(rows)
        work.add(f"copying {table.name}", len(rows))
    return total


def _sum_of(store: Store, connection: Connection, table: sa.Table, work: _Work) -> _Sum:
    total = _Sum()
    for rows in _rows(store, connection, table):
        total = total.of(rows)
        work.add(f"comparing {table.name}", len(rows))
    return total


def _verify(table: sa.Table, sent: _Sum, arrived: _Sum) -> None:
    if sent != arrived:
        raise StoreError(
            f"the copy of {table.name} is not what was sent: {sent.rows} rows with checksum {sent.checksum:032x} "
            f"became {arrived.rows} with {arrived.checksum:032x}; nothing was kept"
        )


def _rows(store: Store, connection: Connection, table: sa.Table) -> Iterator[list[_Row]]:
    """The rows of a table, some at a time, the same values on both databases: JSON as its text, no NaN, no minus zero."""
    columns = [
        sa.cast(column, sa.Text()).label(column.name) if isinstance(column.type, sa.JSON) else column
        for column in table.columns
    ]
    doubles = [place for place, column in enumerate(table.columns) if isinstance(column.type, sa.Double)]
    with store.explained():  # what goes wrong with one database is not said of the other
        result = connection.execute(sa.select(*columns), execution_options={"yield_per": _CHUNK})
        for rows in result.partitions():
            yield [_alike(row, doubles) for row in rows] if doubles else [tuple(row) for row in rows]


def _alike(row: Sequence[_Value], doubles: Sequence[int]) -> _Row:
    values = list(row)
    for place in doubles:
        value = values[place]
        if isinstance(value, float):  # SQLite keeps NaN as null and minus zero as zero
            values[place] = None if value != value else value + 0.0
    return tuple(values)


def _set_sequences(connection: Connection) -> None:
    """Let PostgreSQL number on after the highest numbers that were copied; SQLite does so by itself."""
    if connection.dialect.name == "sqlite":
        return
    for table in _tables():
        if "pk" not in table.c:
            continue
        highest = connection.execute(sa.select(sa.func.max(table.c.pk))).scalar_one()
        sequence = sa.func.pg_get_serial_sequence(table.name, "pk")
        connection.execute(
            sa.select(sa.func.setval(sa.cast(sequence, sa.Text()), highest or 1, highest is not None))
        )
