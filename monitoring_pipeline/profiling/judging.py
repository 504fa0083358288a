"""Predictions of one bucket meet their outcomes, in the same rows or in files that arrive later and are found by id.

Rows that wait for their outcomes are kept with the few columns that they are judged by, on disk beyond a few
megabytes, so that many buckets can be in the making at once. At the end each chunk of them looks its outcomes up; only
the outcomes of one bucket need to be in memory. The answer does not depend on the order of rows, except that of two
outcomes of one id the later one counts.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import IO, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from monitoring_pipeline.config.dataset import ColumnRoles
from monitoring_pipeline.profiling import kernels
from monitoring_pipeline.profiling.frames import Frame, Part
from monitoring_pipeline.profiling.ledger import Ledger
from monitoring_pipeline.profiling.performance import TOTALS, Performance
from monitoring_pipeline.profiling.segmenting import Assignment

ROLES: Final = ("prediction", "score", "target", "weight", "value")
"""Roles of columns that rows are judged by; `id` only finds them."""

_IN_MEMORY = 4 << 20
_CHUNK_ROWS = 1 << 20  # rows that look up their outcomes together


class Judge:
    """Takes rows and outcomes of one bucket in any order. `late`: outcomes come in files of their own."""

    def __init__(self, roles: ColumnRoles, *, late: bool = False) -> None:
        self._names = {role: name for role in ROLES if (name := getattr(roles, role)) is not None}
        self._id = roles.id
        self._late = late
        self._ledger = Ledger(roles.positive or "")
        self._rows, self._outcomes = _Shelf(), _Shelf()
        self._at_once = False

    def update(self, frame: Frame, assigned: Sequence[Assignment], *, adds_rows: bool) -> None:
        """Take one chunk and the segments of its rows."""
        columns = {
            role: _whole(frame.columns[name], frame.rows)
            for role, name in self._names.items()
            if name in frame.columns
        }
        if not columns or not frame.rows:
            return
        parts = frame.columns.get(self._id) if self._id else None
        ids = None if parts is None else _whole(parts, frame.rows)
        if adds_rows and self._late and ids is not None:
            segments = {str(at): pa.array(numbers[codes]) for at, (codes, numbers) in enumerate(assigned)}
            self._rows.put(pa.RecordBatch.from_pydict({"id": ids, **columns, **segments}))
        elif adds_rows or self._complete(columns) or ("target" in columns and ids is None):
            self._at_once |= not adds_rows
            self._ledger.take(frame.rows, columns, assigned)
        elif ids is not None:
            self._outcomes.put(pa.RecordBatch.from_pydict({"id": ids, **columns}))

    def finish(self) -> dict[int, Performance]:
        """Performance by number of the segment, 0 the overall one; none without any column to judge by."""
        ledger = self._ledger.copy()
        if self._rows or self._outcomes:
            self._match(ledger)
        found = ledger.finish()
        return {number: _settled(one) for number, one in found.items()} if self._at_once else found

    def _complete(self, columns: Mapping[str, pa.Array]) -> bool:
        """Whether outcomes bring all that they are compared with along."""
        return "target" in columns and len(columns) == len(self._names) and len(columns) > 1

    def _match(self, ledger: Ledger) -> None:
        outcomes = _Outcomes(list(self._outcomes))
        for batch in _in_chunks(self._rows):
            rows = {name: batch.column(name) for name in batch.schema.names}
            columns = outcomes.add_to(rows)
            assigned: list[Assignment] = []
            for name in (name for name in rows if name.isdecimal()):
                numbers = rows[name].to_numpy()
                found, codes = kernels.dense_codes(numbers, int(numbers.max()) + 1)
                assigned.append((codes, found))
            ledger.take(batch.num_rows, columns, assigned)
        ledger.count("orphans", outcomes.orphans)
        ledger.count("unusable", outcomes.superseded)


class _Outcomes:
    """The outcomes of a bucket, found by id; of several with one id the last one."""

    def __init__(self, batches: Sequence[pa.RecordBatch]) -> None:
        names = dict.fromkeys(name for batch in batches for name in batch.schema.names)
        self._columns = {name: _stacked(batches, name) for name in names}
        ids = self._columns.pop("id", pa.nulls(0))
        # A lookup finds the first of several equal ids, so the last one has to come first.
        backwards = pa.array(np.arange(len(ids))[::-1])
        self._ids = ids.take(backwards)
        self._columns = {name: column.take(backwards) for name, column in self._columns.items()}
        first = pc.call_function("index_in", [self._ids], pc.SetLookupOptions(self._ids, skip_nulls=True))
        places = first.fill_null(-1).to_numpy(zero_copy_only=False)
        self._standing = places == np.arange(len(places))
        self._found = np.zeros(len(places), np.bool_)

    @property
    def superseded(self) -> int:
        """Outcomes without an id, or with that of a later one."""
        return int((~self._standing).sum())

    @property
    def orphans(self) -> int:
        """Outcomes that no row has asked for."""
        return int((self._standing & ~self._found).sum())

    def add_to(self, rows: Mapping[str, pa.Array]) -> dict[str, pa.Array]:
        """The rows' columns by role, with what their outcomes say before what they say themselves."""
        columns = {role: rows[role] for role in ROLES if role in rows}
        if not len(self._ids):
            return columns
        ids = rows["id"]
        wanted = self._ids if ids.type == self._ids.type else self._ids.cast(pa.large_string())
        ids = ids if ids.type == wanted.type else ids.cast(pa.large_string())
        places = pc.call_function("index_in", [ids], pc.SetLookupOptions(wanted, skip_nulls=True))
        self._found[places.drop_null().to_numpy(zero_copy_only=False)] = True
        for role, column in self._columns.items():
            told = column.take(places)
            own = columns.get(role)
            alike = own is not None and own.type == told.type
            columns[role] = pc.call_function("coalesce", [told, own]) if alike else told
        return columns


