"""Files that land in folders: which buckets have arrived, and their rows as a stream.

`scan` opens only files that are new or have changed: Parquet is counted from its footer and its timestamp column,
CSV and JSON lines in one pass. `read` streams the files in the order of their paths and cuts every batch into
buckets. Memory holds one row group or block at a time. What cannot be used is reported as a problem, never dropped
silently: files that cannot be read or that change while they are read, missing columns, timestamps that cannot be
read, rows outside every bucket (before the dataset's start, or more than a day ahead of now).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, cast

import numpy as np
import pyarrow as pa

from monitoring_pipeline.errors import SourceError
from monitoring_pipeline.sources import delimited, jsonlines, parquet
from monitoring_pipeline.sources.base import Arrival, FileEntry, InputProblem, Part, Piece, Scan
from monitoring_pipeline.sources.listing import (
    Found,
    FoundFile,
    Mark,
    checksum,
    described,
    file_format,
    find,
    find_files,
    mark,
)
from monitoring_pipeline.sources.records import (
    Survey,
    bucket_indices,
    split,
    without_duplicate_columns,
)
from monitoring_pipeline.sources.timestamps import PathDate
from monitoring_pipeline.timegrid import Granularity, to_micros

if TYPE_CHECKING:
    from monitoring_pipeline.config.dataset import DatasetSpec

_AHEAD = timedelta(days=1)
"""How far ahead of now a bucket may begin: local times without a zone run up to 14 hours ahead of UTC."""

_READ_ERRORS = (OSError, pa.ArrowException, EOFError, UnicodeError)


@dataclass(frozen=True)
class _Feed:
    """The files of one part of a dataset, and how their rows find a bucket."""

    part: Part
    patterns: tuple[str, ...]
    format: str | None
    timestamp: str | None
    path_bucket: Callable[[str], datetime | None] | None
    expected: tuple[str, ...]
    recipe: str

    def format_of(self, path: str) -> str | None:
        return self.format or file_format(path)


class FilesSource:
    """The files of one dataset. Reads only; keeps no state between calls."""

    def __init__(self, spec: DatasetSpec, home: Path) -> None:
        self._spec = spec
        self._home = home
        self._feeds = _feeds(spec)

    def check(self) -> None:
        """Raise SourceError unless at least one file is there."""
        feed = self._feeds[0]
        if not find_files(feed.patterns, self._home):
            raise SourceError(
                f"dataset {self._spec.id!r}: no file matches {described(feed.patterns, self._home)}; "
                "correct source.path in dataset.yaml, or wait until the first file has landed"
            )

    def scan(self, known: Mapping[str, FileEntry] | None = None, *, as_of: datetime | None = None) -> Scan:
        """Look at all files; those in `known` whose size and modification time are unchanged are not opened.

        With `as_of` the scan is what it would have been at that moment: files modified later do not exist. Raises
        SourceError when a folder cannot be listed.
        """
        now = as_of or datetime.now(UTC)
        listed = [(feed, find(feed.patterns, self._home)) for feed in self._feeds]
        entries: list[FileEntry] = []
        broken: list[FoundFile] = []
        for feed, file in _existing(listed, as_of):
            entries.append(self._entry(file, feed, (known or {}).get(file.path)))
            if not entries[-1].readable:
                broken.append(file)
        entries.sort(key=lambda entry: (entry.path, entry.part))
        arrivals, problems = arrivals_of(entries, now)
        for entry in entries:
            problems.extend(problems_of(entry, self._spec))
        problems.sort(key=lambda problem: (problem.path, problem.kind, problem.detail))
        return Scan(
            tuple(entries),
            arrivals,
            tuple(problems),
            **_told_by_listing(listed, broken, as_of),
        )

    def scan_more(self, before: Scan, since: datetime, *, as_of: datetime | None = None) -> Scan | None:
        """The scan after files have come and nothing else has happened, by reading the new ones; None if more has.

        `before` is an earlier scan that still has the entries of all buckets from `since` on, of files that cannot be
        read, and the states of all files. Told are the buckets from `since` on; None when files bring older ones.
        """
        if not all(entry.readable for entry in before.files):
            return None
        listed = [(feed, find(feed.patterns, self._home)) for feed in self._feeds]
        new: list[tuple[_Feed, FoundFile]] = []
        seen = 0
        for feed, file in _existing(listed, as_of):
            if hash((feed.part, file.path, file.size, file.modified)) in before.states:
                seen += 1
            else:
                new.append((feed, file))
        if seen != len(before.states):
            return None
        added = [self._entry(file, feed, None) for feed, file in new]
        if any(not entry.readable or any(bucket < since for bucket in entry.rows) for entry in added):
            return None
        entries = sorted([*before.files, *added], key=lambda entry: (entry.path, entry.part))
        arrivals, _ = arrivals_of(entries, as_of or datetime.now(UTC))
        return Scan(
            tuple(entries),
            {bucket: arrival for bucket, arrival in arrivals.items() if bucket >= since},
            (),
            states=before.states.union(entry.state for entry in added),
            added=tuple(added),
            **_told_by_listing(listed, [], as_of),
        )

    def checksum(self) -> int:
        """The `checksum` that a scan would have now, without reading anything. Within one process."""
        return hash(tuple(checksum(feed.patterns, self._home) for feed in self._feeds))

    def read(
        self, scan: Scan, buckets: Collection[datetime], *, problems: list[InputProblem]
    ) -> Iterator[Piece]:
        """Stream the rows of some buckets; problems met on the way are added to `problems`.

        After a problem that names buckets, the pieces of those buckets are incomplete: a `changed` file is counted
        anew by the next scan, and what was made of its pieces has to be thrown away until then.
        """
        wanted = frozenset(buckets) & scan.arrivals.keys()
        feeds = {feed.part: feed for feed in self._feeds}
        found = {
            (feed.part, file.path): file
            for feed in self._feeds
            for file in find_files(feed.patterns, self._home)
        }
        for entry in scan.files:
            hit = tuple(sorted(bucket for bucket, rows in entry.rows.items() if rows and bucket in wanted))
            if not hit:
                continue
            file = found.get((entry.part, entry.path))
            trouble = partial(InputProblem, path=entry.path, buckets=hit)
            if file is None or (file.size, file.modified) != (entry.size, entry.modified):
                problems.append(trouble("changed", detail="the file has changed or gone since it was listed"))
                continue
            try:
                yield from self._pieces(file, feeds[entry.part], entry, hit)
            except _READ_ERRORS as error:
                if file.unchanged():
                    problems.append(trouble("unreadable", detail=_reason(error)))
                    continue
            if not file.unchanged():
                problems.append(trouble("changed", detail="the file changed while it was being read"))

    def _entry(self, file: FoundFile, feed: _Feed, known: FileEntry | None) -> FileEntry:
        state = (feed.part, feed.recipe, file.size, file.modified)
        seen = known is not None and (known.part, known.recipe, known.size, known.modified) == state
        if known is not None and known.readable and seen:
            return known
        entry = FileEntry(file.path, feed.part, file.size, file.modified, recipe=feed.recipe)
        try:
            survey = _survey(file, feed, self._spec.granularity)
        except _READ_ERRORS as error:
            changed = not file.unchanged()
            return replace(entry, readable=False, changed=changed, detail=_reason(error))
        if not file.unchanged():
            return replace(
                entry, readable=False, changed=True, detail="the file changed while it was being read"
            )
        return _counted(entry, survey, feed, self._spec)

    def _pieces(
        self, file: FoundFile, feed: _Feed, entry: FileEntry, hit: Sequence[datetime]
    ) -> Iterator[Piece]:
        granularity = self._spec.granularity
        wanted = {granularity.index(bucket): bucket for bucket in hit}
        fixed = None if feed.path_bucket is None else granularity.index(hit[0])
        shape = _Shape.of(feed, self._spec)
        for raw in _batches(file, feed, entry, granularity, wanted=wanted, skip=shape.skip):
            batch = without_duplicate_columns(raw)
            if fixed is None:
                indices = bucket_indices(batch, cast(str, feed.timestamp), granularity)
            else:
                indices = np.full(batch.num_rows, fixed, dtype=np.int64)
            batch = shape.apply(batch)
            for index, part in split(batch, indices, wanted):
                yield Piece(wanted[index], feed.part, part)


@dataclass(frozen=True)
class _Shape:
    """Which columns the pieces of a feed have."""

    skip: frozenset[str]
    drop: frozenset[str]
    segment_columns: tuple[str, ...]

    @classmethod
    def of(cls, feed: _Feed, spec: DatasetSpec) -> _Shape:
        """Outcomes keep their own columns and those of the segments; what only finds the row is not profiled twice."""
        segment_columns = tuple(dict.fromkeys(column for segment in spec.segments for column in segment))
        needed = {*segment_columns, feed.timestamp}
        unwanted = set(spec.exclude)
        if feed.part == "outcomes":
            unwanted |= {name for name in (spec.columns.id, feed.timestamp, spec.timestamp) if name}
        unwanted -= _judged_by(spec)
        skip = frozenset(unwanted - needed)
        return cls(skip, frozenset(unwanted - set(segment_columns) - skip), segment_columns)

    def apply(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        missing = [name for name in self.segment_columns if name not in batch.schema.names]
        for name in missing:
            batch = batch.append_column(name, pa.nulls(batch.num_rows, pa.string()))
        if self.drop.isdisjoint(batch.schema.names):
            return batch
        return batch.select([name for name in batch.schema.names if name not in self.drop])


class _ToldByListing(TypedDict):
    marks: tuple[Mark, ...] | None
    checksum: int
    appears: datetime | None


def _told_by_listing(
    listed: Sequence[tuple[_Feed, Found]], broken: Sequence[FoundFile], as_of: datetime | None
) -> _ToldByListing:
    later = [file.modified for _, found in listed for file in found.files if as_of and file.modified > as_of]
    return {
        "marks": marks_of([found for _, found in listed], broken),
        "checksum": hash(tuple(found.checksum for _, found in listed)),
        "appears": min(later, default=None),
    }


def _existing(
    listed: Sequence[tuple[_Feed, Found]], as_of: datetime | None
) -> Iterator[tuple[_Feed, FoundFile]]:
    return (
        (feed, file)
        for feed, found in listed
        for file in found.files
        if as_of is None or file.modified <= as_of
    )


def marks_of(listed: Sequence[Found], broken: Sequence[FoundFile]) -> tuple[Mark, ...] | None:
    """By what a later look can tell that nothing has changed: files that could not be read are looked at too."""
    known = [found.marks for found in listed if found.marks is not None]
    if len(known) < len(listed):
        return None
    return tuple(dict.fromkeys([*(one for marks in known for one in marks), *map(mark, broken)]))


def _judged_by(spec: DatasetSpec) -> set[str]:
    """Columns by which predictions are held against outcomes, whether they are profiled or not."""
    roles = spec.columns
    if not roles.judged:
        return set()
    found = [roles.prediction, roles.score, roles.target, roles.weight, roles.value]
    return {name for name in (*found, roles.id if spec.outcomes else None) if name}


def _feeds(spec: DatasetSpec) -> tuple[_Feed, ...]:
    source, outcomes = spec.source, spec.outcomes
    segment_columns = [column for segment in spec.segments for column in segment]
    roles = spec.columns
    names = [roles.id, roles.prediction, roles.score, roles.weight, None if outcomes else roles.target]
    path_bucket = path_bucket_of(spec)
    timestamp = None if path_bucket else spec.timestamp
    feeds = [
        _Feed(
            "rows",
            tuple(source.path),
            source.format,
            timestamp,
            path_bucket,
            _unique([timestamp, *names, *segment_columns]),
            "",
        )
    ]
    if outcomes is not None:
        feeds.append(
            _Feed(
                "outcomes",
                tuple(outcomes.path),
                outcomes.format,
                outcomes.timestamp,
                None,
                _unique([outcomes.timestamp, roles.target, *segment_columns]),
                "",
            )
        )
    return tuple(replace(feed, recipe=_recipe(feed, spec)) for feed in feeds)


def path_bucket_of(spec: DatasetSpec) -> Callable[[str], datetime | None] | None:
    """What gives the bucket of a file by its path, where that is what tells it; otherwise None."""
    if spec.source.date_in_path:
        date = PathDate(spec.source.date_in_path)
        return lambda path: (moment := date.find(path)) and spec.granularity.floor(moment)
    if spec.source.file_sequence:
        start = cast(datetime, spec.start)
        return lambda path: _numbered_bucket(path, start, spec.granularity)
    return None


def _numbered_bucket(path: str, start: datetime, granularity: Granularity) -> datetime | None:
    """The bucket that lies as many granules after `start` as the last number in the file's name says."""
    numbers = re.findall(r"\d+", path.rpartition("/")[2])
    try:
        return granularity.shift(start, int(numbers[-1])) if numbers else None
    except (OverflowError, ValueError):
        return None


