"""Metrics about the arrival of data rather than about its values: `missingDatapoint` and `secondsSinceLastUpload`."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np

from monitoring_pipeline.analysis.verdicts import Floats
from monitoring_pipeline.config.analyzers import Analyzer

MISSING_DATAPOINT = "missingDatapoint"
SECONDS_SINCE_LAST_UPLOAD = "secondsSinceLastUpload"


def is_missing_datapoint(analyzer: Analyzer) -> bool:
    """Whether the analyzer watches `missingDatapoint`: the one metric that is judged on buckets without data."""
    return _is(analyzer, MISSING_DATAPOINT)


def is_seconds_since_last_upload(analyzer: Analyzer) -> bool:
    """Whether the analyzer watches `secondsSinceLastUpload`: the one metric that is about now and not about a bucket."""
    return _is(analyzer, SECONDS_SINCE_LAST_UPLOAD)


def missing_datapoint(counts: Floats) -> Floats:
    """1 where a bucket is missing, 0 where it is not, NaN before the first bucket of a series.

    `counts` (n_series, n_buckets) is NaN where there is no batch, and begins with the dataset's first bucket.

    >>> missing_datapoint(np.array([[np.nan, 3.0, np.nan, 2.0]])).tolist()
    [[nan, 0.0, 1.0, 0.0]]
    """
    present = ~np.isnan(counts)
    seen = np.logical_or.accumulate(present, axis=-1)
    return np.where(seen, (~present).astype(np.float64), np.nan)


def seconds_since(last_upload: datetime | None, now: datetime) -> float:
    """Whole seconds from the newest upload to `now`, towards zero; NaN when nothing was ever uploaded."""
    return np.nan if last_upload is None else float(int((now - last_upload) / timedelta(seconds=1)))


def _is(analyzer: Analyzer, name: str) -> bool:
    return (
        analyzer.metric is not None
        and analyzer.metric.replace(".", "").replace("_", "").lower() == name.lower()
    )
