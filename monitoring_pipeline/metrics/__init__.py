"""Numbers read off a profile: every metric by name, with its formula.

>>> import numpy as np
>>> from monitoring_pipeline.metrics import metric
>>> metric("count_null_ratio").formula({"n_null": np.array([1.0, 0.0]), "n": np.array([4.0, 0.0])})
array([0.25,  nan])
"""

from __future__ import annotations

from monitoring_pipeline.metrics.catalog import NO_METRICS, catalog, is_sketched, merge_scalars, metric
from monitoring_pipeline.metrics.custom import stated_metrics
from monitoring_pipeline.metrics.expressions import custom_metrics
from monitoring_pipeline.metrics.metric import Metric

__all__ = [
    "NO_METRICS",
    "Metric",
    "catalog",
    "custom_metrics",
    "is_sketched",
    "merge_scalars",
    "metric",
    "stated_metrics",
]
