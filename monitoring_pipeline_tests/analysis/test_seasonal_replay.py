from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from monitoring_pipeline.analysis.engine import analyze
from monitoring_pipeline.analysis.gates import Due
from monitoring_pipeline.analysis.planner import analyzer_version
from monitoring_pipeline.analysis.result import AnalyzerResult
from monitoring_pipeline.config.document import MonitorDocument
from monitoring_pipeline.profiling import profile
from monitoring_pipeline.store.database import Store, open_store
from monitoring_pipeline.store.datasets import DatasetRef, register_dataset
from monitoring_pipeline.store.profiles import write_batch
from monitoring_pipeline.store.results import results, write_results
from monitoring_pipeline_tests.analysis.algorithms.test_sarima import simulated
from monitoring_pipeline_tests.analysis.documents import document

START = datetime(2026, 1, 1, tzinfo=UTC)
NOW = START + timedelta(days=400)
SIZE, DAYS = 40, 70
COLUMNS = ("fare", "distance", "tip", "tolls")
MONITORS = document(
    {
        "id": "seasonal-mean",
        "config": {
            "type": "seasonal",
            "metric": "mean",
            "stddevFactor": 3,
            "baseline": {"type": "TrailingWindow", "size": SIZE},
            "stddevTimeRanges": [{"start": "2026-02-20", "end": "2026-02-25"}],
        },
    }
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    opened = open_store(f"sqlite:///{tmp_path_factory.mktemp('seasonal') / 'store.db'}")
    yield opened
    opened.close()


def loaded(store: Store, dataset: str) -> DatasetRef:
    """Seventy days of four columns with a week's rhythm; two of the columns jump on two days."""
    ref = register_dataset(store, "org-0", dataset)
    means = simulated(len(COLUMNS), DAYS, seed=20)
    means[:2, 43] += 60
    means[1:3, 55] -= 60
    for day in range(DAYS):
        bucket = START + timedelta(days=day)
        data = {column: np.array([means[row, day]]) for row, column in enumerate(COLUMNS)}
        write_batch(
            store,
            ref,
            bucket,
            profile(pa.table(data), ()),
            fingerprint=f"day {day}",
            first_upload=bucket,
            last_upload=bucket,
            files=1,
            quality={},
            now=NOW,
        )
    return ref


def judge(store: Store, ref: DatasetRef, days: Sequence[int], monitors: MonitorDocument = MONITORS) -> None:
    [analyzer] = monitors.analyzers
    due = [Due(START + timedelta(days=day), analyzer.id, analyzer_version(analyzer)) for day in days]
    analysis = analyze(store, ref, monitors, due, now=NOW, run_id="run-1")
    assert not analysis.notes
    write_results(store, ref, [result.to_row() for result in analysis.results])


def stored(store: Store, ref: DatasetRef) -> list[AnalyzerResult]:
    return [AnalyzerResult.from_row(row) for row in results(store, ref)]


def verdicts(found: Sequence[AnalyzerResult]) -> list[tuple[object, ...]]:
    return [
        (one.bucket, one.column, one.anomaly_count, one.calculated_lower, one.calculated_upper, one.details)
        for one in found
    ]


def test_day_by_day_gives_the_same_verdicts_as_all_days_at_once(store: Store) -> None:
    at_once, daily, weekly = (loaded(store, name) for name in ("at-once", "daily", "weekly"))
    days = range(SIZE, DAYS)
    judge(store, at_once, days)
    for day in days:
        judge(store, daily, [day])
    for day in range(SIZE, DAYS, 7):
        judge(store, weekly, range(day, min(day + 7, DAYS)))
    found = stored(store, at_once)
    assert len(found) == len(days) * len(COLUMNS)
    replaced = {one.details["seasonal_should_replace"] for one in found if one.is_anomaly}
    assert replaced == {True, False}
    assert verdicts(stored(store, daily)) == verdicts(found)
    assert verdicts(stored(store, weekly)) == verdicts(found)


def test_a_result_tells_how_it_came_about(store: Store) -> None:
    ref = loaded(store, "told")
    judge(store, ref, [43])
    [spike] = [one for one in stored(store, ref) if one.column == "fare"]
    assert (spike.anomaly_count, spike.algorithm, spike.algorithm_mode) == (1, "arima", "batched")
    assert spike.calculated_upper is not None
    assert spike.metric_value is not None
    assert spike.metric_value > spike.calculated_upper
    told = spike.details
    assert told["model"] == "(1,0,0)(2,1,0)[7]"
    names = {"forecast", "forecast_deviation", "forecast_lower", "forecast_upper", "seasonal_draw"}
    assert names <= told.keys()
    record = spike.to_reference_record(organisation="org-0", dataset="told")
    assert record["threshold_calculatedUpper"] == spike.calculated_upper


def test_what_another_version_of_the_analyzer_replaced_does_not_count(store: Store) -> None:
    first, second = loaded(store, "two-versions"), loaded(store, "one-version")
    other = MONITORS.model_copy(deep=True)
    narrower = other.analyzers[0].model_copy(
        update={
            "config": other.analyzers[0].config.model_copy(update={"alpha": 0.3}),
        }
    )
    other = other.model_copy(update={"analyzers": (narrower,)})
    judge(store, first, range(SIZE, 60), other)
    judge(store, first, range(60, DAYS))
    judge(store, second, range(60, DAYS))
    version = analyzer_version(MONITORS.analyzers[0])
    assert verdicts([one for one in stored(store, first) if one.analyzer_version == version]) == verdicts(
        stored(store, second)
    )
