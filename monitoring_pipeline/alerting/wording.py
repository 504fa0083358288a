"""What changed, in words with numbers: one sentence per result.

    `income` nulls 0.6 % → 14.1 %, expected 0–1.2 % (last 14 days), segment region=EU

Column names stand in backticks and contain none themselves, so that a format can set them as code by splitting there.
The sentence names column, metric, value (and what it usually was, where that is known), expectation, baseline and segment; the bucket is said beside it, except
where the absence of the bucket is the news. A result knows how long its baseline was and not where it lay, so `last 14
days` needs the analyzer; without it the same is `baseline of 14 days`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import cache

from monitoring_pipeline.alerting.figures import (
    Unit,
    between,
    figure,
    figures,
    how_long,
    how_many,
    moment,
    name,
    segment_name,
    span,
)
from monitoring_pipeline.analysis.result import AnalyzerResult
from monitoring_pipeline.config.analyzers import Analyzer
from monitoring_pipeline.config.baselines import (
    CurrentBatchBaseline,
    ReferenceBaseline,
    TimeRangeBaseline,
    TrailingWindowBaseline,
)
from monitoring_pipeline.metrics.catalog import catalog
from monitoring_pipeline.timegrid import Granularity

MISSING_DATA = "missingdatapoint"


def sentence(
    result: AnalyzerResult,
    *,
    analyzer: Analyzer | None = None,
    before: float | None = None,
    outcomes: float | None = None,
) -> str:
    """What the result says, with numbers. `analyzer` is the one that made it, if it is known.

    `before` is what the metric usually was, `outcomes` how many known outcomes a metric of performance rests on. A
    result that holds no verdict says why.
    """
    if result.failure_type is not None:
        why = f": {name(result.failure_explanation)}" if result.failure_explanation else ""
        text = f"no verdict on {_subject(result)} ({result.failure_type}{why})"
    elif canonical(result.metric) == MISSING_DATA and result.metric_value:
        text = f"{_column(result)}no data for {moment(result.bucket, result.granularity)}"
    else:
        text = _SENTENCES.get(result.analyzer_type, _bounded)(result, _against(result, analyzer))
        text = _with_before(text, result, before)
        if outcomes is not None:
            text += f", on {how_many(round(outcomes), 'outcome')}"
    return f"{text}, segment {segment_name(result.segment)}" if result.segment else text


def _with_before(text: str, result: AnalyzerResult, before: float | None) -> str:
    """The sentence with the usual value before the present one, where it says the present one and they differ."""
    value = result.metric_value
    if before is None or value is None or result.analyzer_type in _SENTENCES:
        return text
    unit = unit_of(result.metric)
    shown, _ = between(*effective_bounds(result), unit, value=value)
    was = figure(before, unit)
    start = f"{_subject(result)} {shown}"
    if was == shown or not text.startswith(start):
        return text
    return f"{_subject(result)} {was} → {shown}{text.removeprefix(start)}"


def canonical(metric: str) -> str:
    """A metric's name as it is compared: in lower case, `.` and `_` alike.

    >>> canonical("classification.F1")
    'classification_f1'
    """
    return metric.lower().replace(".", "_")


def metric_words(metric: str) -> str:
    """A metric as people call it.

    >>> metric_words("count_null_ratio"), metric_words("quantile_95"), metric_words("my_metric")
    ('nulls', '95th percentile', 'my metric')
    """
    plain = canonical(metric)
    if found := re.fullmatch(r"quantile_(\d+)", plain):
        return f"{found[1]}th percentile"
    return _WORDS.get(plain) or _WORDS.get(plain.removesuffix("_ratio")) or name(metric.replace("_", " "))


def unit_of(metric: str) -> Unit:
    """How the metric's values are written: as the catalog says, and by its name when the catalog does not know it.

    >>> unit_of("count_null_ratio"), unit_of("latency_error_ratio"), unit_of("my_metric")
    (<Unit.RATIO: 'ratio'>, <Unit.RATIO: 'ratio'>, <Unit.NUMBER: 'number'>)
    """
    known = _catalogued().get(canonical(metric))
    if known is not None:
        return known
    ratio = canonical(metric).endswith("_ratio") or canonical(metric).startswith("classification_")
    return Unit.RATIO if ratio else Unit.NUMBER


@cache
def _catalogued() -> Mapping[str, Unit]:
    return {canonical(one.name): _UNITS.get(one.unit, Unit.NUMBER) for one in catalog().values()}


_UNITS = {
    "share": Unit.RATIO,
    "values": Unit.COUNT,
    "rows": Unit.COUNT,
    "columns": Unit.COUNT,
    "batches": Unit.COUNT,
    "seconds": Unit.SECONDS,
}


def _bounded(result: AnalyzerResult, against: str) -> str:
    if result.metric_value is None:
        return _compared(result, against)
    lower, upper = effective_bounds(result)
    value, expected = between(lower, upper, unit_of(result.metric), value=result.metric_value)
    return f"{_subject(result)} {value}" + (f", expected {expected}{against}" if expected else f"{against}")


def _diff(result: AnalyzerResult, against: str) -> str:
    value, difference, threshold = result.metric_value, result.diff_value, result.diff_threshold
    if value is None or difference is None or threshold is None:
        return _bounded(result, against)
    unit, percent = unit_of(result.metric), result.diff_mode == "pct"
    if percent:
        moved, allowed = figures((difference / 100, threshold / 100), Unit.RATIO)
    elif unit is Unit.RATIO:
        moved, allowed = (
            text.replace("%", "percentage points") for text in figures((difference, threshold), unit)
        )
    else:
        moved, allowed = figures((difference, threshold), unit)
    sign = {"upper": "+", "lower": "−"}.get((result.threshold_type or "").lower(), "±")
    before = diff_baseline(result)
    if before is None:
        return f"{_subject(result)} {figure(value, unit)}, {moved} from its baseline{against}, allowed {sign}{allowed}"
    shown, was = figures((value, before), unit)
    change = f" ({'+' if value > before else '−'}{moved})" if not (percent and before == 0) else ""
    return f"{_subject(result)} {was} → {shown}{change}, allowed {sign}{allowed}{against}"


def diff_baseline(result: AnalyzerResult) -> float | None:
    """The baseline's value: as recorded, or read back from a bound, which is baseline ± threshold."""
    recorded = result.details.get("baseline_value")
    if isinstance(recorded, (int, float)):
        return float(recorded)
    lower, upper, threshold = result.calculated_lower, result.calculated_upper, result.diff_threshold
    if lower is not None and upper is not None:
        return (lower + upper) / 2
    bound, sign = (upper, 1) if upper is not None else (lower, -1)
    if bound is None or threshold is None:
        return None
    if result.diff_mode != "pct":
        return bound - sign * threshold
    share = 1 + sign * threshold / 100
    return bound / share if share else None


