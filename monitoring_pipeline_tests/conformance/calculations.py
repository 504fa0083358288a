"""Cases about the arithmetic of one analyzer: targets and baselines as values, handed to the algorithm itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitoring_pipeline.analysis.algorithms import registry
from monitoring_pipeline.analysis.baselines import Window
from monitoring_pipeline.analysis.distributions import (
    Items,
    Quantiles,
    Side,
    frequencies,
    histograms,
    steps,
)
from monitoring_pipeline.analysis.healing import HEALING
from monitoring_pipeline.analysis.result import FIELDS, AnalyzerResult, FailureType
from monitoring_pipeline.analysis.verdicts import Algorithm, Context, Verdicts, binning_of, judge
from monitoring_pipeline.config.analyzers import AnyConfig, MonotonicConfig, StddevConfig
from monitoring_pipeline.errors import AnalysisError
from monitoring_pipeline.timegrid import Granularity
from monitoring_pipeline_tests.conformance.cases import Case
from monitoring_pipeline_tests.conformance.comparing import Check, Unknown, compare, number
from monitoring_pipeline_tests.conformance.vocabulary import (
    config_of,
    is_items,
    items_image,
    kll_image,
    moment_of,
)

NAN = float("nan")

RECORD = (
    *("anomalyCount", "failureType", "failureExplanation", "algorithm", "algorithmMode", "metric"),
    *("analyzerType", "analyzerResultType", "threshold_metricValue", "threshold_calculatedUpper"),
    *("threshold_calculatedLower", "threshold_absoluteUpper", "threshold_absoluteLower", "threshold_factor"),
    *("threshold_minBatchSize", "threshold_type", "seasonal_shouldReplace", "seasonal_lambdaKeep"),
    *("seasonal_adjusted_prediction", "seasonal_replacement", "columnList_added", "columnList_removed"),
    *("columnList_addedSample", "columnList_removedSample", "columnList_mode", "comparison_expected"),
    *("comparison_observed", "frequentStringComparison_operator", "frequentStringComparison_sample"),
    *("freqStringCount", "drift_metricValue", "drift_threshold", "diff_metricValue", "diff_threshold"),
    "diff_mode",
)
"""Fields of the reference's result record that an algorithm decides; null where a result lacks them."""


def calculate(case: Case) -> Iterator[Check]:
    """One verdict on values, or the refusal of them."""
    target, baseline, priors = (_points(case.get(name)) for name in ("target", "baseline", "priors"))
    kind = "text" if case.get("value_type") == "string" else "number"
    try:
        config = config_of(case["analyzer"], buckets=len(baseline), kind=kind)
        verdicts = _judged(config, target, baseline, priors, granularity=case.get("granularity", "daily"))
    except AnalysisError as error:
        yield from compare(case, refused(str(error)))
        return
    yield from compare(
        case, _told(config, verdicts, has_target=any(value not in (None, "NaN") for _, value in target))
    )


def refused(message: str) -> dict[str, object]:
    """What a case can expect of values or documents that are refused with a message."""
    return {"raises": True, "exception": _Error(), "message_contains": _Text(message), "result": None}


def _points(given: Any) -> list[tuple[float, Any]]:
    """[timestamp, value] pairs by time; a description of generated ones is none."""
    if not isinstance(given, list):
        return []
    pairs = [(one["ts"], one.get("value")) if isinstance(one, Mapping) else one for one in given]
    return sorted(((at, value) for at, value in pairs), key=lambda pair: pair[0])


def _judged(
    config: AnyConfig,
    target: list[tuple[float, Any]],
    baseline: list[tuple[float, Any]],
    priors: list[tuple[float, Any]],
    *,
    granularity: str,
) -> Verdicts:
    algorithm = registry().find(str(config.type))
    if algorithm is None:
        raise AnalysisError(f"there is no algorithm for {config.type}")
    grid = Granularity.parse(granularity)
    first = grid.index(moment_of(baseline[0][0])) if baseline else 0
    if isinstance(config, MonotonicConfig):
        *baseline, newest = sorted([*baseline, *target], key=lambda pair: pair[0])
        target = [newest]
    ours, theirs, positions = _arrays(algorithm, config, target, baseline, priors)
    context = Context(
        analyzer_id="analyzer",
        granularity=grid,
        keys=(("", "column"),),
        targets=np.array([first + len(baseline)]),
        baseline_starts=np.array([first - (theirs.shape[-1] - len(baseline)) if theirs.ndim == 3 else first]),
        positions=positions,
    )
    return judge(algorithm, config, ours, theirs, context)


