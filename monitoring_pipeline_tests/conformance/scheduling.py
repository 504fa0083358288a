"""Cases about when analyzers run: schedules, gates, and simulations of them over a year of data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from pydantic import TypeAdapter

from monitoring_pipeline.analysis.gates import BatchFacts, Due, decide, ready_at
from monitoring_pipeline.analysis.planner import analyzer_version, is_column_level
from monitoring_pipeline.config import Analyzer, MonitorDocument
from monitoring_pipeline.config.problems import validated
from monitoring_pipeline.config.schedules import CronSchedule, FixedSchedule, MonitorSchedule
from monitoring_pipeline.timegrid import EPOCH, Duration, Granularity, TimeRange, parse_moment
from monitoring_pipeline_tests.conformance.cases import Case, Json, checks_of
from monitoring_pipeline_tests.conformance.comparing import Check, Unknown, check, compare
from monitoring_pipeline_tests.conformance.laboratory import laboratory
from monitoring_pipeline_tests.conformance.metrics import column_of
from monitoring_pipeline_tests.conformance.vocabulary import document_of, milliseconds, moment_of

_SCHEDULE: TypeAdapter[MonitorSchedule] = TypeAdapter(MonitorSchedule)
_FIXED = {"type": "fixed", "metric": "median", "upper": 0}
_ALIGNED = {"hour": Granularity.HOURLY, "day": Granularity.DAILY, "week": Granularity.WEEKLY}


def _schedule(given: Json) -> Any:
    return validated(_SCHEDULE, dict(given), source="vector", one_of=True)


# --- schedules ----------------------------------------------------------------------------------------------------


def matches(case: Case) -> Iterator[Check]:
    """Whether a schedule picks moments. Those of a vector have no granularity: the finest tells most apart."""
    schedule = _schedule(case["schedule"])
    grid = Granularity.parse(case.get("granularity", "PT15M"))
    for one in checks_of(case, "matches", "match", "run"):
        moment = moment_of(one.get("at", one.get("ts")))
        yield check(
            case, f"at {one.get('at', one.get('ts'))}", one["expected"], schedule.matches(moment, grid)
        )


def parse(case: Case) -> Iterator[Check]:
    """What a schedule says, with what it leaves out."""
    for at, one in enumerate(checks_of(case)):
        schedule = _schedule(one["json"])
        found = schedule.model_dump(mode="json", by_alias=True)
        yield from compare(case, found, expected=one["expected"], at=f"checks[{at}].")


def initial(case: Case) -> Iterator[Check]:
    """The first bucket that a new analyzer looks at."""
    [analyzer] = _analyzers(case, [{"config": _FIXED, "schedule": case["schedule"]}])
    found = first_bucket(analyzer, moment_of(case["now"]), _grid(case))
    yield from compare(case, {"initial_target_bucket": found})


def next_fire(case: Case) -> Iterator[Check]:
    """When a bucket may run."""
    readiness = case.get("dataReadinessDuration")
    given = {"config": _FIXED, "schedule": case["schedule"], "dataReadinessDuration": readiness}
    [analyzer] = _analyzers(case, [given])
    yield from compare(case, {"next_fire": ready_at(analyzer, moment_of(case["bucket"]), _grid(case))})


def rows(case: Case) -> Iterator[Check]:
    """The first bucket of each of several analyzers, and when it may run; composite ones have none of their own."""
    now, grid = moment_of(case["now"]), _grid(case)
    plain = [one for one in _analyzers(case, case["analyzers"]) if one.metric and one.schedule]
    found: dict[str, dict[str, datetime]] = {}
    for analyzer in plain:
        bucket = first_bucket(analyzer, now, grid)
        found[analyzer.id] = {"targetBucket": bucket, "eligableToRun": ready_at(analyzer, bucket, grid)}
    yield from compare(case, {"count": len(found), "rows": found})


def first_bucket(analyzer: Analyzer, now: datetime, grid: Granularity) -> datetime:
    """The bucket that a schedule begins with: the open period of a cadence, else the next that an expression picks.

    Exclusions do not matter here: they keep an analyzer from running on a bucket that has come.
    """
    schedule = analyzer.schedule_for(grid).model_copy(update={"exclusion_ranges": ()})
    if isinstance(schedule, FixedSchedule):
        step, bucket = -1, grid.floor(now)
    else:
        step, bucket = 1, grid.shift(grid.floor(now), 1)
    assert isinstance(schedule, FixedSchedule | CronSchedule)
    for _ in range(4 * 366 * 96):
        if schedule.matches(bucket, grid):
            return bucket
        bucket = grid.shift(bucket, step)
    raise ValueError(f"{schedule} picks no bucket")


# --- gates --------------------------------------------------------------------------------------------------------


def since_last_upload_cadence(case: Case) -> Iterator[Check]:
    """Whether secondsSinceLastUpload is judged again: when there is a newer bucket than that of the last result."""
    grid = Granularity.parse(case.first("cadence", "granularity"))
    config = {"type": "fixed", "metric": "secondsSinceLastUpload", "upper": 0}
    document = document_of(
        [
            {
                "config": config,
                "schedule": {"type": "fixed", "cadence": str(grid)},
                "targetMatrix": {"type": "dataset"},
            }
        ],
        granularity=str(grid),
    )
    [analyzer] = document.analyzers
    now = moment_of(case["now"])
    prior = case.get("prior_result_ts")
    # A result that was made at that time is about the newest bucket that was over then.
    judged = set() if prior is None else {grid.shift(grid.floor(moment_of(prior)), -1)}
    done = {(analyzer.id, analyzer_version(analyzer), bucket) for bucket in judged}
    first = min([*judged, grid.shift(grid.floor(now), -1)])
    facts = BatchFacts({first: 1}, {first: first}, first)
    due = decide(document, facts=facts, calculated=done, now=now).due
    yield from compare(case, {"run": any(one.bucket not in judged for one in due)})


def gate(case: Case) -> Iterator[Check]:
    """One gate alone: data readiness, cool-down or backfill grace of one analyzer on one bucket."""
    keys = {
        "data_readiness": "dataReadinessDuration",
        "cooldown": "batchCoolDownPeriod",
        "backfill_grace": "backfillGracePeriodDuration",
    }
    key = keys[str(case.kind)]
    grid = _grid(case)
    analyzer: dict[str, Any] = {"config": _FIXED, "targetMatrix": {"type": "column", "include": ["*"]}}
    analyzer |= case.get("analyzer") or {key: case.data.get(key, case.data.get("duration"))}
    if key != "backfillGracePeriodDuration":
        analyzer.setdefault("backfillGracePeriodDuration", "P1000Y")
    document = document_of([analyzer], granularity=str(grid), allowPartialTargetBatches=True)
    now = moment_of(case.first("now", "current_time", "currentTime"))
    bucket = grid.floor(
        moment_of(_either(case, "bucket", "bucket_ts", "target_ts", "ts", "target", default=now))
    )
    uploads = _either(case, "last_upload_ts", "lastUploadTs", "uploads", "last_uploads", default=None)
    newest = max((moment_of(one) for one in _listed(uploads)), default=None)
    facts = BatchFacts({bucket: 1}, {bucket: newest} if newest else {}, min(bucket, now))
    window = None if case.kind == "backfill_grace" else TimeRange.of_bucket(bucket, grid)
    due = decide(document, facts=facts, calculated=(), now=now, window=window).due
    passes = any(one.bucket == bucket for one in due)
    names = ("passes", "pass", "run", "due", "ready", "allowed", "included", "eligible", "result", "matches")
    yield from compare(case, dict.fromkeys(names, passes))


def largest_grace(case: Case) -> Iterator[Check]:
    """The longest of several durations."""
    given = [Duration.parse(one) for one in case["durations"]]
    largest = max(given, key=lambda one: one.after(EPOCH), default=None)
    wanted = case.expected.get("largest")
    same = largest is not None and wanted is not None and Duration.parse(wanted) == largest
    found = wanted if same else None if largest is None else str(largest)
    yield from compare(case, {"largest": found})


# --- simulations --------------------------------------------------------------------------------------------------


def simulation(case: Case) -> Iterator[Check]:
    """Which buckets an analyzer is due on after a year of hourly data."""
    grid = _grid(case)
    start, now = parse_moment(case["data_start"]), parse_moment(case["current_time"])
    document = document_of(case["analyzers"], granularity=str(grid))
    hours = range(24 * case["data_days"])
    stored = {grid.floor(start + hour * timedelta(hours=1)) for hour in hours}
    facts = BatchFacts(dict.fromkeys(stored, 1), {}, min(stored))
    fed = _fed(document, str(case.get("level", "column")))
    due = [one for one in decide(document, facts=facts, calculated=(), now=now).due if one.analyzer_id in fed]
    buckets = [one.bucket for one in due]
    for name, wanted in case.expected.items():
        if name in ("contains_first", "contains_last"):
            there = parse_moment(wanted) in buckets
            within = (
                f"none of {len(buckets)} buckets from {min(buckets)} to {max(buckets)}" if buckets else "none"
            )
            yield check(case, name, wanted, wanted if there else within)
        elif name == "count":
            yield check(case, name, wanted, len(due))
        elif name == "timestamps_aligned_to":
            aligned = [unit for unit, of in _ALIGNED.items() if all(of.floor(one) == one for one in buckets)]
            yield check(case, name, wanted, wanted if wanted in aligned else f"{', '.join(aligned)} only")
        elif name == "every_result":
            yield from _every_result(case, document, due, stored, now)
        else:
            yield check(case, name, wanted, Unknown("a simulation tells counts and buckets"))


def _fed(document: MonitorDocument, level: str) -> set[str]:
    """The analyzers that have anything to look at where only rows of one level are fed."""
    return {one.id for one in document.analyzers if is_column_level(one) == (level == "column")}


def _every_result(
    case: Case, document: MonitorDocument, due: list[Due], stored: set[datetime], now: datetime
) -> Iterator[Check]:
    lab = laboratory()
    for bucket in sorted({one.bucket for one in due} & stored):
        lab.batch(bucket, {"column": column_of({"values": [1.0, 2.0]})})
    results = lab.analyze(document, due, now=now).results
    yield check(case, "results", len(due), len(results))
    for result in results:
        record = result.to_reference_record(organisation="org-0", dataset="vector")
        yield from compare(
            case, record, expected=case["expected"]["every_result"], at=f"{milliseconds(result.bucket)}."
        )


def _analyzers(case: Case, given: list[Mapping[str, Any]]) -> tuple[Analyzer, ...]:
    return document_of(given, granularity=str(_grid(case))).analyzers


def _grid(case: Case) -> Granularity:
    return Granularity.parse(case.get("granularity", "daily"))


def _either(case: Case, *names: str, default: Any) -> Any:
    return next((case.data[name] for name in names if case.data.get(name) is not None), default)


def _listed(value: Any) -> list[Any]:
    return (
        []
        if value is None
        else [one for one in value if one is not None]
        if isinstance(value, list)
        else [value]
    )
