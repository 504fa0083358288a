"""Difference: an anomaly when the metric differs from the baseline's by more than a threshold.

`abs` compares |baseline − target| with the threshold, `pct` compares |baseline − target| / |baseline| · 100 with it,
in percent. From a baseline of 0 everything but 0 is a change of 100 %.
"""

from __future__ import annotations

from typing import cast

import numpy as np

from monitoring_pipeline.analysis.result import FailureType
from monitoring_pipeline.analysis.verdicts import Floats, Needs, Verdicts, fail, no_failures
from monitoring_pipeline.config.analyzers import AnyConfig, DiffConfig

name = "diff"
needs: Needs = "merged"


def evaluate(config: AnyConfig, target: Floats, baseline: Floats) -> Verdicts:
    """Judge `target` against `baseline`, both (n_series, n_targets). With a `thresholdType` only that side counts.

    >>> config = DiffConfig(metric="mean", mode="pct", threshold=50, baseline={"type": "TrailingWindow"})
    >>> verdicts = evaluate(config, np.array([[55.0, 151.0]]), np.array([[100.0, 100.0]]))
    >>> verdicts.value.tolist(), verdicts.anomaly.tolist()
    ([[45.0, 51.0]], [[False, True]])
    """
    config = cast("DiffConfig", config)
    threshold, side = float(config.threshold), config.threshold_type
    with np.errstate(invalid="ignore", divide="ignore"):
        difference = np.abs(baseline - target)
        margin = np.full(target.shape, threshold)
        if config.mode == "pct":
            size = np.abs(baseline)
            from_zero = np.where(target == 0, 0.0, np.where(np.isnan(target), np.nan, 100.0))
            difference = np.where(baseline == 0, from_zero, difference / size * 100)
            margin = size * threshold / 100
    lower, upper = baseline - margin, baseline + margin
    anomaly = difference > threshold
    if side == "upper":
        anomaly, lower = anomaly & ~(target < baseline), np.full(target.shape, np.nan)
    elif side == "lower":
        anomaly, upper = anomaly & ~(target > baseline), np.full(target.shape, np.nan)

    failure, explanation = no_failures(target.shape)
    verdicts = Verdicts(
        anomaly=anomaly,
        value=difference,
        lower=lower,
        upper=upper,
        failure=failure,
        explanation=explanation,
        columns={
            "metric_value": target,
            "calculated_lower": lower,
            "calculated_upper": upper,
            "threshold_type": None if side is None else str(side),
            "diff_value": difference,
            "diff_threshold": threshold,
            "diff_mode": str(config.mode),
            "baseline_value": baseline,
        },
    )
    return fail(
        verdicts,
        np.isnan(baseline) & ~np.isnan(target),
        FailureType.ROLLUP_BASELINE_REQUIRED,
        "the merged baseline has no value of this metric: diff expected non-null values to compare",
    )