def _arrays(
    algorithm: Algorithm,
    config: AnyConfig,
    target: list[tuple[float, Any]],
    baseline: list[tuple[float, Any]],
    priors: list[tuple[float, Any]],
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any] | None]:
    """Target, baseline, and where the bins of a distribution lie."""
    ours, theirs = [value for _, value in target], [value for _, value in baseline]
    if algorithm.needs == "distribution":
        return _distributions(config, algorithm, ours, theirs)
    if algorithm.needs == "items":
        # The newest bucket has the columns of the baseline; items are those of all of its buckets.
        sides = [ours, theirs[-1:] if config.type == "column_list" else theirs]
        return _items(sides[0]), _items(sides[1]), None
    values = _one_or_more([_value(value) for value in ours] or [NAN])
    if algorithm.needs == "merged":
        if getattr(config, "expected", None):
            return values, np.full_like(values, "" if values.dtype.kind == "U" else NAN), None
        return values, _one_or_more([_value(value) for value in theirs] or [NAN]), None
    if config.type == "fixed":
        chain = int(getattr(config, "n_consecutive", 1)) - 1
        before = [number(value) for _, value in priors]
        theirs = ([NAN] * chain + before)[len(before) :] if chain > 0 else []
    series = np.array([[[number(value) for value in theirs]]], dtype=np.float64)
    if isinstance(config, StddevConfig):
        # A walk that heals a baseline begins several windows before it; there is nothing before a vector's.
        size = getattr(config.baseline, "size", series.shape[-1])
        series = np.concatenate([np.full((1, 1, HEALING * size), NAN), series], axis=-1)
    return values, series, None


def _one_or_more(values: list[Any]) -> NDArray[Any]:
    """One value as (1, 1), several as (1, 1, n)."""
    array = np.array([[values]], dtype=None if isinstance(values[0], str) else np.float64)
    return array[..., 0] if len(values) == 1 else array


def _value(value: Any) -> Any:
    return (
        value if isinstance(value, str) and value not in ("NaN", "Infinity", "-Infinity") else number(value)
    )


def _items(buckets: list[Any]) -> NDArray[np.object_]:
    opened = [_opened_items(one) for one in buckets] or [None]
    found = np.empty((1, 1, len(opened)), dtype=object)
    found[0, 0, :] = opened
    return found[..., 0] if len(opened) == 1 else found


def _opened_items(bucket: Any) -> Items | None:
    if bucket is None:
        return None
    if isinstance(bucket, list):
        return Items(dict.fromkeys(bucket, 1.0), 0.0, float(len(bucket)))
    return Items.open(items_image(bucket))


def side(sketches: list[Any]) -> Side[Any]:
    """The sketches of a vector as one side of a comparison."""
    opened: list[Any] = [
        None
        if one is None
        else Items.open(items_image(one))
        if is_items(one)
        else Quantiles.open(kll_image(one))
        for one in sketches
    ]
    return Side(opened, 0, Window(np.array([0]), len(opened)))


def _distributions(
    config: AnyConfig, algorithm: Algorithm, ours: list[Any], theirs: list[Any]
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any] | None]:
    if len(ours) != 1 or len(theirs) != 1:
        # As many distributions as there are sketches: whether several can be judged is for the algorithm to say.
        several = [
            np.zeros((1, 1, len(one), 1))[:, :, 0 if len(one) == 1 else slice(None)] for one in (ours, theirs)
        ]
        return several[0], several[1], None
    target, baseline = side(ours), side(theirs)
    if config.metric != "histogram":  # pyright: ignore[reportAttributeAccessIssue]
        found = frequencies(target, baseline)
        return found[0][None], found[1][None], None
    if binning_of(algorithm, config) == "steps":
        p, q, positions = steps(target, baseline)
        return p[None], q[None], positions[None]
    found = histograms(target, baseline)
    return found[0][None], found[1][None], None


