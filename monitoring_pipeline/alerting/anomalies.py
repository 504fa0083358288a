"""An anomaly as digests and incidents carry it: who, where, when, how bad, and the sentence that says it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from monitoring_pipeline.alerting.wording import (
    MISSING_DATA,
    canonical,
    diff_baseline,
    effective_bounds,
    sentence,
)
from monitoring_pipeline.analysis.result import AnalyzerResult
from monitoring_pipeline.config.analyzers import Analyzer
from monitoring_pipeline.timegrid import Granularity, parse_moment

WORST = 1e6
"""The greatest badness: data that is missing altogether, or anything where nothing was allowed."""

LOWEST_SEVERITY = 3


@dataclass(frozen=True, kw_only=True)
class Anomaly:
    """One anomalous verdict, small enough to be sent. `column` "" is the dataset, `segment` "" all data."""

    analysis_id: str
    analyzer_id: str
    analyzer_type: str
    metric: str
    column: str
    segment: str
    bucket: datetime
    granularity: Granularity
    count: int
    severity: int
    badness: float
    direction: str | None
    """`up` or `down`, seen from what was expected; None where there is no such thing."""
    weight: float | None
    sentence: str

    @classmethod
    def of(
        cls,
        result: AnalyzerResult,
        *,
        severity: int = LOWEST_SEVERITY,
        weight: float | None = None,
        analyzer: Analyzer | None = None,
    ) -> Self:
        """The anomaly that a result reports. `analyzer` is the one that made it, if it is known."""
        return cls(
            analysis_id=result.analysis_id,
            analyzer_id=result.analyzer_id,
            analyzer_type=result.analyzer_type,
            metric=result.metric,
            column=result.column,
            segment=result.segment,
            bucket=result.bucket,
            granularity=result.granularity,
            count=result.anomaly_count,
            severity=severity,
            badness=badness(result),
            direction=direction(result),
            weight=weight,
            sentence=sentence(result, analyzer=analyzer),
        )

    @property
    def series(self) -> tuple[str, str, str]:
        """What was watched: analyzer, column and segment."""
        return self.analyzer_id, self.column, self.segment

    def to_json(self) -> dict[str, object]:
        """As JSON values."""
        return {**self.__dict__, "bucket": self.bucket.isoformat(), "granularity": self.granularity.value}

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> Self:
        """Inverse of `to_json`."""
        values = dict(data)
        values["bucket"] = parse_moment(str(data["bucket"]))
        values["granularity"] = Granularity.parse(str(data["granularity"]))
        return cls(**values)  # pyright: ignore[reportArgumentType]


def worst_first(anomaly: Anomaly) -> tuple[int, float, bool, float, tuple[str, ...]]:
    """Sort key: severity, then badness, all data before segments, newest before older; the rest only breaks ties."""
    identity = (anomaly.column, anomaly.segment, anomaly.metric, anomaly.analyzer_id, anomaly.analysis_id)
    return anomaly.severity, -anomaly.badness, anomaly.segment != "", -anomaly.bucket.timestamp(), identity


def newest_first(anomaly: Anomaly) -> tuple[float, tuple[int, float, bool, float, tuple[str, ...]]]:
    """Sort key: newest bucket first, worst first within it."""
    return -anomaly.bucket.timestamp(), worst_first(anomaly)


def badness(result: AnalyzerResult) -> float:
    """How far a verdict lies beyond what was tolerated: the share of the tolerance that was used, in [0, 1e6].

    Anomalies are above or at 1, everything else is at or below 1, failures are 0. For two bounds it is the distance
    from their middle in half widths; for one, 1 + the distance from it in units of its size; for distances and
    differences, value over threshold. Comparable between analyzers as far as anything is.
    """
    if result.failed:
        return 0.0
    used = _tolerance_used(result)
    used = 0.0 if math.isnan(used) else min(max(used, 0.0), WORST)
    return max(used, 1.0) if result.is_anomaly else min(used, 1.0)


def _tolerance_used(result: AnalyzerResult) -> float:
    if result.diff_value is not None and result.diff_threshold is not None:
        return _over(result.diff_value, result.diff_threshold)
    if result.drift_value is not None and result.drift_threshold is not None:
        return _over(result.drift_value, result.drift_threshold)
    value = result.metric_value
    if value is None:
        return 1.0
    if canonical(result.metric) == MISSING_DATA:
        return WORST * value
    lower, upper = effective_bounds(result)
    if lower is not None and upper is not None:
        return _over(abs(value - (lower + upper) / 2), (upper - lower) / 2)
    if upper is not None:
        return 1 + (value - upper) / (abs(upper) or 1.0)
    if lower is not None:
        return 1 + (lower - value) / (abs(lower) or 1.0)
    return 1.0


def direction(result: AnalyzerResult) -> str | None:
    """Whether the value is above (`up`) or below (`down`) what was expected."""
    value = result.metric_value
    if value is None or result.drift_value is not None:
        return None
    lower, upper = effective_bounds(result)
    if result.diff_value is not None:
        before = diff_baseline(result)
        return None if before is None or before == value else "up" if value > before else "down"
    if upper is not None and value > upper:
        return "up"
    return "down" if lower is not None and value < lower else None


def _over(value: float, allowed: float) -> float:
    if allowed > 0:
        return value / allowed
    return 0.0 if value == 0 else math.inf


def severity_of(result: AnalyzerResult, severities: Mapping[str, int]) -> int:
    """The highest severity (lowest number) of the monitors that watch the result; 3 where none does."""
    return min((severities[one] for one in result.monitor_ids if one in severities), default=LOWEST_SEVERITY)
