"""One chunk of one column as fixed-width arrays, one entry per row, whatever its Arrow type.

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
import pyarrow.compute as pc
from numpy.typing import NDArray

from monitoring_pipeline.profiling import engine, kernels

ITEM_CHARACTERS = 128
_NOT_ASCII = 128
_MICROS = {"s": 1_000_000, "ms": 1_000, "us": 1}


class Kind(StrEnum):
    """The type under which a value is counted."""

    BOOL = "bool"
    INTEGRAL = "integral"
    FRACTIONAL = "fractional"
    STRING = "string"
    OBJECT = "object"


@dataclass(frozen=True, eq=False)
class Hashed:
    """Strings or byte strings of a chunk: their hashes, and what frequent items show of them.

    `coupons`: (d,) uint32 HLL coupons; `keys`: (d,) uint64 that are equal where what is shown, the first 128
    characters, is equal; `offsets`: (d + 1,) int32 or int64, where in `text`, (m,) uint8, each of these begins.
    Byte strings show nothing.
    """

    coupons: NDArray[np.uint32]
    keys: NDArray[np.uint64]
    offsets: NDArray[np.int32] | NDArray[np.int64]
    text: NDArray[np.uint8]


@dataclass(frozen=True, eq=False, kw_only=True)
class Values:
    """`rows` values that count as `kind`. Arrays have one entry per row and mean nothing where `valid` is false.

    `store`: in which cells they belong (`fallback.Cells`). `valid` is None when nothing is missing. `data` are
    float64, int64, uint64 or bool; strings and byte strings have `hashed` instead, row by row or, with `codes`, each
    distinct one once.
    """

    kind: Kind
    store: str
    rows: int
    valid: NDArray[np.bool_] | None
    data: NDArray | None = None
    hashed: Hashed | None = None
    codes: NDArray[np.int64] | None = None


def read_values(array: pa.Array, *, kind: Kind | None = None) -> Values:
    """Values of an Arrow array of any type; `kind` overrides under which type they count."""
    array = plain(array)
    valid = array.is_valid().to_numpy(zero_copy_only=False) if array.null_count else None
    values = _read(array, array.type, valid)
    return values if kind is None else replace(values, kind=kind)


def plain(array: pa.Array) -> pa.Array:
    """The same values without extension types, run-end encoding, or dictionaries of anything but strings."""
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        return plain(array.storage)
    if pa.types.is_run_end_encoded(kind):
        return plain(pc.call_function("run_end_decode", [array]))
    if pa.types.is_dictionary(kind) and not (_is_text(kind.value_type) or _is_binary(kind.value_type)):
        return plain(array.dictionary_decode())
    return array


def _read(array: pa.Array, kind: pa.DataType, valid: NDArray[np.bool_] | None) -> Values:
    rows = len(array)
    if pa.types.is_boolean(kind):
        truths = array.fill_null(pa.scalar(value=False)).to_numpy(zero_copy_only=False)
        return Values(kind=Kind.BOOL, store="boolean", rows=rows, valid=valid, data=truths)
    if pa.types.is_integer(kind):
        wide = np.dtype(np.uint64 if pa.types.is_uint64(kind) else np.int64)
        data = _buffer(array, np.dtype(kind.to_pandas_dtype())).astype(wide, copy=False)
        store = "unsigned" if pa.types.is_uint64(kind) else "integer"
        return Values(kind=Kind.INTEGRAL, store=store, rows=rows, valid=valid, data=data)
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        if pa.types.is_decimal(kind):
            array, kind = array.cast(pa.float64()), pa.float64()
        data = _buffer(array, np.dtype(kind.to_pandas_dtype())).astype(np.float64, copy=False)
        return Values(kind=Kind.FRACTIONAL, store="double", rows=rows, valid=valid, data=data)
    if pa.types.is_temporal(kind) and not pa.types.is_interval(kind):
        return Values(kind=Kind.OBJECT, store="time", rows=rows, valid=valid, data=_micros(array, kind))
    if pa.types.is_dictionary(kind) or _is_text(kind) or _is_binary(kind):
        return _strings(array, valid)
    if pa.types.is_null(kind):
        return Values(kind=Kind.OBJECT, store="null", rows=rows, valid=np.zeros(rows, bool))
    return Values(kind=Kind.OBJECT, store="object", rows=rows, valid=valid)


def _micros(array: pa.Array, kind: pa.DataType) -> NDArray[np.int64]:
    """Microseconds; what is finer is cut off."""
    if pa.types.is_date32(kind):
        return _buffer(array, np.dtype(np.int32)).astype(np.int64) * 86_400_000_000
    if pa.types.is_date64(kind):
        return _buffer(array, np.dtype(np.int64)) * 1_000
    ticks = _buffer(array, np.dtype(np.int32 if pa.types.is_time32(kind) else np.int64)).astype(
        np.int64, copy=False
    )
    return ticks // 1_000 if kind.unit == "ns" else ticks * _MICROS[kind.unit]


def _strings(array: pa.Array, valid: NDArray[np.bool_] | None) -> Values:
    strings, codes = array, None
    if pa.types.is_dictionary(array.type):
        strings = array.dictionary
        codes = array.indices.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
        if strings.null_count:
            # A dictionary may itself hold nulls; rows that point at one are null.
            present = strings.is_valid().to_numpy(zero_copy_only=False)[codes]
            valid = present if valid is None else valid & present
        if len(strings) > len(codes):
            used, codes = kernels.dense_codes(codes, len(strings))
            strings = strings.take(pa.array(used))
        if not len(strings):
            codes, strings = None, pa.nulls(len(array), strings.type)
    text = _is_text(strings.type)
    strings = _by_offsets(strings)
    if text and not _is_utf8(strings):
        raw = strings.cast(pa.large_binary() if pa.types.is_large_string(strings.type) else pa.binary())
        return _damaged(raw, codes, valid, rows=len(array))
    return Values(
        kind=Kind.STRING if text else Kind.OBJECT,
        store="text" if text else "hash",
        rows=len(array),
        valid=valid,
        hashed=_hashed(strings, text=text),
        codes=codes,
    )


def _hashed(strings: pa.Array, *, text: bool) -> Hashed:
    offsets, data = _spans(strings)
    coupons, keys = np.empty(len(strings), np.uint32), np.empty(len(strings), np.uint64)
    longest = engine.hash_texts(offsets, data, coupons, keys)
    if text and longest > ITEM_CHARACTERS:
        shown = pc.call_function(
            "utf8_slice_codeunits", [strings], pc.SliceOptions(0, ITEM_CHARACTERS)
        )
        offsets, data = _spans(shown)
        engine.hash_texts(offsets, data, np.empty_like(coupons), keys)
    return Hashed(coupons, keys, offsets, data)


def _damaged(
    raw: pa.Array, codes: NDArray[np.int64] | None, valid: NDArray[np.bool_] | None, *, rows: int
) -> Values:
    """Strings that are not UTF-8 are told apart by their bytes, and shown as far as they can be read."""
    encoded = raw.dictionary_encode()
    places = encoded.indices.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    shown = [value.decode(errors="replace")[:ITEM_CHARACTERS] for value in encoded.dictionary.to_pylist()]
    offsets, data = _spans(pa.array(shown, pa.large_string()))
    coupons = _hashed(encoded.dictionary, text=False).coupons
    keys = np.empty(len(shown), np.uint64)
    engine.hash_texts(offsets, data, np.empty_like(coupons), keys)
    return Values(
        kind=Kind.STRING,
        store="text",
        rows=rows,
        valid=valid,
        hashed=Hashed(coupons, keys, offsets, data),
        codes=places if codes is None else places[codes],
    )


def _is_utf8(strings: pa.Array) -> bool:
    offsets, data = _spans(strings)
    if data[offsets[0] : offsets[-1]].max(initial=0) < _NOT_ASCII:
        return True
    try:
        strings.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _spans(array: pa.Array) -> tuple[NDArray[np.int32] | NDArray[np.int64], NDArray[np.uint8]]:
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


def _buffer(array: pa.Array, dtype: np.dtype) -> NDArray:
    """The values of a primitive array without a copy; those of nulls are whatever lies there."""
    data = array.buffers()[1]
    if data is None or len(array) == 0:
        return np.zeros(len(array), dtype)
    return np.frombuffer(data, dtype)[array.offset : array.offset + len(array)]


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _is_binary(kind: pa.DataType) -> bool:
    return (
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
        or pa.types.is_binary_view(kind)
    )
