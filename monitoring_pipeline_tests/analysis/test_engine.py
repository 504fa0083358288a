from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from monitoring_pipeline.analysis import engine
from monitoring_pipeline.analysis.algorithms import Registry, registry
from monitoring_pipeline.analysis.engine import analyze
from monitoring_pipeline.analysis.gates import Due
from monitoring_pipeline.analysis.result import AnalyzerResult, FailureType
from monitoring_pipeline.analysis.verdicts import Algorithm, Needs, Verdicts, no_failures
from monitoring_pipeline.profiling import profile
from monitoring_pipeline.store.database import Store, open_store
from monitoring_pipeline.store.datasets import DatasetRef, register_dataset
from monitoring_pipeline.store.profiles import write_reference
from monitoring_pipeline.store.results import results, write_results
from monitoring_pipeline_tests.analysis.documents import document
from monitoring_pipeline_tests.analysis.engine_runs import (
    DAY,
    NOW,
    START,
    constant,
    days_of,
    diff,
    load,
    one,
    run,
    stddev,
    trailing,
)

SHIFTED = 20
"""The day on which every generated column moves."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store of this module's own; every test has a dataset of its own in it."""
    opened = open_store(f"sqlite:///{tmp_path_factory.mktemp('engine') / 'store.db'}")
    yield opened
    opened.close()


@pytest.fixture
def ref(store: Store, request: pytest.FixtureRequest) -> DatasetRef:
    return register_dataset(store, "org-0", request.node.name)


@pytest.fixture(scope="module")
def leads(store: Store) -> DatasetRef:
    """Thirty days of 300 leads in two regions; on day 20 scores rise, a channel appears and ages get lost."""
    ref = register_dataset(store, "org-0", "leads")
    random = np.random.default_rng(7)
    for day in range(30):
        moved = day == SHIFTED
        table = pa.table(
            {
                "score": random.normal(0.9 if moved else 0.5, 0.1, 300),
                "age": pa.array(
                    [None if moved and at % 2 else 40 + at % 20 for at in range(300)], pa.int64()
                ),
                "channel": random.choice(["web", "shop", "call"] if moved else ["web", "shop"], 300).tolist(),
                "region": ["EU", "US"] * 150,
            }
        )
        load(store, ref, day, table, segments=[["region"]])
    return ref


DATASET = {"type": "dataset"}
EVERYWHERE = {"tags": []}, {"tags": [{"key": "region", "value": "*"}]}
LEADS_ANALYZERS = [
    {"id": "score-mean", "config": stddev("mean"), "targetMatrix": {"type": "column", "include": ["score"]}},
    {
        "id": "score-drift",
        "config": {"type": "drift", "metric": "histogram", "threshold": 0.6, "baseline": trailing(7)},
        "targetMatrix": {"type": "column", "include": ["score"], "segments": [*EVERYWHERE]},
    },
    {
        "id": "channel-drift",
        "config": {"type": "drift", "metric": "frequent_items", "threshold": 0.3, "baseline": trailing(7)},
        "targetMatrix": {"type": "column", "include": ["group:discrete"]},
    },
    {
        "id": "age-nulls",
        "config": diff("count_null_ratio", threshold=0.2),
        "targetMatrix": {"type": "column", "include": ["*"], "segments": [*EVERYWHERE]},
    },
    {
        "id": "score-median",
        "config": diff("median", threshold=0.2),
        "targetMatrix": {"type": "column", "include": ["score"]},
    },
    {"id": "few-rows", "config": {"type": "fixed", "metric": "count", "lower": 100}, "targetMatrix": DATASET},
    {
        "id": "channels",
        "config": diff("unique_est", threshold=0.5, thresholdType="upper", baseline=trailing(5)),
        "targetMatrix": {"type": "column", "include": ["channel"]},
    },
]


def test_the_planted_shift_is_found_and_normal_days_are_not(store: Store, leads: DatasetRef) -> None:
    analysis = run(store, leads, document(*LEADS_ANALYZERS), range(7, 30))
    assert not analysis.notes
    for analyzer_id in ("score-mean", "score-median", "channels"):
        assert days_of(analysis, analyzer_id) == [SHIFTED], analyzer_id
    for segment in ("", "region=EU", "region=US"):
        assert days_of(analysis, "score-drift", segment=segment) == [SHIFTED], segment
    assert days_of(analysis, "age-nulls", segment="", column="age") == [SHIFTED]
    assert days_of(analysis, "age-nulls", column="score") == []
    assert days_of(analysis, "channel-drift", column="channel") == [SHIFTED]
    assert days_of(analysis, "few-rows") == []
    assert len([result for result in analysis.results if result.analyzer_id == "few-rows"]) == 23


