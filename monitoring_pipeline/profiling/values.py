"""One chunk of one column as fixed-width arrays, one entry per row, whatever its Arrow type.

What a value is depends on the declared type of its column, never on what it looks like: strings of digits stay
strings, and whole numbers in a column of doubles (pandas turns integers with gaps into those) are doubles, hashed
as doubles. Times are objects, as in whylogs, whose place on the time axis is kept too: dates and timestamps in
microseconds since 1970 (UTC where a zone is declared), times of day since midnight, durations as they are; what is
finer than a microsecond is cut off. Decimals, and integers beyond 2**53, are ordered and averaged as the nearest
double. Of distinct values the empty string is one, although Apache sketches skip it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from monitoring_pipeline.profiling import kernels
from monitoring_pipeline.profiling.sketches import native

ITEM_CHARACTERS = 128
_LONG = 1024  # bytes; longer strings leave the vectorised hash, whose cost in steps is that of the longest
_MICROS = {"s": 1_000_000, "ms": 1_000, "us": 1}


class Kind(StrEnum):
    """The type under which a value is counted."""

    BOOL = "bool"
    INTEGRAL = "integral"
    FRACTIONAL = "fractional"
    STRING = "string"
    OBJECT = "object"


@dataclass(frozen=True, eq=False)
class Texts:
    """The distinct strings of a chunk: their HLL coupons and what frequent items show of them.

    `coupons`: (d,) uint32; `keys`: (d,) uint64 that are equal where `shown`, the first 128 characters, is equal.
    """

    coupons: NDArray[np.uint32]
    keys: NDArray[np.uint64]
    shown: pa.LargeStringArray


@dataclass(frozen=True, eq=False, kw_only=True)
class Values:
    """`rows` values of one kind. Arrays have one entry per row and mean nothing where `valid` is false.

    `valid` is None when nothing is missing. `numbers` are float64 with NaN and infinities still in; of `times`
    only order and extremes count, not mean and spread. `coupons` are HLL coupons of each row; `integers` the 64
    bits by which whole numbers are counted; `codes` places in `texts`.
    """

    kind: Kind
    rows: int
    valid: NDArray[np.bool_] | None
    numbers: NDArray[np.float64] | None = None
    times: bool = False
    truths: NDArray[np.bool_] | None = None
    hashable: bool = True
    coupons: NDArray[np.uint32] | None = None
    integers: NDArray[np.uint64] | None = None
    unsigned: bool = False
    texts: Texts | None = None
    codes: NDArray[np.int64] | None = None
    items: bool = False


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
    if pa.types.is_dictionary(kind):
        if _is_text(kind.value_type) or _is_binary(kind.value_type):
            return array
        return plain(array.dictionary_decode())
    return array


def _read(array: pa.Array, kind: pa.DataType, valid: NDArray[np.bool_] | None) -> Values:
    rows = len(array)
    if pa.types.is_boolean(kind):
        truths = array.fill_null(pa.scalar(value=False)).to_numpy(zero_copy_only=False)
        return Values(kind=Kind.BOOL, rows=rows, valid=valid, truths=truths, items=True)
    if pa.types.is_integer(kind):
        return _integers(array, kind, valid)
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        if pa.types.is_decimal(kind):
            array, kind = array.cast(pa.float64()), pa.float64()
        numbers = _buffer(array, np.dtype(kind.to_pandas_dtype())).astype(np.float64, copy=False)
        found = _coupons(kernels.canonical_bits(numbers))
        return Values(kind=Kind.FRACTIONAL, rows=rows, valid=valid, numbers=numbers, coupons=found)
    if pa.types.is_temporal(kind) and not pa.types.is_interval(kind):
        micros = _micros(array, kind)
        found = _coupons(micros.view(np.uint64))
        numbers = micros.astype(np.float64)
        return Values(kind=Kind.OBJECT, rows=rows, valid=valid, numbers=numbers, times=True, coupons=found)
    if pa.types.is_dictionary(kind) or _is_text(kind) or _is_binary(kind):
        return _strings(array, kind, valid)
    if pa.types.is_null(kind):
        return Values(kind=Kind.OBJECT, rows=rows, valid=np.zeros(rows, bool))
    return Values(kind=Kind.OBJECT, rows=rows, valid=valid, hashable=False)


def _integers(array: pa.Array, kind: pa.DataType, valid: NDArray[np.bool_] | None) -> Values:
    native = _buffer(array, np.dtype(kind.to_pandas_dtype()))
    wide = native if native.dtype == np.uint64 else native.astype(np.int64, copy=False)
    bits = wide.view(np.uint64)
    unsigned = wide.dtype == np.uint64 and bool((bits >> np.uint64(63)).any())
    return Values(
        kind=Kind.INTEGRAL,
        rows=len(array),
        valid=valid,
        numbers=wide.astype(np.float64),
        coupons=_coupons(bits),
        integers=bits,
        unsigned=unsigned,
        items=True,
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
    return ticks // 1_000 if kind.unit == "ns" else ticks * _MICROS[kind.unit]


def _strings(array: pa.Array, kind: pa.DataType, valid: NDArray[np.bool_] | None) -> Values:
    encoded = array if pa.types.is_dictionary(kind) else _by_offsets(array).dictionary_encode()
    dictionary = _by_offsets(encoded.dictionary)
    codes = encoded.indices.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    if dictionary.null_count:
        # A dictionary may itself hold nulls; rows that point at one are null.
        present = (
            dictionary.is_valid().to_numpy(zero_copy_only=False)[codes] if len(dictionary) else codes == 0
        )
        valid = present if valid is None else valid & present
        dictionary = dictionary.fill_null(b"" if _is_binary(dictionary.type) else "")
    if len(dictionary) > len(codes):
        used, codes = kernels.dense_codes(codes, len(dictionary))
        dictionary = dictionary.take(pa.array(used))
    text = _is_text(dictionary.type)
    return Values(
        kind=Kind.STRING if text else Kind.OBJECT,
        rows=len(array),
        valid=valid,
        texts=_texts(dictionary, text=text),
        codes=codes,
        items=text,
    )


def _texts(dictionary: pa.Array, *, text: bool) -> Texts:
    """Hash distinct strings or byte strings."""
    raw = dictionary.cast(pa.large_binary())
    starts, lengths, data = _spans(raw)
    hashes = kernels.murmur_bytes(starts, np.where(lengths > _LONG, 0, lengths), data)
    found = kernels.coupons(hashes)
    if not text:
        for place in np.flatnonzero(lengths > _LONG).tolist():
            found[place] = _digest_coupon(raw[place].as_py())
        return Texts(found, hashes[0], pa.nulls(0, pa.large_string()))
    try:
        whole = raw.cast(pa.large_string())
        shown = _beginnings(whole) if (lengths > ITEM_CHARACTERS).any() else whole
        for place in np.flatnonzero(lengths > _LONG).tolist():
            found[place] = native.hll_coupon(whole[place].as_py())
    except pa.ArrowInvalid:
        for place in np.flatnonzero(lengths > _LONG).tolist():
            found[place] = _digest_coupon(raw[place].as_py())
        decoded = [value.decode(errors="replace") for value in raw.to_pylist()]
        shown = pa.array([value[:ITEM_CHARACTERS] for value in decoded], pa.large_string())
        return Texts(found, kernels.murmur_bytes(*_spans(shown))[0], shown)
    keys = hashes[0]
    cut = np.flatnonzero(lengths > ITEM_CHARACTERS)
    if len(cut):
        keys = keys.copy()
        keys[cut] = kernels.murmur_bytes(*_spans(shown.take(pa.array(cut))))[0]
    return Texts(found, keys, shown)


def _beginnings(texts: pa.Array) -> pa.Array:
    return pc.call_function("utf8_slice_codeunits", [texts], pc.SliceOptions(0, ITEM_CHARACTERS))


def _digest_coupon(data: bytes) -> int:
    """A coupon for long bytes that are no text and that no Apache sketch could have seen."""
    word = np.frombuffer(hashlib.blake2b(data, digest_size=8).digest(), "<u8").astype(np.uint64)
    return int(_coupons(word)[0])


def _coupons(words: NDArray[np.uint64]) -> NDArray[np.uint32]:
    return kernels.coupons(kernels.murmur_words(words))


def _spans(array: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8]]:
    """Starts, lengths and bytes of a large string or large binary array without nulls."""
    if len(array) == 0:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.uint8)
    _, offsets, data = array.buffers()
    ends = np.frombuffer(offsets, np.int64)[array.offset : array.offset + len(array) + 1]
    octets = np.zeros(0, np.uint8) if data is None else np.frombuffer(data, np.uint8)
    return ends[:-1] - ends[0], np.diff(ends), octets[ends[0] : ends[-1]]


def _by_offsets(array: pa.Array) -> pa.Array:
    """Strings as large strings and byte strings as large binary; UTF-8 is not checked."""
    wanted = pa.large_string() if _is_text(array.type) else pa.large_binary()
    return array if array.type == wanted else array.cast(wanted)


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
