"""Cases about whole runs of analyzers: gates, baselines, counts and results, over profiles in a real store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from monitoring_pipeline.analysis.baselines import expected_count
from monitoring_pipeline.analysis.operational import is_missing_datapoint
from monitoring_pipeline.analysis.result import AnalyzerResult
from monitoring_pipeline.config import Analyzer, MonitorDocument
from monitoring_pipeline.config.baselines import TrailingWindowBaseline
from monitoring_pipeline.profiling import ColumnProfile
from monitoring_pipeline.profiling.profile import merge_profiles
from monitoring_pipeline.timegrid import Duration, Granularity, TimeRange, parse_moment
from monitoring_pipeline_tests.conformance.calculations import RECORD, length
from monitoring_pipeline_tests.conformance.cases import Case, Json
from monitoring_pipeline_tests.conformance.comparing import Check, check, compare
from monitoring_pipeline_tests.conformance.laboratory import Laboratory, laboratory
from monitoring_pipeline_tests.conformance.metrics import column_of
from monitoring_pipeline_tests.conformance.vocabulary import (
    document_of,
    items_image,
    moment_of,
    text_key,
)

_COUNTS = (
    *("id", "analysisId", "orgId", "datasetId", "column", "segment", "granularity", "datasetTimestamp"),
    *("creationTimestamp", "targetLevel", "runId", "analyzerId", "monitorIds", "analyzerVersion", "isRollup"),
    *("userInitiatedBackfill", "targetCount", "targetBatchesWithProfileCount", "baselineCount"),
    *("baselineBatchesWithProfileCount", "expectedBaselineCount", "expectedBaselineSuppressionThreshold"),
    *("segmentWeight", "analyzerTags", "referenceProfileId", "disableTargetRollup", "imagePath", "parent"),
)
"""Fields of the reference's record that belong to every result."""

_TARGET = datetime.fromisoformat("2022-03-04T00:00:00+00:00")
"""A Friday for the cases whose buckets have no time of their own."""

_YEARS = Duration.parse("P100Y")


# --- run: one analyzer on one target -----------------------------------------------------------------------------


def run(case: Case) -> Iterator[Check]:
    """One analyzer on one target bucket, with the buckets of its baseline."""
    yield from compare(case, _records(_run(case)))


@dataclass(frozen=True)
class _Bucket:
    """A bucket of a case, put where a bucket of the grid is."""

    start: datetime
    given: Json


def _run(case: Case) -> list[dict[str, object]]:
    grid = Granularity.parse(case.get("granularity", "daily"))
    baseline, targets = case.get("baseline_buckets", []), case.get("target_buckets", [])
    own_times = case.get("target_ts") is not None
    target = grid.floor(moment_of(case["target_ts"]) if own_times else _TARGET)
    document = _document(case, len(baseline))
    [analyzer] = document.analyzers
    lab = laboratory()
    for bucket in (*_placed(baseline, grid, target, own_times=own_times), *_targets(targets, grid, target)):
        if not bucket.given.get("missing"):
            lab.batch(bucket.start, _columns(bucket.given), uploaded=_uploaded(bucket))
    reference = getattr(analyzer.baseline, "profile_id", None)
    if reference and case.get("baseline_rolled_up"):
        lab.reference(reference, _columns(case["baseline_rolled_up"]), now=target)
    now = moment_of(case["current_time"]) if case.get("current_time") else grid.shift(target, 1)
    seen = case.get("first_timestamp_seen")
    due = lab.due(
        document,
        now=now,
        first=None if seen is None else grid.floor(moment_of(seen)),
        window=TimeRange.of_bucket(target, grid),
        backfill=bool(case.get("overwriteEvents")),
    )
    found = lab.analyze(document, due, now=now)
    return [_record(result, _original(case, grid)) for result in found.results]


