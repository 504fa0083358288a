"""A profile in a file, ours or one of whylogs, as the numbers that people ask for. Needs no workspace and no store."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path, PurePosixPath
from statistics import median
from typing import Any, Literal

import numpy as np

from monitoring_pipeline.analysis.baselines import Window
from monitoring_pipeline.analysis.judgements import component_scalars
from monitoring_pipeline.config.descriptions import ColumnDescription, ColumnKind, DatasetDescription
from monitoring_pipeline.errors import ProfileError, SourceError
from monitoring_pipeline.metrics import Metric, catalog
from monitoring_pipeline.metrics.operational import OUTLIER_SCALARS
from monitoring_pipeline.metrics.performance import PERFORMANCE_SCALARS
from monitoring_pipeline.profiling import SCALARS, ColumnProfile, DatasetProfile
from monitoring_pipeline.profiling.merging import ProfileMerger, names_of
from monitoring_pipeline.profiling.performance import PERFORMANCE, SUMS, Performance
from monitoring_pipeline.profiling.whylogs import (
    MOST_BYTES,
    WhylogsProfile,
    read_batches,
    read_bounded,
    read_whylogs,
)
from monitoring_pipeline.segments import OVERALL, segment_tags
from monitoring_pipeline.sources.listing import find_files
from monitoring_pipeline.sources.profile_files import content_of, patterns_of
from monitoring_pipeline.timegrid import Granularity

_OWN_MAGIC = DatasetProfile().to_bytes()[:4]
_COMMONEST = 20
_ALONE = Window(np.zeros(1, np.int64), 1)


@dataclass(frozen=True, kw_only=True)
class ReadProfile:
    """One profile of a file: of all segments together in a file of ours, of one segment in those of whylogs.

    `metadata` are the entries of whylogs and the user's own; times and metadata are in files of whylogs only.
    """

    format: Literal["monitoring-pipeline", "whylogs"]
    profile: DatasetProfile
    dataset_timestamp: datetime | None = None
    creation_timestamp: datetime | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


def read_profiles(path: Path, *, most_bytes: int = MOST_BYTES) -> tuple[ReadProfile, ...]:
    """The profiles in a file of ours or of whylogs; which of them it is, its first bytes tell.

    Raises ProfileError, with the file's name, when it is damaged, larger than `most_bytes`, or something else.
    """
    data = read_bounded(path, most_bytes=most_bytes)
    if not data.startswith(_OWN_MAGIC):
        return tuple(map(_of_whylogs, read_whylogs(data, source=str(path), most_bytes=most_bytes)))
    try:
        profile = DatasetProfile.from_bytes(data)
        for segment in profile.rows:
            segment_tags(segment)
            profile.performance(segment)
    except (ProfileError, ValueError) as error:
        raise ProfileError(f"{path}: {error}") from error
    return (ReadProfile(format="monitoring-pipeline", profile=profile),)


def write_profile(path: Path, profile: DatasetProfile) -> None:
    """Write a profile as a file of ours, whole or not at all: a reader never sees half of it.

    Raises ProfileError, with the file's name, when it cannot be written.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with unfinished.open("wb") as file:
            file.write(profile.to_bytes())
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError as error:
        with suppress(OSError):
            unfinished.unlink()
        raise ProfileError(f"{path} cannot be written: {error.strerror or error}") from error


def _of_whylogs(found: WhylogsProfile) -> ReadProfile:
    return ReadProfile(
        format="whylogs",
        profile=found.judged,
        dataset_timestamp=found.dataset_timestamp,
        creation_timestamp=found.creation_timestamp,
        metadata=found.metadata,
    )