class _Shelf:
    """Batches in the order in which they were put there; those that are too much for memory in a temporary file."""

    def __init__(self) -> None:
        self._batches: list[pa.RecordBatch] = []
        self._size = 0
        self._file: IO[bytes] | None = None

    def __bool__(self) -> bool:
        return bool(self._batches) or self._file is not None

    def put(self, batch: pa.RecordBatch) -> None:
        """Add a batch."""
        self._batches.append(batch)
        self._size += batch.nbytes
        if self._size > _IN_MEMORY:
            self._spill()

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        if self._file is not None:
            self._file.seek(0)
            while size := int.from_bytes(self._file.read(8), "little"):
                with pa.ipc.open_stream(self._file.read(size)) as stream:
                    yield from stream
        yield from self._batches

    def _spill(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115  it lives as long as the shelf, and has no name
        self._file.seek(0, 2)
        for batch in self._batches:
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(
                sink, batch.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")
            ) as stream:
                stream.write_batch(batch)
            image = sink.getvalue()
            self._file.write(image.size.to_bytes(8, "little"))
            self._file.write(image)
        self._batches, self._size = [], 0


def _in_chunks(batches: _Shelf) -> Iterator[pa.RecordBatch]:
    """The same rows in fewer batches."""
    waiting: list[pa.RecordBatch] = []
    for batch in batches:
        if waiting and (
            batch.schema != waiting[0].schema
            or sum(one.num_rows for one in waiting) + batch.num_rows > _CHUNK_ROWS
        ):
            yield _one(waiting)
            waiting = []
        waiting.append(batch)
    if waiting:
        yield _one(waiting)


def _one(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    if len(batches) == 1:
        return batches[0]
    table = pa.Table.from_batches(batches)
    return pa.RecordBatch.from_arrays([_array(column) for column in table.columns], table.schema.names)


def _stacked(batches: Sequence[pa.RecordBatch], name: str) -> pa.Array:
    """One column of all batches; as texts where its type changes, null where it is missing."""
    parts = [batch.column(name) if name in batch.schema.names else None for batch in batches]
    kinds = {part.type for part in parts if part is not None}
    kind = kinds.pop() if len(kinds) == 1 else pa.large_string()
    arrays = [
        pa.nulls(batch.num_rows, kind) if part is None else part.cast(kind)
        for batch, part in zip(batches, parts, strict=True)
    ]
    return _array(pa.chunked_array(arrays, kind))


def _whole(parts: Sequence[Part], rows: int) -> pa.Array:
    """A column in one array without a dictionary; as texts where its values are of several types."""
    if len(parts) == 1 and parts[0].places is None:
        array = parts[0].array
        return _wide(array.dictionary_decode() if pa.types.is_dictionary(array.type) else array)
    texts = np.full(rows, None, dtype=object)
    for part in parts:
        if not pa.types.is_nested(part.array.type):
            texts[part.places] = [None if value is None else str(value) for value in part.array.to_pylist()]
    return pa.array(texts, pa.large_string())


def _array(column: pa.ChunkedArray) -> pa.Array:
    combined = column.combine_chunks()
    return pa.concat_arrays(combined.chunks) if isinstance(combined, pa.ChunkedArray) else combined


def _wide(array: pa.Array) -> pa.Array:
    """Texts with 64-bit offsets, so that any number of them fits into one array."""
    return array.cast(pa.large_string()) if pa.types.is_string(array.type) else array


def _settled(found: Performance) -> Performance:
    """Rows whose outcomes came complete, without asking for them, do not wait any more."""
    totals = found.totals.copy()
    rows, waiting = TOTALS.index("rows"), TOTALS.index("waiting")
    totals[waiting] = max(totals[waiting] - totals[rows], 0.0)
    return replace(found, totals=totals)
