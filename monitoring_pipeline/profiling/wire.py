"""Bytes at rest: a sealed container, and a reader that checks every length before it uses it.

A container is a magic, a version, a checksum over everything else, and a body that is compressed when that helps: as
a whole, or named parts each on its own, so that one can be read without the others. Nothing is allocated for a length that the checksum has not vouched for or that exceeds the limit of its kind.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from functools import cache

import pyarrow as pa

from monitoring_pipeline.errors import ProfileError

VERSION = 1
_HEADER = struct.Struct("<4sBBHIQ")  # magic, version, method, reserved, CRC-32, length of the plain body
_PLAIN, _ZSTD, _LZ4, _PARTS = 0, 1, 2, 3
_PART = struct.Struct("<BI")  # method, length of the plain part
_WORTH_COMPRESSING = 64
_WORTH_ENTROPY_CODING = 4_096  # below, zstd takes ten times as long as LZ4 and saves a tenth of the bytes


def seal(magic: bytes, body: bytes, *, compress: bool = True) -> bytes:
    """A container around `body`; `magic` is four bytes that name the kind."""
    method, stored = _PLAIN, body
    if compress and len(body) >= _WORTH_COMPRESSING:
        best = _ZSTD if len(body) >= _WORTH_ENTROPY_CODING else _LZ4
        compressed = _codec(best).compress(body, asbytes=True)
        if len(compressed) < len(body):
            method, stored = best, compressed
    return _sealed(magic, method, stored, len(body))


def unseal(magic: bytes, data: bytes, *, what: str, limit: int) -> bytes:
    """The body of a container. Raises ProfileError, naming `what`, unless it is whole and at most `limit` bytes."""
    method, size, stored = _checked(magic, data, what=what, limit=limit)
    return _opened(method, stored, size, what=what)


def seal_parts(magic: bytes, components: Mapping[str, bytes]) -> bytes:
    """A container of what `pack_components` puts together, each part compressed on its own.

    No larger than as a whole where the parts are of different kinds, and one is read without the others.
    """
    stored = [len(components).to_bytes(4, "little")]
    for name in sorted(components):
        method, part = _compressed(components[name])
        stored += [chunk(name.encode()), chunk(_PART.pack(method, len(components[name])) + part)]
    size = 4 + sum(8 + len(name.encode()) + len(part) for name, part in components.items())
    return _sealed(magic, _PARTS, b"".join(stored), size)


def unseal_parts(magic: bytes, data: bytes, *, what: str, limit: int) -> dict[str, bytes]:
    """All of the byte strings in a container of components, by name. Raises as `unseal` does."""
    method, size, stored = _checked(magic, data, what=what, limit=limit)
    if method != _PARTS:
        reader = Reader(_opened(method, stored, size, what=what), what=what)
        components = unpack_components(reader)
        reader.finish()
        return components
    reader = Reader(stored, what=what)
    packed = {reader.text(): reader.chunk() for _ in range(reader.number())}
    reader.finish()
    parts = {name: _open_part(part, what=what, limit=limit) for name, part in packed.items()}
    _check_size(4 + sum(8 + len(name.encode()) + len(part) for name, part in parts.items()), size, what=what)
    return parts


def unseal_part(magic: bytes, data: bytes, name: bytes, *, what: str, limit: int) -> bytes | None:
    """One of the byte strings in a container of components, None when it is not there. Raises as `unseal` does."""
    method, size, stored = _checked(magic, data, what=what, limit=limit)
    if method != _PARTS:
        return find_component(_opened(method, stored, size, what=what), name, what=what)
    part = find_component(stored, name, what=what)
    return None if part is None else _open_part(part, what=what, limit=limit)


def _sealed(magic: bytes, method: int, stored: bytes, size: int) -> bytes:
    head = _HEADER.pack(magic, VERSION, method, 0, 0, size)
    return _HEADER.pack(magic, VERSION, method, 0, zlib.crc32(stored, zlib.crc32(head)), size) + stored


def _compressed(part: bytes) -> tuple[int, bytes]:
    """A part by LZ4 where that saves an eighth; by zstd, which is slower to read, where it saves another quarter."""
    if len(part) < _WORTH_COMPRESSING:
        return _PLAIN, part
    best, stored = _LZ4, _codec(_LZ4).compress(part, asbytes=True)
    if 8 * len(stored) > 7 * len(part):
        best, stored = _PLAIN, part
    if len(part) >= _WORTH_ENTROPY_CODING:
        smaller = _codec(_ZSTD).compress(part, asbytes=True)
        if 4 * len(smaller) <= 3 * len(stored):
            return _ZSTD, smaller
    return best, stored


def _open_part(part: bytes, *, what: str, limit: int) -> bytes:
    if len(part) < _PART.size:
        raise ProfileError(
            f"{what}: a part of {len(part)} bytes, where {_PART.size} say how it is compressed"
        )
    method, size = _PART.unpack_from(part)
    if size > limit:
        raise ProfileError(f"{what}: claims a part of {size} bytes; at most {limit} are accepted")
    return _opened(method, part[_PART.size :], size, what=what)


def _checked(magic: bytes, data: bytes, *, what: str, limit: int) -> tuple[int, int, bytes]:
    """How the body is stored, its plain length, and what is stored, whose checksum is right."""
    if len(data) < _HEADER.size:
        raise ProfileError(f"{what}: {len(data)} bytes are too few for a header of {_HEADER.size}")
    found, version, method, reserved, checksum, size = _HEADER.unpack_from(data)
    if found != magic:
        raise ProfileError(f"{what}: starts with {found!r} instead of {magic!r}")
    if version != VERSION:
        raise ProfileError(f"{what}: format version {version}; this release reads version {VERSION}")
    stored = data[_HEADER.size :]
    head = _HEADER.pack(magic, version, method, reserved, 0, size)
    if zlib.crc32(stored, zlib.crc32(head)) != checksum:
        raise ProfileError(f"{what}: damaged, its checksum does not match")
    if size > limit:
        raise ProfileError(f"{what}: claims {size} bytes; at most {limit} are accepted")
    return method, size, stored


def _opened(method: int, stored: bytes, size: int, *, what: str) -> bytes:
    if method in (_ZSTD, _LZ4):
        body = _decompressed(method, stored, size)
        if body is None or (method == _LZ4 and not _fills(stored, size)):
            raise ProfileError(f"{what}: damaged, its body cannot be decompressed")
    elif method == _PLAIN:
        body = stored
    else:
        raise ProfileError(f"{what}: unknown compression method {method}")
    return _of_size(body, size, what=what)


def _decompressed(method: int, stored: bytes, size: int) -> bytes | None:
    try:
        return _codec(method).decompress(stored, decompressed_size=size, asbytes=True)
    except (OSError, pa.ArrowException):
        return None


def _fills(stored: bytes, size: int) -> bool:
    """Whether an LZ4 block opens to all of `size` bytes: Arrow leaves what a shorter one does not fill as it finds it."""
    return size > 0 and _decompressed(_LZ4, stored, size - 1) is None


def _of_size(body: bytes, size: int, *, what: str) -> bytes:
    _check_size(len(body), size, what=what)
    return body


def _check_size(found: int, size: int, *, what: str) -> None:
    if found != size:
        raise ProfileError(f"{what}: holds {found} bytes instead of {size}")


@cache
def _codec(method: int) -> pa.Codec:
    return pa.Codec("zstd", compression_level=1) if method == _ZSTD else pa.Codec("lz4_raw")


class Reader:
    """Reads fields one after the other. Every read past the end is a ProfileError that names `what`."""

    def __init__(self, data: bytes, *, what: str) -> None:
        self._data = data
        self._at = 0
        self._what = what

    def take(self, size: int) -> bytes:
        """The next `size` bytes."""
        if size > self.left:
            raise ProfileError(
                f"{self._what}: a field of {size} bytes at {self._at}, where {self.left} are left"
            )
        self._at += size
        return self._data[self._at - size : self._at]

    def fields(self, layout: struct.Struct) -> tuple[float, ...]:
        """The next fields of a fixed layout of numbers."""
        return layout.unpack(self.take(layout.size))

    def number(self) -> int:
        """The next unsigned 32-bit integer."""
        return int.from_bytes(self.take(4), "little")

    def long(self) -> int:
        """The next unsigned 64-bit integer."""
        return int.from_bytes(self.take(8), "little")

    def chunk(self) -> bytes:
        """Bytes with their length before them."""
        start = self._at + 4
        end = start + int.from_bytes(self._data[self._at : start], "little")
        if end > len(self._data):
            return self.take(self.number())  # which says what is wrong
        self._at = end
        return self._data[start:end]

    def text(self) -> str:
        """UTF-8 text with its length before it."""
        try:
            return self.chunk().decode()
        except UnicodeDecodeError as error:
            raise ProfileError(f"{self._what}: a name that is not UTF-8") from error

    @property
    def left(self) -> int:
        """How many bytes are left."""
        return len(self._data) - self._at

    def finish(self) -> None:
        """Raise ProfileError when bytes are left over."""
        if self.left:
            raise ProfileError(f"{self._what}: {self.left} bytes too many")


def chunk(data: bytes) -> bytes:
    """Bytes with their length before them, as `Reader.chunk` reads them."""
    return len(data).to_bytes(4, "little") + data


def pack_components(components: Mapping[str, bytes]) -> bytes:
    """Named byte strings one after the other, by name."""
    parts = [len(components).to_bytes(4, "little")]
    for name in sorted(components):
        parts += [chunk(name.encode()), chunk(components[name])]
    return b"".join(parts)


def unpack_components(reader: Reader) -> dict[str, bytes]:
    """Inverse of `pack_components`."""
    return {reader.text(): reader.chunk() for _ in range(reader.number())}


def find_component(packed: bytes, name: bytes, *, what: str) -> bytes | None:
    """One of the byte strings that `pack_components` put together, None when it is not there; others are skipped.

    Several times as quick as unpacking all. Raises ProfileError when a length leads past the end.
    """
    number, at = int.from_bytes, 4
    for _ in range(number(packed[:4], "little")):
        start = at + 4
        at = start + number(packed[at:start], "little")
        found = packed[start:at] == name
        start = at + 4
        at = start + number(packed[at:start], "little")
        if at > len(packed):
            break
        if found:
            return packed[start:at]
    else:
        return None
    raise ProfileError(f"{what}: a component that ends at {at}, where {len(packed)} bytes are")