def _unique(names: Sequence[str | None]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for name in names if name))


def _recipe(feed: _Feed, spec: DatasetSpec) -> str:
    settings = [
        feed.part,
        feed.format,
        feed.timestamp,
        feed.expected,
        spec.source.date_in_path,
        spec.source.file_sequence,
        spec.granularity,
        spec.start and to_micros(spec.start),
    ]
    return hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:16]


def _survey(file: FoundFile, feed: _Feed, granularity: Granularity) -> Survey:
    match feed.format_of(file.path):
        case "parquet":
            return parquet.survey(file, feed.timestamp, granularity)
        case "csv":
            return delimited.survey(file, feed.timestamp, granularity)
        case "jsonl":
            return jsonlines.survey(file, feed.timestamp, granularity)
        case _:
            raise pa.ArrowInvalid("the extension names no known format; set source.format in dataset.yaml")


def _batches(
    file: FoundFile,
    feed: _Feed,
    entry: FileEntry,
    granularity: Granularity,
    *,
    wanted: Collection[int],
    skip: Collection[str],
) -> Iterator[pa.RecordBatch]:
    match feed.format_of(file.path):
        case "parquet":
            return parquet.batches(file, feed.timestamp, granularity, wanted=wanted, skip=skip)
        case "csv":
            return delimited.batches(file, feed.timestamp, types=entry.column_types, skip=skip)
        case _:
            return jsonlines.batches(file, skip=skip)


