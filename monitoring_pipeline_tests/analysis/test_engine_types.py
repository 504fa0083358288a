"""Every type of analyzer over days of data in a store: the verdicts, and the fields of the record that they fill."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import sqlalchemy as sa

from monitoring_pipeline.analysis.engine import analyze, unable
from monitoring_pipeline.analysis.gates import Due
from monitoring_pipeline.analysis.result import AnalyzerResult, FailureType
from monitoring_pipeline.profiling import profile
from monitoring_pipeline.profiling.profile import components_from_bytes, components_to_bytes
from monitoring_pipeline.store import schema
from monitoring_pipeline.store.database import Store, open_store
from monitoring_pipeline.store.datasets import DatasetRef, register_dataset
from monitoring_pipeline.store.profiles import write_batch, write_reference
from monitoring_pipeline.store.results import results, write_results
from monitoring_pipeline.timegrid import to_micros
from monitoring_pipeline_tests.analysis.documents import document
from monitoring_pipeline_tests.analysis.engine_runs import (
    DAY,
    NOW,
    START,
    constant,
    days_of,
    load,
    one,
    run,
    stddev,
    trailing,
)

DATASET = {"type": "dataset"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    opened = open_store(f"sqlite:///{tmp_path_factory.mktemp('types') / 'store.db'}")
    yield opened
    opened.close()


@pytest.fixture
def ref(store: Store, request: pytest.FixtureRequest) -> DatasetRef:
    return register_dataset(store, "org-0", request.node.name)


def record(result: AnalyzerResult) -> dict[str, object]:
    return result.to_reference_record(organisation="org-0", dataset="lead-scoring")


# --- comparisons --------------------------------------------------------------------------------------------------


def test_a_comparison_with_an_expected_number_needs_no_baseline(store: Store, ref: DatasetRef) -> None:
    constant(store, ref, {0: [9, 9], 1: [9.5]})
    config = {"type": "comparison", "metric": "max", "operator": "le", "expected": {"int": 9}}
    found = run(store, ref, document({"config": {**config, "baseline": trailing(7)}}), [0, 1]).results
    assert [result.anomaly_count for result in found] == [0, 1]
    assert record(found[1])["comparison_expected"] == "9.0"
    assert record(found[1])["comparison_observed"] == "9.5"
    assert found[1].details["comparison_observed"] == 9.5
    assert found[1].expected_baseline_count == 0


def test_a_comparison_with_the_merged_baseline(store: Store, ref: DatasetRef) -> None:
    constant(store, ref, {0: [1, 2], 1: [3], 2: [2], 3: [2.5]})
    config = {"type": "comparison", "metric": "mean", "operator": "eq", "baseline": trailing(2)}
    found = run(store, ref, document({"config": config}), [2, 3]).results
    # (1 + 2 + 3) / 3 = 2 for day 2, (3 + 2) / 2 = 2.5 for day 3
    assert [result.anomaly_count for result in found] == [0, 0]
    assert found[0].details["comparison_expected"] == 2.0
    config["operator"] = "gt"
    assert days_of(run(store, ref, document({"config": config}), [2, 3]), "mean-below-ten") == [2, 3]


def test_the_type_of_a_column_is_a_text_that_can_be_compared(store: Store, ref: DatasetRef) -> None:
    load(store, ref, 0, {"x": pa.array([1, 2, 3])})
    load(store, ref, 1, {"x": pa.array([4, 5])})
    load(store, ref, 2, {"x": pa.array(["a", "b"])})
    by_baseline = {
        "type": "comparison",
        "metric": "inferred_data_type",
        "operator": "eq",
        "baseline": trailing(2),
    }
    among = {
        "type": "list_comparison",
        "metric": "inferred_data_type",
        "expected": ["INTEGRAL", "FRACTIONAL"],
    }
    monitors = document({"id": "same", "config": by_baseline}, {"id": "numeric", "config": among})
    analysis = run(store, ref, monitors, [1, 2])
    assert days_of(analysis, "same") == [2]
    assert days_of(analysis, "numeric") == [2]
    changed = next(result for result in analysis.results if result.is_anomaly)
    assert record(changed)["comparison_observed"] == "STRING"
    assert record(changed)["comparison_expected"] == "INTEGRAL"
    assert changed.metric_value is None


def test_the_type_of_a_target_of_several_buckets_is_that_of_all_values(store: Store, ref: DatasetRef) -> None:
    load(store, ref, 0, {"x": pa.array(["a"] * 10)})
    load(store, ref, 1, {"x": pa.array([1, 2])})
    config = {"type": "comparison", "metric": "inferred_data_type", "operator": "eq", "expected": "STRING"}
    result = one(run(store, ref, document({"config": config, "targetSize": 2}), [1]))
    assert (result.details["comparison_observed"], result.target_count) == ("STRING", 2)


def test_missing_data_can_be_compared_with_zero(store: Store, ref: DatasetRef) -> None:
    constant(store, ref, {0: [1.0], 2: [1.0]})
    config = {"type": "comparison", "metric": "missingDatapoint", "operator": "eq", "expected": 0}
    monitors = document({"config": config, "targetMatrix": DATASET})
    assert days_of(run(store, ref, monitors, [0, 1, 2]), "mean-below-ten") == [1]


# --- monotonic ----------------------------------------------------------------------------------------------------


def test_a_number_that_must_always_rise(store: Store, ref: DatasetRef) -> None:
    constant(store, ref, {0: [1], 1: [2], 2: [1.5], 4: [1.2], 5: [3]})
    config = {"type": "monotonic", "metric": "mean", "direction": "DECREASING", "numBuckets": 1}
    analysis = run(store, ref, document({"config": config}), range(6))
    assert days_of(analysis, "mean-below-ten") == [2]
    analysis = run(store, ref, document({"config": config, "targetSize": 3}), range(6))
    # Day 3 is missing: day 4 is compared with day 2, and day 5 still has the fall from day 2 to 4 no more.
    assert days_of(analysis, "mean-below-ten") == [2, 4]
    fall = next(result for result in analysis.results if result.is_anomaly)
    assert record(fall)["threshold_metricValue"] == 1.0
    assert record(fall)["threshold_absoluteUpper"] == 1.0
    assert record(fall)["threshold_type"] == "lower"
    assert (fall.target_count, fall.is_rollup) == (3, False)


def test_as_many_rises_as_asked_for(store: Store, ref: DatasetRef) -> None:
    constant(store, ref, {day: [value] for day, value in enumerate([1, 2, 3, 3, 4, 1])})
    config = {"type": "monotonic", "metric": "median", "numBuckets": 3}
    analysis = run(store, ref, document({"config": config, "targetSize": 5}), range(6))
    assert {(result.bucket - START).days: result.metric_value for result in analysis.results} == {
        0: 0, 1: 1, 2: 2, 3: 2, 4: 3, 5: 2
    }  # fmt: skip
    assert days_of(analysis, "mean-below-ten") == [4]


# --- names --------------------------------------------------------------------------------------------------------


def test_columns_that_appear_and_vanish(store: Store, ref: DatasetRef) -> None:
    for day, names in enumerate(["ab", "ab", "abc", "abc", "bc"]):
        load(store, ref, day, {name: [1.0] for name in names})
    config = {"type": "column_list", "baseline": trailing(3)}
    monitors = document({"config": config, "targetMatrix": DATASET})
    analysis = run(store, ref, monitors, range(5))
    assert days_of(analysis, "mean-below-ten") == [2, 4]
    first, *_, added, _, removed = analysis.results
    assert first.failure_type is FailureType.INSUFFICIENT_BASELINE
    assert record(added)["columnList_addedSample"] == ["c"]
    assert record(added)["columnList_removed"] == 0
    assert record(removed)["columnList_removedSample"] == ["a"]
    assert record(removed)["columnList_mode"] == "ON_ADD_AND_REMOVE"
    assert (removed.column, removed.metric, removed.baseline_count) == ("", "column_list", 3)


def test_a_missing_day_adds_no_columns(store: Store, ref: DatasetRef) -> None:
    load(store, ref, 0, {"a": [1.0]})
    load(store, ref, 2, {"a": [1.0]})
    config = {"type": "column_list", "baseline": trailing(2)}
    monitors = document({"config": config, "targetMatrix": DATASET})
    result = one(run(store, ref, monitors, [2]))
    assert not result.is_anomaly
    assert not result.failed


def test_columns_of_a_reference_profile_and_of_a_segment(store: Store, ref: DatasetRef) -> None:
    write_reference(store, ref, "good", profile(pa.table({"a": [1.0], "r": ["EU"]}), [["r"]]), NOW)
    load(store, ref, 0, {"a": [1.0], "b": [2.0], "r": ["EU"]}, segments=[["r"]])
    config = {"type": "column_list", "baseline": {"type": "Reference", "profileId": "good"}}
    segments = [{"tags": []}, {"tags": [{"key": "r", "value": "EU"}]}]
    monitors = document({"config": config, "targetMatrix": {**DATASET, "segments": segments}})
    found = run(store, ref, monitors, [0]).results
    assert [(result.segment, result.anomaly_count) for result in found] == [("", 1), ("r=EU", 1)]
    assert record(found[0])["columnList_addedSample"] == ["b"]


def test_values_that_appear_and_vanish(store: Store, ref: DatasetRef) -> None:
    for day, values in enumerate([["web", "shop"], ["web"], ["web", "call"]]):
        load(store, ref, day, {"channel": values})
    operators = ("eq", "target_includes_all_baseline", "baseline_includes_all_target")
    monitors = document(
        *(
            {
                "id": operator,
                "config": {
                    "type": "frequent_string_comparison",
                    "operator": operator,
                    "baseline": trailing(2),
                },
            }
            for operator in operators
        )
    )
    analysis = run(store, ref, monitors, [1, 2])
    assert days_of(analysis, "target_includes_all_baseline") == [1, 2]
    assert days_of(analysis, "baseline_includes_all_target") == [2]
    new = next(
        result for result in analysis.results if result.analyzer_id == operators[2] and result.is_anomaly
    )
    assert record(new)["frequentStringComparison_sample"] == ["call"]
    assert record(new)["frequentStringComparison_operator"] == operators[2]
    assert record(new)["freqStringCount"] == [[1.0, 1.0, 1.0]]
    both = [result for result in analysis.results if result.analyzer_id == "eq"][-1]
    assert record(both)["frequentStringComparison_sample"] == ["call", "shop"]


# --- drift --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("algorithm", "before", "now", "distance"),
    [
        ("ks_test", [0, 0], [0, 0, 9, 9], 0.5),  # half of the values lie above all that the baseline has
        ("variation_distance", [0, 0], [0, 0, 9, 9], 0.5),
        ("chi_square", [0, 0], [0, 0, 9, 9], 1 / 3),  # ((1 − 0.5)² / 1.5 + (0 − 0.5)² / 0.5) / 2
        ("wasserstein", [0, 1], [0, 1, 5, 6], 5.0),  # 0→0, 0→1, 1→5, 1→6 is 2.5 on average, and σ is 0.5
    ],
)
def test_distances_of_distributions(
    store: Store, ref: DatasetRef, algorithm: str, before: list[float], now: list[float], distance: float
) -> None:
    constant(store, ref, {0: before, 1: before, 2: now})
    config = {"type": "drift", "metric": "histogram", "algorithm": algorithm, "threshold": 0.2}
    result = one(run(store, ref, document({"config": {**config, "baseline": trailing(2)}}), [2]))
    assert result.drift_value == pytest.approx(distance)
    assert result.is_anomaly
    assert (result.algorithm, result.algorithm_mode) == (algorithm, "histogram")


def test_an_order_that_a_metric_has_not_keeps_the_analyzer_from_running() -> None:
    config = {"type": "drift", "metric": "frequent_items", "algorithm": "ks_test", "baseline": trailing(2)}
    reasons = unable(document({"config": config}))
    assert "which frequent_items has not; use hellinger" in reasons["mean-below-ten"]


# --- standard deviations with a cleaned baseline ------------------------------------------------------------------


def test_an_anomaly_that_lasts_goes_on_being_one_when_baselines_heal(store: Store, ref: DatasetRef) -> None:
    days = {day: [10 + day % 3] for day in range(12)} | {day: [50 + day % 2] for day in range(12, 24)}
    constant(store, ref, days)
    ids = {
        "plain": {},
        "healed": {"enableAlertsFilter": "true"},
        "replaced": {"enableAnomalyReplacement": "true"},
    }
    monitors = document(
        *(
            {
                "id": name,
                "config": stddev("mean", factor=3, minBatchSize=2, baseline=trailing(6), params=params),
            }
            for name, params in ids.items()
        )
    )
    analysis = run(store, ref, monitors, range(6, 24))
    assert not analysis.notes
    assert days_of(analysis, "plain") == [12]
    assert set(range(12, 16)) <= set(days_of(analysis, "healed"))
    assert len(days_of(analysis, "replaced")) >= len(days_of(analysis, "plain"))
    first = next(
        result for result in analysis.results if result.analyzer_id == "replaced" and result.is_anomaly
    )
    assert record(first)["seasonal_shouldReplace"] is True
    assert record(first)["seasonal_lambdaKeep"] == 0.5
    replacement, prediction = (
        record(first)["seasonal_replacement"],
        record(first)["seasonal_adjusted_prediction"],
    )
    assert replacement == pytest.approx((50 + prediction) / 2)  # pyright: ignore[reportOperatorIssue]
    assert record(first)["threshold_minBatchSize"] == 6


@pytest.mark.parametrize(
    "params", [{"enableAlertsFilter": "true"}, {"enableAnomalyReplacement": "true", "seed": "5"}]
)
def test_healed_buckets_one_by_one_and_after_each_other_are_the_same(
    store: Store, ref: DatasetRef, params: dict[str, str]
) -> None:
    random = np.random.default_rng(1)
    constant(
        store, ref, {day: [float(value)] for day, value in enumerate(random.normal(10, 3, 40)) if day % 7}
    )
    config = stddev("mean", factor=1, minBatchSize=2, baseline=trailing(5, offset=1), params=params)
    monitors = document({"config": config, "targetSize": 2})
    together = run(store, ref, monitors, range(40)).results
    backwards = [result for day in range(39, -1, -1) for result in run(store, ref, monitors, [day]).results]
    assert sorted(backwards, key=lambda result: result.bucket) == list(together)
    assert any(result.is_anomaly for result in together)


def test_a_fixed_range_cannot_heal(store: Store, ref: DatasetRef) -> None:
    normal = {"start": "2026-01-01T00:00:00Z", "end": "2026-01-03T00:00:00Z"}
    config = stddev(
        "mean", baseline={"type": "TimeRange", "range": normal}, params={"enableAlertsFilter": "true"}
    )
    [note] = run(store, ref, document({"config": config}), [0]).notes
    assert (
        "need a TrailingWindow baseline, whose buckets were judged before the target; found TimeRange" in note
    )


# --- seasonal -----------------------------------------------------------------------------------------------------


def test_a_weekly_rhythm_is_expected_and_a_day_out_of_step_is_not(store: Store, ref: DatasetRef) -> None:
    random = np.random.default_rng(4)
    week = [100, 100, 100, 100, 100, 20, 20]
    days = {day: [week[day % 7] + float(random.normal(0, 2))] for day in range(110)}
    days[103] = [25.0]  # a working day like a weekend
    constant(store, ref, days)
    config = {"type": "seasonal", "metric": "mean", "stddevFactor": 3, "baseline": trailing(90)}
    analysis = run(store, ref, document({"config": config}), [100, 101, 102, 103])
    assert not analysis.notes
    assert 103 in days_of(analysis, "mean-below-ten")
    assert len(days_of(analysis, "mean-below-ten")) <= 2


# --- composites ---------------------------------------------------------------------------------------------------


def test_a_conjunction_is_an_anomaly_when_both_are(store: Store, ref: DatasetRef) -> None:
    load(store, ref, 0, {"x": [20.0], "y": [1.0]})
    load(store, ref, 1, {"x": [20.0, None], "y": [1.0, 1.0]})
    load(store, ref, 2, {"x": [1.0, None], "y": [1.0, 1.0]})
    nulls = {"type": "fixed", "metric": "count_null_ratio", "upper": 0.1}
    children = ["mean-below-ten", "nulls"]
    monitors = document(
        {"id": "both", "config": {"type": "conjunction", "analyzerIds": children}, "targetMatrix": None},
        {"id": "any", "config": {"type": "disjunction", "analyzerIds": children}, "targetMatrix": None},
        {},
        {"id": "nulls", "config": nulls},
    )
    analysis = run(store, ref, monitors, [0, 1, 2])
    assert not analysis.notes
    assert days_of(analysis, "both") == [1]
    assert days_of(analysis, "any") == [0, 1, 2]
    assert not unable(monitors)
    write_results(
        store, ref, [result.to_row() for result in analysis.results if result.analyzer_id in children]
    )
    later = document(*(one_.model_dump(by_alias=True, exclude_unset=True) for one_ in monitors.analyzers))
    again = run(store, ref, later, [0, 1, 2])
    assert days_of(again, "both") == [1]


def test_a_conjunction_reads_what_its_analyzers_found_in_earlier_runs(store: Store, ref: DatasetRef) -> None:
    constant(store, ref, {0: [20.0]})
    children = [{}, {"id": "minimum", "config": {"type": "fixed", "metric": "min", "upper": 10}}]
    both = {"id": "both", "targetMatrix": None}
    both["config"] = {"type": "conjunction", "analyzerIds": ["mean-below-ten", "minimum"]}
    earlier = run(store, ref, document(*children), [0]).results
    write_results(store, ref, [result.to_row() for result in earlier])
    monitors = document(*children, both)
    asked = [Due(START, "both", "1")]
    result = one(analyze(store, ref, monitors, asked, now=NOW, run_id="run-2"))
    assert result.is_anomaly
    assert result.details["child_analysis_ids"] == [child.analysis_id for child in earlier]
    write_results(store, ref, [result.to_row()])
    stored = [AnalyzerResult.from_row(row) for row in results(store, ref, analyzer_ids=["both"])]
    assert stored == [result]


def test_a_composite_analyzer_of_nothing_is_noted(store: Store, ref: DatasetRef) -> None:
    constant(store, ref, {0: [20.0]})
    nowhere = {"targetMatrix": {"type": "column", "include": ["y"]}}
    config = {"type": "conjunction", "analyzerIds": ["a", "b"]}
    monitors = document({"id": "a", **nowhere}, {"id": "b", **nowhere}, {"id": "both", "config": config})
    *_, note = run(store, ref, monitors, [0]).notes
    assert note == (
        "analyzer both: none of its analyzers has a result that its targetMatrix selects (1 bucket without a result)"
    )


# --- targets that are no plain buckets ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "anomalies"),
    [
        ({"type": "fixed", "metric": "mean", "upper": 10}, 2),
        ({"type": "fixed", "metric": "median", "upper": 10}, 2),
        (stddev("mean", minBatchSize=2, baseline=trailing(3)), 1),
        ({"type": "drift", "metric": "histogram", "threshold": 0.5, "baseline": trailing(3)}, 1),
    ],
)
def test_a_reference_profile_can_be_the_target(
    store: Store, ref: DatasetRef, config: dict[str, Any], anomalies: int
) -> None:
    constant(store, ref, {0: [1], 1: [2], 2: [1.5], 3: [50, 50]})
    write_reference(store, ref, "candidate", profile(pa.table({"x": [50.0, 50.0], "y": [1.0, 1.0]})), NOW)
    matrix = {"type": "column", "include": ["x"], "profileId": "candidate"}
    analysis = run(store, ref, document({"config": config, "targetMatrix": matrix}), [3, 300])
    found = analysis.results
    assert sum(result.anomaly_count for result in found) == anomalies
    assert {result.column for result in found} == {"x"}
    assert found[0].bucket == START + 3 * DAY
    assert record(found[0])["targetProfileId"] == "candidate"


def test_a_target_profile_that_does_not_exist_is_noted(store: Store, ref: DatasetRef) -> None:
    constant(store, ref, {0: [1]})
    matrix = {"type": "column", "include": ["x"], "profileId": "lost"}
    [note] = run(store, ref, document({"targetMatrix": matrix}), [0]).notes
    assert "in the reference profile 'lost'" in note


def test_uploads_are_judged_one_by_one_where_a_bucket_is_one_upload(store: Store, ref: DatasetRef) -> None:
    constant(store, ref, {0: [20.0]})
    write_batch(
        store,
        ref,
        START + DAY,
        profile(pa.table({"x": [20.0]})),
        fingerprint="two",
        first_upload=START + DAY,
        last_upload=START + DAY,
        files=2,
        quality={},
        now=NOW,
    )
    alone, several = run(store, ref, document({"disableTargetRollup": True}), [0, 1]).results
    assert alone.is_anomaly
    assert record(alone)["disableTargetRollup"] is True
    assert several.failure_type is FailureType.CALCULATION_EXCEPTION
    assert several.failure_explanation is not None
    assert "came in several files" in several.failure_explanation


def test_tags_of_the_analyzer_are_on_its_results(store: Store, ref: DatasetRef) -> None:
    constant(store, ref, {0: [1.0]})
    result = one(run(store, ref, document({"tags": ["llm", "cost"]}), [0]))
    assert record(result)["analyzerTags"] == ["llm", "cost"]


# --- what goes wrong ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "config",
    [
        {"type": "drift", "metric": "histogram", "baseline": trailing(2)},
        {"type": "drift", "metric": "frequent_items", "baseline": trailing(2)},
    ],
)
def test_a_damaged_sketch_is_a_failure_of_its_column(
    store: Store, ref: DatasetRef, config: dict[str, Any]
) -> None:
    for day in range(3):
        load(store, ref, day, {"x": [1.0, 2.0], "y": [1.0, 2.0], "w": ["a", "b"], "v": ["a", "b"]})
    broken, whole = ("x", "y") if config["metric"] == "histogram" else ("w", "v")
    component = "kll.v1" if config["metric"] == "histogram" else "frequent_items.v1"
    bucket, table = to_micros(START + 2 * DAY), schema.profile_sketch
    with store.begin() as connection:
        names = schema.column_name
        of_column = sa.select(names.c.pk).where(names.c.dataset == ref.pk, names.c.name == broken)
        there = (table.c.dataset == ref.pk, table.c.bucket == bucket, table.c.column.in_(of_column))
        image = connection.execute(sa.select(table.c.components).where(*there)).scalar_one()
        damaged = {component: components_from_bytes(image)[component][:-1]}
        connection.execute(sa.update(table).where(*there).values(components=components_to_bytes(damaged)))
    matrix = {"type": "column", "include": [broken, whole]}
    monitors = document({"id": "drift", "config": config, "targetMatrix": matrix}, {})
    analysis = run(store, ref, monitors, [2])
    found = {result.column: result for result in analysis.results if result.analyzer_id == "drift"}
    assert found[broken].failure_type is FailureType.METRIC_EXCEPTION
    explanation = found[broken].failure_explanation or ""
    assert explanation.startswith("the profile cannot be read (a ")
    assert explanation.endswith(" sketch that is damaged or of another kind); profile the bucket again")
    assert (found[whole].failure_type, found[whole].drift_value) == (None, 0.0)
    assert any(result.analyzer_id != "drift" for result in analysis.results)


def test_a_row_that_cannot_be_read_leaves_the_other_analyzers_alone(store: Store, ref: DatasetRef) -> None:
    constant(store, ref, {0: [1.0], 1: [1.0]})
    with store.begin() as connection:
        table = schema.profile_sketch
        connection.execute(sa.update(table).where(table.c.dataset == ref.pk).values(components=b"broken"))
    config = {"type": "drift", "metric": "histogram", "baseline": trailing(1)}
    analysis = run(store, ref, document({"id": "drift", "config": config}, {}), [1])
    assert [result.analyzer_id for result in analysis.results] == ["mean-below-ten"]
    [note] = analysis.notes
    assert note.startswith("analyzer drift: ")