def _document(case: Case, buckets: int) -> MonitorDocument:
    """The case's analyzer; its window holds all buckets that are handed over, which the reference does not check."""
    given = {**case["analyzer"]}
    document = document_of(
        [given], granularity=case.get("granularity", "daily"), buckets=buckets, **_weights(case)
    )
    window = document.analyzers[0].baseline
    if isinstance(window, TrailingWindowBaseline) and window.size < buckets:
        given["config"] = {**given["config"], "baseline": {**given["config"]["baseline"], "size": buckets}}
        document = document_of([given], granularity=case.get("granularity", "daily"), **_weights(case))
    return document


def _weights(case: Case) -> dict[str, Any]:
    weights = [one.get("weight") for one in case.get("target_buckets", [])]
    if case.get("weightConfig"):
        return {"weightConfig": case["weightConfig"]}
    known = [weight for weight in weights if weight is not None]
    return {"weightConfig": {"defaultWeights": {"weights": {"column": known[0]}}}} if known else {}


def _original(case: Case, grid: Granularity) -> int | None:
    """Buckets that the baseline of the case itself expects; None where it names none."""
    if not case["analyzer"].get("config", {}).get("baseline"):
        return None
    [analyzer] = document_of([case["analyzer"]], granularity=str(grid)).analyzers
    return expected_count(analyzer.baseline, grid)


def _placed(given: list[Json], grid: Granularity, target: datetime, *, own_times: bool) -> list[_Bucket]:
    """Buckets at their own times when these are different granules before the target, else one after the other."""
    times = [grid.floor(moment_of(one["ts"])) for one in given if one.get("ts") is not None]
    if own_times and len(set(times)) == len(given) and all(time < target for time in times):
        return [_Bucket(time, one) for time, one in zip(times, given, strict=True)]
    return [
        _Bucket(grid.shift(target, at - len(given)), one)
        for at, one in enumerate(sorted(given, key=lambda one: one.get("ts") or 0))
    ]


def _targets(given: list[Json], grid: Granularity, target: datetime) -> list[_Bucket]:
    """The target, and the buckets before it that belong to it, oldest first."""
    ordered = sorted(given, key=lambda one: one.get("ts") or 0)
    return [_Bucket(grid.shift(target, at - len(ordered) + 1), one) for at, one in enumerate(ordered)]


def _columns(bucket: Json) -> dict[str, ColumnProfile]:
    inputs = {**bucket.get("metric_inputs", {}), **bucket}
    known = {key for key in inputs if key not in ("ts", "missing", "weight", "column", "metric_inputs")}
    name = str(bucket.get("column") or "column")
    columns = {name: column_of(inputs)} if known else {name: ColumnProfile(n=1)}
    for one in bucket.get("columns", bucket.get("field_list", [])):
        columns.setdefault(str(one), ColumnProfile(n=1))
    return columns


def _uploaded(bucket: _Bucket) -> datetime:
    given = bucket.given.get("lastUploadTs", bucket.given.get("last_upload_ts"))
    return bucket.start if given is None else moment_of(given)


def _record(result: AnalyzerResult, expected_baseline: int | None) -> dict[str, object]:
    record: dict[str, object] = {
        **dict.fromkeys((*RECORD, *_COUNTS)),
        **result.to_reference_record(organisation="org-0", dataset="vector"),
    }
    if expected_baseline is not None:
        record["expectedBaselineCount"] = expected_baseline
    return record


def _records(records: list[dict[str, object]]) -> dict[str, object]:
    """What a case can expect of a run: the one result, or none; sizes of its lists; what they contain."""
    if len(records) != 1:
        return {"result": records or None, "count": len(records)}
    [record] = records
    sizes = {f"{name}_size": length(value) for name, value in record.items()}
    contained = {
        f"{name}_contains": _Holding(value) for name, value in record.items() if isinstance(value, list)
    }
    return {
        **record,
        **sizes,
        **contained,
        "result": record,
        "count": 1,
        "alertCount": record["anomalyCount"],
    }


