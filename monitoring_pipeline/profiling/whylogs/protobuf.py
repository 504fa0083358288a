"""The five rules of the Protocol Buffers wire format, for bytes that nobody vouches for.

Not the `protobuf` library: that builds a whole tree out of whatever arrives, messages nested in themselves included,
and would tie this package to code generated for one of its releases. Here a message is walked field by field on a
view of the file; a length is checked before it is used, and nothing is allocated that the file does not hold. The
format: https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from monitoring_pipeline.errors import ProfileError

Value = int | memoryview
"""What a field holds: a varint as an unsigned int, everything else as a view of its bytes."""

_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5
_VARINT_BYTES = 10
_MASK64 = (1 << 64) - 1
_DOUBLE = struct.Struct("<d")


@contextmanager
def within(where: str) -> Iterator[None]:
    """Put `where`, unless it is empty, before the message of every ProfileError that is raised inside."""
    try:
        yield
    except ProfileError as error:
        raise ProfileError(f"{where}: {error}" if where else str(error)) from error.__cause__


def fields(message: memoryview) -> Iterator[tuple[int, Value]]:
    """Number and value of each field, in the order of the bytes. Raises ProfileError where they do not fit."""
    at = 0
    while at < len(message):
        key, at = varint(message, at)
        number, kind = key >> 3, key & 7
        if number == 0:
            raise ProfileError(f"field number 0 before byte {at}")
        if kind == _VARINT:
            value, at = varint(message, at)
            yield number, value
            continue
        if kind == _LENGTH:
            size, at = varint(message, at)
        elif kind == _EIGHT_BYTES:
            size = 8
        elif kind == _FOUR_BYTES:
            size = 4
        else:
            raise ProfileError(f"wire type {kind} before byte {at}")
        yield number, span(message, at, size)
        at += size


def varint(data: memoryview, at: int) -> tuple[int, int]:
    """The unsigned 64-bit integer at byte `at`, and where the next byte is."""
    value = 0
    for place in range(_VARINT_BYTES):
        if at + place >= len(data):
            raise ProfileError(f"an integer at byte {at} that the end cuts off")
        byte = data[at + place]
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return value & _MASK64, at + place + 1
    raise ProfileError(f"an integer of more than {_VARINT_BYTES} bytes at byte {at}")


def span(data: memoryview, at: int, size: int) -> memoryview:
    """The `size` bytes from byte `at` on."""
    if at > len(data) or size > len(data) - at:
        raise ProfileError(f"{size} bytes claimed at byte {at} of {len(data)}")
    return data[at : at + size]


def delimited(data: memoryview, at: int) -> tuple[memoryview, int]:
    """A message with its length before it, and where the next byte is."""
    size, at = varint(data, at)
    return span(data, at, size), at + size


def unsigned(value: Value) -> int:
    """A uint32, uint64, bool or enum."""
    if isinstance(value, int):
        return value
    raise ProfileError("bytes where a whole number belongs")


def signed(value: Value) -> int:
    """An int64."""
    whole = unsigned(value)
    return whole - (1 << 64) if whole >> 63 else whole


def double(value: Value) -> float:
    """A double."""
    if isinstance(value, int) or len(value) != _DOUBLE.size:
        raise ProfileError("something else where a double belongs")
    return _DOUBLE.unpack(value)[0]


def view(value: Value) -> memoryview:
    """A message, or bytes."""
    if isinstance(value, int):
        raise ProfileError("a whole number where a message belongs")
    return value


def text(value: Value, *, limit: int) -> str:
    """A string of at most `limit` bytes."""
    raw = view(value)
    if len(raw) > limit:
        raise ProfileError(f"a text of {len(raw)} bytes; at most {limit} are accepted")
    try:
        return str(raw, "utf-8")
    except UnicodeDecodeError as error:
        raise ProfileError("a text that is not UTF-8") from error


def entry(message: Value) -> tuple[Value | None, Value | None]:
    """Key and value of one entry of a map; None stands for the default of its type."""
    found: dict[int, Value] = dict(fields(view(message)))
    return found.get(1), found.get(2)


def packed(value: Value) -> Iterator[int]:
    """The unsigned integers of a repeated field, packed or not."""
    if isinstance(value, int):
        yield value
        return
    at = 0
    while at < len(value):
        number, at = varint(value, at)
        yield number


def put_varint(value: int) -> bytes:
    """An integer as the wire has it; negative ones as 64-bit two's complement."""
    value &= _MASK64
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def put(number: int, value: float | str | bytes) -> bytes:
    """One field: an int as a varint, a float as a double, a string or bytes (of a message, too) with its length."""
    if isinstance(value, int):
        return put_varint(number << 3 | _VARINT) + put_varint(value)
    if isinstance(value, float):
        return put_varint(number << 3 | _EIGHT_BYTES) + _DOUBLE.pack(value)
    raw = value.encode() if isinstance(value, str) else value
    return put_varint(number << 3 | _LENGTH) + put_delimited(raw)


def put_delimited(message: bytes) -> bytes:
    """A message with its length before it."""
    return put_varint(len(message)) + message


def put_map(number: int, entries: Mapping[str, str | bytes] | Mapping[int, str | bytes]) -> bytes:
    """A map field, in the order of the entries."""
    return b"".join(put(number, put(1, key) + put(2, value)) for key, value in entries.items())
