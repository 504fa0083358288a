"""Fixed thresholds: an anomaly when the metric leaves bounds that a person has set.

With `nConsecutive` = n the n − 1 buckets right before the target must have left the bounds too; a missing bucket
breaks the chain. The baseline is that chain, so what happened decides, not what was analysed before.
"""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray

from monitoring_pipeline.analysis.verdicts import Floats, Needs, Verdicts, no_failures
from monitoring_pipeline.config.analyzers import Analyzer, AnyConfig, FixedConfig

name = "fixed"
needs: Needs = "series"


def reach(analyzer: Analyzer) -> int:
    """The targets right before each target that must have breached too."""
    return max(cast("FixedConfig", analyzer.config).n_consecutive - 1, 0)


def evaluate(config: AnyConfig, target: Floats, baseline: Floats) -> Verdicts:
    """Judge `target` (n_series, n_targets) against `config.lower` and `config.upper`, both optional and strict.

    `baseline` (n_series, n_targets, nConsecutive − 1) holds the metric of the buckets right before each target.

    >>> verdicts = evaluate(FixedConfig(metric="min", lower=0), np.array([[1.0, -1.0]]), np.empty((1, 2, 0)))
    >>> verdicts.anomaly.tolist()
    [[False, True]]
    """
    config = cast("FixedConfig", config)
    lower = -np.inf if config.lower is None else config.lower
    upper = np.inf if config.upper is None else config.upper

    def outside(values: Floats) -> NDArray[np.bool_]:
        return (values < lower) | (values > upper)

    failure, explanation = no_failures(target.shape)
    return Verdicts(
        anomaly=outside(target) & outside(baseline).all(axis=-1),
        value=target,
        lower=np.full(target.shape, lower),
        upper=np.full(target.shape, upper),
        failure=failure,
        explanation=explanation,
        columns={
            "metric_value": target,
            "absolute_lower": config.lower,
            "absolute_upper": config.upper,
            **({"n_consecutive": float(config.n_consecutive)} if config.n_consecutive > 1 else {}),
        },
    )