class _Holding(str):
    """A list that agrees with every text that it holds."""

    __slots__ = ("_entries",)

    def __new__(cls, entries: list[Any]) -> _Holding:
        found = super().__new__(cls, str(entries))
        found._entries = frozenset(map(str, entries))
        return found

    def __eq__(self, other: object) -> bool:
        return other in self._entries

    def __hash__(self) -> int:
        return hash(self._entries)


# --- ad hoc: many targets ----------------------------------------------------------------------------------------


def adhoc(case: Case) -> Iterator[Check]:
    """Analyzers over a range of time: how many results, and how many of them are anomalies."""
    request = case["request"]
    start, end = (parse_moment(request[edge]) for edge in ("start", "end"))
    document = document_of(
        case["analyzers"],
        granularity=request.get("granularity", "daily"),
        **({"weightConfig": case["weightConfig"]} if case.get("weightConfig") else {}),
    )
    lab = laboratory()
    segment = text_key(case.get("data_segment", ""))
    for day, columns in _days(_items(case)).items():
        lab.batch(parse_moment(day), columns, segment=segment)
    due = [one for one in lab.due(document, now=end, segment=segment) if one.bucket >= start]
    analysis = lab.analyze(document, due, now=end)
    ids = {name for note in analysis.notes for name in (one.id for one in document.analyzers) if name in note}
    results = analysis.results
    yield from compare(
        case,
        {
            "numEventsProduced": len(results),
            "numAnomalies": sum(one.anomaly_count for one in results),
            "numFailures": sum(one.failed for one in results),
            # An analyzer without anything to look at is told, and no error.
            "success": not any("failed" in note for note in analysis.notes) and len(ids) <= len(due),
        },
    )


def _items(case: Case) -> Mapping[str, Mapping[str, Mapping[str, int]]]:
    if "bucket_items" in case.data:
        return case["bucket_items"]
    name = str(case["bucket_items_ref"])
    return next(one["bucket_items"] for one in case.siblings if str(one["id"]).endswith(f".{name}"))


def _days(items: Mapping[str, Mapping[str, Mapping[str, int]]]) -> dict[str, dict[str, ColumnProfile]]:
    found: dict[str, dict[str, ColumnProfile]] = {}
    for column, by_day in items.items():
        for day, counts in by_day.items():
            total = sum(counts.values())
            image = items_image({"counts": counts})
            profile = ColumnProfile(n=total, t_string=total, frequent_items=image)
            found.setdefault(day, {})[column] = profile
    return dict(sorted(found.items()))


# --- collector: which buckets a target is compared with -----------------------------------------------------------


def collector(case: Case) -> Iterator[Check]:
    """The targets of a dataset, and what each one's baseline holds."""
    grid = Granularity.parse(case.get("granularity", "daily"))
    now = parse_moment(case["current_time"])
    lab = laboratory()
    rows: list[Json] = case["rows"]
    _fill(lab, [one for one in rows if not one.get("profileId")], grid)
    names = {str(one["profileId"]) for one in rows if one.get("profileId")}
    for name in names:
        parts = [_counted(one) for one in rows if one.get("profileId") == name]
        lab.reference(name, {"column": merge_profiles(parts)}, now=now)
    document = document_of([_counting(case)], granularity=str(grid))
    [analyzer] = document.analyzers
    due = lab.due(document, now=now, backfill=True, window=_window(rows, grid, now))
    results = tuple(lab.analyze(document, due, now=now).results)
    within = lab.due(_within_a_day(document), now=now)
    yield from _collected(case, analyzer, grid, results, targets=len(within))


def _window(rows: list[Json], grid: Granularity, now: datetime) -> TimeRange | None:
    starts = [grid.floor(moment_of(one["ts"])) for one in rows if not one.get("profileId")]
    return TimeRange(min(starts), max(grid.floor(now), min(starts))) if starts else None


def _fill(lab: Laboratory, rows: list[Json], grid: Granularity) -> None:
    by_bucket: dict[datetime, list[ColumnProfile]] = {}
    for row in rows:
        by_bucket.setdefault(grid.floor(moment_of(row["ts"])), []).append(_counted(row))
    for bucket, parts in by_bucket.items():
        lab.batch(bucket, {"column": merge_profiles(parts)})


