"""One chunk of one column in the few layouts that cells take, whatever its Arrow type.

What a value is depends on the declared type of its column, never on what it looks like: strings of digits stay
strings, and whole numbers in a column of doubles (pandas turns integers with gaps into those) are doubles, hashed
as doubles. Times are objects, as in whylogs, whose place on the time axis is kept too: dates and timestamps in
microseconds since 1970 (UTC where a zone is declared), times of day since midnight, durations as they are; what is
finer than a microsecond is cut off. Decimals, and integers beyond 2**53, are ordered and averaged as the nearest
double. Of distinct values the empty string is one, although Apache sketches skip it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from monitoring_pipeline.profiling import kernels
from monitoring_pipeline.profiling.fallback import Buffer, Offsets

_NOT_ASCII = 128
_EXACT, _POWERS = 1 << 53, 22  # whole numbers up to the one, and powers of ten up to the other, are doubles
_MICROS = {"s": 1_000_000, "ms": 1_000}


class Kind(StrEnum):
    """The type under which a value is counted."""

    BOOL = "bool"
    INTEGRAL = "integral"
    FRACTIONAL = "fractional"
    STRING = "string"
    OBJECT = "object"


@dataclass(frozen=True, eq=False)
class Texts:
    """Strings or byte strings: `offsets`, (d + 1,) int32 or int64, where in `data`, (m,) uint8, each begins."""

    offsets: Offsets
    data: NDArray[np.uint8]


@dataclass(frozen=True, eq=False, kw_only=True)
class Values:
    """`rows` values that count as `kind`, in the layout of the cells where they belong (`fallback.Cells`).

    `store`: the kind of these cells. `valid`: a bitmap that begins at `bit_offset`; None when nothing is missing.
    `data`: (rows,) float64, int64 or uint64, or the bitmap of booleans, which begins at the same bit; it means nothing
    where a row is not valid. Strings and byte strings have `texts` instead, row by row or, with `codes`, (rows,) int32
    or int64 places in them, each once, that mean nothing either where a row is not valid. `only_counted`: the type,
    when it is one of which nothing but the count is told.
    """

    kind: Kind
    store: str
    rows: int
    valid: Buffer | None
    bit_offset: int
    data: Buffer | None = None
    texts: Texts | None = None
    codes: kernels.Codes | None = None
    only_counted: str | None = None


def read_values(array: pa.Array, *, kind: Kind | None = None) -> Values:
    """Values of an Arrow array of any type; `kind` overrides under which type they count."""
    try:
        array = plain(array)
        values = _strings(array) if _is_stringy(array.type) else _read(array, array.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        # Whatever a type of another release holds, its values are there or not.
        values = _counted(array)
    return values if kind is None else replace(values, kind=kind)


def plain(array: pa.Array) -> pa.Array:
    """The same values without extension types, run-end encoding, or dictionaries of anything but strings."""
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        return plain(array.storage)
    if pa.types.is_run_end_encoded(kind):
        return plain(_runs(array))
    if pa.types.is_dictionary(kind) and not (_is_text(kind.value_type) or _is_binary(kind.value_type)):
        return plain(array.dictionary_decode())
    return array


def _read(array: pa.Array, kind: pa.DataType) -> Values:
    data: Buffer | None = None
    if pa.types.is_boolean(kind):
        counted, store, data = Kind.BOOL, "boolean", array.buffers()[1] or b""
    elif pa.types.is_integer(kind):
        unsigned = pa.types.is_uint64(kind)
        counted, store = Kind.INTEGRAL, "unsigned" if unsigned else "integer"
        data = _buffer(array, np.dtype(kind.to_pandas_dtype())).astype(
            np.uint64 if unsigned else np.int64, copy=False
        )
    elif pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        if pa.types.is_decimal(kind):
            array, kind = doubles(array), pa.float64()
        counted, store = Kind.FRACTIONAL, "double"
        data = _buffer(array, np.dtype(kind.to_pandas_dtype())).astype(np.float64, copy=False)
    elif pa.types.is_temporal(kind) and not pa.types.is_interval(kind):
        counted, store, data = Kind.OBJECT, "time", _micros(array, kind)
    elif pa.types.is_null(kind):
        nothing = bytes(len(array) // 8 + 1)
        return Values(kind=Kind.OBJECT, store="null", rows=len(array), valid=nothing, bit_offset=0)
    elif pa.types.is_nested(kind) and not pa.types.is_union(kind):
        counted, store = Kind.OBJECT, "object"
    else:
        return _counted(array)
    return Values(
        kind=counted, store=store, rows=len(array), valid=_bitmap(array), bit_offset=array.offset, data=data
    )


def _micros(array: pa.Array, kind: pa.DataType) -> NDArray[np.int64]:
    """Microseconds; what is finer is cut off."""
    if pa.types.is_date32(kind):
        return _buffer(array, np.dtype(np.int32)).astype(np.int64) * 86_400_000_000
    if pa.types.is_date64(kind):
        return _buffer(array, np.dtype(np.int64)) * 1_000
    ticks = _buffer(array, np.dtype(np.int32 if pa.types.is_time32(kind) else np.int64)).astype(
        np.int64, copy=False
    )
    if kind.unit == "us":
        return ticks
    return ticks // 1_000 if kind.unit == "ns" else ticks * _MICROS[kind.unit]


def doubles(array: pa.Array) -> pa.Array:
    """Decimals as the nearest doubles, which Arrow's own cast misses by a bit."""
    scale, words = array.type.scale, _words(array)
    low, present = words[:, 0].astype(np.int64), array.is_valid().to_numpy(zero_copy_only=False)
    small = (np.abs(low) <= _EXACT) & (words[:, 1:] == (low >> 63)[:, None]).all(axis=1)
    if not (small | ~present).all() or abs(scale) > _POWERS:
        return array.cast(pa.string()).cast(pa.float64())
    power = 10.0 ** abs(
        scale
    )  # a whole number, and exact: so is the one it divides, and a quotient is rounded once
    values = low / power if scale >= 0 else low * power
    return pa.array(values, mask=~present)


