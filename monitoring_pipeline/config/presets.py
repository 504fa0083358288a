"""The first monitors of a dataset that somebody has looked at: few, quiet, each with a name that says what it means.

`sources.inspect` looks at files and fills in a `DatasetDescription`; this module turns one into a monitor document.
It is pure: no files, no clock. Thresholds follow from what is known before any baseline exists: how many rows a
bucket has bounds how much a share or a distribution moves by chance.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
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


def first_monitors(
    description: DatasetDescription,
    *,
    dataset_id: str,
    now: datetime,
    org_id: str = "org-0",
    channels: Sequence[str] = ("console",),
) -> JsonObject:
    """A monitor document as a JSON object.

    The grace period reaches back to the dataset's start, so that its history is analysed. A dataset whose newest
    bucket is old gets no monitor for missing data: it has ended, and would be reported missing every day.
    """
    preset = _Preset(description, now)
    parts = [
        *preset.missing_data(),
        *preset.row_count(),
        *preset.missing_values(),
        *preset.schema_change(),
        *preset.number_drift(),
        *preset.category_drift(),
        *preset.values(),
    ]
    actions: list[JsonObject] = [{"type": "global", "target": channel} for channel in channels]
    return {
        "orgId": org_id,
        "datasetId": dataset_id,
        "granularity": description.granularity.value,
        "analyzers": [analyzer for part in parts for analyzer in part.analyzers],
        "monitors": [part.monitor(actions) for part in parts],
    }


@dataclass(frozen=True)
class _Part:
    """One monitor and its analyzers."""

    id: str
    name: str
    severity: int
    analyzers: tuple[JsonObject, ...]

    def monitor(self, actions: Sequence[JsonObject]) -> JsonObject:
        return {
            "id": f"{self.id}-monitor",
            "displayName": self.name,
            "severity": self.severity,
            "analyzerIds": [analyzer["id"] for analyzer in self.analyzers],
            "schedule": {"type": "immediate"},
            "mode": {"type": "DIGEST"},
            "actions": list(actions),
        }


_WINDOW = {
    Granularity.QUARTER_HOURLY: 672,
    Granularity.HOURLY: 168,
    Granularity.DAILY: 28,
    Granularity.WEEKLY: 12,
    Granularity.MONTHLY: 12,
}
"""Buckets of the trailing baseline: whole weeks, so that every weekday is in it equally often."""

_CADENCE = {
    Granularity.QUARTER_HOURLY: "hourly",
    Granularity.HOURLY: "hourly",
    Granularity.DAILY: "daily",
    Granularity.WEEKLY: "weekly",
    Granularity.MONTHLY: "monthly",
}
_READY = {
    Granularity.QUARTER_HOURLY: "PT45M",
    Granularity.HOURLY: "PT3H",
    Granularity.DAILY: "P1DT12H",
    Granularity.WEEKLY: "P8D",
    Granularity.MONTHLY: "P1M2D",
}
"""When a bucket that has not arrived counts as missing, from its start."""

_ENDED_AFTER = 7
"""Buckets without data after which a dataset has ended."""

_BINS = 30
"""Cells of the histogram that drift compares."""

_NORMAL_HELLINGER = 0.3
"""Weekly rhythm and slow change stay well below this on business data; a changed unit or category is above it."""

_MIN_BATCHES = 7


class _Preset:
    def __init__(self, description: DatasetDescription, now: datetime) -> None:
        self._described = description
        self._now = now
        self._rows = max(description.rows_per_bucket, 1.0)
        size = _WINDOW[description.granularity]
        self._baseline: JsonObject = {"type": "TrailingWindow", "size": size}
        self._batches = min(_MIN_BATCHES, size)

    def missing_data(self) -> list[_Part]:
        """Buckets that did not arrive."""
        granularity, end = self._described.granularity, self._described.end
        if end is not None and granularity.index(self._now) - granularity.index(end) > _ENDED_AFTER:
            return []
        config: JsonObject = {"type": "fixed", "metric": "missingDatapoint", "upper": 0}
        ready = _READY[granularity]
        return [
            self._part(
                "missing-data", "Data has not arrived", 1, self._dataset(config, "missing-data", ready)
            )
        ]

    def row_count(self) -> list[_Part]:
        """Far more or fewer rows: outside both the usual spread and half to double the usual number."""
        config = self._stddev(
            "shape_row_count",
            factor=4,
            limits={
                "maxUpperThreshold": round(self._rows * 1.8),
                "minLowerThreshold": round(self._rows * 0.5),
            },
        )
        analyzer = self._dataset(config, "row-count")
        return [self._part("row-count", "Far more or fewer rows than usual", 2, analyzer)]

    def missing_values(self) -> list[_Part]:
        """Nulls: a jump of the share in either direction, or a rare null that became common."""
        chance = 5 * 0.5 / math.sqrt(self._rows)
        jump: JsonObject = {
            "type": "diff",
            "metric": "count_null_ratio",
            "mode": "abs",
            "threshold": round(max(0.10, chance), 3),
            "baseline": self._baseline,
        }
        rise = self._stddev(
            "count_null_ratio",
            factor=5,
            limits={"maxUpperThreshold": round(max(0.05, 20 / self._rows), 3)},
            threshold_type="upper",
        )
        return [
            self._part(
                "missing-values",
                "The share of missing values has changed",
                2,
                self._columns(jump, "null-ratio-jump", ["*"]),
                self._columns(rise, "null-ratio-rise", ["*"]),
            )
        ]

    def schema_change(self) -> list[_Part]:
        """Columns that vanish, appear, or change between text and anything else."""

        def differs(metric: str, threshold: float) -> JsonObject:
            return {
                "type": "diff",
                "metric": metric,
                "mode": "abs",
                "threshold": threshold,
                "baseline": {"type": "TrailingWindow", "size": 7},
            }

        # A column of nulls only is neither text nor number, so that half of the values may come and go.
        types = self._columns(differs("count_string_ratio", 0.6), "column-types", ["*"])
        columns = self._dataset(differs("shape_column_count", 0.5), "column-count")
        name = "Columns vanished or appeared or changed their type"
        return [self._part("schema-change", name, 1, types, columns)]

    def number_drift(self) -> list[_Part]:
        """Numbers that are distributed differently."""
        # Amounts with fewer values than cells are tariffs: they follow the weekday, and are judged by their average.
        names = [column.name for column in self._numbers() if column.distinct > _BINS]
        if not names:
            return []
        # Expected Hellinger distance of n values from their own distribution on b cells: √((b − 1) / 8n).
        config = self._drift("histogram", 3 * math.sqrt((_BINS - 1) / (8 * self._rows)))
        analyzer = self._columns(config, "number-drift", names)
        return [self._part("number-drift", "Numbers are distributed differently", 2, analyzer)]

    def category_drift(self) -> list[_Part]:
        """Categories whose mix is different: renamed, new, or vanished values among them."""
        columns = [
            column
            for column in self._described.profiled
            if column.kind == "text" and 2 <= column.distinct <= MANY_VALUES
        ]
        if not columns:
            return []
        cells = max(column.distinct for column in columns)
        config = self._drift("frequent_items", 3 * math.sqrt((cells - 1) / (8 * self._rows)))
        analyzer = self._columns(config, "category-drift", [column.name for column in columns])
        return [self._part("category-drift", "The mix of categories is different", 2, analyzer)]

    def values(self) -> list[_Part]:
        """Averages far off, which one absurd value is enough for, and signs that have never been seen."""
        numbers = self._numbers()
        if not numbers:
            return []
        average = self._stddev("mean", factor=6, limits={})
        analyzers = [self._columns(average, "average-value", [column.name for column in numbers])]
        positive = [column.name for column in numbers if column.minimum is not None and column.minimum >= 0]
        if positive:
            config: JsonObject = {"type": "fixed", "metric": "min", "lower": 0}
            analyzers.append(self._columns(config, "never-negative", positive))
        return [self._part("value-range", "Values are far from where they have ever been", 2, *analyzers)]

    def _numbers(self) -> list[ColumnDescription]:
        return [
            column
            for column in self._described.profiled
            if column.kind in ("number", "integer") and column.distinct > 1 and not _is_code(column)
        ]

    def _part(self, name: str, display: str, severity: int, *analyzers: JsonObject) -> _Part:
        return _Part(name, display, severity, analyzers)

    def _stddev(
        self, metric: str, *, factor: float, limits: Mapping[str, float], threshold_type: str | None = None
    ) -> JsonObject:
        config: JsonObject = {
            "type": "stddev",
            "metric": metric,
            "factor": factor,
            "minBatchSize": self._batches,
        }
        if threshold_type is not None:
            config["thresholdType"] = threshold_type
        if limits:
            config |= {"limitType": "and", **limits}
        return {**config, "baseline": self._baseline}

    def _drift(self, metric: str, noise: float) -> JsonObject:
        return {
            "type": "drift",
            "metric": metric,
            "algorithm": "hellinger",
            "threshold": round(min(max(_NORMAL_HELLINGER, noise), 0.7), 2),
            "minBatchSize": self._batches,
            "baseline": self._baseline,
        }

    def _dataset(self, config: JsonObject, name: str, ready: str | None = None) -> JsonObject:
        return self._analyzer(name, {"type": "dataset", "segments": []}, config, ready)

    def _columns(self, config: JsonObject, name: str, include: Sequence[str]) -> JsonObject:
        matrix = {"type": "column", "include": list(include), "segments": [{"tags": []}]}
        return self._analyzer(name, matrix, config, None)

    def _analyzer(self, name: str, matrix: JsonObject, config: JsonObject, ready: str | None) -> JsonObject:
        start = self._described.start
        days = 30 + max((self._now - start).days, 0) if start is not None else 0
        return {
            "id": f"{name}-analyzer",
            "displayName": f"{name.replace('-', ' ').capitalize()} analyzer",
            "schedule": {"type": "fixed", "cadence": _CADENCE[self._described.granularity]},
            "targetMatrix": matrix,
            **({"dataReadinessDuration": ready} if ready else {}),
            "backfillGracePeriodDuration": f"P{max(days, 180)}D",
            "config": config,
        }


def _is_code(column: ColumnDescription) -> bool:
    """Whether the numbers of a column are names: averages and distances of them mean nothing."""
    words = column.name.lower().replace("-", "_").split("_")
    return column.kind == "integer" and bool(
        {"id", "code", "type", "zip", "key", "no", "number"} & {words[-1], words[0]}
    )