def test_buckets_one_by_one_give_the_same_results_as_all_at_once(store: Store, leads: DatasetRef) -> None:
    schema = {"columns": {"channel": {"discreteness": "discrete"}, "region": {"discreteness": "discrete"}}}
    monitors = document(*LEADS_ANALYZERS, entitySchema=schema)
    together = run(store, leads, monitors, range(30))
    singly = [result for day in range(30) for result in run(store, leads, monitors, [day]).results]
    key = lambda result: (result.analyzer_id, result.bucket, result.segment, result.column)  # noqa: E731
    assert sorted(together.results, key=key) == sorted(singly, key=key)
    assert len(singly) > 400


def test_results_can_be_written_and_read_back(store: Store, leads: DatasetRef) -> None:
    analysis = run(store, leads, document(*LEADS_ANALYZERS), [19, SHIFTED])
    write_results(store, leads, [result.to_row() for result in analysis.results])
    read = [AnalyzerResult.from_row(row) for row in results(store, leads)]
    assert {result.analysis_id: result for result in read} == {
        result.analysis_id: result for result in analysis.results
    }


def test_stddev_by_hand(store: Store, ref: DatasetRef) -> None:
    constant(store, ref, {0: [9], 1: [11], 2: [9], 3: [11], 4: [20]})
    # mean 10, sample deviation √(4/3) = 1.1547, three of them 3.4641
    result = one(run(store, ref, document({"config": stddev("mean", factor=3, baseline=trailing(4))}), [4]))
    assert result.is_anomaly
    assert (result.metric, result.metric_value) == ("mean", 20.0)
    assert result.calculated_upper == pytest.approx(13.4641, abs=1e-4)
    assert result.calculated_lower == pytest.approx(6.5359, abs=1e-4)
    assert (result.baseline_count, result.expected_baseline_count, result.minimum_batch_size) == (4, 4, 3)
    assert (result.target_count, result.profile_version, result.factor) == (1, 1, 3.0)
    assert (result.column, result.segment, result.target_level, result.run_id) == ("x", "", "column", "run-1")
    assert result.created == NOW


def test_too_short_a_baseline_is_a_result_that_says_so(store: Store, ref: DatasetRef) -> None:
    constant(store, ref, {0: [1], 1: [1], 2: [1000]})
    result = one(run(store, ref, document({"config": stddev("mean", minBatchSize=7)}), [2]))
    assert result.failure_type is FailureType.INSUFFICIENT_BASELINE
    assert result.failure_explanation == "baseline has 2 of the 7 buckets it needs"
    assert not result.is_anomaly
    assert result.metric_value == 1000.0
    assert result.calculated_upper is None


def test_a_minimum_beyond_the_window_is_explained_by_the_algorithm(store: Store, ref: DatasetRef) -> None:
    constant(store, ref, {0: [1], 1: [1], 2: [1000]})
    result = one(
        run(store, ref, document({"config": stddev("mean", minBatchSize=30, baseline=trailing(2))}), [2])
    )
    assert result.failure_type is FailureType.CALCULATION_EXCEPTION
    assert result.failure_explanation
    assert "requires at least 30" in result.failure_explanation


def test_baseline_buckets_count_only_where_the_metric_is_present(store: Store, ref: DatasetRef) -> None:
    load(store, ref, 0, {"x": pa.array([None, None], pa.float64())})
    constant(store, ref, {1: [1.0], 2: [1.0], 3: [1.0]})
    result = one(run(store, ref, document({"config": diff("mean")}), [3]))
    assert (result.baseline_count, result.baseline_batches_with_profile_count) == (2, 3)


def test_a_target_without_the_metric_has_no_result(store: Store, ref: DatasetRef) -> None:
    constant(store, ref, {0: [1.0]})
    load(store, ref, 1, {"x": pa.array([None], pa.float64())})
    analysis = run(store, ref, document({}), [0, 1])
    assert [result.bucket for result in analysis.results] == [START]