def describe_profile(path: Path, *, most_bytes: int = MOST_BYTES) -> dict[str, Any]:
    """What a profile file says, ready for JSON.

    Reads what `read_profiles` reads. A profile is

        {"format": "whylogs" or "monitoring-pipeline", "segment": {tag: value}, "rows": int,
         "dataset_timestamp": ISO 8601 or None, "creation_timestamp": likewise, "metadata": {name: text},
         "warnings": [text], "columns": {column: {metric: value}},
         "performance": {"rows", "metrics": {metric: value}, "labels", "confusion_matrix" (predictions in rows)}}

    (the last only where the file has it), and where a file holds several segments, they are {"segments": [...]}.
    Metrics have the names and formulas of the catalog; one without a value is None. "frequent_items" are [value,
    estimate] of the 20 commonest, only those that surely occurred more often than the sketch may be wrong; None where
    they were not tracked. Raises ProfileError when the file is damaged or something else.
    """
    segments = [
        _segment(found, segment)
        for found in read_profiles(path, most_bytes=most_bytes)
        for segment in sorted(found.profile.rows)
    ]
    return segments[0] if len(segments) == 1 else {"segments": segments}


def _segment(found: ReadProfile, segment: str) -> dict[str, Any]:
    described: dict[str, Any] = {
        "format": found.format,
        "segment": segment_tags(segment),
        "rows": found.profile.rows[segment],
        "dataset_timestamp": _iso(found.dataset_timestamp),
        "creation_timestamp": _iso(found.creation_timestamp),
        "metadata": dict(found.metadata),
        "warnings": [str(warning) for warning in found.profile.warnings],
        "columns": describe_columns(found.profile.columns.get(segment, {})),
    }
    performance = found.profile.performance(segment)
    if performance is not None:
        described["performance"] = describe_performance(performance)
    return described


def described_metrics() -> list[Metric]:
    """The metrics of a column that its profile tells, in the order of the catalog."""
    known = {*SCALARS, *OUTLIER_SCALARS}
    return [
        metric
        for metric in catalog().values()
        if metric.level == "column"
        and metric.source == "profile"
        and metric.kind != "distribution"
        and known.issuperset(metric.needs)
    ]


def is_count(metric: Metric) -> bool:
    """Whether a metric is a whole number, 0 where there is nothing to count."""
    return metric.additive and metric.unit == "values"


def describe_columns(columns: Mapping[str, ColumnProfile]) -> dict[str, dict[str, Any]]:
    """Every metric of each column by its name, as numbers and texts that JSON has; None where it has no value."""
    names = sorted(columns)
    rows = [columns[name].scalars() | _far_off(columns[name]) for name in names]
    scalars = {
        scalar: np.array([row[scalar] for row in rows], np.float64) for scalar in (*SCALARS, *OUTLIER_SCALARS)
    }
    described: dict[str, dict[str, Any]] = {name: {} for name in names}
    for metric in described_metrics():
        values = metric.formula({scalar: scalars[scalar] for scalar in metric.needs})
        for name, value in zip(names, values.tolist(), strict=True):
            described[name][metric.name] = _plain(value, metric)
    for name in names:
        described[name]["frequent_items"] = _frequent_items(columns[name])
    return described


def _far_off(column: ColumnProfile) -> dict[str, float | None]:
    """Shares of outliers, which only the sketch tells."""
    told = component_scalars(OUTLIER_SCALARS, {0: column}, _ALONE)
    return {name: float(values[0]) for name, values in told.items()}


def _plain(value: float | str, metric: Metric) -> float | str | None:
    if isinstance(value, str):
        return value or None
    if not np.isfinite(value):
        return None
    return int(value) if is_count(metric) else value


def _frequent_items(column: ColumnProfile) -> list[list[str | int]] | None:
    if column.frequent_items is None:
        return None
    items = column.top_items(_COMMONEST)
    return [[text, estimate] for text, estimate, lower, upper in items if lower > upper - lower]


