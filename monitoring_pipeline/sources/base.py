"""What every source of data says about itself: files seen, buckets that have arrived, problems met, pieces of data.

A source never drops anything silently: what it cannot use is an `InputProblem`, counted by `problem_counts`. Nothing
in here touches data; the dataclasses are what the pipeline and the store exchange with a source.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Generic, Literal, Protocol, TypeVar, cast

from monitoring_pipeline.timegrid import from_micros, to_micros

if TYPE_CHECKING:
    import pyarrow as pa

    from monitoring_pipeline.sources.listing import Mark

Part = Literal["rows", "outcomes"]
"""`rows`: files whose rows make the bucket. `outcomes`: files that add columns, never rows, to buckets that exist."""

ProblemKind = Literal[
    "unreadable",
    "changed",
    "missing_column",
    "bad_timestamp",
    "outside",
    "repeated_column",
    "mixed_types",
    "only_counted",
    "too_many_columns",
    "too_many_segments",
]
"""The first six are told by a source, the others by the profile of what it gave (`profiling.data_warnings`)."""


@dataclass(frozen=True)
class FileEntry:
    """What is known of one file, so that it is opened again only when it changes.

    `rows` counts the rows of each bucket (by bucket start) at or after the dataset's start. `rows_outside` counts
    the earlier ones, `rows_without_timestamp` those whose timestamp is null or cannot be read, `rows_unreadable`
    the lines that are not records. `recipe` identifies the settings under which the rows were counted: an entry of
    another recipe is not reused. `column_types` holds the types of CSV columns that the first block alone would
    have got wrong. Of `repeated_columns`, names that several columns have, only the first is used. An entry that is not `readable` says why in `detail`, and is tried again at every scan.
    """

    path: str
    part: Part
    size: int
    modified: datetime
    readable: bool = True
    rows: Mapping[datetime, int] = field(default_factory=dict)
    rows_without_timestamp: int = 0
    rows_outside: int = 0
    rows_unreadable: int = 0
    missing_columns: tuple[str, ...] = ()
    repeated_columns: tuple[str, ...] = ()
    column_types: Mapping[str, str] = field(default_factory=dict)
    recipe: str = ""
    changed: bool = False
    detail: str = ""

    @property
    def state(self) -> int:
        """Which version of which file it is; within one process."""
        return hash((self.part, self.path, self.size, self.modified))

    def to_json(self) -> dict[str, object]:
        """A JSON object; times are microseconds since 1970. What is at its default is left out."""
        full = {
            "path": self.path,
            "part": self.part,
            "size": self.size,
            "modified": to_micros(self.modified),
            "readable": self.readable,
            "rows": {str(to_micros(bucket)): rows for bucket, rows in self.rows.items()},
            "rows_without_timestamp": self.rows_without_timestamp,
            "rows_outside": self.rows_outside,
            "rows_unreadable": self.rows_unreadable,
            "missing_columns": list(self.missing_columns),
            "repeated_columns": list(self.repeated_columns),
            "column_types": dict(self.column_types),
            "recipe": self.recipe,
            "changed": self.changed,
            "detail": self.detail,
        }
        return {name: value for name, value in full.items() if name in _ALWAYS or value != _DEFAULTS[name]}

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> FileEntry:
        """Inverse of `to_json`. Raises KeyError when a field is missing."""
        rows = cast(Mapping[str, int], data["rows"])
        return cls(
            path=str(data["path"]),
            part=cast(Part, data["part"]),
            size=cast(int, data["size"]),
            modified=from_micros(cast(int, data["modified"])),
            readable=bool(data.get("readable", True)),
            rows={from_micros(int(bucket)): int(count) for bucket, count in rows.items()},
            rows_without_timestamp=cast(int, data.get("rows_without_timestamp", 0)),
            rows_outside=cast(int, data.get("rows_outside", 0)),
            rows_unreadable=cast(int, data.get("rows_unreadable", 0)),
            missing_columns=tuple(cast(list[str], data.get("missing_columns", []))),
            repeated_columns=tuple(cast(list[str], data.get("repeated_columns", []))),
            column_types=dict(cast(Mapping[str, str], data.get("column_types", {}))),
            recipe=str(data["recipe"]),
            changed=bool(data.get("changed", False)),
            detail=str(data.get("detail", "")),
        )


_ALWAYS = frozenset({"path", "part", "size", "modified", "rows", "recipe"})
_DEFAULTS: Mapping[str, object] = {
    "readable": True,
    "rows_without_timestamp": 0,
    "rows_outside": 0,
    "rows_unreadable": 0,
    "missing_columns": [],
    "repeated_columns": [],
    "column_types": {},
    "changed": False,
    "detail": "",
}


@dataclass(frozen=True)
class Arrival:
    """The data of one bucket as it lies there now. `fingerprint` changes when any file of the bucket changes."""

    bucket: datetime
    rows: int
    first_upload: datetime
    last_upload: datetime
    fingerprint: str
    files: int


@dataclass(frozen=True)
class InputProblem:
    """Something in the input that could not be used. `rows` is how many rows that concerns, 0 where it is unknown.

    `buckets` names the buckets that the file has rows in, as far as that is known. After a `changed` that `read` met,
    the profiles of those buckets must not be kept: their pieces are incomplete, and the next scan sees the new file.
    """

    kind: ProblemKind
    path: str
    detail: str
    rows: int = 0
    buckets: tuple[datetime, ...] = ()

    def __str__(self) -> str:
        rows = f" ({self.rows:,} rows)" if self.rows else ""
        return f"{self.path}: {self.kind.replace('_', ' ')}{rows}: {self.detail}"


@dataclass(frozen=True)
class Scan:
    """What lies in a source at one moment: its files by path, the buckets that have arrived, the problems.

    While all `marks` hold, the source is as it was, save for what `listing.Found` says; None: only another scan can
    tell. `checksum` changes with every file that comes, goes or changes. `appears` is when the next file appears that exists only later than `as_of`.
    `states` are those of all files and `added` what is new, where a scan went on from an earlier one.
    """

    files: tuple[FileEntry, ...]
    arrivals: Mapping[datetime, Arrival]
    problems: tuple[InputProblem, ...]
    marks: tuple[Mark, ...] | None = None
    checksum: int = 0
    appears: datetime | None = None
    states: frozenset[int] = frozenset()
    added: tuple[FileEntry, ...] = ()


@dataclass(frozen=True)
class Piece:
    """Rows of one bucket, at most 131,072 of them. `part` tells rows from outcomes that arrived later."""

    bucket: datetime
    part: Part
    batch: pa.RecordBatch


Profile = TypeVar("Profile", covariant=True)
"""What a profile is, `profiling` knows; sources only hand it on."""


@dataclass(frozen=True)
class ProfilePiece(Generic[Profile]):
    """What one file tells of one bucket whose rows have been profiled elsewhere."""

    bucket: datetime
    profile: Profile


class Source(Protocol[Profile]):
    """Where the batches of a dataset come from, as rows or as profiles."""

    def check(self) -> None:
        """Raise SourceError when there is nothing to read at all."""
        ...

    def scan(self, known: Mapping[str, FileEntry] = ..., *, as_of: datetime | None = None) -> Scan:
        """Which buckets have data, since when."""
        ...

    def scan_more(self, before: Scan, since: datetime, *, as_of: datetime | None = None) -> Scan | None:
        """The scan after files have come, of the buckets from `since` on; None where only `scan` can tell."""
        ...

    def checksum(self) -> int:
        """The `checksum` that a scan would have now, without reading anything. Within one process."""
        ...

    def read(
        self, scan: Scan, buckets: Collection[datetime], *, problems: list[InputProblem]
    ) -> Iterator[Piece] | Iterator[ProfilePiece[Profile]]:
        """The data of some buckets, in a stream."""
        ...


def problem_counts(problems: Iterable[InputProblem]) -> dict[str, int]:
    """Rows concerned by kind of problem; a problem without a row count counts as one.

    >>> problem_counts([InputProblem("outside", "a.csv", "", 3), InputProblem("unreadable", "b.csv", "")])
    {'outside': 3, 'unreadable': 1}
    """
    counts: Counter[str] = Counter()
    for problem in problems:
        counts[problem.kind] += max(problem.rows, 1)
    return dict(sorted(counts.items()))
