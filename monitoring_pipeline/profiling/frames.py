"""What the profiler is given, as named columns of Arrow arrays: a table, a record batch, or a pandas frame.

A pandas column follows `pyarrow.Table.from_pandas`: NaN, None, NaT and NA are nulls, also in columns of doubles,
because there pandas writes a missing number. A column of mixed Python objects is taken apart by the type of each
value, so that it counts booleans, integers, fractions, strings and other objects as whylogs does.
"""

from __future__ import annotations

import datetime
import decimal
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeGuard

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from monitoring_pipeline.errors import SourceError
from monitoring_pipeline.profiling.values import Kind

if TYPE_CHECKING:
    import pandas as pd

UNNAMED = "(unnamed)"

# What `pandas.api.types.infer_dtype` calls columns of objects that Arrow takes as one type without loss.
_UNIFORM = frozenset(
    [
        "string",
        "bytes",
        "boolean",
        "integer",
        "floating",
        "date",
        "datetime",
        "datetime64",
        "decimal",
        "time",
        "timedelta",
        "timedelta64",
        "empty",
    ]
)


@dataclass(frozen=True, eq=False)
class Part:
    """Values of one Arrow type; `places` are their rows in the frame (None: all rows), `kind` overrides their type."""

    array: pa.Array
    places: NDArray[np.int64] | None = None
    kind: Kind | None = None


@dataclass(frozen=True, eq=False)
class Frame:
    """`rows` rows of columns; the parts of a column cover every row exactly once."""

    rows: int
    columns: Mapping[str, tuple[Part, ...]]


def record_batches(data: pa.Table | pa.RecordBatch, *, max_rows: int) -> Iterator[pa.RecordBatch]:
    """A table or batch in pieces of at most `max_rows`, without a copy; an empty one gives an empty piece."""
    if isinstance(data, pa.Table):
        yield from data.to_batches(max_chunksize=max_rows) or [pa.RecordBatch.from_pylist([], data.schema)]
    else:
        for start in range(0, max(data.num_rows, 1), max_rows):
            yield data.slice(start, max_rows)


def arrow_frame(batches: list[pa.RecordBatch]) -> Frame:
    """Batches of one schema as one frame. Raises SourceError when two columns have one name."""
    schema = batches[0].schema
    names = _names(schema.names)
    if len(batches) == 1:
        return Frame(batches[0].num_rows, dict(zip(names, map(_parts, batches[0].columns), strict=True)))
    table = pa.Table.from_batches(batches, schema)
    return Frame(table.num_rows, dict(zip(names, map(_parts, table.columns), strict=True)))


def pandas_frames(frame: pd.DataFrame, *, max_rows: int) -> Iterator[Frame]:
    """A pandas frame in pieces. Raises SourceError when two columns have one name."""
    # A lone surrogate is no text that could be stored.
    names = _names([str(name).encode(errors="backslashreplace").decode() for name in frame.columns])
    for start in range(0, max(len(frame), 1), max_rows):
        piece = frame.iloc[start : start + max_rows]
        yield Frame(len(piece), {name: _from_series(piece.iloc[:, at]) for at, name in enumerate(names)})


def is_pandas(data: object) -> TypeGuard[pd.DataFrame]:
    """Whether `data` is a pandas frame, without importing pandas: whoever hands one over has done so."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(data, pandas.DataFrame)


def _names(names: list[str]) -> list[str]:
    """Column names; the empty one, which stands for the whole dataset elsewhere, is spelled out."""
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise SourceError(
            f"several columns have the same name: {', '.join(map(repr, twice))}; rename or drop them"
        )
    return [name or UNNAMED for name in names]


def _parts(column: pa.ChunkedArray | pa.Array) -> tuple[Part, ...]:
    """One part per chunk that cannot be joined to the others (strings of more than 2 GB)."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    if isinstance(column, pa.ChunkedArray):
        starts = np.cumsum([0, *map(len, column.chunks)])
        return tuple(
            Part(chunk, np.arange(start, start + len(chunk)))
            for start, chunk in zip(starts, column.chunks, strict=False)
        )
    return _of_union(column) if pa.types.is_union(column.type) else (Part(column),)


