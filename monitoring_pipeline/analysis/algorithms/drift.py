"""Drift: an anomaly when the target's distribution lies further from the baseline's than a threshold.

Continuous columns are compared on 30 equal-width bins over the range of both sides, read off their quantile sketches;
`ks_test` and `wasserstein` on the values that the sketches keep. Discrete ones are compared on their frequent items,
nulls left out, and have no order that these two could use. How the bins are made is in `analysis.distributions`, the
formulas are in `analysis.distances`. With every algorithm it is the distance that is compared with the threshold:
with `ks_test` the statistic D, not a p-value.
"""

from __future__ import annotations

from typing import cast

import numpy as np

from monitoring_pipeline.analysis.distances import DISTANCES, ORDERED, wasserstein
from monitoring_pipeline.analysis.result import FailureType
from monitoring_pipeline.analysis.verdicts import (
    Binning,
    Context,
    Floats,
    Needs,
    Verdicts,
    fail_all,
    no_failures,
)
from monitoring_pipeline.config.analyzers import AnyConfig, DriftConfig
from monitoring_pipeline.errors import AnalysisError

name = "drift"
needs: Needs = "distribution"


def binning(config: AnyConfig) -> Binning:
    """Steps for the distances that need an order. Raises AnalysisError when the metric has none."""
    config = cast("DriftConfig", config)
    if config.algorithm not in ORDERED:
        return "equal"
    if config.metric != "histogram":
        others = ", ".join(one for one in DISTANCES if one not in ORDERED)
        raise AnalysisError(
            f"{config.algorithm} compares values that have an order, which {config.metric} has not; use {others}"
        )
    return "steps"


def evaluate(
    config: AnyConfig, target: Floats, baseline: Floats, *, context: Context | None = None
) -> Verdicts:
    """Judge `target` against `baseline`, both probabilities (n_series, n_targets, n_bins).

    A side without any data is all zeros. Two empty sides have distance 0; one empty side has distance 1 for a
    histogram and no distance (NaN, no anomaly) for frequent items. `context` says where the bins lie.

    >>> config = DriftConfig(metric="histogram", threshold=0.7, baseline={"type": "TrailingWindow"})
    >>> verdicts = evaluate(config, np.array([[[0.5, 0.5]]]), np.array([[[1.0, 0.0]]]))
    >>> verdicts.value.round(4).tolist(), verdicts.anomaly.tolist()
    ([[0.5412]], [[False]])
    """
    config = cast("DriftConfig", config)
    shape = target.shape[:-1]
    algorithm = str(config.algorithm)
    positions = context.positions if context else None
    if algorithm != "wasserstein":
        value = DISTANCES[algorithm](baseline, target)
    elif positions is not None:
        value = wasserstein(baseline, target, positions)
    else:
        value = np.full(shape, np.nan)
    no_target, no_baseline = ~target.any(axis=-1), ~baseline.any(axis=-1)
    one_empty = 1.0 if config.metric == "histogram" else np.nan
    value = np.where(no_target ^ no_baseline, one_empty, value)
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
    if algorithm == "wasserstein" and positions is None:
        reason = "wasserstein needs to know where the bins lie, which nobody said"
        return fail_all(verdicts, FailureType.CALCULATION_EXCEPTION, reason)
    return verdicts
