from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

from monitoring_pipeline.analysis.result import FIELDS, AnalyzerResult, FailureType, analysis_id, name_uuid
from monitoring_pipeline.store.results import RESULT_COLUMNS
from monitoring_pipeline.timegrid import Granularity

BUCKET = datetime(2026, 1, 5, tzinfo=UTC)


def a_result(**given: Any) -> AnalyzerResult:
    return AnalyzerResult(
        **{
            "analysis_id": "a",
            "result_id": "r",
            "run_id": "run",
            "analyzer_id": "analyzer",
            "analyzer_version": "abc",
            "monitor_ids": ("monitor",),
            "segment": "region=EU",
            "column": "age",
            "bucket": BUCKET,
            "created": BUCKET,
            "granularity": Granularity.DAILY,
            "target_level": "column",
            "metric": "mean",
            "analyzer_type": "stddev",
            "anomaly_count": 1,
            **given,
        }
    )


def test_a_row_reads_back_as_the_same_result() -> None:
    result = a_result(
        failure_type=FailureType.INSUFFICIENT_BASELINE, metric_value=1.5, details={"baseline_value": 2.0}
    )
    assert AnalyzerResult.from_row({"dataset": 1, **result.to_row()}) == result


def test_the_fields_are_the_columns_of_the_store() -> None:
    assert {*FIELDS, "dataset"} == set(RESULT_COLUMNS)


def test_the_reference_record_has_the_names_of_the_reference_and_milliseconds() -> None:
    record = a_result(
        metric_value=1.5, calculated_upper=1.0, details={"baseline_value": 2.0}
    ).to_reference_record(organisation="org-0", dataset="model-1")
    assert record["datasetTimestamp"] == int(BUCKET.timestamp() * 1000)
    assert record["threshold_metricValue"] == 1.5
    assert record["threshold_calculatedUpper"] == 1.0
    assert record["granularity"] == "DAYS"
    assert record["analyzerResultType"] == "StddevCalculationResult"
    assert record["baselineValue"] == 2.0
    assert "drift_metricValue" not in record


def test_an_analysis_id_is_a_version_3_uuid_that_does_not_depend_on_the_run() -> None:
    one = analysis_id("org-0", "model-1", analyzer="drift", bucket=BUCKET, segment="", column="age")
    assert uuid.UUID(one).version == 3
    assert one == analysis_id("org-0", "model-1", analyzer="drift", bucket=BUCKET, column="age")
    others = {
        analysis_id("org-0", "model-1", analyzer="drift", bucket=BUCKET, column="city"),
        analysis_id("org-0", "model-1", analyzer="drift", bucket=BUCKET, segment="region=EU", column="age"),
        analysis_id("org-0", "model-2", analyzer="drift", bucket=BUCKET, column="age"),
    }
    assert len(others | {one}) == 4


def test_name_uuids_are_those_of_java() -> None:
    # java: UUID.nameUUIDFromBytes("".getBytes()), and MD5("a") = 0cc175b9c0f1b6a831c399e269772661 with version and variant set
    assert name_uuid("") == "d41d8cd9-8f00-3204-a980-0998ecf8427e"
    assert name_uuid("a") == "0cc175b9-c0f1-36a8-b1c3-99e269772661"


def test_details_have_the_names_of_the_reference() -> None:
    details = {
        "comparison_expected": 9.0,
        "comparison_observed": "9",
        "frequent_string_comparison_operator": "eq",
        "freq_string_count": [[1.0, 1.0, 1.0]],
        "column_list_added_sample": ["a"],
        "seasonal_should_replace": True,
        "seasonal_lambda_keep": 0.5,
        "seasonal_adjusted_prediction": 1.0,
        "seasonal_replacement": 2.0,
        "points_used": 7,
        "child_analyzer_ids": ["a"],
        "analyzer_tags": ["llm"],
    }
    record = a_result(details=details).to_reference_record(organisation="org-0", dataset="model-1")
    expected = {
        "comparison_expected": "9.0",
        "comparison_observed": "9",
        "frequentStringComparison_operator": "eq",
        "freqStringCount": [[1.0, 1.0, 1.0]],
        "columnList_addedSample": ["a"],
        "seasonal_shouldReplace": True,
        "seasonal_lambdaKeep": 0.5,
        "seasonal_adjusted_prediction": 1.0,
        "seasonal_replacement": 2.0,
        "threshold_minBatchSize": 7,
        "childAnalyzerIds": ["a"],
        "analyzerTags": ["llm"],
    }
    assert {name: record[name] for name in expected} == expected
