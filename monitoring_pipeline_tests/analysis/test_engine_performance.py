"""Analyzers on metrics that components, batches and other metrics tell: from rows over the store to verdicts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sqlalchemy import event

from monitoring_pipeline.analysis.engine import Analysis, analyze, unable
from monitoring_pipeline.analysis.gates import Due
from monitoring_pipeline.analysis.planner import analyzer_version
from monitoring_pipeline.config.dataset import ColumnRoles
from monitoring_pipeline.config.entity_schema import EntitySchema
from monitoring_pipeline.metrics import NO_METRICS, Metric, custom_metrics, metric
from monitoring_pipeline.profiling import DatasetProfile
from monitoring_pipeline.profiling.profiler import profile
from monitoring_pipeline.store.database import Store, open_store
from monitoring_pipeline.store.datasets import DatasetRef, register_dataset
from monitoring_pipeline.store.profiles import bucket_profiles, write_batch, write_reference
from monitoring_pipeline.timegrid import TimeRange
from monitoring_pipeline_tests.analysis.documents import document

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
NOW = START + 400 * DAY
BAD = 15
"""The day on which the model of region US answers at random."""

ROLES = ColumnRoles(prediction="prediction", score="score", target="target", value="revenue")
SEVEN = {"type": "TrailingWindow", "size": 7}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    opened = open_store(f"sqlite:///{tmp_path_factory.mktemp('performance') / 'store.db'}")
    yield opened
    opened.close()


def rows(day: int) -> pa.Table:
    """Four hundred answers, nine in ten of them right."""
    random = np.random.default_rng(day)
    target = random.random(400) < 0.4
    region = np.where(np.arange(400) % 2 == 0, "EU", "US")
    right = random.random(400) < np.where((day == BAD) & (region == "US"), 0.5, 0.9)
    prediction = np.where(right, target, ~target)
    return pa.table(
        {
            "prediction": prediction,
            "score": np.where(prediction, 0.9, 0.1),
            "target": target,
            "revenue": np.where(target, 50.0, 0.0),
            "region": region,
            "latency": np.append(
                random.gamma(5, 20, 400 - 4),
                [5_000.0] * (4 if day == BAD else 0) + [50.0] * (0 if day == BAD else 4),
            ),
        }
    )


def of_day(day: int) -> DatasetProfile:
    return profile(rows(day), [["region"]], roles=ROLES)


def load(store: Store, ref: DatasetRef, day: int, found: DatasetProfile, fingerprint: str = "first") -> None:
    bucket = START + day * DAY
    write_batch(
        store,
        ref,
        bucket,
        found,
        fingerprint=fingerprint,
        first_upload=bucket + DAY,
        last_upload=bucket + DAY + timedelta(minutes=day),
        files=3 if day == BAD else 1,
        quality={},
        now=NOW,
    )


@pytest.fixture(scope="module")
def leads(store: Store) -> DatasetRef:
    ref = register_dataset(store, "org-0", "leads")
    for day in range(20):
        load(store, ref, day, of_day(day))
    return ref


def run(
    store: Store,
    ref: DatasetRef,
    config: dict[str, Any],
    *,
    days: range = range(7, 20),
    metrics: Mapping[str, Metric] = NO_METRICS,
    schema: EntitySchema | None = None,
    **given: Any,
) -> Analysis:
    matrix = {"type": "dataset", "segments": [{"tags": []}]}
    monitors = document({"id": "watch-it-well", "targetMatrix": matrix, "config": config, **given})
    due = [
        Due(START + day * DAY, one.id, analyzer_version(one)) for one in monitors.analyzers for day in days
    ]
    return analyze(store, ref, monitors, due, now=NOW, run_id="run", metrics=metrics, schema=schema)


def anomalies(analysis: Analysis) -> set[tuple[int, str, str]]:
    assert not analysis.notes
    return {
        ((one.bucket - START).days, one.segment, one.column) for one in analysis.results if one.is_anomaly
    }


def diff(name: str, threshold: float = 10) -> dict[str, Any]:
    return {"type": "diff", "mode": "pct", "metric": name, "threshold": threshold, "baseline": SEVEN}


def test_a_drop_of_accuracy_is_found(store: Store, leads: DatasetRef) -> None:
    found = run(store, leads, diff("classification.accuracy"))
    assert anomalies(found) == {(BAD, "", "")}
    [worst] = [one for one in found.results if one.is_anomaly]
    right = np.concatenate(
        [np.asarray(rows(day)["prediction"]) == np.asarray(rows(day)["target"]) for day in range(8, 15)]
    )
    today = np.asarray(rows(BAD)["prediction"]) == np.asarray(rows(BAD)["target"])
    assert worst.metric_value == pytest.approx(today.mean())
    assert worst.diff_value == pytest.approx((right.mean() - today.mean()) / right.mean() * 100)


def test_it_is_found_in_the_segment_where_it_happened(store: Store, leads: DatasetRef) -> None:
    matrix = {"type": "dataset", "segments": [{"tags": [{"key": "region", "value": "*"}]}]}
    found = run(store, leads, diff("classification.f1", 20), targetMatrix=matrix)
    assert anomalies(found) == {(BAD, "region=US", "")}


@pytest.mark.parametrize("name", ["classification.recall", "classification.auroc", "classification.ece"])
def test_the_deviation_of_a_series_is_found(store: Store, leads: DatasetRef, name: str) -> None:
    config = {"type": "stddev", "metric": name, "factor": 4, "minBatchSize": 5, "baseline": SEVEN}
    assert (BAD, "", "") in anomalies(run(store, leads, config))


def test_fixed_bounds_hold_for_single_and_merged_targets(store: Store, leads: DatasetRef) -> None:
    config = {"type": "fixed", "metric": "classification.accuracy", "lower": 0.8}
    assert anomalies(run(store, leads, config)) == {(BAD, "", "")}
    assert anomalies(run(store, leads, config, targetSize=7)) == set()
    week = run(store, leads, config, targetSize=7, days=range(BAD, BAD + 1)).results[0]
    right = [np.asarray(rows(day)["prediction"]) == np.asarray(rows(day)["target"]) for day in range(9, 16)]
    assert week.metric_value == pytest.approx(np.concatenate(right).mean())


def test_a_reference_profile_is_a_baseline_of_quality_too(store: Store, leads: DatasetRef) -> None:
    write_reference(store, leads, "best-day", of_day(3), NOW)
    config = diff("classification.accuracy") | {"baseline": {"type": "Reference", "profileId": "best-day"}}
    assert (BAD, "", "") in anomalies(run(store, leads, config))


def test_value_adds_up_over_buckets(store: Store, leads: DatasetRef) -> None:
    config = {"type": "fixed", "metric": "value.positive", "lower": 0}
    found = run(store, leads, config, days=range(7, 8), targetSize=3).results[0]
    assert found.metric_value == sum(np.asarray(rows(day)["revenue"]).sum() for day in (5, 6, 7))


def test_buckets_without_outcomes_have_no_result(store: Store, request: pytest.FixtureRequest) -> None:
    ref = register_dataset(store, "org-0", request.node.name)
    for day in range(10):
        load(
            store, ref, day, profile(rows(day).drop_columns("target") if day == 8 else rows(day), roles=ROLES)
        )
    found = run(store, ref, diff("classification.accuracy"), days=range(7, 10))
    assert [(one.bucket - START).days for one in found.results] == [7, 9]


def test_an_own_metric_is_judged_like_any_other(store: Store, leads: DatasetRef) -> None:
    expression = "1 - (classification.recall + (1 - classification.fpr)) / 2"
    own = custom_metrics({"balanced_error": expression}, metric)
    found = run(store, leads, diff("balanced_error", 100), metrics=own)
    assert anomalies(found) == {(BAD, "", "")}
    assert {one.metric for one in found.results} == {"balanced_error"}


def test_an_own_metric_that_nobody_defined_is_told(store: Store, leads: DatasetRef) -> None:
    monitors = document(
        {"id": "watch-it-well", "targetMatrix": {"type": "dataset"}, "config": diff("balanced_error")}
    )
    assert "no metric is called 'balanced_error'" in unable(monitors)["watch-it-well"]
    assert unable(monitors, metrics=custom_metrics({"balanced_error": "classification.fpr"}, metric)) == {}


def test_outliers_of_a_column_are_found(store: Store, leads: DatasetRef) -> None:
    matrix = {"type": "column", "include": ["latency"], "segments": [{"tags": []}]}
    series = {"type": "stddev", "metric": "outlier_ratio", "factor": 2, "baseline": SEVEN}
    values = {
        (one.bucket - START).days: one.metric_value
        for one in run(store, leads, series, targetMatrix=matrix).results
    }
    expected = {}
    for day in values:
        numbers = np.sort(np.asarray(rows(day)["latency"]))
        lower, upper = numbers[100], numbers[300]
        reach = 1.5 * (upper - lower)
        expected[day] = ((numbers < lower - reach) | (numbers > upper + reach)).mean()
    assert values == pytest.approx(expected)


def test_throughput_and_uploads_are_metrics_of_the_dataset(store: Store, leads: DatasetRef) -> None:
    def value(name: str) -> float | None:
        config = {"type": "fixed", "metric": name, "lower": 0}
        return run(store, leads, config, days=range(BAD, BAD + 1)).results[0].metric_value

    assert value("throughput") == pytest.approx(400 / 86_400)
    assert value("profile.count") == 3
    arrived = START + (BAD + 1) * DAY
    assert value("profile.first_ingestion_time") == arrived.timestamp()
    assert value("profile.last_ingestion_time") == arrived.timestamp() + 60 * BAD


def test_inputs_and_outputs_are_counted_by_the_schema(store: Store, leads: DatasetRef) -> None:
    schema = EntitySchema.model_validate({"columns": {"prediction": {"classifier": "output"}}})

    def value(name: str) -> float | None:
        config = {"type": "fixed", "metric": name, "lower": 0}
        return run(store, leads, config, days=range(7, 8), schema=schema).results[0].metric_value

    assert (value("input.count"), value("output.count")) == (5 * 400, 400)


def test_several_metrics_of_one_window_are_read_with_one_query_each_of_rows_and_components(
    store: Store, leads: DatasetRef
) -> None:
    names = ["accuracy", "precision", "recall", "f1", "fpr", "auroc", "brier"]
    monitors = document(
        *(
            {
                "id": f"watch-{name}-well",
                "targetMatrix": {"type": "dataset", "segments": []},
                "config": diff(f"classification.{name}"),
            }
            for name in names
        )
    )
    due = [Due(START + day * DAY, one.id, "") for one in monitors.analyzers for day in range(7, 20)]
    asked: list[str] = []
    engine = store.engine

    def count(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        asked.append(statement)

    event.listen(engine, "before_cursor_execute", count)
    try:
        analyze(store, leads, monitors, due, now=NOW, run_id="run")
    finally:
        event.remove(engine, "before_cursor_execute", count)
    assert sum("profile_sketch" in statement for statement in asked) == 1


def test_components_of_a_segment_are_stored_and_merge_to_those_of_all_rows(
    store: Store, leads: DatasetRef
) -> None:
    days = bucket_profiles(
        store, leads, TimeRange(START, START + 3 * DAY), columns=[""], segments=["region=EU"]
    )
    merged = profile(pa.concat_tables([rows(day) for day in range(3)]), [["region"]], roles=ROLES)
    [history] = days.values()
    found = [
        DatasetProfile({"region=EU": one.n}, {}, 0, {"region=EU": one.extra}) for one in history.values()
    ]
    together = found[0].merge(found[1]).merge(found[2]).performance("region=EU")
    expected = merged.performance("region=EU")
    assert together is not None
    assert expected is not None
    np.testing.assert_allclose(together.sums, expected.sums)
    np.testing.assert_array_equal(together.cells, expected.cells)
    assert DatasetProfile.from_bytes(merged.to_bytes()).performance("region=EU") == expected


def test_corrected_outcomes_outdate_what_was_said_of_the_dataset(
    store: Store, request: pytest.FixtureRequest
) -> None:
    from monitoring_pipeline.store.results import results, write_results

    ref = register_dataset(store, "org-0", request.node.name)
    for day in range(9):
        load(store, ref, day, of_day(day))
    found = run(store, ref, diff("classification.accuracy"), days=range(8, 9))
    write_results(store, ref, [one.to_row() for one in found.results], now=NOW)
    table = rows(8)
    flipped = table.set_column(2, "target", pa.array(~np.asarray(table["target"])))
    load(store, ref, 8, profile(flipped, [["region"]], roles=ROLES), fingerprint="second")
    assert [row["stale"] for row in results(store, ref)] == [True]