def test_an_offset_and_exclusions_choose_the_baseline(store: Store, ref: DatasetRef) -> None:
    constant(store, ref, {0: [1], 1: [3], 2: [100], 3: [5]})
    sale = {"start": "2026-01-01T00:00:00Z", "end": "2026-01-02T00:00:00Z"}
    config = diff("mean", threshold=1.9, baseline=trailing(2, offset=1, exclusionRanges=[sale]))
    result = one(run(store, ref, document({"config": config}), [3]))
    assert (result.diff_value, result.details["baseline_value"]) == (2.0, 3.0)
    assert (result.baseline_count, result.expected_baseline_count) == (1, 2)


def test_merged_mean_weighs_buckets_by_their_values(store: Store, ref: DatasetRef) -> None:
    constant(store, ref, {0: [1, 1, 1], 1: [5], 2: [10]})
    result = one(run(store, ref, document({"config": diff("mean", baseline=trailing(2))}), [2]))
    assert result.details["baseline_value"] == pytest.approx((1 + 1 + 1 + 5) / 4)


def test_counts_are_compared_with_the_mean_per_bucket(store: Store, ref: DatasetRef) -> None:
    constant(store, ref, {0: [1] * 10, 1: [1] * 20, 3: [1] * 18})
    result = one(run(store, ref, document({"config": diff("count"), "targetMatrix": DATASET}), [3]))
    assert (result.metric_value, result.details["baseline_value"], result.diff_value) == (18.0, 15.0, 3.0)


def test_merged_median_and_distinct_values_come_from_sketches(store: Store, ref: DatasetRef) -> None:
    constant(store, ref, {0: [1, 2, 3], 1: [3, 4, 100], 2: [7]})
    monitors = document(
        {"id": "median", "config": diff("median", baseline=trailing(2))},
        {"id": "distinct", "config": diff("unique_est", baseline=trailing(2))},
    )
    found = {result.analyzer_id: result for result in run(store, ref, monitors, [2]).results}
    assert found["median"].details["baseline_value"] == 3.0  # place ⌊0.5 · 6⌋ of 1 2 3 3 4 100
    assert found["distinct"].details["baseline_value"] == 5.0


def test_a_target_of_several_buckets_is_merged_and_pushes_the_baseline_back(
    store: Store, ref: DatasetRef
) -> None:
    constant(store, ref, {0: [1], 1: [2], 2: [10], 3: [20, 20]})
    analyzer = {"config": diff("mean", baseline=trailing(2)), "targetSize": 2}
    result = one(run(store, ref, document(analyzer), [3]))
    assert result.metric_value == pytest.approx(50 / 3)
    assert result.details["baseline_value"] == 1.5
    assert (result.target_count, result.is_rollup) == (2, True)


def test_a_fixed_range_of_time_is_the_baseline(store: Store, ref: DatasetRef) -> None:
    constant(store, ref, {0: [1], 1: [3], 200: [10]})
    normal = {"start": "2026-01-01T00:00:00Z", "end": "2026-01-03T00:00:00Z"}
    config = diff("mean", baseline={"type": "TimeRange", "range": normal})
    result = one(run(store, ref, document({"config": config}), [200]))
    assert (result.details["baseline_value"], result.expected_baseline_count) == (2.0, 2)


@pytest.mark.parametrize("metric", ["mean", "median", "count_null_ratio"])
def test_a_reference_profile_is_the_baseline(store: Store, ref: DatasetRef, metric: str) -> None:
    constant(store, ref, {0: [10.0]})
    write_reference(store, ref, "good", profile(pa.table({"x": [2.0, 2.0, 2.0, None]})), NOW)
    config = diff(metric, baseline={"type": "Reference", "profileId": "good"})
    result = one(run(store, ref, document({"config": config}), [0]))
    assert result.details["baseline_value"] == {"mean": 2.0, "median": 2.0, "count_null_ratio": 0.25}[metric]
    assert (result.reference_profile_id, result.baseline_count, result.expected_baseline_count) == (
        "good",
        1,
        1,
    )


def test_drift_from_a_reference_profile(store: Store, ref: DatasetRef) -> None:
    constant(store, ref, {0: [1.0, 2.0], 1: [8.0, 9.0]})
    write_reference(store, ref, "good", profile(pa.table({"x": [1.0, 2.0]})), NOW)
    config = {"type": "drift", "metric": "histogram", "baseline": {"type": "Reference", "profileId": "good"}}
    found = run(store, ref, document({"config": config}), [0, 1]).results
    assert [result.drift_value for result in found] == [0.0, 1.0]
    assert [result.anomaly_count for result in found] == [0, 1]


