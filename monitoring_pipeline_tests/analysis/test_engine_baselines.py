"""Every baseline on every granularity: which buckets a target is compared with, through the store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest

from monitoring_pipeline.analysis.engine import Analysis, analyze
from monitoring_pipeline.analysis.gates import Due
from monitoring_pipeline.analysis.result import AnalyzerResult, FailureType
from monitoring_pipeline.profiling import profile
from monitoring_pipeline.store.database import Store, open_store
from monitoring_pipeline.store.datasets import DatasetRef, register_dataset
from monitoring_pipeline.store.profiles import write_batch, write_reference
from monitoring_pipeline.timegrid import Granularity
from monitoring_pipeline_tests.analysis.documents import document

NOW = datetime(2031, 1, 1, tzinfo=UTC)
FIRST = datetime(2024, 1, 1, tzinfo=UTC)
"""A Monday, and the first of a month that is followed by February 29."""

EVERY = pytest.mark.parametrize("granularity", list(Granularity))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    opened = open_store(f"sqlite:///{tmp_path_factory.mktemp('baselines') / 'store.db'}")
    yield opened
    opened.close()


@pytest.fixture
def ref(store: Store, request: pytest.FixtureRequest) -> DatasetRef:
    return register_dataset(store, "org-0", request.node.name)


def load(
    store: Store,
    ref: DatasetRef,
    granularity: Granularity,
    values: Mapping[int, Sequence[float | None]],
    *,
    region: str | None = None,
) -> None:
    """Buckets, counted from the first, whose column `x` has these values."""
    for number, numbers in values.items():
        bucket = granularity.shift(FIRST, number)
        columns: dict[str, Any] = {"x": pa.array(numbers, pa.float64())}
        if region is not None:
            columns["region"] = [region if at % 2 else "other" for at in range(1, len(numbers) + 1)]
        write_batch(
            store,
            ref,
            bucket,
            profile(pa.table(columns), [["region"]] if region else []),
            fingerprint=f"{number}",
            first_upload=bucket,
            last_upload=bucket,
            files=1,
            quality={},
            now=NOW,
        )


def against(
    store: Store,
    ref: DatasetRef,
    granularity: Granularity,
    baseline: dict[str, Any],
    target: int,
    *,
    metric: str = "mean",
    **given: Any,
) -> AnalyzerResult:
    """The verdict of a `diff` analyzer on one bucket."""
    [result] = judged(store, ref, granularity, baseline, [target], metric=metric, **given).results
    return result


def judged(
    store: Store,
    ref: DatasetRef,
    granularity: Granularity,
    baseline: dict[str, Any],
    targets: Sequence[int],
    *,
    metric: str = "mean",
    **given: Any,
) -> Analysis:
    config = {"type": "diff", "metric": metric, "mode": "abs", "threshold": 0.5, "baseline": baseline}
    schedule = {"type": "fixed", "cadence": str(granularity)}
    matrix = {"type": "column", "include": ["x"]}
    monitors = document(
        {"config": config, "schedule": schedule, "targetMatrix": matrix, **given},
        granularity=str(granularity),
    )
    due = [Due(granularity.shift(FIRST, number), "mean-below-ten", "1") for number in targets]
    return analyze(store, ref, monitors, due, now=NOW, run_id="run")


def compared(result: AnalyzerResult) -> object:
    return result.details["baseline_value"]


@EVERY
def test_a_trailing_window_ends_right_before_the_target(
    store: Store, ref: DatasetRef, granularity: Granularity
) -> None:
    load(store, ref, granularity, {number: [float(2**number)] for number in range(8)})
    result = against(store, ref, granularity, {"type": "TrailingWindow", "size": 3}, 6)
    assert compared(result) == pytest.approx((8 + 16 + 32) / 3)
    assert (result.baseline_count, result.expected_baseline_count) == (3, 3)


@EVERY
def test_an_offset_and_a_target_of_several_buckets_push_the_window_back(
    store: Store, ref: DatasetRef, granularity: Granularity
) -> None:
    load(store, ref, granularity, {number: [float(2**number)] for number in range(10)})
    window = {"type": "TrailingWindow", "size": 2, "offset": 3}
    assert compared(against(store, ref, granularity, window, 8)) == pytest.approx((8 + 16) / 2)
    result = against(store, ref, granularity, window, 8, targetSize=2)
    assert compared(result) == pytest.approx((4 + 8) / 2)
    assert result.metric_value == pytest.approx((128 + 256) / 2)


@EVERY
def test_excluded_buckets_are_missing_from_the_window(
    store: Store, ref: DatasetRef, granularity: Granularity
) -> None:
    load(store, ref, granularity, {number: [float(2**number)] for number in range(6)})
    left_out = {
        "start": granularity.shift(FIRST, 2).isoformat(),
        "end": granularity.shift(FIRST, 3).isoformat(),
    }
    window = {"type": "TrailingWindow", "size": 3, "exclusionRanges": [left_out]}
    result = against(store, ref, granularity, window, 4)
    assert compared(result) == pytest.approx((2 + 8) / 2)
    assert (result.baseline_count, result.expected_baseline_count) == (2, 3)


@pytest.mark.parametrize(
    ("granularity", "cron", "kept"),
    [
        (Granularity.QUARTER_HOURLY, "0 * * * *", [1, 2, 3, 5, 6, 7]),  # without full hours
        (Granularity.HOURLY, "0 0-3 * * *", [4, 5, 6, 7]),
        (Granularity.DAILY, "0 0 * * 6,0", [0, 1, 2, 3, 4, 7]),  # without Saturday and Sunday
        (Granularity.WEEKLY, "0 0 8 * *", [0, 2, 3, 4, 5, 6, 7]),  # without the week of January 8
        (Granularity.MONTHLY, "0 0 1 2 *", [0, 2, 3, 4, 5, 6, 7]),  # without February
    ],
)
def test_an_exclusion_schedule_is_tested_on_the_time_of_the_bucket(
    store: Store, ref: DatasetRef, granularity: Granularity, cron: str, kept: list[int]
) -> None:
    load(store, ref, granularity, {number: [float(2**number)] for number in range(9)})
    window = {"type": "TrailingWindow", "size": 8, "exclusionSchedule": {"type": "cron", "cron": cron}}
    result = against(store, ref, granularity, window, 8)
    assert compared(result) == pytest.approx(sum(2**number for number in kept) / len(kept))


@EVERY
def test_a_range_of_time_is_made_of_the_buckets_that_start_in_it(
    store: Store, ref: DatasetRef, granularity: Granularity
) -> None:
    load(store, ref, granularity, {0: [1], 1: [2], 2: [4], 3: [8], 40: [100]})
    normal = {
        "start": granularity.shift(FIRST, 1).isoformat(),
        "end": granularity.shift(FIRST, 3).isoformat(),
    }
    result = against(store, ref, granularity, {"type": "TimeRange", "range": normal}, 40)
    assert compared(result) == 3.0
    assert (result.baseline_count, result.expected_baseline_count) == (2, 2)


@EVERY
@pytest.mark.parametrize("metric", ["mean", "median", "count", "unique_est"])
def test_a_reference_profile_serves_every_bucket(
    store: Store, ref: DatasetRef, granularity: Granularity, metric: str
) -> None:
    load(store, ref, granularity, {0: [7, 7], 5: [7, 7]})
    write_reference(store, ref, "good", profile(pa.table({"x": [2.0, 4.0, 9.0]})), NOW)
    reference = {"type": "Reference", "profileId": "good"}
    found = judged(store, ref, granularity, reference, [0, 5], metric=metric).results
    expected = {"mean": 5.0, "median": 4.0, "count": 3.0, "unique_est": 3.0}[metric]
    assert [compared(result) for result in found] == [pytest.approx(expected)] * 2
    assert {result.reference_profile_id for result in found} == {"good"}


def test_rows_and_columns_of_a_reference_profile(store: Store, ref: DatasetRef) -> None:
    load(store, ref, Granularity.DAILY, {0: [7, 7]})
    write_reference(store, ref, "good", profile(pa.table({"x": [2.0] * 5, "y": [1.0] * 5})), NOW)
    for metric, expected in (("count", 5.0), ("shape_column_count", 2.0), ("column_row_count_sum", 10.0)):
        result = against(
            store,
            ref,
            Granularity.DAILY,
            {"type": "Reference", "profileId": "good"},
            0,
            metric=metric,
            targetMatrix={"type": "dataset"},
        )
        assert compared(result) == expected, metric


@EVERY
def test_the_batch_of_the_same_time_of_another_dataset(
    store: Store, ref: DatasetRef, granularity: Granularity
) -> None:
    other = register_dataset(store, "org-0", f"training-{granularity}")
    load(store, ref, granularity, {0: [1], 1: [2], 2: [3]})
    load(store, other, granularity, {0: [10], 1: [20], 2: [30]})
    same_time = {"type": "CurrentBatch", "datasetId": other.dataset_id}
    assert compared(against(store, ref, granularity, same_time, 2)) == 30.0
    assert compared(against(store, ref, granularity, {**same_time, "offset": 2}, 2)) == 10.0
    assert compared(against(store, ref, granularity, {"type": "CurrentBatch", "offset": 1}, 2)) == 2.0
    window = {"type": "TrailingWindow", "size": 2, "datasetId": other.dataset_id}
    assert compared(against(store, ref, granularity, window, 2)) == 15.0


@pytest.mark.parametrize("inherit", [True, False])
@pytest.mark.parametrize(
    "baseline",
    [
        {"type": "TrailingWindow", "size": 1},
        {
            "type": "TimeRange",
            "range": {"start": "2024-01-01T00:00:00Z", "end": "2024-01-02T00:00:00Z"},
        },
        {"type": "CurrentBatch", "offset": 1},
        {"type": "Reference", "profileId": "good"},
    ],
    ids=lambda baseline: baseline["type"],
)
def test_a_segment_is_compared_with_its_like_in_another_dataset_only_when_asked(
    store: Store, ref: DatasetRef, baseline: dict[str, Any], inherit: bool
) -> None:
    granularity = Granularity.DAILY
    other = register_dataset(store, "org-0", f"segments-{baseline['type']}-{inherit}")
    load(store, ref, granularity, {1: [1, 1]}, region="EU")
    load(store, other, granularity, {0: [10, 30]}, region="EU")
    table = pa.table({"x": [10.0, 30.0], "region": ["EU", "other"]})
    write_reference(store, other, "good", profile(table, [["region"]]), NOW)
    segments = [{"tags": [{"key": "region", "value": "EU"}]}]
    matrix = {"type": "column", "include": ["x"], "segments": segments}
    asked = {**baseline, "datasetId": other.dataset_id, "inheritSegment": inherit}
    for metric in ("mean", "median"):
        result = against(store, ref, granularity, asked, 1, metric=metric, targetMatrix=matrix)
        # without its like, with all: the mean of 10 and 30, and the upper of both as the median
        assert compared(result) == (10.0 if inherit else {"mean": 20.0, "median": 30.0}[metric])


@EVERY
def test_a_baseline_without_data_says_how_much_it_needs(
    store: Store, ref: DatasetRef, granularity: Granularity
) -> None:
    load(store, ref, granularity, {0: [1.0], 5: [1.0]})
    result = against(store, ref, granularity, {"type": "TrailingWindow", "size": 3}, 5)
    assert result.failure_type is FailureType.INSUFFICIENT_BASELINE
    assert result.failure_explanation == "baseline has 0 of the 1 bucket it needs"


@EVERY
def test_drift_sees_the_same_buckets(store: Store, ref: DatasetRef, granularity: Granularity) -> None:
    load(store, ref, granularity, {0: [0, 0], 1: [0, 1], 2: [1, 1], 3: [9, 9]})
    config = {"type": "drift", "metric": "histogram", "algorithm": "ks_test", "threshold": 0.2}
    window = {"type": "TrailingWindow", "size": 2, "offset": 1}
    given = {"config": {**config, "baseline": window}, "schedule": None}
    result = against(store, ref, granularity, window, 3, **given)
    assert result.drift_value == 1.0
    assert result.baseline_count == 2
    moved = against(store, ref, granularity, window, 2, **given)
    assert moved.drift_value == 1.0  # of bucket 0 only: bucket −1 has no data, and bucket 1 is in the gap
    assert moved.baseline_count == 1
