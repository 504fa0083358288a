"""A profile in a file, ours or one of whylogs, as the numbers that people ask for. Needs no workspace and no store."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from monitoring_pipeline.analysis.baselines import Window
from monitoring_pipeline.analysis.judgements import component_scalars
from monitoring_pipeline.errors import ProfileError
from monitoring_pipeline.metrics import Metric, catalog
from monitoring_pipeline.metrics.operational import OUTLIER_SCALARS
from monitoring_pipeline.metrics.performance import PERFORMANCE_SCALARS
from monitoring_pipeline.profiling import SCALARS, ColumnProfile, DatasetProfile
from monitoring_pipeline.profiling.performance import PERFORMANCE, SUMS, Performance
from monitoring_pipeline.profiling.whylogs import MOST_BYTES, WhylogsProfile, read_bounded, read_whylogs
from monitoring_pipeline.segments import segment_tags

_OWN_MAGIC = DatasetProfile().to_bytes()[:4]
_COMMONEST = 20
_ALONE = Window(np.zeros(1, np.int64), 1)


def describe_profile(path: Path, *, most_bytes: int = MOST_BYTES) -> dict[str, Any]:
    """What a profile file says, ready for JSON.

    Reads a dataset profile of ours or any file of whylogs; which of them it is, its first bytes tell. A profile is

        {"format": "whylogs" or "monitoring-pipeline", "segment": {tag: value}, "rows": int,
         "dataset_timestamp": ISO 8601 or None, "creation_timestamp": likewise, "metadata": {name: text},
         "columns": {column: {metric: value}},
         "performance": {"rows", "metrics": {metric: value}, "labels", "confusion_matrix" (predictions in rows)}}

    (the last only where the file has it), and where a file holds several segments, they are {"segments": [...]}.
    Metrics have the names and formulas of the catalog; one without a value is None. "frequent_items" are [value,
    estimate] of the 20 commonest, only those that surely occurred more often than the sketch may be wrong; None where
    they were not tracked. Raises ProfileError when the file is damaged or something else.
    """
    data = read_bounded(path, most_bytes=most_bytes)
    if data.startswith(_OWN_MAGIC):
        segments = _own(data, source=str(path))
    else:
        segments = [
            _of_whylogs(found) for found in read_whylogs(data, source=str(path), most_bytes=most_bytes)
        ]
    return segments[0] if len(segments) == 1 else {"segments": segments}


def _own(data: bytes, *, source: str) -> list[dict[str, Any]]:
    try:
        profile = DatasetProfile.from_bytes(data)
    except ProfileError as error:
        raise ProfileError(f"{source}: {error}") from error
    return [
        {
            "format": "monitoring-pipeline",
            **_segment(profile, segment),
            "dataset_timestamp": None,
            "creation_timestamp": None,
            "metadata": {},
            "columns": describe_columns(profile.columns.get(segment, {})),
        }
        for segment in sorted(profile.rows)
    ]


def _of_whylogs(found: WhylogsProfile) -> dict[str, Any]:
    described: dict[str, Any] = {
        "format": "whylogs",
        **_segment(found.profile, found.segment),
        "dataset_timestamp": _iso(found.dataset_timestamp),
        "creation_timestamp": _iso(found.creation_timestamp),
        "metadata": dict(found.metadata),
        "columns": describe_columns(found.profile.columns[found.segment]),
    }
    if found.performance is not None:
        described["performance"] = _performance(found.performance)
    return described


def _segment(profile: DatasetProfile, segment: str) -> dict[str, Any]:
    return {"segment": segment_tags(segment), "rows": profile.rows[segment]}


def describe_columns(columns: Mapping[str, ColumnProfile]) -> dict[str, dict[str, Any]]:
    """Every metric of each column by its name, as numbers and texts that JSON has; None where it has no value."""
    names = sorted(columns)
    rows = [columns[name].scalars() | _far_off(columns[name]) for name in names]
    scalars = {
        scalar: np.array([row[scalar] for row in rows], np.float64) for scalar in (*SCALARS, *OUTLIER_SCALARS)
    }
    described: dict[str, dict[str, Any]] = {name: {} for name in names}
    for metric in catalog().values():
        told = metric.level == "column" and metric.source == "profile" and metric.kind != "distribution"
        if not told or not scalars.keys() >= set(metric.needs):
            continue
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
    return int(value) if metric.additive and metric.unit == "values" else value


def _frequent_items(column: ColumnProfile) -> list[list[str | int]] | None:
    if column.frequent_items is None:
        return None
    items = column.top_items(_COMMONEST)
    return [[text, estimate] for text, estimate, lower, upper in items if lower > upper - lower]


def _performance(found: Performance) -> dict[str, Any]:
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