def test_a_reference_profile_that_does_not_exist_is_named(store: Store, ref: DatasetRef) -> None:
    constant(store, ref, {0: [1.0]})
    config = diff("mean", baseline={"type": "Reference", "profileId": "lost"})
    result = one(run(store, ref, document({"config": config}), [0]))
    assert result.failure_type is FailureType.INSUFFICIENT_BASELINE
    assert result.failure_explanation
    assert "'lost'" in result.failure_explanation


@pytest.mark.parametrize(("inherit", "expected"), [(True, 2.0), (False, 3.0)])
def test_another_dataset_is_the_baseline(
    store: Store, ref: DatasetRef, inherit: bool, expected: float
) -> None:
    other = register_dataset(store, "org-0", f"training-{inherit}")
    load(store, other, 0, {"x": [2.0, 4.0], "region": ["EU", "US"]}, segments=[["region"]])
    load(store, ref, 0, {"x": [7.0], "region": ["EU"]}, segments=[["region"]])
    same_time = {"type": "CurrentBatch", "datasetId": other.dataset_id, "inheritSegment": inherit}
    matrix = {"type": "column", "include": ["x"], "segments": [EVERYWHERE[1]]}
    for metric in ("mean", "median"):
        analyzer = {"config": diff(metric, baseline=same_time), "targetMatrix": matrix}
        result = one(run(store, ref, document(analyzer), [0]))
        assert result.segment == "region=EU"
        assert result.details["baseline_value"] == (
            expected if metric == "mean" else {2.0: 2.0, 3.0: 4.0}[expected]
        )
    drift = {"type": "drift", "metric": "frequent_items", "baseline": same_time}
    matrix = {**matrix, "include": ["region"]}
    found = one(run(store, ref, document({"config": drift, "targetMatrix": matrix}), [0]))
    assert found.drift_value == pytest.approx(0.0 if inherit else np.sqrt(1 - np.sqrt(0.5)))


def test_a_baseline_dataset_that_does_not_exist_is_noted(store: Store, ref: DatasetRef) -> None:
    constant(store, ref, {0: [1.0]})
    config = diff("mean", baseline={"type": "CurrentBatch", "datasetId": "lost"})
    analysis = run(store, ref, document({"config": config}), [0])
    assert not analysis.results
    assert analysis.notes == (
        "analyzer mean-below-ten: the baseline's dataset 'lost' does not exist in the store (1 bucket not analysed)",
    )


def test_consecutive_breaches_look_at_the_data_before(store: Store, ref: DatasetRef) -> None:
    constant(store, ref, {0: [11], 1: [12], 2: [1], 3: [12], 5: [12], 6: [13]})
    config = {"type": "fixed", "metric": "mean", "upper": 10, "nConsecutive": 2}
    analysis = run(store, ref, document({"config": config}), range(7))
    assert days_of(analysis, "mean-below-ten") == [1, 6]
    assert days_of(run(store, ref, document({"config": config}), [6]), "mean-below-ten") == [6]


def test_missing_datapoint_judges_every_bucket_from_the_first_one_seen(store: Store, ref: DatasetRef) -> None:
    eu_and_us, eu = {"x": [1.0, 1.0], "region": ["EU", "US"]}, {"x": [1.0], "region": ["EU"]}
    for day, table in ((1, eu), (2, eu_and_us), (4, eu)):
        load(store, ref, day, table, segments=[["region"]])
    config = {"type": "fixed", "metric": "missingDatapoint", "upper": 0}
    monitors = document({"config": config, "targetMatrix": {**DATASET, "segments": [*EVERYWHERE]}})
    analysis = run(store, ref, monitors, range(6))
    found = {
        segment: {
            (result.bucket - START).days: result.metric_value
            for result in analysis.results
            if result.segment == segment
        }
        for segment in ("", "region=EU", "region=US")
    }
    assert found[""] == {1: 0.0, 2: 0.0, 3: 1.0, 4: 0.0, 5: 1.0}
    assert found["region=EU"] == found[""]
    assert found["region=US"] == {2: 0.0, 3: 1.0, 4: 1.0, 5: 1.0}
    assert days_of(analysis, "mean-below-ten", segment="") == [3, 5]
    assert days_of(run(store, ref, monitors, [5]), "mean-below-ten", segment="region=US") == [5]