def _counted(entry: FileEntry, survey: Survey, feed: _Feed, spec: DatasetSpec) -> FileEntry:
    """The entry with the survey's counts: every row is in a bucket, outside, or without a timestamp."""
    rows: Counter[datetime] = Counter()
    bad, outside, detail = survey.bad, 0, ""
    if feed.path_bucket is not None:
        bucket = feed.path_bucket(entry.path)
        if bucket is None:
            bad, detail = survey.rows, "no date or number that names a bucket in the path"
        else:
            survey = replace(survey, buckets=Counter({spec.granularity.index(bucket): survey.rows}))
    first = None if spec.start is None else spec.granularity.index(spec.start)
    for index, count in sorted(survey.buckets.items()):
        if first is not None and index < first:
            outside += count
        else:
            rows[spec.granularity.start(index)] += count
    return replace(
        entry,
        rows=dict(rows),
        rows_without_timestamp=bad,
        rows_outside=outside,
        rows_unreadable=survey.unreadable,
        missing_columns=tuple(name for name in feed.expected if name not in survey.columns),
        repeated_columns=tuple(name for name, times in Counter(survey.columns).items() if times > 1),
        column_types=dict(survey.column_types),
        detail=detail,
    )


def arrivals_of(
    entries: Sequence[FileEntry], now: datetime
) -> tuple[dict[datetime, Arrival], list[InputProblem]]:
    """Buckets with rows, and the rows that lie in no bucket because of when it is or because only outcomes came."""
    by_bucket: dict[datetime, list[FileEntry]] = defaultdict(list)
    early: dict[str, int] = {}
    for entry in entries:
        for bucket, rows in entry.rows.items():
            if bucket > now + _AHEAD:
                early[entry.path] = early.get(entry.path, 0) + rows
            elif rows:
                by_bucket[bucket].append(entry)
    problems = [
        InputProblem("outside", path, "dated more than a day ahead of now", rows)
        for path, rows in early.items()
    ]
    arrivals: dict[datetime, Arrival] = {}
    for bucket in sorted(by_bucket):
        files = by_bucket[bucket]
        own = [entry for entry in files if entry.part == "rows"]
        if own:
            arrivals[bucket] = Arrival(
                bucket,
                rows=sum(entry.rows[bucket] for entry in own),
                first_upload=min(entry.modified for entry in own),
                last_upload=max(entry.modified for entry in files),
                fingerprint=_fingerprint(files, bucket),
                files=len(files),
            )
        else:
            name = bucket.isoformat().removesuffix("+00:00")
            problems += [
                InputProblem(
                    "outside", entry.path, f"outcomes for {name}, which has no rows", entry.rows[bucket]
                )
                for entry in files
            ]
    return arrivals, problems


