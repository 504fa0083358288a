"""Days of data in a store, analyzers run over them, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from monitoring_pipeline.analysis.engine import Analysis, analyze
from monitoring_pipeline.analysis.gates import Due
from monitoring_pipeline.analysis.planner import analyzer_version
from monitoring_pipeline.analysis.result import AnalyzerResult
from monitoring_pipeline.config.document import MonitorDocument
from monitoring_pipeline.profiling import profile
from monitoring_pipeline.store.database import Store
from monitoring_pipeline.store.datasets import DatasetRef
from monitoring_pipeline.store.profiles import write_batch

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
NOW = START + 400 * DAY


def load(
    store: Store,
    ref: DatasetRef,
    day: int,
    table: pa.Table | dict[str, Any],
    *,
    segments: Sequence[Sequence[str]] = (),
) -> None:
    """Profile one day's rows into the store."""
    bucket = START + day * DAY
    data = table if isinstance(table, pa.Table) else pa.table(table)
    write_batch(
        store,
        ref,
        bucket,
        profile(data, segments),
        fingerprint=f"day {day}",
        first_upload=bucket + DAY,
        last_upload=bucket + DAY,
        files=1,
        quality={},
        now=NOW,
    )


def run(
    store: Store, ref: DatasetRef, monitors: MonitorDocument, days: Sequence[int], **given: Any
) -> Analysis:
    due = [
        Due(START + day * DAY, one.id, analyzer_version(one)) for one in monitors.analyzers for day in days
    ]
    return analyze(store, ref, monitors, due, **{"now": NOW, "run_id": "run-1", **given})


def constant(store: Store, ref: DatasetRef, values: dict[int, Sequence[float]]) -> None:
    """Days whose column `x` has these values."""
    for day, numbers in values.items():
        load(store, ref, day, {"x": np.array(numbers, dtype=np.float64)})


def one(analysis: Analysis) -> AnalyzerResult:
    assert not analysis.notes
    [result] = analysis.results
    return result


def days_of(analysis: Analysis, analyzer_id: str, **where: str) -> list[int]:
    """Days with an anomaly."""
    return [
        (result.bucket - START).days
        for result in analysis.results
        if result.analyzer_id == analyzer_id
        and result.is_anomaly
        and all(getattr(result, name) == value for name, value in where.items())
    ]


def trailing(size: int = 7, **given: Any) -> dict[str, Any]:
    return {"type": "TrailingWindow", "size": size, **given}


def stddev(metric: str, **given: Any) -> dict[str, Any]:
    return {"type": "stddev", "metric": metric, "factor": 5, "baseline": trailing(7), **given}


def diff(metric: str, **given: Any) -> dict[str, Any]:
    return {"type": "diff", "metric": metric, "mode": "abs", "threshold": 1, "baseline": trailing(3), **given}