def test_missing_datapoint_of_a_column_that_vanished(store: Store, ref: DatasetRef) -> None:
    load(store, ref, 0, {"x": [1.0], "y": [1.0]})
    load(store, ref, 1, {"x": [1.0]})
    config = {"type": "fixed", "metric": "missingDatapoint", "upper": 0}
    analysis = run(store, ref, document({"config": config}), [0, 1])
    assert days_of(analysis, "mean-below-ten", column="y") == [1]
    assert days_of(analysis, "mean-below-ten", column="x") == []


def test_seconds_since_last_upload_counts_from_the_newest_upload(store: Store, ref: DatasetRef) -> None:
    constant(store, ref, {0: [1.0], 1: [1.0]})
    config = {"type": "fixed", "metric": "secondsSinceLastUpload", "upper": 3600}
    monitors = document({"config": config, "targetMatrix": DATASET})
    result = one(run(store, ref, monitors, [9], now=START + 10 * DAY))
    assert result.metric_value == 8 * 86400  # day 1 was uploaded at the end of it
    assert result.is_anomaly


def test_an_analyzer_without_an_algorithm_is_noted(store: Store, ref: DatasetRef) -> None:
    constant(store, ref, {0: [1.0]})
    config = {"type": "experimental", "implementation": "lost", "metric": "mean"}
    analysis = run(store, ref, document({"config": config}), [0])
    assert not analysis.results
    [note] = analysis.notes
    assert "the analyzer type lost is not available in this release; available: column_list, " in note
    assert note.endswith("(1 bucket not analysed)")


@pytest.mark.parametrize(
    ("analyzer", "note"),
    [
        ({"config": {"type": "fixed", "metric": "meen"}}, "no metric is called 'meen'"),
        ({"config": {"type": "fixed", "metric": "histogram"}}, "histogram is a distribution"),
        ({"targetMatrix": {"type": "column", "include": ["y"]}}, "no columns that its targetMatrix selects"),
        (
            {"config": {"type": "fixed", "metric": "mean", "params": {"seed": "1"}}},
            "params seed have no effect",
        ),
        ({"disableTargetRollup": True, "targetSize": 2}, "disableTargetRollup judges uploads one by one"),
        (
            {"config": {"type": "comparison", "metric": "histogram", "operator": "eq", "expected": 1}},
            "comparison needs a metric that is a number or a text; histogram is a distribution",
        ),
        (
            {"config": {"type": "column_list", "baseline": {"type": "TrailingWindow"}}},
            'its targetMatrix must have the type "dataset"',
        ),
    ],
)
def test_what_cannot_run_is_noted(store: Store, ref: DatasetRef, analyzer: dict[str, Any], note: str) -> None:
    constant(store, ref, {0: [1.0]})
    [found] = run(store, ref, document(analyzer), [0]).notes
    assert note in found


def test_a_due_analyzer_that_the_document_does_not_have_is_noted(store: Store, ref: DatasetRef) -> None:
    analysis = analyze(store, ref, document({}), [Due(START, "lost", "1")], now=NOW, run_id="run")
    assert analysis.notes == ("analyzer lost: the document has no such analyzer (1 bucket not analysed)",)


def test_monitors_and_weights_are_on_the_result(store: Store, ref: DatasetRef) -> None:
    constant(store, ref, {0: [1.0]})
    monitors = [
        {
            "id": "weekly",
            "analyzerIds": ["mean-below-ten"],
            "schedule": {"type": "immediate"},
            "mode": {"type": "DIGEST"},
            "actions": [],
        },
        {
            "id": "off",
            "disabled": True,
            "analyzerIds": ["mean-below-ten"],
            "schedule": {"type": "immediate"},
            "mode": {"type": "DIGEST"},
            "actions": [],
        },
    ]
    weights = {"defaultWeights": {"weights": {"x": 0.25}}}
    result = one(run(store, ref, document({}, monitors=monitors, weightConfig=weights), [0]))
    assert result.monitor_ids == ("weekly",)
    assert result.segment_weight == 0.25


class Failing:
    """An algorithm of a user's own that raises an error."""

    name = "failing"
    needs: Needs = "series"

    def evaluate(self, *_: object) -> Verdicts:
        raise ZeroDivisionError("by a user")


class Shapeless:
    """An algorithm of a user's own that gives one verdict for everything."""

    name = "shapeless"
    needs: Needs = "series"

    def evaluate(self, *_: object) -> Verdicts:
        nothing = np.zeros((1, 1))
        return Verdicts(nothing > 1, nothing, nothing, nothing, *no_failures((1, 1)))