def describe_performance(found: Performance) -> dict[str, Any]:
    """Rows judged, every metric of predictions against outcomes that has a value, and the confusion matrix."""
    profile = ColumnProfile(extra={PERFORMANCE: found.to_bytes()})
    told = component_scalars(PERFORMANCE_SCALARS, {0: profile}, _ALONE)
    metrics = {
        metric.name: _plain(float(metric.formula(told)[0]), metric)
        for metric in catalog().values()
        if metric.sketch == PERFORMANCE
    }
    described: dict[str, Any] = {
        "rows": found.total("rows"),
        "metrics": {name: value for name, value in metrics.items() if value is not None},
    }
    if found.labels:
        counts = np.zeros((len(found.labels), len(found.labels)))
        predicted = found.pairs[:, 0] >= 0
        counts[tuple(found.pairs[predicted].T)] = found.sums[predicted, SUMS.index("weight")]
        described |= {"labels": list(found.labels), "confusion_matrix": counts.tolist()}
    return described


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def describe_profile_files(path: str, *, home: Path) -> DatasetDescription | None:
    """Describe a file, folder or glob of whylogs profiles as a dataset; None where there are none.

    Only the newest files are read, by name. Raises SourceError when none of them can be.
    """
    found = find_files(patterns_of(path), home)
    if not any(PurePosixPath(file.path).suffix in (".bin", ".zip") for file in found):
        return None
    merger, hours, trouble, rows = ProfileMerger(), set[datetime](), "", 0
    for file in found[-_LOOKED_AT:]:
        try:
            batches = read_batches(
                content_of(file), lambda moment: moment and Granularity.HOURLY.floor(moment)
            )
        except ProfileError as error:
            trouble = f"{file.path}: {error}"
            continue
        for hour, batch in batches.items():
            merger.update(batch.profile)
            hours |= {hour} if hour is not None else set()
            rows += batch.rows
    if not hours:
        raise SourceError(trouble or f"{found[-1].path}: a profile without dataset_timestamp tells no bucket")
    granularity = _granularity(sorted(hours))
    buckets = sorted({granularity.floor(hour) for hour in hours})
    merged = merger.finish()
    kinds = Counter(names_of(key) for key in merged.rows if key != OVERALL)
    return DatasetDescription(
        path=path,
        format="whylogs",
        files=len(found),
        rows=rows,
        sampled_rows=rows,
        columns=tuple(
            _described_column(name, column) for name, column in merged.columns.get(OVERALL, {}).items()
        ),
        granularity=granularity,
        rows_per_bucket=merged.rows.get(OVERALL, 0) / len(buckets),
        start=buckets[0],
        end=buckets[-1],
        segments=tuple(sorted(names for names, count in kinds.items() if count <= _FEW_SEGMENTS)),
        notes=(f"profiles of whylogs, made at times that suggest {granularity} data",),
    )


_LOOKED_AT = 50
"""Files that are read to describe them."""

_FEW_SEGMENTS = 20
"""Segments by the same columns up to which each is worth monitors of its own."""

_TYPES: Mapping[str, ColumnKind] = {
    "bool": "boolean",
    "integral": "integer",
    "fractional": "number",
    "string": "text",
}


def _granularity(hours: Sequence[datetime]) -> Granularity:
    """By the usual distance of the hours in which there are profiles, ascending; daily where there is but one."""
    if len(hours) < 2:
        return Granularity.DAILY
    usual = timedelta(seconds=median((later - hour).total_seconds() for hour, later in pairwise(hours)))
    for granularity, below in (
        (Granularity.HOURLY, timedelta(hours=12)),
        (Granularity.DAILY, timedelta(days=4)),
        (Granularity.WEEKLY, timedelta(days=20)),
    ):
        if usual < below:
            return granularity
    return Granularity.MONTHLY


def _described_column(name: str, column: ColumnProfile) -> ColumnDescription:
    kind, _ = max(column.types, key=lambda found: found[1], default=("", 0))
    distinct = column.distinct()[0]
    return ColumnDescription(
        name=name,
        type=kind,
        kind=_TYPES.get(kind, "other"),
        distinct=0 if np.isnan(distinct) else round(distinct),
        null_share=column.n_null / column.n if column.n else 0.0,
        minimum=column.min,
        maximum=column.max,
    )
