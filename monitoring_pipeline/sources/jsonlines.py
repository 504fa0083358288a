"""JSON lines, in blocks of whole lines.

Each block is parsed by itself, so that the types of a block are those of its values. Where a block cannot be
parsed, its broken lines are left out and counted, and a column that holds both numbers and text becomes text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator

import pyarrow as pa
from pyarrow import json as arrow_json

from monitoring_pipeline.sources.listing import FoundFile
from monitoring_pipeline.sources.records import Survey, without_duplicate_columns
from monitoring_pipeline.timegrid import Granularity

BLOCK_BYTES = 2 * 1024 * 1024

_CONFLICT = re.compile(r"Column\(/([^/)]*)")


class _Stream:
    """One pass over a file. Counts the lines that are not JSON objects."""

    def __init__(self, file: FoundFile) -> None:
        self.unreadable = 0
        self._file = file

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        for block in self._blocks():
            try:
                table = _parse(block)
            except pa.ArrowInvalid:
                table = self._parse_leniently(block)
            yield from table.combine_chunks().to_batches()

    def _blocks(self) -> Iterator[bytes]:
        rest: list[bytes] = []
        with self._file.filesystem.open_input_stream(self._file.address, compression="detect") as stream:
            while data := stream.read(BLOCK_BYTES):
                head, newline, tail = data.rpartition(b"\n")
                if newline:
                    yield b"".join([*rest, head, newline])
                    rest = [tail]
                else:
                    rest.append(data)
        last = b"".join(rest)
        if last.strip():
            yield last

    def _parse_leniently(self, block: bytes) -> pa.Table:
        records: list[dict[str, object]] = []
        for line in block.splitlines():
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except ValueError:
                record = None
            if isinstance(record, dict):
                records.append(record)
            else:
                self.unreadable += 1
        while records:
            try:
                return _parse("\n".join(map(json.dumps, records)).encode())
            except pa.ArrowInvalid as error:
                match = _CONFLICT.search(str(error))
                if match is None or all(_is_text(record.get(match[1])) for record in records):
                    raise
                for record in records:
                    value = record.get(match[1])
                    if not _is_text(value):
                        record[match[1]] = json.dumps(value)
        return pa.table({})


def survey(file: FoundFile, timestamp: str | None, granularity: Granularity) -> Survey:
    """Count the rows. Columns are those that occur in any line."""
    found = Survey()
    columns: dict[str, None] = {}
    stream = _Stream(file)
    for batch in stream:
        found.count(batch, timestamp, granularity)
        columns.update(dict.fromkeys(batch.schema.names))
    found.columns, found.unreadable = tuple(columns), stream.unreadable
    return found


def batches(file: FoundFile, *, skip: Collection[str] = ()) -> Iterator[pa.RecordBatch]:
    """Batches without the columns in `skip`."""
    for raw in _Stream(file):
        batch = without_duplicate_columns(raw)
        yield batch.select([name for name in batch.schema.names if name not in skip])


def _is_text(value: object) -> bool:
    return value is None or isinstance(value, str)


def _parse(block: bytes) -> pa.Table:
    if not block.strip():
        return pa.table({})
    return arrow_json.read_json(
        pa.BufferReader(block), read_options=arrow_json.ReadOptions(block_size=len(block) + 1)
    )
