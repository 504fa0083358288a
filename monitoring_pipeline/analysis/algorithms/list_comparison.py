"""List comparison: an anomaly when the metric is not among the expected values, or with `not_in` when it is.

The expected values are `expected`, or without any the metric of the merged baseline. Numbers are the same within one
unit in the last place (`analysis.expected`).
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from monitoring_pipeline.analysis.expected import expected_value, is_text, missing, same
from monitoring_pipeline.analysis.result import FailureType
from monitoring_pipeline.analysis.verdicts import Needs, Verdicts, fail, fail_all, no_numbers
from monitoring_pipeline.config.analyzers import AnyConfig, ListComparisonConfig
from monitoring_pipeline.errors import AnalysisError

name = "list_comparison"
needs: Needs = "merged"
kinds = ("number", "text")
lists = True


def evaluate(config: AnyConfig, target: NDArray[Any], baseline: NDArray[Any]) -> Verdicts:
    """Judge `target` (n_series, n_targets), numbers or texts, by `config.expected` or else `baseline`.

    The baseline has the same shape, or one more axis when the values of several buckets are expected.

    >>> config = ListComparisonConfig.model_validate({"metric": "min", "operator": "in", "expected": [0, 10]})
    >>> evaluate(config, np.array([[10.0, 5.0]]), np.full((1, 2), np.nan)).anomaly.tolist()
    [[False, True]]
    """
    config = cast("ListComparisonConfig", config)
    columns = {"comparison_observed": target, "comparison_operator": str(config.operator)}
    try:
        wanted = [expected_value(one, text=is_text(target)) for one in config.expected]
    except AnalysisError as error:
        nothing = no_numbers(np.zeros(target.shape, dtype=np.bool_), columns)
        return fail_all(nothing, FailureType.CALCULATION_EXCEPTION, str(error))
    among = np.zeros(target.shape, dtype=np.bool_)
    among_baseline = [baseline] if baseline.ndim == target.ndim else list(np.moveaxis(baseline, -1, 0))
    for one in wanted or among_baseline:
        among |= same(target, one)
    anomaly = (among if config.operator == "not_in" else ~among) & ~missing(target)
    if wanted:
        return no_numbers(anomaly, {**columns, "comparison_expected": ", ".join(map(str, wanted))})
    nothing_expected = np.logical_and.reduce([missing(one) for one in among_baseline])
    told = baseline if baseline.ndim == target.ndim else None
    return fail(
        no_numbers(anomaly, {**columns, "comparison_expected": told}),
        nothing_expected & ~missing(target),
        FailureType.ROLLUP_BASELINE_REQUIRED,
        "there are no expected values, and the merged baseline has no value of this metric to compare with",
    )
