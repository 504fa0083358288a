"""CSV files, in a stream of blocks.

Arrow infers the types of a stream from its first block and fails when a later value does not fit. So the survey,
which passes over the whole file once, widens the type of such a column (nothing → integer → float → text) and
starts again; the types that it ends with are kept with the file's entry, and reading uses them. The separator is the
one of `,` `;` tab `|` that occurs most in the header. An empty field is null; in columns that are not text, so are
the usual words (NULL, NaN, NA, …). In text those words stay what they are: NA may be a region.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from monitoring_pipeline.sources.listing import FoundFile
from monitoring_pipeline.sources.records import Survey, without_duplicate_columns
from monitoring_pipeline.sources.timestamps import BAD, micros_of
from monitoring_pipeline.timegrid import Granularity

BLOCK_BYTES = 2 * 1024 * 1024

_TYPES: dict[str, pa.DataType] = {
    "int64": pa.int64(),
    "double": pa.float64(),
    "bool": pa.bool_(),
    "timestamp[s]": pa.timestamp("s"),
    "timestamp[ns]": pa.timestamp("ns"),
    "string": pa.string(),
    "binary": pa.binary(),
}
_WIDER: dict[str, tuple[str, ...]] = {
    "null": ("int64", "double", "bool", "timestamp[s]", "timestamp[ns]", "string", "binary"),
    "int64": ("double", "string", "binary"),
    "date32[day]": ("timestamp[s]", "timestamp[ns]", "string", "binary"),
    "timestamp[s]": ("timestamp[ns]", "string", "binary"),
    "string": ("binary",),
}
_DEFAULT_WIDER = ("string", "binary")
_FAILURE = re.compile(r"In CSV column #(\d+):.*?(?:conversion error to ([^:]+):|invalid UTF8)", re.DOTALL)


class _Stream:
    """One pass over a file. Counts the lines with another number of fields than the header."""

    def __init__(self, file: FoundFile, types: Mapping[str, str], timestamp: str | None) -> None:
        self.unreadable = 0
        self._file = file
        # The timestamp is read as text, so that every spelling goes through the same parser.
        self._types = {name: _TYPES[kind] for name, kind in types.items()}
        if timestamp is not None:
            self._types[timestamp] = pa.string()

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        with _open(self._file) as stream:
            delimiter = _delimiter(self._file)
            reader = csv.open_csv(
                stream,
                read_options=csv.ReadOptions(block_size=BLOCK_BYTES),
                parse_options=csv.ParseOptions(
                    delimiter=delimiter, newlines_in_values=True, invalid_row_handler=self._skip
                ),
                convert_options=csv.ConvertOptions(column_types=self._types, strings_can_be_null=False),
            )
            yield from reader

    def _skip(self, _row: csv.InvalidRow) -> str:
        self.unreadable += 1
        return "skip"


def survey(file: FoundFile, timestamp: str | None, granularity: Granularity) -> Survey:
    """Count the rows and settle the types of the columns. Raises ArrowInvalid for a file that is no CSV."""
    names = _header(file)
    types: dict[str, str] = {}
    ladders: dict[str, Iterator[str]] = {}
    while True:
        found = Survey(columns=names, column_types=types)
        stream = _Stream(file, types, timestamp if timestamp in names else None)
        try:
            for batch in stream:
                found.count(batch, timestamp, granularity)
        except pa.ArrowInvalid as error:
            _widen(types, ladders, names, error)
        else:
            found.unreadable = stream.unreadable
            return found


def batches(
    file: FoundFile, timestamp: str | None, *, types: Mapping[str, str], skip: Collection[str] = ()
) -> Iterator[pa.RecordBatch]:
    """Batches without the columns in `skip`, with the types that `survey` found; the timestamp column as UTC times."""
    for raw in _Stream(file, types, timestamp if timestamp in _header(file) else None):
        batch = without_duplicate_columns(raw)
        columns = {
            name: _cleaned(column, is_timestamp=name == timestamp)
            for name, column in zip(batch.schema.names, batch.columns, strict=True)
            if name not in skip
        }
        yield pa.RecordBatch.from_pydict(columns)


def _cleaned(column: pa.Array, *, is_timestamp: bool) -> pa.Array:
    if is_timestamp:
        micros = micros_of(column)
        return pa.array(micros, mask=micros == BAD).cast(pa.timestamp("us", tz="UTC"))
    if pa.types.is_binary(column.type):
        values = column.to_pylist()
        column = pa.array([None if value is None else value.decode("utf-8", "replace") for value in values])
    if pa.types.is_string(column.type):
        empty = pc.call_function("equal", [column, pa.scalar("")])
        return pc.call_function("if_else", [empty, pa.scalar(None, pa.string()), column])
    return column


def _widen(
    types: dict[str, str], ladders: dict[str, Iterator[str]], names: tuple[str, ...], error: pa.ArrowInvalid
) -> None:
    """Give the column that failed its next wider type; raise the error again when that is not what failed."""
    match = _FAILURE.search(str(error))
    if match is None:
        raise error
    name = names[int(match[1])]
    steps = ladders.setdefault(name, iter(_WIDER.get(match[2] or "string", _DEFAULT_WIDER)))
    wider = next(steps, None)
    if wider is None:
        raise error
    types[name] = wider


def _open(file: FoundFile) -> pa.NativeFile:
    return file.filesystem.open_input_stream(file.address, compression="detect")


def _first_line(file: FoundFile) -> bytes:
    with _open(file) as stream:
        data = b""
        while b"\n" not in data and (block := stream.read(65_536)):
            data += block
    return data.split(b"\n", 1)[0]


def _delimiter(file: FoundFile) -> str:
    line = re.sub(rb'"[^"]*"', b"", _first_line(file))
    return max(",;\t|", key=lambda separator: line.count(separator.encode()))


def _header(file: FoundFile) -> tuple[str, ...]:
    """Column names as Arrow reads them. Raises ArrowInvalid for an empty file."""
    with pa.BufferReader(_first_line(file) + b"\n") as line:
        table = csv.read_csv(line, parse_options=csv.ParseOptions(delimiter=_delimiter(file)))
    return tuple(table.column_names)
