"""A monitor document in plain words: what each analyzer watches, against what and when, and whom a monitor tells.

Words only; the document itself, with every field, is its JSON.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from monitoring_pipeline.alerting.figures import Unit, figure, figures, how_long, how_many, name, span
from monitoring_pipeline.alerting.wording import metric_words, unit_of
from monitoring_pipeline.analysis.gates import grace_of
from monitoring_pipeline.config.analyzers import (
    Analyzer,
    ColumnListConfig,
    ColumnListMode,
    ComparisonConfig,
    ConjunctionConfig,
    DiffConfig,
    DiffMode,
    DisjunctionConfig,
    DriftConfig,
    ExpectedValue,
    FixedConfig,
    FrequentStringComparisonConfig,
    ListComparisonConfig,
    ListOperator,
    MonotonicConfig,
    SeasonalConfig,
    StddevConfig,
)
from monitoring_pipeline.config.baselines import (
    Baseline,
    CurrentBatchBaseline,
    ReferenceBaseline,
    TimeRangeBaseline,
    TrailingWindowBaseline,
)
from monitoring_pipeline.config.document import MonitorDocument
from monitoring_pipeline.config.monitors import AnomalyFilter, DigestMode, GlobalAction, Monitor
from monitoring_pipeline.config.schedules import CronSchedule, FixedSchedule, ImmediateSchedule
from monitoring_pipeline.config.targets import WILDCARD, ColumnMatrix, Segment
from monitoring_pipeline.timegrid import Duration, Granularity

SEVERITIES = {1: "high", 2: "medium", 3: "low"}


@dataclass(frozen=True)
class AnalyzerWords:
    """One analyzer as sentences without full stop; `against` is "" where there is no baseline."""

    watches: str
    anomaly: str
    against: str
    when: str


@dataclass(frozen=True)
class MonitorWords:
    """One monitor as sentences without full stop."""

    tells: str
    what: str
    when: str


def analyzer_words(analyzer: Analyzer, granularity: Granularity) -> AnalyzerWords:
    """What an analyzer watches, what is an anomaly to it, against what, and when it looks."""
    return AnalyzerWords(
        watches=_watches(analyzer),
        anomaly=_anomaly(analyzer, granularity),
        against=_against(analyzer, granularity),
        when=_when(analyzer, granularity),
    )


def monitor_words(monitor: Monitor) -> MonitorWords:
    """Whom a monitor tells, what, and when."""
    return MonitorWords(
        tells=tells(monitor) or "nobody",
        what=f"{_mode(monitor)}, severity {severity_words(monitor.severity)}",
        when=_told_when(monitor),
    )


def severity_words(severity: int) -> str:
    """`2 (medium)`.

    >>> severity_words(1), severity_words(7)
    ('1 (high)', '7')
    """
    return f"{severity} ({SEVERITIES[severity]})" if severity in SEVERITIES else str(severity)


def tells(monitor: Monitor) -> str:
    """Names of the channels, and kinds of the addresses, that a monitor tells; addresses are kept to themselves."""
    return ", ".join(
        name(action.target) if isinstance(action, GlobalAction) else name(action.id or action.type)
        for action in monitor.actions
    )


def targets_words(analyzer: Analyzer) -> str:
    """The columns and segments that an analyzer looks at, in few words."""
    matrix = analyzer.target_matrix
    if matrix is None:
        return "what other analyzers found"
    what = "the dataset"
    if isinstance(matrix, ColumnMatrix):
        what = "all columns" if "*" in matrix.include else _listed(matrix.include, "no columns")
        what += f" but {_listed(matrix.exclude, '')}" if matrix.exclude else ""
    where = [_segment(one) for one in matrix.segments]
    but = (
        f", not {'; '.join(_segment(one) for one in matrix.exclude_segments)}"
        if matrix.exclude_segments
        else ""
    )
    return f"{what}, in {'; '.join(where)}{but}" if where and where != ["all data"] else f"{what}{but}"


def _watches(analyzer: Analyzer) -> str:
    config = analyzer.config
    if isinstance(config, ConjunctionConfig | DisjunctionConfig):
        joined = " and " if isinstance(config, ConjunctionConfig) else " or "
        return joined.join(name(one) for one in config.analyzer_ids)
    profile = getattr(analyzer.target_matrix, "profile_id", None)
    of = f", of the reference profile {name(profile)}" if profile else ""
    metric = analyzer.metric or ""
    share = "share of " if metric.lower().endswith("_ratio") else ""
    return f"{share}{metric_words(metric)} of {targets_words(analyzer)}{of}"


def _anomaly(analyzer: Analyzer, granularity: Granularity) -> str:
    config = analyzer.config
    unit = unit_of(analyzer.metric) if analyzer.metric else Unit.NUMBER
    match config:
        case FixedConfig():
            row = f", {config.n_consecutive} buckets in a row" if config.n_consecutive > 1 else ""
            return f"{_outside(config.lower, config.upper, unit)}{row}"
        case StddevConfig():
            limits = _outside(config.min_lower_threshold, config.max_upper_threshold, unit)
            also = f", {config.limit_type} {limits}" if limits != "never" else ""
            factor = figure(config.factor)
            return f"{_side(config.threshold_type)}more than {factor} standard deviations from the mean{also}"
        case SeasonalConfig():
            interval = figure(1 - config.alpha, Unit.RATIO)
            return f"{_side(config.threshold_type)}outside the {interval} interval of the seasonal forecast"
        case DiffConfig():
            [limit] = figures(
                [config.threshold / 100 if config.mode is DiffMode.PCT else config.threshold],
                Unit.RATIO if config.mode is DiffMode.PCT else unit,
            )
            if config.mode is DiffMode.ABS and unit is Unit.RATIO:
                limit = limit.replace("%", "percentage points")
            return f"{_side(config.threshold_type)}more than {limit} away"
        case DriftConfig():
            return f"{config.algorithm} distance above {figure(config.threshold)}"
        case ComparisonConfig():
            return f"not {config.operator} {_expected([config.expected] if config.expected else [])}"
        case ListComparisonConfig():
            verb = "not among" if config.operator is ListOperator.IN else "among"
            return f"{verb} {_expected(config.expected)}"
        case FrequentStringComparisonConfig():
            return f"the values do not hold {config.operator}"
        case MonotonicConfig():
            return f"{config.direction.lower()} {config.num_buckets} times within {how_long(analyzer.target_size, granularity)}"
        case ColumnListConfig():
            return {
                ColumnListMode.ON_ADD: "columns appeared",
                ColumnListMode.ON_REMOVE: "columns vanished",
            }.get(config.mode, "columns appeared or vanished")
        case ConjunctionConfig():
            return "all of them found one"
        case DisjunctionConfig():
            return "any of them found one"
    return f"as {name(str(getattr(config, 'implementation', config.type)))} says"


def _outside(lower: float | None, upper: float | None, unit: Unit) -> str:
    sides = [
        *([f"below {figure(lower, unit)}"] if lower is not None else []),
        *([f"above {figure(upper, unit)}"] if upper is not None else []),
    ]
    return " or ".join(sides) or "never"


def _side(threshold_type: object) -> str:
    return {"upper": "upwards only, ", "lower": "downwards only, "}.get(str(threshold_type), "")


def _expected(values: Sequence[ExpectedValue]) -> str:
    texts = [
        str(next(one for one in (value.text, value.whole, value.number) if one is not None))
        for value in values
    ]
    return _listed(texts, "what the baseline has")


def _against(analyzer: Analyzer, granularity: Granularity) -> str:
    baseline: Baseline | None = analyzer.baseline
    if baseline is None:
        return ""
    match baseline:
        case TrailingWindowBaseline():
            text = f"the {how_long(baseline.size, granularity)} before"
            text += f", ending {how_long(baseline.offset, granularity)} earlier" if baseline.offset else ""
            left_out = len(baseline.exclusion_ranges)
            text += f", without {how_many(left_out, 'range')} of time" if left_out else ""
            if baseline.exclusion_schedule is not None:
                text += f", without what the cron schedule '{baseline.exclusion_schedule.cron}' picks"
        case TimeRangeBaseline():
            last = granularity.floor(baseline.range.end - timedelta(microseconds=1))
            text = span(granularity.floor(baseline.range.start), last, granularity)
        case ReferenceBaseline():
            text = f"the reference profile {name(baseline.profile_id)}"
        case CurrentBatchBaseline():
            ago = f", {how_long(baseline.offset, granularity)} earlier" if baseline.offset else ""
            text = f"the batch of the same time{ago}"
    if baseline.dataset_id:
        whose = "the same segment" if baseline.inherit_segment else "all data"
        text += f", in {whose} of dataset {name(baseline.dataset_id)}"
    needed = analyzer.min_batch_size
    return f"{text}; needs {how_many(needed, 'bucket')}" if needed > 1 else text


def _when(analyzer: Analyzer, granularity: Granularity) -> str:
    schedule = analyzer.schedule_for(granularity)
    if isinstance(schedule, CronSchedule):
        text = f"buckets that the cron schedule '{schedule.cron}' picks"
    elif schedule.cadence is granularity:
        text = "every bucket"
    else:
        text = f"the first bucket of each {_PERIODS[schedule.cadence]}"
    parts = [text, *_excluded(schedule)]
    if analyzer.target_size > 1:
        parts.append(f"{how_long(analyzer.target_size, granularity)} together")
    if analyzer.data_readiness_duration is not None:
        parts.append(f"no sooner than {_length(analyzer.data_readiness_duration)} after its start")
    if analyzer.batch_cool_down_period is not None:
        parts.append(f"{_length(analyzer.batch_cool_down_period)} after the newest upload")
    parts.append(f"back to {_length(grace_of(analyzer, granularity))} ago")
    return ", ".join(parts)


def _mode(monitor: Monitor) -> str:
    mode = monitor.mode
    text = "one digest for all anomalies" if isinstance(mode, DigestMode) else "a message for each anomaly"
    limits = [*_filter(mode.filter)]
    if isinstance(mode, DigestMode):
        if mode.dataset_timestamp_offset is not None:
            limits.append(f"buckets of the last {_length(mode.dataset_timestamp_offset)}")
        if mode.creation_time_offset is not None:
            limits.append(f"results of the last {_length(mode.creation_time_offset)}")
    return f"{text} ({'; '.join(limits)})" if limits else text


def _filter(given: AnomalyFilter) -> Iterator[str]:
    for field, words in (
        ("include_columns", "columns"),
        ("exclude_columns", "not the columns"),
        ("include_metrics", "metrics"),
        ("exclude_metrics", "not the metrics"),
    ):
        names = getattr(given, field)
        if field in given.model_fields_set and names is not None:
            yield f"{words} {_listed(names, 'none')}"
    for field in type(given).model_fields:
        value = getattr(given, field)
        if field.startswith(("min_", "max_")) and value is not None:
            yield f"{'at least' if field.startswith('min_') else 'at most'} {figure(value)} {_LIMITS[field[4:]]}"


def _told_when(monitor: Monitor) -> str:
    schedule = monitor.schedule
    if isinstance(schedule, ImmediateSchedule):
        text = "at once"
    elif isinstance(schedule, CronSchedule):
        text = f"at the moments of the cron schedule '{schedule.cron}' (UTC)"
    else:
        text = f"once a {_PERIODS[schedule.cadence]}, when it is over"
    return ", ".join([text, *_excluded(schedule)])


def _excluded(schedule: FixedSchedule | CronSchedule | ImmediateSchedule) -> list[str]:
    ranges = len(schedule.exclusion_ranges)
    return [f"except in {how_many(ranges, 'range')} of time"] if ranges else []


def _segment(segment: Segment) -> str:
    tags = [f"each {key}" if value == WILDCARD else f"{key}={value}" for key, value in segment.wanted.items()]
    return name(", ".join(tags)) or "all data"


def _length(duration: Duration) -> str:
    """A duration in words where it has no months, whose length differs."""
    if duration.months:
        return str(duration)
    days = duration.length / timedelta(days=1)
    return (
        how_many(int(days), "day")
        if days.is_integer() and days
        else figure(duration.length.total_seconds(), Unit.SECONDS)
    )


def _listed(names: Sequence[str], nothing: str) -> str:
    shown = ", ".join(name(one) for one in names[:_SHOWN])
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{shown}{more}" if names else nothing


def idle_parts(document: MonitorDocument) -> Iterator[str]:
    """What of a document does nothing, in words: analyzers that nobody hears of, monitors that tell nobody."""
    for analyzer in document.analyzers:
        monitors = [one for one in document.monitors if analyzer.id in one.analyzer_ids]
        heard = any(analyzer.id in getattr(one.config, "analyzer_ids", ()) for one in document.analyzers)
        if not monitors and not heard:
            yield f"analyzer {analyzer.id} is in no monitor: its anomalies are recorded, and nobody is told"
    for monitor in document.monitors:
        if not monitor.actions and not monitor.disabled:
            yield f"monitor {monitor.id} has no actions: it tells nobody"


_SHOWN = 6
_PERIODS = {
    Granularity.QUARTER_HOURLY: "quarter of an hour",
    Granularity.HOURLY: "hour",
    Granularity.DAILY: "day",
    Granularity.WEEKLY: "week",
    Granularity.MONTHLY: "month",
}
_LIMITS = {
    "weight": "as the column's weight",
    "rank_by_weight": "as the column's rank by weight",
    "total_weight": "as total weight",
    "alert_count": "anomalies",
}
