"""Comparison: an anomaly when the metric does not relate to an expected value as it should.

The target is the left side: `gt` holds when target > expected. The right side is `expected`, or without it the metric
of the merged baseline. Numbers are the same within one unit in the last place (`analysis.expected`); texts can only be
compared for equality.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from monitoring_pipeline.analysis.expected import expected_value, is_text, missing, same
from monitoring_pipeline.analysis.result import FailureType
from monitoring_pipeline.analysis.verdicts import Needs, Verdicts, fail, fail_all, no_numbers
from monitoring_pipeline.config.analyzers import AnyConfig, ComparisonConfig
from monitoring_pipeline.errors import AnalysisError

name = "comparison"
needs: Needs = "merged"
kinds = ("number", "text")

_Holds = Callable[[NDArray[Any], NDArray[Any], NDArray[np.bool_]], NDArray[np.bool_]]
_HOLDS: dict[str, _Holds] = {
    "eq": lambda _left, _right, same: same,
    "gt": lambda left, right, same: (left > right) & ~same,
    "lt": lambda left, right, same: (left < right) & ~same,
    "ge": lambda left, right, same: (left > right) | same,
    "le": lambda left, right, same: (left < right) | same,
}


def evaluate(config: AnyConfig, target: NDArray[Any], baseline: NDArray[Any]) -> Verdicts:
    """Judge `target` (n_series, n_targets), numbers or texts, against `config.expected` or else `baseline`, same shape.

    >>> config = ComparisonConfig.model_validate({"metric": "max", "operator": "le", "expected": 1})
    >>> evaluate(config, np.array([[1.0, 2.0]]), np.full((1, 2), np.nan)).anomaly.tolist()
    [[False, True]]
    """
    config = cast("ComparisonConfig", config)
    operator = str(config.operator)
    columns = {"comparison_observed": target, "comparison_operator": operator}
    nothing = no_numbers(np.zeros(target.shape, dtype=np.bool_), columns)
    try:
        wanted = baseline if config.expected is None else _everywhere(config, target)
    except AnalysisError as error:
        return fail_all(nothing, FailureType.CALCULATION_EXCEPTION, str(error))
    if is_text(target) and operator != "eq":
        reason = f"the texts of {config.metric} have no order that {operator} could test; use eq"
        return fail_all(nothing, FailureType.CALCULATION_EXCEPTION, reason)
    holds = _HOLDS[operator](target, wanted, same(target, wanted))
    comparable = ~missing(target) & (~missing(wanted) | (operator == "eq"))
    verdicts = no_numbers(~holds & comparable, {**columns, "comparison_expected": wanted})
    if config.expected is not None:
        return verdicts
    return fail(
        verdicts,
        missing(baseline) & ~missing(target),
        FailureType.ROLLUP_BASELINE_REQUIRED,
        "there is no expected value, and the merged baseline has no value of this metric to compare with",
    )


def _everywhere(config: ComparisonConfig, target: NDArray[Any]) -> NDArray[Any]:
    assert config.expected is not None  # noqa: S101  told apart by the caller
    return np.full(target.shape, expected_value(config.expected, text=is_text(target)))
