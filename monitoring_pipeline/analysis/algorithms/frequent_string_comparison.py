"""Frequent strings: an anomaly when the target's and the merged baseline's sets of values do not relate as they should.

For columns with few values: a sketch keeps 768 of them. Where it has dropped some, a value that it does not name may
have occurred all the same; such a difference is not taken for one, and without any certain one there is no verdict.
Values are compared by their first 128 characters, upper and lower case differ.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from monitoring_pipeline.analysis.distributions import Items
from monitoring_pipeline.analysis.result import FailureType
from monitoring_pipeline.analysis.verdicts import Needs, Verdicts, absent, fail, no_numbers
from monitoring_pipeline.config.analyzers import AnyConfig, FrequentStringComparisonConfig

name = "frequent_string_comparison"
needs: Needs = "items"

SIGNIFICANT = 128
"""Characters that are compared."""

SAMPLE = 5
"""Most differences that a result names."""


def evaluate(config: AnyConfig, target: NDArray[Any], baseline: NDArray[Any]) -> Verdicts:
    """Judge `target` against `baseline`, both (n_series, n_targets) of `Items`, None where there is no sketch.

    >>> config = FrequentStringComparisonConfig.model_validate(
    ...     {"operator": "baseline_includes_all_target", "baseline": {"type": "TrailingWindow"}})
    >>> sides = np.array([[Items({"Monday": 3.0, "September": 1.0}, 0.0, 4.0), Items({"Monday": 3.0}, 0.0, 3.0)]])
    >>> verdicts = evaluate(config, sides[:, :1], sides[:, 1:])
    >>> verdicts.anomaly.tolist(), verdicts.columns["frequent_string_comparison_sample"].tolist()
    ([[True]], [[['September']]])
    """
    config = cast("FrequentStringComparisonConfig", config)
    operator, shape = str(config.operator), target.shape
    anomaly, uncertain = np.zeros(shape, dtype=np.bool_), np.zeros(shape, dtype=np.bool_)
    samples, counts = (np.full(shape, None, dtype=object) for _ in range(2))
    for at in np.ndindex(shape):
        ours, theirs = target.item(at), baseline.item(at)
        if ours is None or theirs is None:
            continue
        found, unsure = _differences(operator, _cropped(ours), _cropped(theirs))
        anomaly[at], uncertain[at] = bool(found), bool(unsure) and not found
        if found:
            ranked = sorted(found, key=lambda text: (-found[text][0], text))[:SAMPLE]
            samples[at], counts[at] = ranked, [list(found[text]) for text in ranked]
    verdicts = no_numbers(
        anomaly,
        {
            "frequent_string_comparison_operator": operator,
            "frequent_string_comparison_sample": samples,
            "freq_string_count": counts,
        },
    )
    verdicts = fail(
        verdicts,
        uncertain,
        FailureType.CALCULATION_EXCEPTION,
        "there are more distinct values than the sketch keeps, so that nobody can tell which are new or gone; "
        "use this analyzer for columns with few values, and drift for others",
    )
    nothing = absent(baseline)
    reason = "the baseline has no frequent items to compare with"
    return fail(verdicts, nothing, FailureType.ROLLUP_BASELINE_REQUIRED, reason)


_Bounds = tuple[float, float, float]
"""Estimate, lower and upper bound of how often a text occurs."""


def _differences(operator: str, ours: Items, theirs: Items) -> tuple[dict[str, _Bounds], bool]:
    """Texts that should be on both sides and are not, and whether there are others that might not be."""
    found: dict[str, _Bounds] = {}
    unsure = False
    pairs = {
        "target_includes_all_baseline": [(theirs, ours)],
        "baseline_includes_all_target": [(ours, theirs)],
    }
    for there, here in pairs.get(operator, [(ours, theirs), (theirs, ours)]):
        absent = there.counts.keys() - here.counts.keys()
        if here.shortfall:
            unsure |= bool(absent)
            continue
        for text in absent:
            low = there.counts[text]
            found[text] = (low + there.shortfall, low, low + there.shortfall)
    return found, unsure


def _cropped(items: Items) -> Items:
    counts: dict[str, float] = {}
    for text, count in items.counts.items():
        counts[text[:SIGNIFICANT]] = counts.get(text[:SIGNIFICANT], 0.0) + count
    return Items(counts, items.shortfall, items.n)
