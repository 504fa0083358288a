"""Files of whylogs, of any of its formats, as profiles of ours. Nothing in them is trusted.

A damaged file is one ProfileError that says which file, where in it and what is wrong. What is allocated is bounded
by the size of the file, and that by a limit; a zip is bounded by what comes out of it.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from monitoring_pipeline.errors import ProfileError
from monitoring_pipeline.profiling.performance import PERFORMANCE, Performance
from monitoring_pipeline.profiling.profile import DatasetProfile
from monitoring_pipeline.profiling.whylogs.columns import column_from_whylogs
from monitoring_pipeline.profiling.whylogs.format_v0 import read_v0
from monitoring_pipeline.profiling.whylogs.format_v1 import MAGIC, read_v1
from monitoring_pipeline.profiling.whylogs.messages import Message
from monitoring_pipeline.profiling.whylogs.performance import performance_from_whylogs
from monitoring_pipeline.profiling.whylogs.protobuf import within
from monitoring_pipeline.segments import segment_key

MOST_BYTES: Final = 1 << 28
"""The largest file, and the most that may come out of a zip."""
MOST_PROFILES: Final = 10_000
"""The most profiles, one for each segment, in one file."""
TAG_PREFIX: Final = "whylogs.tag."
ZIP_MAGIC: Final = b"PK\x03\x04"

_ZIP_ENTRY, _ENCRYPTED = b"PK\x01\x02", 1
_COMPRESSION = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    LookupError,
    NotImplementedError,
    OSError,
    RuntimeError,
    ValueError,
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST = (datetime(9999, 1, 1, tzinfo=UTC) - _EPOCH) // timedelta(milliseconds=1)


@dataclass(frozen=True, kw_only=True)
class WhylogsProfile:
    """One profile of a whylogs file.

    `profile` holds one segment, `segment` (its key; "" is all data); its rows are the most values of any column, as
    whylogs does not count rows. `metadata` has whylogs' own entries and the user's, `performance` what the file says
    about predictions and outcomes, if anything.
    """

    segment: str
    profile: DatasetProfile
    dataset_timestamp: datetime | None
    creation_timestamp: datetime | None
    metadata: Mapping[str, str] = field(default_factory=dict)
    performance: Performance | None = None

    @property
    def rows(self) -> int:
        """How many rows it is of."""
        return self.profile.rows[self.segment]

    @property
    def judged(self) -> DatasetProfile:
        """The profile together with its performance, as profiles of ours keep it."""
        if self.performance is None:
            return self.profile
        return replace(self.profile, components={self.segment: {PERFORMANCE: self.performance.to_bytes()}})


def read_whylogs(data: bytes, *, source: str, most_bytes: int = MOST_BYTES) -> tuple[WhylogsProfile, ...]:
    """The profiles in a file that whylogs wrote: one, one of each segment in a zip, or several older messages.

    `source` names the file in errors. Raises ProfileError when the file is damaged, too large, or something else.

    >>> read_whylogs(b"WHY1", source="upload.bin")
    Traceback (most recent call last):
    monitoring_pipeline.errors.ProfileError: upload.bin: segment header: an integer at byte 4 that the end cuts off
    """
    with within(source):
        if len(data) > most_bytes:
            raise ProfileError(f"{len(data)} bytes; at most {most_bytes} are accepted")
        if not data:
            raise ProfileError("the file is empty")
        found: list[WhylogsProfile] = []
        for where, member in _members(data, most_bytes=most_bytes):
            with within(where):
                found += [_profile(message) for message in _messages(member, most=MOST_PROFILES - len(found))]
        return tuple(found)


def read_whylogs_file(path: Path, *, most_bytes: int = MOST_BYTES) -> tuple[WhylogsProfile, ...]:
    """`read_whylogs` of a file. Raises ProfileError, too, when it cannot be opened."""
    return read_whylogs(read_bounded(path, most_bytes=most_bytes), source=str(path), most_bytes=most_bytes)


def read_bounded(path: Path, *, most_bytes: int = MOST_BYTES) -> bytes:
    """The bytes of a file that may be anything. Raises ProfileError when they are too many or cannot be read."""
    try:
        with path.open("rb") as file:
            data = file.read(most_bytes + 1)
    except OSError as error:
        raise ProfileError(f"{path}: {error.strerror or error}") from error
    if len(data) > most_bytes:
        raise ProfileError(f"{path}: more than {most_bytes} bytes, which is the most that is accepted")
    return data


def _members(data: bytes, *, most_bytes: int) -> Iterator[tuple[str, bytes]]:
    if not data.startswith(ZIP_MAGIC):
        yield "", data
        return
    # Before anything is built for each of them.
    if data.count(_ZIP_ENTRY) > MOST_PROFILES:
        raise ProfileError(f"a zip of more than {MOST_PROFILES} files")
    left = most_bytes
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for info in archive.infolist():
                if info.is_dir():
                    continue
                where = f"file {info.filename!r} in the zip"
                if info.flag_bits & _ENCRYPTED or info.compress_type not in _COMPRESSION:
                    raise ProfileError(f"{where}: encrypted, or compressed in an unknown way")
                with archive.open(info) as file:
                    member = file.read(left + 1)
                left -= len(member)
                if left < 0:
                    raise ProfileError(f"{where}: with it, more than {most_bytes} bytes come out of the zip")
                if member.startswith(ZIP_MAGIC):
                    raise ProfileError(f"{where}: another zip")
                yield where, member
    except _ZIP_ERRORS as error:
        raise ProfileError(f"a zip that is damaged: {error}") from error


def _messages(data: bytes, *, most: int) -> list[Message]:
    if data.startswith(MAGIC):
        return [read_v1(memoryview(data))]
    try:
        return read_v0(memoryview(data), most=most)
    except ProfileError as error:
        raise ProfileError(f"neither a whylogs profile nor a zip of them ({error})") from error


def _profile(message: Message) -> WhylogsProfile:
    segment = _segment(message)
    columns = {}
    for name, column in message.columns.items():
        with within(f"column {name!r}"):
            columns[name] = column_from_whylogs(column)
    with within("model metrics"):
        performance = None if message.model is None else performance_from_whylogs(message.model)
    rows = max(
        (column.n for column in columns.values()),
        default=int(performance.total("rows")) if performance else 0,
    )
    plain = {name: value for name, value in message.tags.items() if not name.startswith(TAG_PREFIX)}
    return WhylogsProfile(
        segment=segment,
        profile=DatasetProfile({segment: rows}, {segment: columns}),
        dataset_timestamp=_time(message.dataset_time),
        creation_timestamp=_time(message.creation_time),
        metadata=plain | dict(message.metadata),
        performance=performance,
    )


def _segment(message: Message) -> str:
    tags: dict[str, str] = {}
    marked = {name: value for name, value in message.tags.items() if name.startswith(TAG_PREFIX)}
    for given in (marked, message.segment):
        for name, value in given.items():
            column = name.removeprefix(TAG_PREFIX)
            if tags.setdefault(column, value) != value:
                raise ProfileError(f"two segments at once: {column!r} is {tags[column]!r} and {value!r}")
    return segment_key(tags)


def _time(since_epoch: int) -> datetime | None:
    if since_epoch > _LAST:
        raise ProfileError(f"a time of {since_epoch} milliseconds since 1970")
    return _EPOCH + timedelta(milliseconds=since_epoch) if since_epoch else None
