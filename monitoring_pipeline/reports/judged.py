"""What analyzers measured bucket by bucket: the values, where they were expected, and which of them were anomalies."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monitoring_pipeline.alerting.figures import Unit
from monitoring_pipeline.alerting.wording import effective_bounds, unit_of
from monitoring_pipeline.analysis.result import AnalyzerResult
from monitoring_pipeline.reports.period import Buckets
from monitoring_pipeline.store.database import Store
from monitoring_pipeline.store.datasets import DatasetRef
from monitoring_pipeline.store.tallies import VerdictSeries, verdict_series

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Judged:
    """One series, (2 · n_buckets,) float64 each with the period before first, NaN where nothing is known.

    `lower` and `upper` are infinite where there was no bound. `anomalies`: places of the anomalous buckets.
    """

    metric: str
    unit: Unit
    values: Floats
    lower: Floats
    upper: Floats
    anomalies: tuple[int, ...]

    @property
    def known(self) -> int:
        """How many buckets have a value."""
        return int((~np.isnan(self.values)).sum())


def judged_series(
    store: Store, ref: DatasetRef, buckets: Buckets, series: Collection[VerdictSeries]
) -> Mapping[VerdictSeries, Judged]:
    """What the store holds of these series in the period and the one before; without those it holds nothing of."""
    both = buckets.with_before
    if not len(both) or not series:
        return {}
    found = verdict_series(store, ref, both.window, series)
    return {
        one: _judged([AnalyzerResult.from_row(row) for row in rows], both)
        for one, rows in found.items()
        if rows
    }


def _judged(results: list[AnalyzerResult], both: Buckets) -> Judged:
    values, lower, upper = (np.full(len(both), np.nan) for _ in range(3))
    anomalies: set[int] = set()
    for result in results:
        place = both.place(result.bucket)
        if result.failed:
            continue
        if result.drift_value is not None:
            values[place], lower[place] = result.drift_value, -math.inf
            upper[place] = math.inf if result.drift_threshold is None else result.drift_threshold
        elif result.metric_value is not None:
            low, high = effective_bounds(result)
            values[place] = result.metric_value
            lower[place], upper[place] = -math.inf if low is None else low, math.inf if high is None else high
        if result.is_anomaly:
            anomalies.add(place)
    distance = any(result.drift_value is not None for result in results)
    metric = results[0].metric
    unit = Unit.NUMBER if distance else unit_of(metric)
    return Judged(metric, unit, values, lower, upper, tuple(sorted(anomalies)))
