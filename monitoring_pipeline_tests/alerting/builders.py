"""Results and documents for the tests of alerting, with only what a test is about left to say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from monitoring_pipeline.analysis.result import AnalyzerResult, analysis_id
from monitoring_pipeline.config.document import MonitorDocument, parse_document
from monitoring_pipeline.timegrid import Granularity

DAY_0 = datetime(2026, 1, 31, tzinfo=UTC)
NOW = datetime(2026, 2, 1, 6, 30, tzinfo=UTC)
RUN = "run-1"


def day(number: int) -> datetime:
    """The daily bucket so many days after 2026-01-31."""
    return DAY_0 + timedelta(days=number)


def result(
    column: str = "income",
    bucket: datetime = DAY_0,
    *,
    anomaly: bool = True,
    analyzer: str = "null-ratio-analyzer",
    segment: str = "",
    granularity: Granularity = Granularity.DAILY,
    dataset: str = "lead-scoring",
    **changes: Any,
) -> AnalyzerResult:
    """A stddev verdict on nulls, 14.1 % where 0 to 1.2 % were expected, unless told otherwise."""
    values: dict[str, Any] = {
        "run_id": RUN,
        "analyzer_version": "v1",
        "monitor_ids": ("null-ratio-monitor",),
        "created": NOW,
        "target_level": "column" if column else "dataset",
        "metric": "count_null_ratio",
        "analyzer_type": "stddev",
        "anomaly_count": int(anomaly),
        "metric_value": 0.141,
        "calculated_lower": -0.004,
        "calculated_upper": 0.012,
        "expected_baseline_count": 14,
    }
    identity = analysis_id("org-0", dataset, analyzer=analyzer, bucket=bucket, segment=segment, column=column)
    return AnalyzerResult(
        analysis_id=identity,
        result_id=f"result-{identity}",
        analyzer_id=analyzer,
        column=column,
        segment=segment,
        bucket=bucket,
        granularity=granularity,
        **{**values, **changes},
    )


def fixed(
    column: str = "", bucket: datetime = DAY_0, *, metric: str, value: float, **changes: Any
) -> AnalyzerResult:
    """A verdict against fixed bounds."""
    bounds = {"calculated_lower": None, "calculated_upper": None, "expected_baseline_count": 0}
    return result(
        column, bucket, metric=metric, metric_value=value, analyzer_type="fixed", **{**bounds, **changes}
    )


def missing(bucket: datetime = DAY_0, **changes: Any) -> AnalyzerResult:
    """No data for a bucket."""
    return fixed(
        "",
        bucket,
        metric="missingDatapoint",
        value=1.0,
        absolute_upper=0.0,
        **{"analyzer": "missing-data-analyzer", **changes},
    )


def row_count(bucket: datetime = DAY_0, **changes: Any) -> AnalyzerResult:
    """Too few rows."""
    return fixed(
        "",
        bucket,
        metric="shape_row_count",
        value=120.0,
        absolute_lower=1000.0,
        **{"analyzer": "row-count-analyzer", **changes},
    )


def analyzer(analyzer_id: str = "null-ratio-analyzer", **config: Any) -> dict[str, Any]:
    """An analyzer of a document."""
    defaults = {
        "type": "stddev",
        "metric": "count_null_ratio",
        "baseline": {"type": "TrailingWindow", "size": 14},
    }
    return {
        "id": analyzer_id,
        "schedule": {"type": "fixed", "cadence": "daily"},
        "targetMatrix": {"type": "column", "include": ["*"]},
        "config": config or defaults,
    }


def monitor(monitor_id: str = "null-ratio-monitor", **changes: Any) -> dict[str, Any]:
    """A monitor of a document."""
    defaults: dict[str, Any] = {
        "displayName": "Missing values in inputs",
        "analyzerIds": ["null-ratio-analyzer"],
        "schedule": {"type": "immediate"},
        "severity": 2,
        "mode": {"type": "DIGEST"},
        "actions": [{"type": "global", "target": "slack"}],
    }
    return {"id": monitor_id, **defaults, **changes}


def document(
    *monitors: dict[str, Any], analyzers: list[dict[str, Any]] | None = None, **changes: Any
) -> MonitorDocument:
    """A document with these monitors."""
    data = {
        "orgId": "org-0",
        "datasetId": "lead-scoring",
        "granularity": "daily",
        "analyzers": analyzers if analyzers is not None else [analyzer()],
        "monitors": list(monitors) or [monitor()],
        **changes,
    }
    return parse_document(data, source="test").document
