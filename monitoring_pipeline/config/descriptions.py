"""A dataset as somebody sees it who takes a look: its columns, its clock, how many rows a bucket has.

`sources.inspect` fills a `DatasetDescription` from files, `onboarding` from profiles in the store. What follows from one
is the content of a `dataset.yaml`, here, and monitors (`presets`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from monitoring_pipeline.timegrid import Granularity

ColumnKind = Literal["number", "integer", "boolean", "text", "timestamp", "other"]
Role = Literal["id", "prediction", "score", "target", "weight"]

JsonObject = dict[str, object]

MANY_VALUES = 60
"""Distinct values up to which a column is a category."""


@dataclass(frozen=True)
class ColumnDescription:
    """What a sample of a column looks like. `distinct` counts values in the sample, `null_share` is in [0, 1]."""

    name: str
    type: str
    kind: ColumnKind
    distinct: int
    null_share: float
    minimum: float | None = None
    maximum: float | None = None
    smallest_share: float = 0.0
    """Share of the rarest value, 0 when there are many values."""


@dataclass(frozen=True)
class DatasetDescription:
    """What is known of a dataset after a look at a sample of its files."""

    path: str
    """A pattern that matches the files, as `source.path` takes it."""
    format: str
    files: int
    rows: int
    sampled_rows: int
    columns: tuple[ColumnDescription, ...]
    granularity: Granularity
    rows_per_bucket: float
    timestamp: str | None = None
    date_in_path: str | None = None
    file_sequence: bool = False
    start: datetime | None = None
    """Start of the oldest bucket in the sample."""
    end: datetime | None = None
    """Start of the newest bucket in the sample."""
    fixed_start: bool = False
    """Whether `start` has to be stated: files are counted from it, or rows with wrong times lie before it."""
    segments: tuple[tuple[str, ...], ...] = ()
    roles: Mapping[Role, str] = field(default_factory=dict)
    exclude: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """Why it is described like this, one sentence each."""

    @property
    def profiled(self) -> tuple[ColumnDescription, ...]:
        """The columns that are profiled."""
        return tuple(column for column in self.columns if column.name not in self.exclude)

    def column(self, name: str) -> ColumnDescription:
        """The column of that name. Raises KeyError."""
        return {column.name: column for column in self.columns}[name]


def dataset_document(
    description: DatasetDescription, *, dataset_id: str, owner: str | None = None
) -> JsonObject:
    """The content of a `dataset.yaml`, keys in the order in which people read them."""
    source: JsonObject = {"type": "files", "path": description.path, "format": description.format}
    if description.date_in_path is not None:
        source["date_in_path"] = description.date_in_path
    if description.file_sequence:
        source["file_sequence"] = True
    document: JsonObject = {"id": dataset_id}
    if owner is not None:
        document["owner"] = owner
    document["granularity"] = description.granularity.value
    if description.start is not None and description.fixed_start:
        document["start"] = description.start.isoformat()
    document["source"] = source
    if description.timestamp is not None:
        document["timestamp"] = description.timestamp
    if description.segments:
        document["segments"] = [list(segment) for segment in description.segments]
    if description.roles:
        document["columns"] = dict(description.roles)
    if description.exclude:
        document["exclude"] = list(description.exclude)
    return document
