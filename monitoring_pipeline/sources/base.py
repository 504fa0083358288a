"""What every source of data says about itself: files seen, buckets that have arrived, problems met, pieces of data.

A source never drops anything silently: what it cannot use is an `InputProblem`, counted by `problem_counts`. Nothing
in here touches data; the dataclasses are what the pipeline and the store exchange with a source.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Literal, Protocol, cast

from monitoring_pipeline.timegrid import from_micros, to_micros

if TYPE_CHECKING:
    import pyarrow as pa

Part = Literal["rows", "outcomes"]
"""`rows`: files whose rows make the bucket. `outcomes`: files that add columns, never rows, to buckets that exist."""

ProblemKind = Literal["unreadable", "changed", "missing_column", "bad_timestamp", "outside"]


@dataclass(frozen=True)
class FileEntry:
    """What is known of one file, so that it is opened again only when it changes.

    `rows` counts the rows of each bucket (by bucket start) at or after the dataset's start. `rows_outside` counts
    the earlier ones, `rows_without_timestamp` those whose timestamp is null or cannot be read, `rows_unreadable`
    the lines that are not records. `recipe` identifies the settings under which the rows were counted: an entry of
    another recipe is not reused. `column_types` holds the types of CSV columns that the first block alone would
    have got wrong. An entry that is not `readable` says why in `detail`, and is tried again at every scan.
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
    column_types: Mapping[str, str] = field(default_factory=dict)
    recipe: str = ""
    changed: bool = False
    detail: str = ""

    def to_json(self) -> dict[str, object]:
        """A JSON object; times are microseconds since 1970."""
        return {
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
            "column_types": dict(self.column_types),
            "recipe": self.recipe,
            "changed": self.changed,
            "detail": self.detail,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> FileEntry:
        """Inverse of `to_json`. Raises KeyError when a field is missing."""
        rows = cast(Mapping[str, int], data["rows"])
        return cls(
            path=str(data["path"]),
            part=cast(Part, data["part"]),
            size=cast(int, data["size"]),
            modified=from_micros(cast(int, data["modified"])),
            readable=bool(data["readable"]),
            rows={from_micros(int(bucket)): int(count) for bucket, count in rows.items()},
            rows_without_timestamp=cast(int, data["rows_without_timestamp"]),
            rows_outside=cast(int, data["rows_outside"]),
            rows_unreadable=cast(int, data["rows_unreadable"]),
            missing_columns=tuple(cast(list[str], data["missing_columns"])),
            column_types=dict(cast(Mapping[str, str], data["column_types"])),
            recipe=str(data["recipe"]),
            changed=bool(data["changed"]),
            detail=str(data["detail"]),
        )


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
    """What lies in a source at one moment: its files by path, the buckets that have arrived, the problems."""

    files: tuple[FileEntry, ...]
    arrivals: Mapping[datetime, Arrival]
    problems: tuple[InputProblem, ...]


@dataclass(frozen=True)
class Piece:
    """Rows of one bucket, at most 131,072 of them. `part` tells rows from outcomes that arrived later."""

    bucket: datetime
    part: Part
    batch: pa.RecordBatch


class Source(Protocol):
    """Where the batches of a dataset come from."""

    def check(self) -> None:
        """Raise SourceError when there is nothing to read at all."""
        ...

    def scan(self, known: Mapping[str, FileEntry] = ..., *, as_of: datetime | None = None) -> Scan:
        """Which buckets have data, since when."""
        ...

    def read(
        self, scan: Scan, buckets: Collection[datetime], *, problems: list[InputProblem]
    ) -> Iterator[Piece]:
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