def _counted(row: Json) -> ColumnProfile:
    return column_of({key: value for key, value in row.items() if key.startswith(("counts/", "types/"))})


def _counting(case: Case) -> dict[str, Any]:
    """An analyzer whose results tell how much its baseline counted."""
    return {
        "id": "counting",
        "targetMatrix": {"type": "column", "include": ["*"]},
        "config": {
            "type": "diff",
            "metric": "count",
            "mode": "abs",
            "threshold": 0,
            "baseline": case["baseline"],
        },
    }


def _within_a_day(document: MonitorDocument) -> MonitorDocument:
    period = {"backfill_grace_period_duration": Duration.parse("P1D")}
    return document.model_copy(
        update={"analyzers": tuple(one.model_copy(update=period) for one in document.analyzers)}
    )


def _collected(
    case: Case, analyzer: Analyzer, grid: Granularity, results: tuple[AnalyzerResult, ...], *, targets: int
) -> Iterator[Check]:
    buckets = expected_count(analyzer.baseline, grid)
    newest = max(results, key=lambda one: one.bucket, default=None)
    profile_ids = {one.reference_profile_id for one in results}
    filled = newest.baseline_batches_with_profile_count if newest else 0
    counted = {one.details["baseline_value"] for one in results if "baseline_value" in one.details}
    yield from compare(
        case,
        {
            "potential_targets_with_1d_period": targets,
            "baseline_buckets_for_it": buckets,
            "baseline_buckets_per_target": buckets,
            "all_baseline_buckets_have_data": filled == buckets,
            "no_bucket_has_profileId": profile_ids <= {None},
            "bucket_profileId": next(iter(profile_ids))
            if len(profile_ids) == 1
            else sorted(map(str, profile_ids)),
            "bucket_counts_n": next(iter(counted)) if len(counted) == 1 else sorted(map(str, counted)),
        },
    )


# --- metrics about arrivals ---------------------------------------------------------------------------------------


def operational(case: Case) -> Iterator[Check]:
    """`missingDatapoint` and `secondsSinceLastUpload` as values of a target, judged by fixed bounds."""
    name = "secondsSinceLastUpload" if case.kind == "seconds_since_last_upload" else "missingDatapoint"
    grid = Granularity.parse(case.get("granularity", "daily"))
    given = case.get("analyzer") or {
        "targetMatrix": {"type": "dataset"},
        "config": {"type": "fixed", "metric": name, "upper": 0},
    }
    document = document_of([given], granularity=str(grid))
    now = moment_of(case.first("now", "current_time", "currentTime"))
    lab = laboratory()
    for start in case.get("buckets", case.get("data", [])):
        lab.batch(grid.floor(moment_of(start)), {"column": ColumnProfile(n=1)}, rows=1)
    uploaded = case.get("lastUploadTs", case.get("last_upload_ts"))
    if uploaded is not None:
        moment = moment_of(uploaded)
        lab.batch(grid.floor(moment), {"column": ColumnProfile(n=1)}, rows=1, uploaded=moment)
    results = lab.analyze(document, lab.due(document, now=now, backfill=True), now=now).results
    values = [one.metric_value for one in results]
    newest = results[-1] if results else None
    missing = (
        [one for one in results if one.metric_value] if is_missing_datapoint(document.analyzers[0]) else []
    )
    yield from compare(
        case,
        {
            "value": newest.metric_value if newest else None,
            "values": values,
            "anomalyCount": sum(one.anomaly_count for one in results),
            "alertCount": newest.anomaly_count if newest else 0,
            "count": len(results),
            "missing": [one.bucket for one in missing],
            "result": None if newest is None else {"value": newest.metric_value},
        },
    )


__all__ = ["adhoc", "check", "collector", "operational", "run", "timedelta"]