def _told(config: AnyConfig, verdicts: Verdicts, *, has_target: bool) -> dict[str, object]:
    """All that a case can expect of a verdict, by the names of the reference's record and of its calculations."""
    failure: FailureType | None = verdicts.failure[0, 0]
    if failure is not None:
        explanation = str(verdicts.explanation[0, 0])
        unknown = Unknown(f"{failure}: {explanation}")
        record = {**dict.fromkeys(RECORD, unknown), "failureType": failure.value}
        return {**record, **refused(explanation), "alertCount": unknown}
    record: dict[str, object] = {**dict.fromkeys(RECORD), **_record(config, verdicts)}
    if not has_target:
        return {"result": None, "raises": False, "result_not_null": False}
    lower, upper = (float(bound[0, 0]) for bound in (verdicts.lower, verdicts.upper))
    sample = record["frequentStringComparison_sample"]
    return {
        **record,
        "result": record,
        "analyzer_result": record,
        "result_not_null": True,
        "raises": False,
        "no_exception": True,
        "alertCount": int(verdicts.anomaly[0, 0]),
        "value": float(verdicts.value[0, 0]),
        "lower": lower,
        "upper": upper,
        "upper_greater_than_lower": upper > lower,
        "metricValue": _first(record, "drift_metricValue", "threshold_metricValue"),
        "targetValue": record["threshold_metricValue"],
        "absoluteLower": _or(record["threshold_absoluteLower"], -np.inf),
        "absoluteUpper": _or(record["threshold_absoluteUpper"], np.inf),
        "factor": record["threshold_factor"],
        "thresholdType": record["threshold_type"],
        "diff": record["diff_metricValue"],
        "threshold": _first(record, "diff_threshold", "drift_threshold"),
        "mode": _first(record, "diff_mode", "columnList_mode"),
        "observed": record["comparison_observed"],
        "expected": record["comparison_expected"],
        "added": record["columnList_added"],
        "removed": record["columnList_removed"],
        "addedSample": record["columnList_addedSample"],
        "removedSample": record["columnList_removedSample"],
        "operator": record["frequentStringComparison_operator"],
        "sample": sample,
        "sample_size": length(sample),
        "sample_counts_size": length(record["freqStringCount"]),
        "shouldReplace": record["seasonal_shouldReplace"],
        "lambdaKeep": record["seasonal_lambdaKeep"],
        "adjustedPrediction": record["seasonal_adjusted_prediction"],
        "replacement": record["seasonal_replacement"],
    }


def _record(config: AnyConfig, verdicts: Verdicts) -> Mapping[str, object]:
    """The verdict as the reference's record; what is no field of a result is a detail of it."""
    fields: dict[str, Any] = {}
    details: dict[str, object] = {}
    for name, column in verdicts.columns.items():
        value = column[0, 0] if isinstance(column, np.ndarray) else column
        value = value.item() if isinstance(value, np.generic) else value
        value = (
            None
            if isinstance(value, float) and not np.isfinite(value) and "comparison" not in name
            else value
        )
        (fields if name in FIELDS else details)[name] = value
    result = AnalyzerResult(
        analysis_id="",
        result_id="",
        run_id="",
        analyzer_id="analyzer",
        analyzer_version="",
        monitor_ids=(),
        segment="",
        column="column",
        bucket=moment_of(0),
        created=moment_of(0),
        granularity=Granularity.DAILY,
        target_level="column",
        metric=str(getattr(config, "metric", "")),
        analyzer_type=str(config.type),
        anomaly_count=int(verdicts.anomaly[0, 0]),
        **fields,
        details=details,
    )
    return result.to_reference_record(organisation="org-0", dataset="vector")


def length(value: object) -> int | None:
    """How long a list is; None for none."""
    return len(value) if isinstance(value, list | tuple) else None


def _first(record: Mapping[str, object], *names: str) -> object:
    return next((record[name] for name in names if record[name] is not None), None)


def _or(value: object, default: float) -> object:
    return default if value is None else value


class _Text(str):
    """A message that is the expected one when it holds the expected words."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and other.lower() in self.lower()

    def __hash__(self) -> int:
        return hash(str(self))


_JAVA_ERRORS = frozenset(
    {
        *("IllegalArgumentException", "IllegalStateException", "NullPointerException", "RuntimeException"),
        *("NotImplementedException", "UnsupportedOperationException", "ArithmeticException", "Exception"),
        *("NumberFormatException", "DateTimeParseException", "JsonMappingException", "ValueError"),
        *(
            "JsonProcessingException",
            "ValidationError",
            "InvalidFormatException",
            "ValueInstantiationException",
        ),
    }
)


class _Error(str):
    """An error of ours, which stands for the classes that the reference's own code raises."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and other.rpartition(".")[2] in _JAVA_ERRORS

    def __hash__(self) -> int:
        return hash(str(self))


__all__ = ["RECORD", "calculate", "length", "refused", "side"]
