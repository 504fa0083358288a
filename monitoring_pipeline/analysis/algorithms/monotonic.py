"""Monotonic: an anomaly when the metric goes the wrong way in at least `numBuckets` steps.

Steps are those between neighbours among the last `targetSize` buckets, the target the newest of them. A bucket without
the metric is bridged: its neighbours are compared with each other. Standing still is a step in neither direction.
"""

from __future__ import annotations

from typing import cast

import numpy as np

from monitoring_pipeline.analysis.verdicts import Floats, Needs, Verdicts, no_failures
from monitoring_pipeline.config.analyzers import Analyzer, AnyConfig, MonotonicConfig

name = "monotonic"
needs: Needs = "series"
merges_targets = False


def reach(analyzer: Analyzer) -> int:
    """The other buckets of the target."""
    return analyzer.target_size - 1


def evaluate(config: AnyConfig, target: Floats, baseline: Floats) -> Verdicts:
    """Judge `target` (n_series, n_targets) with the buckets before it, `baseline` (n_series, n_targets, targetSize − 1).

    >>> config = MonotonicConfig.model_validate({"metric": "count", "direction": "DECREASING"})
    >>> evaluate(config, np.array([[3.0, 5.0]]), np.array([[[4.0], [4.0]]])).anomaly.tolist()
    [[True, False]]
    """
    config = cast("MonotonicConfig", config)
    increasing = config.direction == "INCREASING"
    steps = np.zeros(target.shape)
    before = np.full(target.shape, np.nan)
    for values in (*np.moveaxis(baseline, -1, 0), target):
        steps += (values > before) if increasing else (values < before)
        before = np.where(np.isnan(values), before, values)
    least = float(config.num_buckets)
    return Verdicts(
        (steps >= least) & ~np.isnan(target),
        steps,
        np.full(target.shape, np.nan),
        np.full(target.shape, least),
        *no_failures(target.shape),
        columns={
            "metric_value": steps,
            "absolute_upper": least,
            "threshold_type": "upper" if increasing else "lower",
            "newest_value": target,
            "direction": str(config.direction),
        },
    )
