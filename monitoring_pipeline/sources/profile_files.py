"""Profile files that land in folders, such as those of whylogs: each belongs to the bucket that it tells, or its path.

What a profile is and how it is read is not known here: `read` does it. A file is read whole, and at most
`MOST_BYTES` of it. One that is damaged is one problem; it is kept aside with the reason, and looked at again only
when it changes.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

import pyarrow as pa

from monitoring_pipeline.errors import ProfileError, SourceError
from monitoring_pipeline.sources.base import FileEntry, InputProblem, ProfilePiece, Scan
from monitoring_pipeline.sources.base import Profile as Covariant
from monitoring_pipeline.sources.files import arrivals_of, marks_of, path_bucket_of, problems_of
from monitoring_pipeline.sources.listing import FoundFile, checksum, described, find, find_files
from monitoring_pipeline.sources.quarantine import QUARANTINE, keep_aside
from monitoring_pipeline.timegrid import to_micros

if TYPE_CHECKING:
    from monitoring_pipeline.config.dataset import DatasetSpec

MOST_BYTES: Final = 1 << 28
"""The largest file that is read."""

_READ_ERRORS = (OSError, pa.ArrowException)
_LONGEST_REASON = 300
_EXTENSIONS = ("bin", "zip")
"""Of profile files, where only a folder is named."""

Profile = TypeVar("Profile")
BucketOf = Callable[[datetime | None], datetime | None]


class ProfileBatch(Protocol[Covariant]):
    """What one file tells of one bucket."""

    @property
    def rows(self) -> int:
        """How many rows."""
        ...

    @property
    def profile(self) -> Covariant:
        """What is known of them."""
        ...


class ReadProfiles(Protocol[Covariant]):
    """Reads the bytes of a file; `bucket_of` gives the bucket of a moment. Raises ProfileError."""

    def __call__(
        self, data: bytes, bucket_of: BucketOf
    ) -> Mapping[datetime | None, ProfileBatch[Covariant]]: ...


class ProfileFilesSource(Generic[Profile]):
    """The profile files of one dataset. Keeps no state between calls; writes only to the workspace's quarantine."""

    def __init__(self, spec: DatasetSpec, home: Path, *, read: ReadProfiles[Profile]) -> None:
        self._spec, self._home, self._read = spec, home, read
        self._patterns = tuple(pattern for path in spec.source.path for pattern in patterns_of(path))
        self._path_bucket = path_bucket_of(spec)
        self._recipe = _recipe(spec)

    def check(self) -> None:
        """Raise SourceError unless at least one file is there."""
        if not find_files(self._patterns, self._home):
            raise SourceError(
                f"dataset {self._spec.id!r}: no file matches {described(self._patterns, self._home)}; "
                "correct source.path in dataset.yaml, or wait until the first file has landed"
            )

    def scan(self, known: Mapping[str, FileEntry] | None = None, *, as_of: datetime | None = None) -> Scan:
        """Look at all files; those in `known` whose size and modification time are unchanged are not opened.

        With `as_of` the scan is what it would have been at that moment: files modified later do not exist. Raises
        SourceError when a folder cannot be listed.
        """
        found = find(self._patterns, self._home)
        present = [file for file in found.files if as_of is None or file.modified <= as_of]
        entries = [self._entry(file, (known or {}).get(file.path)) for file in present]
        arrivals, problems = arrivals_of(entries, as_of or datetime.now(UTC))
        for entry in entries:
            problems.extend(problems_of(entry, self._spec))
        problems.sort(key=lambda problem: (problem.path, problem.kind, problem.detail))
        broken = [file for file, entry in zip(present, entries, strict=True) if not entry.readable]
        later = [file.modified for file in found.files if as_of is not None and file.modified > as_of]
        return Scan(
            tuple(entries),
            arrivals,
            tuple(problems),
            marks=marks_of([found], broken),
            checksum=hash((found.checksum,)),
            appears=min(later, default=None),
        )

    def scan_more(self, before: Scan, since: datetime, *, as_of: datetime | None = None) -> Scan | None:  # noqa: ARG002
        """None: a scan opens nothing but what is new anyhow, and profile files are far fewer than rows."""
        return None

    def checksum(self) -> int:
        """The `checksum` that a scan would have now, without reading anything. Within one process."""
        return hash((checksum(self._patterns, self._home),))

    def read(
        self, scan: Scan, buckets: Collection[datetime], *, problems: list[InputProblem]
    ) -> Iterator[ProfilePiece[Profile]]:
        """The profiles of some buckets, file by file; problems met on the way are added to `problems`.

        After a `changed` that names buckets, their pieces are incomplete: the file is looked at anew by the next scan.
        """
        wanted = frozenset(buckets) & scan.arrivals.keys()
        files = {file.path: file for file in find_files(self._patterns, self._home)}
        for entry in scan.files:
            hit = tuple(sorted(bucket for bucket, rows in entry.rows.items() if rows and bucket in wanted))
            if not hit:
                continue
            file = files.get(entry.path)
            trouble = partial(InputProblem, path=entry.path, buckets=hit)
            if file is None or (file.size, file.modified) != (entry.size, entry.modified):
                problems.append(trouble("changed", detail="the file has changed or gone since it was listed"))
                continue
            try:
                batches = self._read(content_of(file), partial(self._bucket, file.path))
            except (ProfileError, *_READ_ERRORS) as error:
                if file.unchanged():
                    problems.append(trouble("unreadable", detail=_reason(error)))
                    continue
                batches = {}
            if not file.unchanged():
                problems.append(trouble("changed", detail="the file changed while it was being read"))
                continue
            for bucket in hit:
                if bucket in batches:
                    yield ProfilePiece(bucket, batches[bucket].profile)

    def _entry(self, file: FoundFile, known: FileEntry | None) -> FileEntry:
        entry = FileEntry(file.path, "rows", file.size, file.modified, recipe=self._recipe)
        if known is not None and _state(known) == _state(entry):
            return known
        content: bytes | None = None
        # An entry without a recipe is never taken for known, so what may pass is tried again by the next scan.
        passing = replace(entry, readable=False, recipe="")
        try:
            content = content_of(file)
            batches = self._read(content, partial(self._bucket, file.path))
        except ProfileError as error:
            if not file.unchanged():
                return replace(passing, changed=True, detail="the file changed while it was being read")
            return self._rejected(entry, content, error, known)
        except _READ_ERRORS as error:
            return replace(passing, changed=not file.unchanged(), detail=_reason(error))
        if not file.unchanged():
            return replace(passing, changed=True, detail="the file changed while it was being read")
        return self._counted(entry, {bucket: batch.rows for bucket, batch in batches.items()})

    def _rejected(
        self, entry: FileEntry, content: bytes | None, error: ProfileError, known: FileEntry | None
    ) -> FileEntry:
        reason = _reason(error)
        try:
            folder = self._home / QUARANTINE / self._spec.id
            kept = keep_aside(content, entry.path, reason, folder=folder)
            told = f"{reason}; kept aside as {kept.relative_to(self._home).as_posix()}"
        except SourceError as trouble:
            told = f"{reason}; {trouble}"
        bucket = self._bucket(entry.path, None)
        # No rows, so that nothing is made of them; but the quality of these buckets tells of it.
        concerned = ({bucket} if bucket else set()) | (known.rows.keys() if known is not None else set())
        return replace(entry, readable=False, rows=dict.fromkeys(sorted(concerned), 0), detail=told)

    def _counted(self, entry: FileEntry, rows: Mapping[datetime | None, int]) -> FileEntry:
        """The entry with its rows, each in a bucket, outside, or without a time."""
        start = self._spec.start
        inside = {
            bucket: count for bucket, count in rows.items() if bucket and not (start and bucket < start)
        }
        without = max(rows[None], 1) if None in rows else 0
        where = (
            "no date or number that names a bucket in the path"
            if self._path_bucket is not None
            else "a profile without dataset_timestamp; source.date_in_path in dataset.yaml can tell its bucket"
        )
        return replace(
            entry,
            rows=dict(sorted(inside.items())),
            rows_without_timestamp=without,
            rows_outside=sum(count for bucket, count in rows.items() if bucket and bucket not in inside),
            detail=where if without else "",
        )

    def _bucket(self, path: str, moment: datetime | None) -> datetime | None:
        if self._path_bucket is not None:
            return self._path_bucket(path)
        return None if moment is None else self._spec.granularity.floor(moment)


def patterns_of(path: str) -> Sequence[str]:
    """A folder stands for the profile files in it, at any depth."""
    if re.search(r"[*?\[]", path) or PurePosixPath(path).suffix:
        return (path,)
    return tuple(f"{path.rstrip('/')}/**/*.{extension}" for extension in _EXTENSIONS)


def _recipe(spec: DatasetSpec) -> str:
    source = spec.source
    settings = [
        source.format,
        source.date_in_path,
        source.file_sequence,
        spec.granularity,
        spec.start and to_micros(spec.start),
    ]
    return hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:16]


def _state(entry: FileEntry) -> tuple[str, int, datetime]:
    return entry.recipe, entry.size, entry.modified


def content_of(file: FoundFile) -> bytes:
    """The bytes of a file. Raises ProfileError when they are too many, OSError when it cannot be read."""
    if file.size > MOST_BYTES:
        raise ProfileError(f"{file.size:,} bytes; at most {MOST_BYTES:,} are read")
    with file.filesystem.open_input_stream(file.address, compression=None) as stream:
        return stream.read(file.size)


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _LONGEST_REASON else f"{text[: _LONGEST_REASON - 1]}…"
