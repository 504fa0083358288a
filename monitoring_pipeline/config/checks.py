"""What no single field can tell: references, contradictions, and configuration that would silently do nothing.

Errors refuse a document; warnings are shown and the document is used. Pure functions over parsed objects; `at` is
where the object stands in the document.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from pydantic import BaseModel

from monitoring_pipeline.config.analyzer_types import (
    AnyConfig,
    ComparisonConfig,
    ConjunctionConfig,
    DisjunctionConfig,
    DriftConfig,
    FixedConfig,
    FrequentStringComparisonConfig,
    ListComparisonConfig,
    MonotonicConfig,
    SeasonalConfig,
    StddevConfig,
)
from monitoring_pipeline.config.baselines import CurrentBatchBaseline, TrailingWindowBaseline
from monitoring_pipeline.config.composite_checks import (
    COMPOSITE,
    children_errors,
    family_errors,
    family_warnings,
    unknown_analyzer,
)
from monitoring_pipeline.config.fields import NotedTimeRange, plain
from monitoring_pipeline.config.problems import Step, json_path, listing, near, shorten
from monitoring_pipeline.config.schedules import CronSchedule
from monitoring_pipeline.config.targets import GROUPS, ColumnMatrix, DatasetMatrix, unknown_tokens
from monitoring_pipeline.errors import Problem
from monitoring_pipeline.timegrid import EPOCH

if TYPE_CHECKING:
    from monitoring_pipeline.config.analyzers import Analyzer
    from monitoring_pipeline.config.monitors import Monitor
    from monitoring_pipeline.timegrid import Granularity

At = tuple[Step, ...]


def document_errors(
    analyzers: Mapping[int, Analyzer],
    monitors: Mapping[int, Monitor],
    *,
    analyzer_ids: Mapping[int, str],
    monitor_ids: Mapping[int, str],
    complete: bool,
) -> Iterator[Problem]:
    """Errors across the analyzers and monitors of a document, all of them by their place in its lists.

    The ids are those of all entries, also of those that cannot be read. `complete` says that there are no analyzers
    elsewhere that could be meant.
    """
    yield from _duplicates("analyzers", analyzer_ids)
    yield from _duplicates("monitors", monitor_ids)
    known_ids = set(analyzer_ids.values()) if complete else None
    for place, analyzer in analyzers.items():
        yield from analyzer_errors(analyzer, ("analyzers", place))
    yield from family_errors(analyzers, known_ids=known_ids)
    for place, monitor in monitors.items():
        yield from monitor_errors(monitor, ("monitors", place), known_ids=known_ids)


def document_warnings(
    analyzers: Sequence[Analyzer], monitors: Sequence[Monitor], *, granularity: Granularity | None
) -> Iterator[Problem]:
    """What would do nothing, or something else than it looks like."""
    heard = {name for monitor in monitors if not monitor.disabled for name in monitor.analyzer_ids}
    for analyzer in analyzers:
        if isinstance(analyzer.config, COMPOSITE) and analyzer.id in heard:
            heard |= set(analyzer.config.analyzer_ids)
    for place, analyzer in enumerate(analyzers):
        at: At = ("analyzers", place)
        yield from analyzer_warnings(analyzer, at, granularity=granularity)
        if granularity is not None and analyzer.id not in heard and not analyzer.disabled:
            yield Problem(
                json_path((*at, "id")),
                f"{shorten(analyzer.id)}, which no enabled monitor listens to",
                "a monitor that names it; until then nobody is told of its results",
            )
    yield from family_warnings(analyzers)
    for place, monitor in enumerate(monitors):
        yield from monitor_warnings(monitor, ("monitors", place))


# --- analyzers ---------------------------------------------------------------------------------------------------


def analyzer_errors(analyzer: Analyzer, at: At) -> Iterator[Problem]:
    """Contradictions inside one analyzer."""
    config = analyzer.config
    yield from config_errors(config, (*at, "config"))
    if isinstance(config, MonotonicConfig) and analyzer.target_size < 2:
        yield Problem(
            json_path((*at, "targetSize")), str(analyzer.target_size), "2 or more buckets to compare"
        )
    if analyzer.disable_target_rollup and analyzer.baseline is not None:
        yield Problem(
            json_path((*at, "disableTargetRollup")),
            "true together with a baseline",
            "false, or an analyzer without a baseline",
        )
    if isinstance(analyzer.target_matrix, ColumnMatrix) and analyzer.metric is not None:
        unfit = {"frequentitems": "continuous", "histogram": "discrete"}.get(plain(analyzer.metric))
        for place, token in enumerate(analyzer.target_matrix.include):
            if token.lower() == f"group:{unfit}":
                yield Problem(
                    json_path((*at, "targetMatrix", "include", place)),
                    f"{shorten(token)} with the metric {analyzer.metric}",
                    "group:discrete for frequent_items, group:continuous for histogram",
                )


def config_errors(config: AnyConfig, at: At) -> Iterator[Problem]:
    """Contradictions inside one `config` block."""
    match config:
        case FixedConfig(lower=float(lower), upper=float(upper)) if lower > upper:
            yield Problem(
                json_path((*at, "lower")),
                f"{lower:g}, above upper {upper:g}",
                "a lower that is at most upper",
            )
        case StddevConfig() | SeasonalConfig() if _crossed(config):
            yield Problem(
                json_path((*at, "minLowerThreshold")),
                f"{config.min_lower_threshold:g}, above maxUpperThreshold {config.max_upper_threshold:g}",
                "a minLowerThreshold that is at most maxUpperThreshold",
            )
        case ComparisonConfig() | ListComparisonConfig() if not config.expected and config.baseline is None:
            yield Problem(
                json_path((*at, "expected")), "nothing, and no baseline either", "expected or a baseline"
            )
        case ConjunctionConfig() | DisjunctionConfig():
            yield from children_errors(config.analyzer_ids, (*at, "analyzerIds"))
        case _:
            pass


def _crossed(config: StddevConfig | SeasonalConfig) -> bool:
    lower, upper = config.min_lower_threshold, config.max_upper_threshold
    return lower is not None and upper is not None and lower > upper


def analyzer_warnings(analyzer: Analyzer, at: At, *, granularity: Granularity | None) -> Iterator[Problem]:
    """Settings of one analyzer that do nothing, or something else than they look like."""
    config, matrix = analyzer.config, analyzer.target_matrix
    if analyzer.schedule is None and granularity is not None and not isinstance(config, COMPOSITE):
        yield Problem(
            json_path((*at, "schedule")),
            "nothing",
            f"a schedule; without one it runs for every bucket, as if fixed and {granularity}",
        )
    yield from _schedule_warnings(analyzer.schedule, (*at, "schedule"), granularity)
    if matrix is None and not isinstance(config, COMPOSITE):
        yield Problem(
            json_path((*at, "targetMatrix")), "nothing", "a target matrix; without one it looks at nothing"
        )
    if isinstance(matrix, ColumnMatrix):
        yield from _matrix_warnings(matrix, (*at, "targetMatrix"))
    if isinstance(matrix, DatasetMatrix) and isinstance(config, DriftConfig | FrequentStringComparisonConfig):
        yield Problem(
            json_path((*at, "targetMatrix", "type")),
            f'"dataset" with the metric {config.metric}, which only columns have',
            '"column" with an include list; as it is, it looks at nothing',
        )
    if isinstance(config, FixedConfig) and config.upper is None and config.lower is None:
        yield Problem(
            json_path((*at, "config")), "neither upper nor lower", "a bound; without one it never alerts"
        )
    if isinstance(config, MonotonicConfig) and config.num_buckets >= analyzer.target_size:
        yield Problem(
            json_path((*at, "config", "numBuckets")),
            f"{config.num_buckets} steps among {analyzer.target_size} buckets",
            f"at most {analyzer.target_size - 1}; more never happen",
        )
    yield from _baseline_warnings(analyzer, (*at, "config"), granularity)


def _baseline_warnings(analyzer: Analyzer, at: At, granularity: Granularity | None) -> Iterator[Problem]:
    match analyzer.baseline:
        case TrailingWindowBaseline() as window:
            if window.size < analyzer.min_batch_size:
                yield Problem(
                    json_path((*at, "minBatchSize")),
                    f"{analyzer.min_batch_size}, more than the {window.size} buckets of the window",
                    f"{window.size} buckets are enough; a longer window gives a better baseline",
                )
            yield from _schedule_warnings(
                window.exclusion_schedule, (*at, "baseline", "exclusionSchedule"), granularity
            )
        case CurrentBatchBaseline(dataset_id=None, offset=0):
            yield Problem(
                json_path((*at, "baseline")),
                "the target itself: the same dataset without an offset",
                "a datasetId or an offset; a batch never differs from itself",
            )
        case _:
            pass


def _schedule_warnings(schedule: object, at: At, granularity: Granularity | None) -> Iterator[Problem]:
    if isinstance(schedule, CronSchedule) and granularity is not None and not schedule.can_match(granularity):
        start = {
            "hourly": "0 as the minute",
            "daily": "0 as minute and hour",
            "weekly": "0 as minute and hour, and Monday among the days",
            "monthly": "0 as minute and hour, and 1 among the days of the month",
        }.get(granularity, "0, 15, 30 or 45 among the minutes")
        yield Problem(
            json_path((*at, "cron")),
            f"{shorten(schedule.cron)}, which never picks a bucket of {granularity} data",
            f"an expression with {start}",
        )


def _matrix_warnings(matrix: ColumnMatrix, at: At) -> Iterator[Problem]:
    if not matrix.include:
        yield Problem(
            json_path((*at, "include")),
            "no columns",
            'column names, groups or "*"; as it is, it looks at nothing',
        )
    for key, tokens in (("include", matrix.include), ("exclude", matrix.exclude)):
        for token in unknown_tokens(tokens):
            groups = listing(f"group:{group}" for group in GROUPS)
            yield Problem(
                json_path((*at, key, tokens.index(token))),
                f"{shorten(token)}, read as the name of a column",
                f"{groups}, or weight>0.5",
            )


# --- monitors ----------------------------------------------------------------------------------------------------

_LIMITS = (
    ("min_weight", "max_weight"),
    ("min_rank_by_weight", "max_rank_by_weight"),
    ("min_total_weight", "max_total_weight"),
    ("min_alert_count", "max_alert_count"),
)


def monitor_errors(monitor: Monitor, at: At, *, known_ids: Collection[str] | None) -> Iterator[Problem]:
    """References to analyzers that do not exist. `known_ids` is None when all could exist elsewhere."""
    for place, name in enumerate(monitor.analyzer_ids):
        if known_ids is not None and name not in known_ids:
            yield unknown_analyzer(json_path((*at, "analyzerIds", place)), name, known_ids)


def monitor_warnings(monitor: Monitor, at: At) -> Iterator[Problem]:
    """Settings of one monitor that do nothing, or something else than they look like."""
    if not monitor.actions:
        yield Problem(
            json_path((*at, "actions")),
            "nobody to tell",
            "actions; without them its digests are kept and shown, not sent",
        )
    if not monitor.analyzer_ids:
        yield Problem(
            json_path((*at, "analyzerIds")), "an empty list", "ids of analyzers; as it is, it never speaks"
        )
    if monitor.severity not in (1, 2, 3):
        yield Problem(json_path((*at, "severity")), str(monitor.severity), "1 (high), 2 (medium) or 3 (low)")
    limits = monitor.mode.filter
    for least, most in _LIMITS:
        lower, upper = getattr(limits, least), getattr(limits, most)
        if lower is not None and upper is not None and lower > upper:
            alias = type(limits).model_fields[least].alias or least
            yield Problem(
                json_path((*at, "mode", "filter", alias)),
                f"{lower:g}, above its maximum {upper:g}",
                "a minimum that is at most the maximum; as it is, nothing passes",
            )
    schedule = monitor.schedule
    if isinstance(schedule, CronSchedule) and schedule.next_moment(EPOCH) is None:
        yield Problem(
            json_path((*at, "schedule", "cron")),
            f"{shorten(schedule.cron)}, which never comes",
            "an expression such as 0 9 * * 1-5; as it is, the monitor never speaks",
        )


def _duplicates(key: str, ids: Mapping[int, str]) -> Iterator[Problem]:
    first: dict[str, int] = {}
    for place, name in ids.items():
        if name in first:
            yield Problem(
                json_path((key, place, "id")),
                f"{shorten(name)}, which {json_path((key, first[name]))} has already",
                "an id of its own",
            )
        first.setdefault(name, place)


# --- unknown keys ------------------------------------------------------------------------------------------------


def unknown_keys(value: object, at: At = ()) -> Iterator[Problem]:
    """Keys of the document that mean nothing here. They are kept."""
    match value:
        case BaseModel():
            names = {name: info.alias or name for name, info in type(value).model_fields.items()}
            for key, extra in (value.model_extra or {}).items():
                yield _unknown_key(key, extra, at, names.values())
            for name, alias in names.items():
                if name in value.model_fields_set:
                    yield from unknown_keys(getattr(value, name), (*at, alias))
        case NotedTimeRange():
            for key, extra in value.notes.items():
                yield _unknown_key(key, extra, at, ("start", "end"))
        case tuple():
            for place, entry in enumerate(value):
                yield from unknown_keys(entry, (*at, place))
        case dict():
            for key, entry in value.items():
                yield from unknown_keys(entry, (*at, key))
        case _:
            pass


def _unknown_key(key: str, value: object, at: At, known: Collection[str]) -> Problem:
    meant = near(key, known)
    hint = f' (did you mean "{meant}"?)' if meant else ""
    return Problem(json_path((*at, key)), shorten(value), f"a known key{hint}; this one is kept but not used")