def _of_union(column: pa.UnionArray) -> tuple[Part, ...]:
    """One part for each type of value that a union can hold."""
    codes = column.type_codes.to_numpy()
    dense = column.type.mode == "dense"
    parts: list[Part] = []
    for at, code in enumerate(column.type.type_codes):
        places = np.flatnonzero(codes == code)
        inside = column.offsets.to_numpy()[places] if dense else places
        parts += _apart(column.field(at).take(pa.array(inside)), places)
    return tuple(parts) or (Part(pa.nulls(0)),)


def _apart(array: pa.Array, places: NDArray[np.int64]) -> list[Part]:
    if not pa.types.is_union(array.type):
        return [Part(array, places)] if len(places) else []
    return [Part(part.array, places[part.places]) for part in _of_union(array) if part.places is not None]


def _from_series(series: pd.Series) -> tuple[Part, ...]:
    from pandas.api.types import infer_dtype

    if series.dtype == object and infer_dtype(series, skipna=True) not in _UNIFORM:
        return _by_type(series)
    try:
        return _parts(pa.array(series, from_pandas=True))
    except (pa.ArrowException, OverflowError, TypeError, ValueError):
        return _by_type(series.astype(object))


def _by_type(series: pd.Series) -> tuple[Part, ...]:
    """A column of objects, one part for each type of value found in it."""
    values = series.to_numpy(dtype=object)
    missing = series.isna().to_numpy(dtype=bool)
    kinds = np.array([_kind_of(value) for value in values], dtype=object)
    kinds[missing] = None
    parts: list[Part] = []
    for kind in Kind:
        places = np.flatnonzero(kinds == kind)
        if len(places):
            parts += _parts_of_kind(values[places], places, kind)
    places = np.flatnonzero(missing)
    if len(places):
        parts.append(Part(pa.nulls(len(places)), places))
    return tuple(parts)


def _kind_of(value: object) -> Kind:
    if isinstance(value, (bool, np.bool_)):
        return Kind.BOOL
    if isinstance(value, (int, np.integer)):
        return Kind.INTEGRAL
    if isinstance(value, (float, np.floating, decimal.Decimal)):
        return Kind.FRACTIONAL
    return Kind.STRING if isinstance(value, str) else Kind.OBJECT


def _parts_of_kind(values: NDArray[np.object_], places: NDArray[np.int64], kind: Kind) -> list[Part]:
    if kind is Kind.BOOL:
        return [Part(pa.array(values.astype(bool)), places)]
    if kind is Kind.FRACTIONAL:
        return [Part(pa.array([float(value) for value in values], pa.float64()), places)]
    if kind is Kind.STRING:
        texts = [value.encode("utf-8", "surrogatepass") for value in values]
        return [Part(pa.array(texts, pa.large_binary()).view(pa.large_string()), places)]
    if kind is Kind.INTEGRAL:
        small = np.array([-(1 << 63) <= int(value) < 1 << 63 for value in values], bool)
        parts = [Part(pa.array([int(value) for value in values[small]], pa.int64()), places[small])]
        if not small.all():
            # Beyond 64 bits only the nearest double is left of an integer.
            large = [_nearest(int(value)) for value in values[~small]]
            parts.append(Part(pa.array(large, pa.float64()), places[~small], Kind.INTEGRAL))
        return [part for part in parts if len(part.array)]
    return _objects(values, places)


def _objects(values: NDArray[np.object_], places: NDArray[np.int64]) -> list[Part]:
    """Times keep their place on the time axis; whatever else there is is only counted."""
    timed = np.array([isinstance(value, (datetime.date, datetime.datetime)) for value in values], bool)
    parts = []
    if timed.any():
        micros = [_epoch_micros(value) for value in values[timed]]
        parts.append(Part(pa.array(micros, pa.timestamp("us")), places[timed]))
    if not timed.all():
        count = int((~timed).sum())
        parts.append(Part(pa.StructArray.from_buffers(pa.struct([]), count, [None]), places[~timed]))
    return parts


def _epoch_micros(value: datetime.date) -> int:
    if not isinstance(value, datetime.datetime):
        value = datetime.datetime(value.year, value.month, value.day, tzinfo=datetime.UTC)
    elif value.tzinfo is None:
        value = value.replace(tzinfo=datetime.UTC)
    return (value - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)) // datetime.timedelta(microseconds=1)


def _nearest(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")