@pytest.mark.parametrize(
    ("algorithm", "explanation"),
    [
        (Failing(), "failing failed: ZeroDivisionError: by a user"),
        (Shapeless(), "shapeless failed: anomaly has the shape (1, 1); accepted: (1, 2)"),
    ],
)
def test_an_algorithm_that_fails_is_a_failure_of_its_results_only(
    store: Store, ref: DatasetRef, monkeypatch: pytest.MonkeyPatch, algorithm: Algorithm, explanation: str
) -> None:
    algorithms = {**registry().algorithms, algorithm.name: algorithm}
    monkeypatch.setattr(engine, "registry", lambda: Registry(algorithms))
    constant(store, ref, {0: [1.0], 1: [1.0]})
    config = {"type": "experimental", "implementation": algorithm.name, "metric": "mean"}
    found = run(store, ref, document({"id": "own", "config": config}, {}), [0, 1]).results
    assert [result.failure_type for result in found] == [FailureType.CALCULATION_EXCEPTION] * 2 + [None] * 2
    assert found[0].failure_explanation == explanation


def test_an_algorithm_of_ones_own_fills_fields_and_details(
    store: Store, ref: DatasetRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Doubled:
        name = "doubled"
        needs: Needs = "series"

        def evaluate(self, _config: object, target: np.ndarray, baseline: np.ndarray) -> Verdicts:
            bound = 2 * baseline[..., -1]
            columns = {"calculated_upper": bound, "analyzer_id": "mine", "note": "twice"}
            return Verdicts(target > bound, target, -bound, bound, *no_failures(target.shape), columns)

    monkeypatch.setattr(engine, "registry", lambda: Registry({"doubled": Doubled()}))
    constant(store, ref, {0: [1.0], 1: [3.0]})
    config = {"type": "experimental", "implementation": "doubled", "metric": "mean", "baseline": trailing(1)}
    result = one(run(store, ref, document({"config": config}), [1]))
    assert result.is_anomaly
    assert (result.analyzer_id, result.calculated_upper) == ("mean-below-ten", 2.0)
    assert result.details == {"analyzer_id": "mine", "note": "twice"}


def test_few_queries_serve_many_analyzers_and_buckets(
    store: Store, leads: DatasetRef, queries: Callable[[], int]
) -> None:
    run(store, leads, document(*LEADS_ANALYZERS), range(7, 30))
    assert queries() <= 50


@pytest.fixture
def queries(store: Store) -> Iterator[Callable[[], int]]:
    """How many statements the store has run since the test began."""
    seen: list[str] = []

    def count(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        seen.append(statement)

    event.listen(store.engine, "before_cursor_execute", count)
    yield lambda: len([one for one in seen if one.lstrip().upper().startswith("SELECT")])
    event.remove(store.engine, "before_cursor_execute", count)


_names = itertools.count()


@given(
    st.lists(st.lists(st.integers(0, 9), min_size=0, max_size=5), min_size=2, max_size=8),
    st.integers(1, 4),
    st.integers(1, 3),
    st.integers(0, 2),
)
@settings(max_examples=15, deadline=None)
def test_any_window_gives_the_same_alone_and_among_all(
    store: Store, days: list[list[int]], size: int, target_size: int, offset: int
) -> None:
    ref = register_dataset(store, "org-0", f"window-{next(_names)}")
    constant(store, ref, {day: numbers for day, numbers in enumerate(days) if numbers})
    baseline = trailing(size, offset=offset)
    configs = {
        "stddev": stddev("mean", baseline=baseline, minBatchSize=1),
        "diff": diff("median", baseline=baseline),
        "drift": {"type": "drift", "metric": "histogram", "baseline": baseline},
        "fixed": {"type": "fixed", "metric": "max", "upper": 4, "nConsecutive": 2},
        "fixed-median": {"type": "fixed", "metric": "median", "upper": 4, "nConsecutive": 3},
    }
    monitors = document(
        *({"id": name, "config": config, "targetSize": target_size} for name, config in configs.items())
    )
    together = run(store, ref, monitors, range(len(days))).results
    singly = [result for day in range(len(days)) for result in run(store, ref, monitors, [day]).results]
    key = lambda result: (result.analyzer_id, result.bucket)  # noqa: E731
    assert sorted(together, key=key) == sorted(singly, key=key)
