"""Which anomalies a monitor speaks about: its schedule and exclusions, its offsets, its filter.

Exclusion ranges are tested on the dataset timestamp (DECISIONS 14), every limit is inclusive. A missing weight is
unknown: it fails a minimum and passes a maximum (DECISIONS 8). When a monitor speaks is decided in `speaking`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from monitoring_pipeline.alerting.anomalies import Anomaly
from monitoring_pipeline.alerting.wording import canonical
from monitoring_pipeline.analysis.result import AnalyzerResult
from monitoring_pipeline.config.entity_schema import WeightConfig
from monitoring_pipeline.config.monitors import DigestMode, Monitor
from monitoring_pipeline.config.schedules import ImmediateSchedule


def in_time(monitor: Monitor, result: AnalyzerResult, *, now: datetime, run_id: str | None) -> bool:
    """Whether a result, found now, is one for the monitor: by its exclusion ranges, its offsets, and its run.

    A monitor that speaks immediately speaks of the results of `run_id` only (None: of any run).
    """
    if monitor.schedule.excludes(result.bucket):
        return False
    immediate = isinstance(monitor.schedule, ImmediateSchedule)
    if immediate and run_id is not None and result.run_id != run_id:
        return False
    if not isinstance(monitor.mode, DigestMode):
        return True
    oldest_data, oldest_result = monitor.mode.dataset_timestamp_offset, monitor.mode.creation_time_offset
    if oldest_data is not None and result.bucket < oldest_data.before(now):
        return False
    return oldest_result is None or result.created >= oldest_result.before(now)


def accepts(
    monitor: Monitor, result: AnalyzerResult, *, weight: float | None, weights: WeightConfig | None = None
) -> bool:
    """Whether the filter lets one anomaly through. `weight` is the anomaly's own, `weights` ranks its column."""
    chosen = monitor.mode.filter
    if chosen.include_columns is not None and result.column not in chosen.include_columns:
        return False
    metric = canonical(result.metric)
    if chosen.include_metrics is not None and metric not in {
        canonical(one) for one in chosen.include_metrics
    }:
        return False
    if result.column in chosen.exclude_columns or metric in {
        canonical(one) for one in chosen.exclude_metrics
    }:
        return False
    if not (_at_least(weight, chosen.min_weight) and _at_most(weight, chosen.max_weight)):
        return False
    if chosen.min_rank_by_weight is None and chosen.max_rank_by_weight is None:
        return True
    place = rank(result.column, result.segment, weights)
    return (
        place is not None
        and _at_least(place, chosen.min_rank_by_weight)
        and _at_most(place, chosen.max_rank_by_weight)
    )


def rank(column: str, segment: str, weights: WeightConfig | None) -> int | None:
    """Place of a column among those with a weight in the segment: largest absolute weight first, then by name.

    The first place is 1; None for a column without a weight.
    """
    if weights is None:
        return None
    named = {
        *weights.default_weights.weights,
        *(one for entry in weights.segment_weights for one in entry.weights),
    }
    known = {one: value for one in named if (value := weights.weight(one, segment)) is not None}
    if column not in known:
        return None
    return sorted(known, key=lambda one: (-abs(known[one]), one)).index(column) + 1


def accepts_all(monitor: Monitor, anomalies: Sequence[Anomaly]) -> list[Anomaly]:
    """The anomalies, or none of them when their number or total weight is outside of the filter's limits."""
    chosen = monitor.mode.filter
    count, weight = sum(anomaly.count for anomaly in anomalies), total_weight(anomalies)
    fits = (
        _at_least(count, chosen.min_alert_count)
        and _at_most(count, chosen.max_alert_count)
        and _at_least(weight, chosen.min_total_weight)
        and _at_most(weight, chosen.max_total_weight)
    )
    return list(anomalies) if fits else []


def total_weight(anomalies: Sequence[Anomaly]) -> float | None:
    """Sum of the known weights; None when none is known."""
    known = [anomaly.weight for anomaly in anomalies if anomaly.weight is not None]
    return sum(known) if known else None


def _at_least(value: float | None, limit: float | None) -> bool:
    return limit is None or (value is not None and value >= limit)


def _at_most(value: float | None, limit: float | None) -> bool:
    return limit is None or value is None or value <= limit
