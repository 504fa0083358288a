"""A profile that a person works with: made of a frame or of files, shown, merged, kept in a file."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pyarrow as pa

from monitoring_pipeline.config.dataset import ColumnRoles, ProfileSettings
from monitoring_pipeline.errors import ProfileError, SourceError, UsageError
from monitoring_pipeline.notebook import drawing
from monitoring_pipeline.profile_file import (
    describe_columns,
    describe_performance,
    described_metrics,
    is_count,
    read_profiles,
    write_profile,
)
from monitoring_pipeline.profiling import (
    ColumnProfile,
    DatasetProfile,
    Profiler,
    data_warnings,
    frames,
    merge_datasets,
)
from monitoring_pipeline.profiling.data_warnings import DataWarning
from monitoring_pipeline.segments import OVERALL, segment_key, segment_label, segment_tags
from monitoring_pipeline.sources import delimited, jsonlines, parquet
from monitoring_pipeline.sources.listing import FoundFile, file_format, find_files
from monitoring_pipeline.sources.records import without_duplicate_columns
from monitoring_pipeline.timegrid import Granularity

if TYPE_CHECKING:
    import pandas as pd

_NAMED = 8
_READ_ERRORS = (OSError, pa.ArrowException, EOFError, UnicodeError)


class ArrowStream(Protocol):
    """Anything that hands its rows over as Arrow: polars, DuckDB, ADBC, …"""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...


@dataclass(frozen=True, repr=False)
class Profile:
    """What is remembered of some rows: counts, moments and sketches of each column, for all data and each segment.

    `dataset` is the profile itself; `dataset_timestamp` and `metadata` are known of files that whylogs wrote.
    """

    dataset: DatasetProfile
    dataset_timestamp: datetime | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """How many rows there were, in all segments together."""
        return self.dataset.rows.get(self._whole, 0)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns, in their order."""
        return tuple(self.profiles())

    @property
    def segments(self) -> tuple[str, ...]:
        """The segments, such as "region=EU", without that of all data."""
        return tuple(key for key in self.dataset.rows if key != OVERALL)

    @property
    def warnings(self) -> tuple[DataWarning, ...]:
        """What could not be taken as it was."""
        return self.dataset.warnings

    def __getitem__(self, name: str | tuple[str, str | Mapping[str, str]]) -> ColumnProfile:
        """A column of all data, or with `p["amount", "region=EU"]` of one segment; its tags may also be a mapping.

        Raises UsageError for a column or segment that is not there.
        """
        column, found = (
            (name, self.profiles()) if isinstance(name, str) else (name[0], self.profiles(name[1]))
        )
        if column not in found:
            near = difflib.get_close_matches(str(column), found, n=3) or list(found)[:_NAMED]
            told = f"near: {', '.join(map(repr, near))}" if near else "there are none"
            raise UsageError(f"no column is called {column!r}; {told}")
        return found[column]

    def profiles(self, segment: str | Mapping[str, str] | None = None) -> Mapping[str, ColumnProfile]:
        """The columns of all data, or of one segment, by name. Raises UsageError for a segment that is not there."""
        return self.dataset.columns.get(self._whole if segment is None else self.key(segment), {})

    def __contains__(self, name: object) -> bool:
        return name in self.columns

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def key(self, segment: str | Mapping[str, str]) -> str:
        """The canonical key of a segment of this profile. Raises UsageError when it is not there."""
        try:
            key = segment_key(segment_tags(segment) if isinstance(segment, str) else segment)
        except ValueError as error:
            raise UsageError(str(error)) from None
        if key not in self.dataset.rows:
            named = ", ".join(map(repr, self.segments[:_NAMED])) or "none; give `segments` when profiling"
            raise UsageError(f"no segment {key!r}; there are: {named}")
        return key

    def summary(self) -> pd.DataFrame:
        """Every metric of the catalog, one row for each segment and column.

        Columns: `segment` ("" is all data) and `column`, str; then the metrics: counts of values int64, texts str,
        all others float64, NaN where there is none; last `frequent_items`, lists of [value, estimate], None where
        they were not tracked.
        """
        import pandas as pd

        metrics = described_metrics()
        kinds = {"segment": "str", "column": "str"} | {
            metric.name: "int64" if is_count(metric) else "str" if metric.kind == "text" else "float64"
            for metric in metrics
        }
        rows = [
            {"segment": segment, "column": name, **described}
            for segment in self.dataset.rows
            for name, described in describe_columns(self.dataset.columns.get(segment, {})).items()
        ]
        return pd.DataFrame(rows, columns=pd.Index([*kinds, "frequent_items"]), dtype=object).astype(kinds)

    def performance(self) -> pd.DataFrame:
        """Predictions against outcomes, one row for each segment: `segment` str, `rows` and the metrics float64.

        Has no rows unless `roles` said which columns are predictions and outcomes.
        """
        import pandas as pd

        found = {key: self.dataset.performance(key) for key in self.dataset.rows}
        told = [
            {"segment": key, "rows": one["rows"], **one["metrics"]}
            for key, performance in found.items()
            if performance is not None
            for one in [describe_performance(performance)]
        ]
        return pd.DataFrame(told or None, columns=None if told else pd.Index(["segment", "rows"]))

    def merge(self, other: Profile) -> Profile:
        """The profile of both together, as if their rows had been profiled at once."""
        return Profile(self.dataset.merge(other.dataset))

    def to_file(self, path: str | Path) -> None:
        """Write it to a file, whole or not at all. Raises ProfileError when that cannot be."""
        write_profile(Path(path), self.dataset)

    @classmethod
    def from_file(cls, path: str | Path) -> Profile:
        """Read a file of ours or of whylogs. Raises ProfileError when it is damaged or something else."""
        found = read_profiles(Path(path))
        datasets = [one.profile for one in found]
        keys = [key for dataset in datasets for key in dataset.rows]
        if len(set(keys)) < len(keys):
            raise ProfileError(f"{path}: holds several profiles of one segment; read them one by one")
        times = {one.dataset_timestamp for one in found}
        metadata = dict(found[0].metadata) if len(found) == 1 else {}
        return cls(merge_datasets(datasets), times.pop() if len(times) == 1 else None, metadata)

    def __repr__(self) -> str:
        names = ", ".join(self.columns[:_NAMED]) + (", …" if len(self.columns) > _NAMED else "")
        told = f"Profile of {_many(self.rows, 'row')}, {_many(len(self.columns), 'column')}"
        told += f" ({names})" if names else ""
        told += f", {_many(len(self.segments), 'segment')}" if self.segments else ""
        return told + (f", {_many(len(self.warnings), 'warning')}" if self.warnings else "")

    def _repr_html_(self) -> str:
        return drawing.profile_page(
            repr(self).partition(" (")[0] + (f", {segment_label(self._whole)}" if self._whole else ""),
            self.profiles(),
            notes=[
                *([f"{_many(len(self.segments), 'segment')}: see summary()"] if self.segments else []),
                *map(str, self.warnings),
            ],
        )

    @property
    def _whole(self) -> str:
        """All data; the one segment of a file that holds nothing else."""
        only = next(iter(self.dataset.rows), OVERALL)
        return OVERALL if OVERALL in self.dataset.rows or len(self.dataset.rows) != 1 else only