def _drift(result: AnalyzerResult, against: str) -> str:
    if result.drift_value is None or result.drift_threshold is None:
        return _bounded(result, against)
    value, threshold = figures((result.drift_value, result.drift_threshold))
    algorithm = _ALGORITHMS.get(result.algorithm or "", result.algorithm or "distance")
    return f"{_column(result)}distribution drift {value} ({algorithm}), expected at most {threshold}{against}"


def _compared(result: AnalyzerResult, against: str) -> str:
    """A verdict without a number: what was seen and what was expected, as far as the analyzer recorded them."""
    observed, expected = _detail(result, "observed"), _detail(result, "expected")
    if observed is not None and expected is not None:
        return f"{_subject(result)} {observed}, expected {expected}{against}"
    if observed is not None:
        return f"{_subject(result)} {observed} is not as expected{against}"
    return f"{_subject(result)} is not as expected{against} (`{name(result.analyzer_id)}`, {result.analyzer_type})"


def _detail(result: AnalyzerResult, ending: str) -> str | None:
    for key, value in sorted(result.details.items()):
        if key.endswith(ending) and value is not None:
            return figure(value, unit_of(result.metric)) if isinstance(value, float) else name(str(value))
    return None


def _monotonic(result: AnalyzerResult, against: str) -> str:
    """Its metric value counts steps; what people know is where the metric stands now."""
    newest, direction = result.details.get("newest_value"), str(result.details.get("direction", "")).lower()
    steps = result.metric_value
    if steps is None:
        return _compared(result, against)
    now = f" to {figure(newest, unit_of(result.metric))}" if isinstance(newest, (int, float)) else ""
    verb = "rose" if direction == "increasing" else "fell"
    return f"{_subject(result)} {verb} {how_many(round(steps), 'time')} in a row of buckets{now}"


def _column_list(result: AnalyzerResult, against: str) -> str:
    parts = [
        f"{how_many(int(count), 'column')} {verb}{_named(result.details.get(f'column_list_{side}_sample'))}"
        for side, verb in (("added", "added"), ("removed", "gone"))
        if isinstance(count := result.details.get(f"column_list_{side}"), (int, float)) and count
    ]
    return f"{_column(result)}{' and '.join(parts)}{against}" if parts else _compared(result, against)


def _frequent_strings(result: AnalyzerResult, against: str) -> str:
    values = _named(result.details.get("frequent_string_comparison_sample"))
    return (
        f"{_subject(result)} not as in the baseline{values}{against}"
        if values
        else _compared(result, against)
    )


