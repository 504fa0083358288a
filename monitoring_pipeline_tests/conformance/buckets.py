"""Cases about buckets: how time is cut, which buckets a baseline holds, which stretches of time are read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from monitoring_pipeline.analysis.baselines import baseline_window, contains, expected_count, span
from monitoring_pipeline.analysis.planner import Slice, combine
from monitoring_pipeline.config.baselines import Baseline, ReferenceBaseline
from monitoring_pipeline.config.problems import validated
from monitoring_pipeline.profiling.profile import DATASET_COLUMN
from monitoring_pipeline.timegrid import EPOCH, Granularity, TimeRange, parse_moment
from monitoring_pipeline_tests.conformance.cases import Case, Json, checks_of
from monitoring_pipeline_tests.conformance.comparing import Check, check, compare
from monitoring_pipeline_tests.conformance.vocabulary import iso, milliseconds, moment_of

_BASELINE: TypeAdapter[Baseline] = TypeAdapter(Baseline)


def baseline_of(given: Json) -> Baseline:
    """A baseline of a vector, whose ranges may be given in milliseconds. Raises DocumentError."""
    data: dict[str, Any] = dict(given)
    if data.get("exclusionRanges"):
        data["exclusionRanges"] = [_range(one) for one in data["exclusionRanges"]]
    if isinstance(data.get("range"), Mapping):
        data["range"] = _range(data["range"])
    return validated(_BASELINE, data, source="vector", one_of=True)


def _range(given: Json) -> Json:
    if "gte" not in given:
        return given
    return {"start": iso(moment_of(given["gte"])), "end": iso(moment_of(given["lt"]))}


def membership(case: Case) -> Iterator[Check]:
    """Whether profiles belong to the baseline of a target."""
    baseline, grid = baseline_of(case["baseline"]), _grid(case)
    target = moment_of(case.first("target_ts", "target_iso"))
    for at, one in enumerate(checks_of(case, "included", "member", "in_baseline")):
        if isinstance(baseline, ReferenceBaseline):
            found = one.get("profileId") == baseline.profile_id
        else:
            found = one.get("profileId") is None and contains(
                baseline,
                target,
                moment_of(one["ts"]),
                target_size=case.get("targetSize", 1),
                granularity=grid,
            )
        yield check(case, f"checks[{at}]", one["expected"], found)


def exclusion(case: Case) -> Iterator[Check]:
    """Whether a bucket is left out of a trailing window that it would lie in."""
    grid, bucket = _grid(case), moment_of(case.first("bucket_ts", "bucket_iso"))
    inside = contains(baseline_of(case["baseline"]), grid.shift(bucket, 1), bucket, granularity=grid)
    yield from compare(case, {"excluded": not inside})


def expected_baseline(case: Case) -> Iterator[Check]:
    """How many buckets a baseline has when nothing is missing."""
    count = expected_count(baseline_of(case["baseline"]), _grid(case))
    names = ("expectedBaselineDatapoints", "expectedBaselineCount", "count")
    yield from compare(case, dict.fromkeys(names, count))


def truncate(case: Case) -> Iterator[Check]:
    """The start of the bucket that a moment lies in."""
    start = _grid(case).floor(moment_of(case.first("ts", "iso")))
    yield from compare(case, {"ts": milliseconds(start), "iso": start})


def time_range(case: Case) -> Iterator[Check]:
    """A half-open range of time as a document writes it."""
    baseline = baseline_of({"type": "TimeRange", "range": case["json"]})
    period: TimeRange = baseline.range  # pyright: ignore[reportAttributeAccessIssue]
    ends = {"gte": milliseconds(period.start), "lt": milliseconds(period.end)}
    inside = {
        f"contains {text}": parse_moment(text.removeprefix("contains ")) in period
        for text in case.expected
        if text.startswith("contains ")
    }
    yield from compare(case, {**ends, "start": period.start, "end": period.end, "raises": False, **inside})


def query_interval(case: Case) -> Iterator[Check]:
    """The stretches of time that one analyzer reads: its targets and their baselines, as few as cover them."""
    grid = _grid(case)
    target = TimeRange(parse_moment(case["start"]), parse_moment(case["end"]))
    targets = np.array([grid.index(bucket) for bucket in target.buckets(grid)], dtype=np.int64)
    window = baseline_window(
        baseline_of(case["baseline"]), targets, target_size=case.get("targetSize", 1), granularity=grid
    )
    compared = span([window] if window else [], grid)
    read = _combined([*([compared] if compared else []), target], grid)
    ranges = [[iso(one.start), iso(one.end)] for one in read]
    yield from compare(
        case,
        {
            "ranges": len(ranges),
            "first": ranges[0],
            "second": ranges[1] if len(ranges) > 1 else None,
            "first_start_date": read[0].start.date().isoformat(),
            "first_end_date": read[0].end.date().isoformat(),
            "first_end_month": read[0].end.month,
        },
    )


def interval_merge(case: Case) -> Iterator[Check]:
    """Intervals, given as numbers of days, as few as cover all of them."""
    day = timedelta(days=1)
    given = [TimeRange(EPOCH + start * day, EPOCH + end * day) for start, end in case["intervals"]]
    found = [[_days(one.start), _days(one.end)] for one in _combined(given, Granularity.DAILY)]
    yield from compare(case, {"merged": found})


def _combined(ranges: list[TimeRange], grid: Granularity) -> list[TimeRange]:
    slices = [Slice("vector", ("",), frozenset({DATASET_COLUMN}), frozenset({"n"}), one) for one in ranges]
    return [one.window for one in combine(slices, grid)]


def _days(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(days=1)


def _grid(case: Case) -> Granularity:
    return Granularity.parse(case.get("granularity", "daily"))
