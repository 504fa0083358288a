"""Drift: an anomaly when the target's distribution lies further from the baseline's than a threshold.

Continuous columns are compared on 30 equal-width bins over the range of both sides, read off their quantile sketches;
discrete ones on their frequent items, nulls left out. How the bins are made is in `analysis.distributions`, the
formulas are in `analysis.distances`.
"""

from __future__ import annotations

from typing import cast

import numpy as np

from monitoring_pipeline.analysis.distances import DISTANCES
from monitoring_pipeline.analysis.result import FailureType
from monitoring_pipeline.analysis.verdicts import Floats, Needs, Verdicts, fail, no_failures
from monitoring_pipeline.config.analyzers import AnyConfig, DriftConfig

name = "drift"
needs: Needs = "distribution"


def evaluate(config: AnyConfig, target: Floats, baseline: Floats) -> Verdicts:
    """Judge `target` against `baseline`, both probabilities (n_series, n_targets, n_bins).

    A side without any data is all zeros. Two empty sides have distance 0; one empty side has distance 1 for a
    histogram and no distance (NaN, no anomaly) for frequent items.

    >>> config = DriftConfig(metric="histogram", threshold=0.7, baseline={"type": "TrailingWindow"})
    >>> verdicts = evaluate(config, np.array([[[0.5, 0.5]]]), np.array([[[1.0, 0.0]]]))
    >>> verdicts.value.round(4).tolist(), verdicts.anomaly.tolist()
    ([[0.5412]], [[False]])
    """
    config = cast("DriftConfig", config)
    shape = target.shape[:-1]
    algorithm = str(config.algorithm)
    distance = DISTANCES.get(algorithm)
    value = np.full(shape, np.nan)
    if distance is not None:
        no_target, no_baseline = ~target.any(axis=-1), ~baseline.any(axis=-1)
        one_empty = 1.0 if config.metric == "histogram" else np.nan
        value = np.where(no_target ^ no_baseline, one_empty, distance(baseline, target))
        value = np.where(no_target & no_baseline, 0.0, value)

    failure, explanation = no_failures(shape)
    verdicts = Verdicts(
        anomaly=value > config.threshold,
        value=value,
        lower=np.full(shape, np.nan),
        upper=np.full(shape, float(config.threshold)),
        failure=failure,
        explanation=explanation,
        columns={
            "algorithm": algorithm,
            "algorithm_mode": str(config.metric),
            "drift_value": value,
            "drift_threshold": float(config.threshold),
        },
    )
    if distance is None:
        reason = (
            f"the algorithm {algorithm} is not available in this release; available: {', '.join(DISTANCES)}"
        )
        everywhere = np.ones(shape, dtype=np.bool_)
        return fail(verdicts, everywhere, FailureType.CALCULATION_EXCEPTION, reason)
    return verdicts
