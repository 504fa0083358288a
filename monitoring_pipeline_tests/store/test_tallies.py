"""Verdicts counted where they lie: by analyzer, column and bucket; and chosen series."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from monitoring_pipeline.store.database import Store
from monitoring_pipeline.store.datasets import DatasetRef, register_dataset
from monitoring_pipeline.store.results import mark_stale, write_results
from monitoring_pipeline.store.tallies import (
    AnalyzerTally,
    analyzer_tallies,
    anomalies_by_bucket,
    anomalies_by_column,
    verdict_series,
)
from monitoring_pipeline.timegrid import TimeRange, to_micros

START = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
WINDOW = TimeRange(START, START + 3 * DAY)


def row(day: int, column: str = "age", analyzer: str = "nulls", **more: object) -> dict[str, object]:
    bucket = START + day * DAY
    return {
        "analysis_id": f"{analyzer}-{day}-{column}-{more.get('segment', '')}",
        "result_id": f"{analyzer}-{day}-{column}-run",
        "run_id": "run-1",
        "analyzer_id": analyzer,
        "analyzer_version": "v1",
        "monitor_ids": [],
        "segment": "",
        "column": column,
        "bucket": to_micros(bucket),
        "created": to_micros(bucket + DAY),
        "granularity": "daily",
        "target_level": "column",
        "metric": "count_null_ratio",
        "analyzer_type": "stddev",
        "anomaly_count": 0,
        "details": {"day": day},
        **more,
    }


def failed(day: int, kind: str, why: str, column: str = "age") -> dict[str, object]:
    return row(day, column, failure_type=kind, failure_explanation=why)


def test_an_analyzer_is_counted_by_what_it_said(store: Store, ref: DatasetRef) -> None:
    write_results(
        store,
        ref,
        [
            row(0, anomaly_count=1),
            row(1),
            row(1, "city", anomaly_count=1),
            failed(2, "InsufficientBaseline", "3 of 7"),
            failed(2, "InsufficientBaseline", "4 of 7", column="city"),
            failed(2, "MetricException", "no", column="zip"),
            row(7),
            row(0, analyzer="drift"),
        ],
    )
    mark_stale(store, ref, TimeRange(START, START + DAY), analyzer_ids=["nulls"])
    found = analyzer_tallies(store, ref, WINDOW)
    assert found == {
        "drift": AnalyzerTally("drift", verdicts=1, anomalies=0, stale=0, buckets=1, failures=()),
        "nulls": AnalyzerTally(
            "nulls",
            verdicts=3,
            anomalies=2,
            stale=1,
            buckets=3,
            failures=(("InsufficientBaseline", "3 of 7", 2), ("MetricException", "no", 1)),
        ),
    }
    assert found["nulls"].failed == 3
    assert analyzer_tallies(store, ref, TimeRange(START - DAY, START)) == {}


def test_anomalies_are_counted_by_column_and_by_bucket(store: Store, ref: DatasetRef) -> None:
    write_results(
        store,
        ref,
        [
            row(0, anomaly_count=1),
            row(0, anomaly_count=1, segment="region=EU"),
            row(1, "", anomaly_count=1),
            row(1, "city"),
            row(5, anomaly_count=1),
        ],
    )
    assert anomalies_by_column(store, ref, WINDOW) == {"": 1, "age": 2}
    assert anomalies_by_bucket(store, ref, WINDOW) == {START: 2, START + DAY: 1}


def test_chosen_series_come_by_bucket_and_no_other(store: Store, ref: DatasetRef) -> None:
    other = register_dataset(store, "org-1", "lead-scoring")
    write_results(store, other, [row(0)])
    write_results(
        store, ref, [row(2), row(0), row(0, "city"), row(1, segment="region=EU"), row(1, analyzer="drift")]
    )
    asked = [("nulls", "age", ""), ("nulls", "city", ""), ("nulls", "nothing", "")]
    found = verdict_series(store, ref, WINDOW, asked)
    assert {one: [record["details"] for record in rows] for one, rows in found.items()} == {
        asked[0]: [{"day": 0}, {"day": 2}],
        asked[1]: [{"day": 0}],
        asked[2]: [],
    }
    assert verdict_series(store, ref, WINDOW, []) == {}
