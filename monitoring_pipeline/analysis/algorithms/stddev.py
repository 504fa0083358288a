"""Standard deviations: an anomaly when the metric lies further than `factor` sample deviations from the baseline's mean.

mean ± factor·σ with σ = √(Σ(x − mean)² / (n − 1)); a baseline of one point takes σ = √mean, as for a count. Static
thresholds limit the bounds: with `limitType` "or" the bounds never lie outside `minLowerThreshold` and
`maxUpperThreshold`, with "and" the target must leave the static threshold as well. `params.leastChange` makes the band at
least so wide, as a share of the mean.

`params` can clean the baseline first: of outliers (`enableGrubb`, `grubbSignificance`), of buckets that were anomalies
themselves (`enableAlertsFilter`), or by replacing those (`enableAnomalyReplacement`, `alpha`, `lambdaKeep`, `seed`),
which is in `analysis.healing`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import numpy as np
from numpy.typing import NDArray

from monitoring_pipeline.analysis.bands import Bands, bands
from monitoring_pipeline.analysis.healing import HEALING, Healing, heal, judged
from monitoring_pipeline.analysis.result import FailureType
from monitoring_pipeline.analysis.verdicts import (
    Column,
    Context,
    Floats,
    Needs,
    Verdicts,
    explained,
    fail,
    fail_all,
    no_failures,
)
from monitoring_pipeline.config.analyzers import Analyzer, AnyConfig, StddevConfig
from monitoring_pipeline.config.baselines import TrailingWindowBaseline
from monitoring_pipeline.errors import AnalysisError

name = "stddev"
needs: Needs = "series"
parameters = (
    "leastChange",
    "enableGrubb",
    "grubbSignificance",
    "enableAlertsFilter",
    "enableAnomalyReplacement",
    "alpha",
    "lambdaKeep",
    "seed",
)


def reach(analyzer: Analyzer) -> int:
    """Buckets that a healed baseline is grown from. Raises AnalysisError for parameters that cannot be used."""
    config = cast("StddevConfig", analyzer.config)
    if not Healing.of(config.params).walks:
        return 0
    if not isinstance(config.baseline, TrailingWindowBaseline):
        raise AnalysisError(
            "params.enableAnomalyReplacement and params.enableAlertsFilter need a TrailingWindow baseline, "
            f"whose buckets were judged before the target; found {config.baseline.type}"
        )
    return HEALING * config.baseline.size + config.baseline.offset + analyzer.target_size - 1


def evaluate(
    config: AnyConfig, target: Floats, baseline: Floats, *, context: Context | None = None
) -> Verdicts:
    """Judge `target` (n_series, n_targets) against `baseline` (n_series, n_targets, n_window); NaN is left out.

    Where the baseline is to be healed, it begins `reach` buckets earlier. Fewer than `minBatchSize` points,
    contradictory thresholds and unusable parameters are failures of the result, never a silent verdict.

    >>> config = StddevConfig(metric="mean", factor=3, baseline={"type": "TrailingWindow", "size": 4})
    >>> verdicts = evaluate(config, np.array([[20.0]]), np.array([[[9.0, 11.0, 9.0, 11.0]]]))
    >>> verdicts.upper.round(3).tolist(), verdicts.anomaly.tolist()
    ([[13.464]], [[True]])
    """
    config = cast("StddevConfig", config)
    healing = Healing.of(config.params)
    if healing.walks:
        window = cast("TrailingWindowBaseline", config.baseline).size
        lag = baseline.shape[-1] - (HEALING + 1) * window
        baseline = heal(config, healing, baseline, window=window, lag=lag, context=context)
        baseline = baseline[..., baseline.shape[-1] - window :]
    found = bands(config, baseline, healing.grubbs)
    replaced = judged(healing, found, target, context) if healing.replace and context is not None else {}
    verdicts = _verdicts(config, found, target, more=replaced)
    low, high = config.min_lower_threshold, config.max_upper_threshold
    if low is not None and high is not None and low > high:
        reason = f"minLowerThreshold {low:g} exceeds maxUpperThreshold {high:g}"
        return fail_all(verdicts, FailureType.CALCULATION_EXCEPTION, reason)
    return fail(
        verdicts,
        found.count < config.min_batch_size,
        FailureType.CALCULATION_EXCEPTION,
        _too_few(found.count, config.min_batch_size),
    )


def _verdicts(config: StddevConfig, found: Bands, target: Floats, *, more: Mapping[str, Column]) -> Verdicts:
    side = config.threshold_type
    failure, explanation = no_failures(target.shape)
    return Verdicts(
        anomaly=found.left_by(target, side=side),
        value=target,
        lower=found.lower,
        upper=found.upper,
        failure=failure,
        explanation=explanation,
        columns={
            "metric_value": target,
            "calculated_lower": found.lower,
            "calculated_upper": found.upper,
            "absolute_lower": config.min_lower_threshold,
            "absolute_upper": config.max_upper_threshold,
            "factor": float(config.factor),
            "threshold_type": None if side is None else str(side),
            "points_used": found.count,
            **more,
        },
    )


def _too_few(count: NDArray[np.int64], minimum: int) -> NDArray[np.object_]:
    return explained(
        count,
        lambda points: (
            f"the baseline has {points} usable values; stddev requires at least {minimum} (minBatchSize)"
        ),
    )