def _composite(result: AnalyzerResult, _against: str) -> str:
    children = result.details.get("anomalous_analyzer_ids")
    together = ", ".join(name(str(child)) for child in children) if isinstance(children, Sequence) else ""
    return f"{_column(result)}{together or name(result.analyzer_id)} found anomalies together"


def _named(sample: object) -> str:
    """`: a, b` of a sample of values; nothing of none."""
    if isinstance(sample, str):
        return f": {name(sample)}"
    return (
        f": {', '.join(name(str(one)) for one in sample)}" if isinstance(sample, Sequence) and sample else ""
    )


_SENTENCES: dict[str, Callable[[AnalyzerResult, str], str]] = {
    "diff": _diff,
    "drift": _drift,
    "monotonic": _monotonic,
    "column_list": _column_list,
    "frequent_string_comparison": _frequent_strings,
    "conjunction": _composite,
    "disjunction": _composite,
}


def effective_bounds(result: AnalyzerResult) -> tuple[float | None, float | None]:
    """Lower and upper bound that the value was held to; None where it was free."""
    lower = result.absolute_lower if result.calculated_lower is None else result.calculated_lower
    upper = result.absolute_upper if result.calculated_upper is None else result.calculated_upper
    side = (result.threshold_type or "").lower()
    return (
        None if side == "upper" or lower is None or math.isinf(lower) else lower,
        None if side == "lower" or upper is None or math.isinf(upper) else upper,
    )


def _subject(result: AnalyzerResult) -> str:
    return f"{_column(result)}{metric_words(result.metric)}"


def _column(result: AnalyzerResult) -> str:
    return f"`{name(result.column)}` " if result.column else ""


def _against(result: AnalyzerResult, analyzer: Analyzer | None) -> str:
    """The baseline in brackets, or nothing where there is none."""
    baseline: object = getattr(analyzer.config, "baseline", None) if analyzer else None
    text = _baseline(result, baseline)
    other = getattr(baseline, "dataset_id", None)
    if text and other:
        text += f" of dataset `{name(other)}`"
    return f" ({text})" if text else ""


def _baseline(result: AnalyzerResult, baseline: object) -> str:
    granularity = result.granularity
    match baseline:
        case TrailingWindowBaseline():
            return _trailing(baseline.size, baseline.offset, granularity)
        case TimeRangeBaseline():
            last = granularity.floor(baseline.range.end - timedelta(microseconds=1))
            return span(granularity.floor(baseline.range.start), last, granularity)
        case CurrentBatchBaseline():
            return f"{how_long(baseline.offset, granularity)} before" if baseline.offset else "same time"
        case ReferenceBaseline():
            return f"reference `{name(baseline.profile_id)}`"
    if result.reference_profile_id:
        return f"reference `{name(result.reference_profile_id)}`"
    expected = result.expected_baseline_count
    return f"baseline of {how_long(expected, granularity)}" if expected else ""


def _trailing(size: int, offset: int, granularity: Granularity) -> str:
    length = how_long(size, granularity)
    if offset:
        return f"{length} until {how_long(offset, granularity)} before"
    return f"last {length if size != 1 else length.removeprefix('1 ')}"


_WORDS = {
    "count": "values",
    "count_null": "nulls",
    "count_bool": "booleans",
    "count_integral": "integers",
    "count_fractional": "fractional values",
    "count_string": "strings",
    "count_object": "objects",
    "count_true": "true values",
    "count_nan": "NaN values",
    "count_inf": "infinite values",
    "unique_est": "distinct values",
    "unique_upper": "distinct values (upper bound)",
    "unique_lower": "distinct values (lower bound)",
    "inferred_data_type": "data type",
    "min": "minimum",
    "max": "maximum",
    "stddev": "standard deviation",
    "histogram": "distribution",
    "frequent_items": "distribution of values",
    "column_row_count_sum": "values in all columns",
    "shape_row_count": "rows",
    "shape_column_count": "columns",
    "column_list": "columns",
    "input_count": "input values",
    "output_count": "output values",
    "classification_f1": "F1",
    "classification_fpr": "false positive rate",
    "classification_auroc": "AUROC",
    "classification_accuracy": "accuracy",
    "classification_precision": "precision",
    "classification_recall": "recall",
    "classification_log_loss": "log loss",
    "classification_brier": "Brier score",
    "classification_ece": "calibration error",
    "regression_bias": "mean error",
    "regression_mse": "mean squared error",
    "regression_mae": "mean absolute error",
    "regression_rmse": "root mean squared error",
    "secondssincelastupload": "time since the last upload",
    "missingdatapoint": "missing data",
}
_ALGORITHMS = {
    "hellinger": "Hellinger",
    "jensenshannon": "Jensen–Shannon",
    "kl_divergence": "KL divergence",
    "psi": "PSI",
    "ks_test": "Kolmogorov–Smirnov",
    "variation_distance": "total variation",
}