def _words(array: pa.Array) -> NDArray[np.signedinteger]:
    """The whole numbers that decimals are multiples of, (rows, words), the lowest word first."""
    width = array.type.bit_width
    words = np.frombuffer(array.buffers()[1] or b"", np.int32 if width == 32 else np.int64)
    each = max(width // 64, 1)
    return words[array.offset * each : (array.offset + len(array)) * each].reshape(len(array), each)


def _counted(array: pa.Array) -> Values:
    there = array.is_valid().to_numpy(zero_copy_only=False)
    return Values(
        kind=Kind.OBJECT,
        store="object",
        rows=len(array),
        valid=None if there.all() else np.packbits(there, bitorder="little"),
        bit_offset=0,
        only_counted=str(array.type),
    )


def _runs(array: pa.RunEndEncodedArray) -> pa.Array:
    """Runs as the values they stand for, also of types that Arrow itself does not decode."""
    ends = array.run_ends.to_numpy()
    places = np.searchsorted(ends, array.offset + np.arange(len(array)), "right")
    return _by_offsets(array.values).take(pa.array(places))


def _strings(array: pa.Array) -> Values:
    codes = None
    strings = array = array if pa.types.is_dictionary(array.type) else _by_offsets(array)
    valid, bit_offset = _bitmap(array), array.offset
    if pa.types.is_dictionary(array.type):
        strings = _by_offsets(array.dictionary)
        codes = _codes(array.indices)
        if array.null_count and (strings.null_count or len(strings) > len(codes) or not _is_utf8(strings)):
            codes = _codes(array.indices.fill_null(0))  # what is looked up below must exist for nulls too
        if strings.null_count:
            # A dictionary may itself hold nulls; rows that point at one are null.
            present = strings.is_valid().to_numpy(zero_copy_only=False)[codes]
            present &= array.is_valid().to_numpy(zero_copy_only=False)
            valid, bit_offset = np.packbits(present, bitorder="little"), 0
        if len(strings) > len(codes):
            used, codes = kernels.dense_codes(codes, len(strings))
            strings = strings.take(pa.array(used))
        if not len(strings):
            codes, strings = None, pa.nulls(len(array), strings.type)
    text = _is_text(strings.type)
    if text and not _is_utf8(strings):
        strings, places = _mended(strings)
        codes = places if codes is None else places[codes]
    return Values(
        kind=Kind.STRING if text else Kind.OBJECT,
        store="text" if text else "hash",
        rows=len(array),
        valid=valid,
        bit_offset=bit_offset,
        texts=Texts(*_spans(strings)),
        codes=codes,
    )


def _codes(indices: pa.Array) -> kernels.Codes:
    """The places of a dictionary array; those of nulls are whatever lies there."""
    codes = _buffer(indices, np.dtype(indices.type.to_pandas_dtype()))
    return codes if codes.dtype == np.int32 else codes.astype(np.int64, copy=False)


def _is_utf8(strings: pa.Array) -> bool:
    offsets, data = _spans(strings)
    if data[offsets[0] : offsets[-1]].max(initial=0) < _NOT_ASCII:
        return True
    try:
        strings.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _mended(strings: pa.Array) -> tuple[pa.Array, NDArray[np.int64]]:
    """Strings that are not all UTF-8, as far as they can be read, each once; and where each is now."""
    wide = pa.types.is_large_string(strings.type)
    encoded = strings.cast(pa.large_binary() if wide else pa.binary()).dictionary_encode()
    texts = [value.decode(errors="replace") for value in encoded.dictionary.to_pylist()]
    places = encoded.indices.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    return pa.array(texts or [""], pa.large_string()), places


def _spans(array: pa.Array) -> tuple[Offsets, NDArray[np.uint8]]:
    """Offsets and bytes of a string or binary array, large or not."""
    wide = pa.types.is_large_string(array.type) or pa.types.is_large_binary(array.type)
    dtype = np.dtype(np.int64 if wide else np.int32)
    if len(array) == 0:
        return np.zeros(1, dtype), np.zeros(0, np.uint8)
    _, ends, data = array.buffers()
    offsets = np.frombuffer(ends, dtype)[array.offset : array.offset + len(array) + 1]
    return offsets, np.zeros(0, np.uint8) if data is None else np.frombuffer(data, np.uint8)


def _by_offsets(array: pa.Array) -> pa.Array:
    """Strings and byte strings of other layouts with offsets; UTF-8 is not checked."""
    kind = array.type
    if pa.types.is_string_view(kind):
        return array.cast(pa.large_string())
    if pa.types.is_fixed_size_binary(kind) or pa.types.is_binary_view(kind):
        return array.cast(pa.large_binary())
    return array


def _bitmap(array: pa.Array) -> pa.Buffer | None:
    return array.buffers()[0] if array.null_count else None


def _buffer(array: pa.Array, dtype: np.dtype) -> NDArray:
    """The values of a primitive array without a copy; those of nulls are whatever lies there."""
    data = array.buffers()[1]
    if data is None or len(array) == 0:
        return np.zeros(len(array), dtype)
    return np.frombuffer(data, dtype)[array.offset : array.offset + len(array)]


def _is_stringy(kind: pa.DataType) -> bool:
    return pa.types.is_dictionary(kind) or _is_text(kind) or _is_binary(kind)


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _is_binary(kind: pa.DataType) -> bool:
    return (
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
        or pa.types.is_binary_view(kind)
    )