def profile(
    data: pd.DataFrame | pa.Table | pa.RecordBatch | ArrowStream | str | Path,
    segments: Sequence[str | Sequence[str]] = (),
    *,
    settings: ProfileSettings | None = None,
    exclude: Collection[str] = (),
    roles: ColumnRoles | Mapping[str, str] | None = None,
) -> Profile:
    """Profile a frame of pandas, polars or anything else that speaks Arrow, or files.

    `segments`: columns whose values are profiled on their own besides all rows, each a name or, for combinations of
    values, several names: `["country", ["country", "device"]]`. `exclude`: columns that are not profiled. `roles`:
    columns that are held against each other (`prediction`, `score`, `target`, `weight`, `value`). A path names a
    Parquet, CSV or JSON-lines file, a folder or a glob, and is read in a stream.

    Raises UsageError for data of another kind, SourceError for what cannot be read.
    """
    profiler = Profiler(
        [[names] if isinstance(names, str) else names for names in segments],
        settings=settings,
        exclude=exclude,
        roles=roles if isinstance(roles, ColumnRoles | None) else ColumnRoles.model_validate(roles),
    )
    warned: set[DataWarning] = set()
    if isinstance(data, str | Path):
        for batch in _batches_of(str(data), warned):
            profiler.update(batch)
    elif isinstance(data, pa.Table | pa.RecordBatch) or frames.is_pandas(data):
        profiler.update(data)
    elif hasattr(data, "__arrow_c_stream__"):
        for batch in pa.RecordBatchReader.from_stream(data):
            profiler.update(batch)
    else:
        accepted = "a frame of pandas or polars, an Arrow table, or the path of files"
        raise UsageError(f"a profile is made of {accepted}: found {type(data).__name__}")
    found = profiler.finish()
    return Profile(replace(found, recorded=tuple(sorted({*found.recorded, *warned}))))


def from_file(path: str | Path) -> Profile:
    """Read a profile from a file, ours or one of whylogs; see `Profile.from_file`."""
    return Profile.from_file(path)


def _batches_of(path: str, warned: set[DataWarning]) -> Iterator[pa.RecordBatch]:
    place = path if "://" in path else str(Path(path).expanduser().resolve())
    files = [file for file in find_files([place], Path.cwd()) if file_format(file.path) is not None]
    if not files:
        raise SourceError(f"no Parquet, CSV or JSON-lines file in {place}")
    for file in files:
        try:
            yield from _rows_of(file, warned)
        except _READ_ERRORS as error:
            reason = str(error).partition("\n")[0]
            raise SourceError(f"{file.path} cannot be read: {reason}") from error


def _rows_of(file: FoundFile, warned: set[DataWarning]) -> Iterator[pa.RecordBatch]:
    # Without a timestamp column the granularity decides nothing.
    timestamp, granularity = None, Granularity.DAILY
    match file_format(file.path):
        case "parquet":
            survey = parquet.survey(file, timestamp, granularity)
            batches = parquet.batches(file, timestamp, granularity, wanted=())
        case "csv":
            survey = delimited.survey(file, timestamp, granularity)
            batches = delimited.batches(file, timestamp, types=survey.column_types)
        case _:
            survey = jsonlines.survey(file, timestamp, granularity)
            batches = jsonlines.batches(file)
    warned |= {
        data_warnings.repeated_column(name, file.path)
        for name, times in Counter(survey.columns).items()
        if times > 1
    }
    if survey.unreadable:
        warned.add(data_warnings.unreadable(survey.unreadable, file.path))
    return map(without_duplicate_columns, batches)


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"