def _fingerprint(files: Sequence[FileEntry], bucket: datetime) -> str:
    state = [
        (entry.path, entry.part, entry.recipe, entry.size, to_micros(entry.modified), entry.rows[bucket])
        for entry in files
    ]
    return hashlib.sha256(json.dumps(state).encode()).hexdigest()[:32]


def problems_of(entry: FileEntry, spec: DatasetSpec) -> Iterator[InputProblem]:
    """What could not be used of a file."""
    trouble = partial(InputProblem, path=entry.path, buckets=tuple(sorted(entry.rows)))
    if not entry.readable:
        yield trouble("changed" if entry.changed else "unreadable", detail=entry.detail)
    if entry.rows_unreadable:
        yield trouble("unreadable", detail="lines that are not records", rows=entry.rows_unreadable)
    if entry.missing_columns:
        rows = sum(entry.rows.values()) + entry.rows_without_timestamp
        yield trouble("missing_column", detail=", ".join(entry.missing_columns), rows=rows)
    if entry.repeated_columns:
        named = ", ".join(map(repr, entry.repeated_columns))
        yield trouble("repeated_column", detail=f"{named}: only the first column of that name is used")
    if entry.rows_without_timestamp:
        detail = entry.detail or "the timestamp is empty or cannot be read"
        yield trouble("bad_timestamp", detail=detail, rows=entry.rows_without_timestamp)
    if entry.rows_outside and spec.start is not None:
        detail = f"earlier than the dataset's start {spec.start:%Y-%m-%d}"
        yield trouble("outside", detail=detail, rows=entry.rows_outside)


def _reason(error: BaseException) -> str:
    """Why a file cannot be read, without the values in it."""
    text = str(error).split(": invalid value")[0].split(", got ")[0].splitlines() or [type(error).__name__]
    return re.sub(r"'[^']*'|\"[^\"]*\"", "…", text[0])[:200]
