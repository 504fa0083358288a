"""The container that whylogs 1.x writes: "WHY1", a header of the segment, one of the profile, and the columns.

One profile per file, of all data or of one segment. After the columns whylogs leaves a few bytes of its own in
segmented files; they mean nothing. The messages: whylogs, `proto/src/whylogs_messages.proto`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from monitoring_pipeline.errors import ProfileError
from monitoring_pipeline.profiling.whylogs.messages import (
    HLL,
    INTS_MAX,
    INTS_MIN,
    ITEMS,
    KLL,
    LONGEST_NAME,
    REAL,
    WHOLE,
    Components,
    Message,
    column_name,
    put_text,
)
from monitoring_pipeline.profiling.whylogs.protobuf import (
    Value,
    delimited,
    double,
    entry,
    fields,
    packed,
    put,
    put_delimited,
    put_map,
    put_varint,
    signed,
    span,
    text,
    unsigned,
    view,
    within,
)

MAGIC: Final = b"WHY1"
_COLUMN_CHUNK = 2
_WHOLE, _REAL = 2, 3
_SKETCH_FIELDS = {ITEMS: 4, HLL: 5, KLL: 6}
_MERGED_BY = {INTS_MIN: 1, INTS_MAX: 2}  # whole numbers add up, except these
_MOST_PATHS, _MOST_CHUNKS = 10_000, 100_000


def read_v1(data: memoryview) -> Message:
    """The profile in a file of this format."""
    with within("segment header"):
        raw, at = delimited(data, len(MAGIC))
        segment = _segment(raw)
    with within("profile header"):
        raw, at = delimited(data, at)
        header = _header(raw)
        body = span(data, at, header.length)
    columns, spent = {}, 0
    for name, offsets in header.offsets.items():
        components = Components()
        with within(f"column {name!r}"):
            for offset in offsets:
                chunk = _chunk(body, offset)
                # A file in which columns share their bytes could make a few of them into very many.
                spent += len(chunk)
                if spent > len(body):
                    raise ProfileError("its bytes overlap those of another column")
                _read_chunk(chunk, header.paths, into=components)
        columns[name] = components
    return Message(
        columns=columns,
        dataset_time=header.dataset_time,
        creation_time=header.creation_time,
        tags=header.tags,
        segment=segment,
        metadata=header.metadata,
    )


@dataclass
class _Header:
    offsets: dict[str, list[int]] = field(default_factory=dict)
    paths: dict[int, str] = field(default_factory=dict)
    length: int = 0
    dataset_time: int = 0
    creation_time: int = 0
    tags: dict[str, str] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)


def _header(message: memoryview) -> _Header:
    header, chunks = _Header(), 0
    for number, value in fields(message):
        if number == 1:
            _read_properties(value, into=header)
        elif number == 2:
            key, offsets = entry(value)
            name = column_name(key, others=len(header.offsets))
            found = [] if offsets is None else _offsets(view(offsets), most=_MOST_CHUNKS - chunks)
            chunks += len(found)
            header.offsets[name] = found
        elif number == 4:
            header.length = unsigned(value)
        elif number == 5:
            index, path = entry(value)
            known = "" if path is None else text(path, limit=LONGEST_NAME)
            header.paths[0 if index is None else unsigned(index)] = known
            if len(header.paths) > _MOST_PATHS:
                raise ProfileError(f"more than {_MOST_PATHS} kinds of components")
    return header


def _read_properties(message: Value, *, into: _Header) -> None:
    for number, value in fields(view(message)):
        if number == 4:
            into.creation_time = unsigned(value)
        elif number == 5:
            into.dataset_time = unsigned(value)
        elif number == 6:
            put_text(into.tags, value)
        elif number == 7:
            put_text(into.metadata, value)


def _offsets(message: memoryview, *, most: int) -> list[int]:
    found: list[int] = []
    for number, value in fields(message):
        if number != 1:
            continue
        for offset in packed(value):
            if len(found) >= most:
                raise ProfileError(f"more than {_MOST_CHUNKS} chunks of columns")
            found.append(offset)
    return found


def _segment(message: memoryview) -> dict[str, str]:
    tags: dict[str, str] = {}
    for number, value in fields(message):
        if number == 4:
            for inner, tag in fields(view(value)):
                if inner == 1:
                    put_text(tags, tag)
    return tags


def _chunk(body: memoryview, offset: int) -> memoryview:
    header, at = delimited(body, offset)
    kind = length = 0
    for number, value in fields(header):
        if number == 1:
            kind = unsigned(value)
        elif number == 3:
            length = unsigned(value)
    if kind != _COLUMN_CHUNK:
        raise ProfileError(f"a chunk of kind {kind} where one of a column ({_COLUMN_CHUNK}) belongs")
    return span(body, at, length)


def _read_chunk(chunk: memoryview, paths: Mapping[int, str], *, into: Components) -> None:
    for number, value in fields(chunk):
        if number != 1:
            continue
        key, component = entry(value)
        index = 0 if key is None else unsigned(key)
        path = paths.get(index)
        if path is None:
            raise ProfileError(f"a component of number {index}, which the header does not name")
        if component is not None:
            with within(f"component {path!r}"):
                _read_component(view(component), path, into=into)


def _read_component(message: memoryview, path: str, *, into: Components) -> None:
    for number, value in fields(message):
        if number == _WHOLE and path in WHOLE:
            into.whole[path] = signed(value)
        elif number == _REAL and path in REAL:
            into.real[path] = double(value)
        elif number == _SKETCH_FIELDS.get(path):
            for inner, image in fields(view(value)):
                if inner == 1:
                    into.sketches[path] = bytes(view(image))


def write_v1(message: Message) -> bytes:
    """A file of this format; the same bytes for the same message."""
    written = {name: _write_components(column) for name, column in message.columns.items()}
    paths = sorted({path for column in written.values() for path in column})
    index = {path: place for place, path in enumerate(paths)}
    body, offsets = bytearray(), {}
    for name, column in written.items():
        offsets[name] = put(1, put_varint(len(body)))
        chunk = put_map(1, {index[path]: component for path, component in column.items()})
        body += put_delimited(put(1, _COLUMN_CHUNK) + put(3, len(chunk))) + chunk
    times = put(4, message.creation_time) + put(5, message.dataset_time)
    properties = times + put_map(6, message.tags) + put_map(7, message.metadata)
    header = put(1, properties) + put_map(2, offsets) + put(4, len(body)) + put_map(5, dict(enumerate(paths)))
    segment = b""
    if message.segment:
        # As whylogs does: one segment, whose offset nobody uses.
        segment = put(1, 1) + put(4, put_map(1, message.segment)) + put(5, put(1, 0) + put(2, 0))
    return MAGIC + put_delimited(segment) + put_delimited(header) + bytes(body)


def _write_components(column: Components) -> dict[str, bytes]:
    whole = {
        path: put(1, _MERGED_BY.get(path, 0)) + put(_WHOLE, count) for path, count in column.whole.items()
    }
    real = {path: put(_REAL, number) for path, number in column.real.items()}
    sketches = {path: put(_SKETCH_FIELDS[path], put(1, image)) for path, image in column.sketches.items()}
    return whole | real | sketches
