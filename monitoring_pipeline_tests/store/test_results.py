from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from monitoring_pipeline.errors import StoreError
from monitoring_pipeline.store.database import Store
from monitoring_pipeline.store.datasets import DatasetRef, register_dataset
from monitoring_pipeline.store.result_tables import as_tables
from monitoring_pipeline.store.results import (
    RESULT_COLUMNS,
    calculated,
    mark_stale,
    results,
    supersede,
    write_results,
)
from monitoring_pipeline.timegrid import TimeRange, to_micros

DAY = timedelta(days=1)
START = datetime(2026, 3, 1, tzinfo=UTC)


def _row(day: int = 0, *, column: str = "age", analyzer: str = "nulls", **more: object) -> dict[str, object]:
    bucket = START + day * DAY
    return {
        "analysis_id": f"{analyzer}-{day}-{column}",
        "result_id": f"{analyzer}-{day}-{column}-run",
        "run_id": "run-1",
        "analyzer_id": analyzer,
        "analyzer_version": "v1",
        "monitor_ids": ["m1", "m2"],
        "segment": "",
        "column": column,
        "bucket": to_micros(bucket),
        "created": to_micros(bucket + DAY),
        "granularity": "daily",
        "target_level": "column",
        "metric": "count_null_ratio",
        "analyzer_type": "stddev",
        "anomaly_count": 0,
        "profile_version": 1,
        "metric_value": 0.25,
        "calculated_upper": float("inf"),
        "details": {"seasonal": {"lambda": 0.5}},
        **more,
    }


def test_a_result_comes_back_as_it_was_written(store: Store, ref: DatasetRef) -> None:
    assert write_results(store, ref, [_row()]) == {"nulls-0-age"}
    (row,) = results(store, ref)
    assert set(row) == set(RESULT_COLUMNS)
    assert {name: row[name] for name in _row()} == _row()
    assert (row["state"], row["stale"], row["user_initiated_backfill"], row["dataset"]) == (
        "current",
        False,
        False,
        ref.pk,
    )


def test_nan_is_stored_as_missing_and_numpy_numbers_as_numbers(store: Store, ref: DatasetRef) -> None:
    row = _row(
        metric_value=float("nan"),
        drift_value=np.float64(0.5),
        anomaly_count=np.int64(1),
        is_rollup=np.bool_(True),
    )
    write_results(store, ref, [row])
    (found,) = results(store, ref)
    assert (found["metric_value"], found["drift_value"], found["anomaly_count"], found["is_rollup"]) == (
        None,
        0.5,
        1,
        True,
    )


def test_a_result_is_written_once(store: Store, ref: DatasetRef) -> None:
    write_results(store, ref, [_row()])
    assert write_results(store, ref, [_row(metric_value=0.9), _row(1)]) == {"nulls-1-age"}
    assert [row["metric_value"] for row in results(store, ref)] == [0.25, 0.25]


def test_another_version_of_the_analyzer_is_another_result(store: Store, ref: DatasetRef) -> None:
    write_results(store, ref, [_row()])
    assert write_results(store, ref, [_row(analyzer_version="v2")]) == {"nulls-0-age"}
    assert len(results(store, ref)) == 2


def test_datasets_do_not_see_each_others_results(store: Store, ref: DatasetRef) -> None:
    other = register_dataset(store, "org-1", ref.dataset_id)
    write_results(store, ref, [_row()])
    assert (results(store, other), calculated(store, other)) == ([], set())


def test_an_unknown_column_is_refused_by_name(store: Store, ref: DatasetRef) -> None:
    with pytest.raises(StoreError, match="no column colour"):
        write_results(store, ref, [_row(colour="red")])


def test_results_are_chosen_by_window_analyzer_run_and_anomaly(store: Store, ref: DatasetRef) -> None:
    write_results(
        store,
        ref,
        [
            _row(0),
            _row(1, anomaly_count=1),
            _row(2, anomaly_count=1, run_id="run-2"),
            _row(2, analyzer="drift"),
        ],
    )

    def ids(**chosen: object) -> list[object]:
        return [row["analysis_id"] for row in results(store, ref, **chosen)]  # type: ignore[arg-type]

    assert ids(window=TimeRange(START, START + 2 * DAY)) == ["nulls-0-age", "nulls-1-age"]
    assert ids(analyzer_ids=["drift"]) == ["drift-2-age"]
    assert ids(run_id="run-2") == ["nulls-2-age"]
    assert ids(anomalies_only=True, newest_first=True) == ["nulls-2-age", "nulls-1-age"]
    assert ids(limit=1, newest_first=True) == ["drift-2-age"]
    assert ids(analyzer_ids=[]) == []


def test_what_has_been_judged_is_known_also_without_a_result(store: Store, ref: DatasetRef) -> None:
    write_results(store, ref, [_row()], evaluated=[("quiet", "v1", START + DAY)])
    assert calculated(store, ref) == {
        ("nulls", "v1", to_micros(START)),
        ("quiet", "v1", to_micros(START + DAY)),
    }
    assert calculated(store, ref, TimeRange(START, START + DAY)) == {("nulls", "v1", to_micros(START))}
    assert write_results(store, ref, [], evaluated=[("quiet", "v1", START + DAY)]) == set()


def test_superseding_keeps_the_old_result_and_writes_the_new_one(store: Store, ref: DatasetRef) -> None:
    write_results(store, ref, [_row(), _row(1)])
    retired = supersede(
        store,
        ref,
        evaluated=[("nulls", "v1", START)],
        replacements=as_tables([_row(run_id="run-2", metric_value=0.5)]),
    )
    assert retired == 1
    current = results(store, ref, window=TimeRange(START, START + DAY))
    assert [(row["run_id"], row["metric_value"]) for row in current] == [("run-2", 0.5)]
    everything = results(store, ref, window=TimeRange(START, START + DAY), state=None)
    assert [(row["run_id"], row["state"]) for row in everything] == [
        ("run-1", "superseded"),
        ("run-2", "current"),
    ]


def test_superseding_again_and_again_keeps_every_old_result(store: Store, ref: DatasetRef) -> None:
    write_results(store, ref, [_row()])
    for _ in range(3):
        supersede(store, ref, evaluated=[("nulls", "v1", START)], replacements=as_tables([_row()]))
    assert len(results(store, ref, state="superseded")) == 3
    assert len(results(store, ref)) == 1


def test_what_is_superseded_without_replacement_may_be_judged_again(store: Store, ref: DatasetRef) -> None:
    write_results(store, ref, [_row()])
    supersede(store, ref, evaluated=[("nulls", "v1", START)])
    assert (results(store, ref), calculated(store, ref)) == ([], set())
    assert write_results(store, ref, [_row()]) == {"nulls-0-age"}


def test_marking_stale_touches_a_window_once(store: Store, ref: DatasetRef) -> None:
    write_results(store, ref, [_row(day) for day in range(4)])
    window = TimeRange(START + DAY, START + 3 * DAY)
    assert mark_stale(store, ref, window) == 2
    assert mark_stale(store, ref, window) == 0
    assert [row["analysis_id"] for row in results(store, ref, stale_only=True)] == [
        "nulls-1-age",
        "nulls-2-age",
    ]
    assert mark_stale(store, ref, TimeRange(START, START + 4 * DAY), analyzer_ids=["other"]) == 0


def test_many_results_at_once(store: Store, ref: DatasetRef) -> None:
    rows = [_row(day, column=f"c{number}") for day in range(2) for number in range(1500)]
    assert len(write_results(store, ref, rows)) == 3000
    assert write_results(store, ref, rows) == set()
    assert len(results(store, ref)) == 3000
