"""Predictions in one file, outcomes a week later in another: from the landing folder to a verdict on the model."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from monitoring_pipeline import pipeline
from monitoring_pipeline.errors import DocumentError
from monitoring_pipeline.settings import Settings
from monitoring_pipeline.workspace import Workspace, load_monitored_dataset

START = datetime(2026, 3, 1, tzinfo=UTC)
DAYS, BAD = 12, 10

DATASET = """\
id: scores
granularity: daily
start: 2026-03-01
source: {path: landing/rows}
timestamp: at
outcomes: {path: landing/outcomes}
segments: [region]
columns: {id: key, prediction: guess, target: came, value: worth}
exclude: [key]
metrics:
  lift: classification.precision / (value.positive / value.total)
"""


def analyzer(name: str, config: dict[str, object]) -> dict[str, object]:
    return {
        "id": name,
        "schedule": {"type": "fixed", "cadence": "daily"},
        "backfillGracePeriodDuration": "P3650D",
        "targetMatrix": {"type": "dataset", "segments": []},
        "config": config,
    }


DOCUMENT = {
    "orgId": "org-0",
    "datasetId": "scores",
    "granularity": "daily",
    "analyzers": [
        analyzer(
            "accuracy-analyzer",
            {
                "type": "diff",
                "mode": "pct",
                "metric": "classification.accuracy",
                "threshold": 15,
                "thresholdType": "lower",
                "baseline": {"type": "TrailingWindow", "size": 7},
            },
        ),
        analyzer("lift-analyzer", {"type": "fixed", "metric": "lift", "lower": 0}),
    ],
    "monitors": [],
}


def make(home: Path, *, outcomes: range) -> Path:
    folder = home / "datasets" / "scores"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dataset.yaml").write_text(DATASET)
    (folder / "monitors.json").write_text(json.dumps(DOCUMENT))
    for day in range(DAYS):
        rows, later = tables(day)
        write(home / "landing" / "rows", day, rows)
        if day in outcomes:
            write(home / "landing" / "outcomes", day, later)
    return home


def tables(day: int) -> tuple[pa.Table, pa.Table]:
    """A hundred rows, and the outcomes of ninety of them, shuffled."""
    random = np.random.default_rng(day)
    came = random.random(100) < 0.5
    right = random.random(100) < (0.4 if day == BAD else 0.9)
    keys = pa.array([f"{day}-{at}" for at in range(100)])
    times = pa.array([START + timedelta(days=day, minutes=at) for at in range(100)])
    rows = pa.table(
        {
            "key": keys,
            "at": times,
            "region": random.choice(["EU", "US"], 100),
            "guess": np.where(right, came, ~came),
        }
    )
    order = pa.array(random.permutation(100)[:90])
    worth = np.where(came, 20.0, 1.0)
    later = pa.table({"key": keys, "at": times, "region": rows["region"], "came": came, "worth": worth})
    return rows, later.take(order)


def write(folder: Path, day: int, table: pa.Table) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, folder / f"{day:02}.parquet")


def expected_accuracy(day: int) -> float:
    rows, later = tables(day)
    guessed = dict(zip(rows["key"].to_pylist(), rows["guess"].to_pylist(), strict=True))
    hits = [
        guessed[key] == came
        for key, came in zip(later["key"].to_pylist(), later["came"].to_pylist(), strict=True)
    ]
    return sum(hits) / len(hits)


def test_a_model_that_got_worse_is_found_once_its_outcomes_are_there(tmp_path: Path) -> None:
    home = make(tmp_path, outcomes=range(DAYS))
    with Workspace(Settings(home=home)) as workspace:
        profiled = pipeline.profile_batch(workspace, "scores")
        analyzed = pipeline.analyze_batch(workspace, "scores")
    assert not profiled.problems
    accuracy = {
        (one.bucket - START).days: one for one in analyzed.results if one.metric == "classification.accuracy"
    }
    assert [day for day, one in accuracy.items() if one.is_anomaly] == [BAD]
    for day in range(7, DAYS):
        assert accuracy[day].metric_value == pytest.approx(expected_accuracy(day))
    assert len([one for one in analyzed.results if one.metric == "lift"]) == DAYS


def test_outcomes_that_come_later_are_judged_when_they_come(tmp_path: Path) -> None:
    home = make(tmp_path, outcomes=range(9))
    with Workspace(Settings(home=home)) as workspace:
        pipeline.profile_batch(workspace, "scores")
        first = pipeline.analyze_batch(workspace, "scores")
    make(home, outcomes=range(DAYS))
    with Workspace(Settings(home=home)) as workspace:
        again = pipeline.profile_batch(workspace, "scores")
        second = pipeline.analyze_batch(workspace, "scores")
    judged = [sorted({(one.bucket - START).days for one in part.results}) for part in (first, second)]
    assert judged == [list(range(9)), [9, 10, 11]]
    assert len(again.buckets) == DAYS  # every file was written again
    assert [(one.bucket - START).days for one in second.anomalies] == [BAD]


def test_the_id_is_read_although_it_is_not_profiled(tmp_path: Path) -> None:
    home = make(tmp_path, outcomes=range(DAYS))
    with Workspace(Settings(home=home)) as workspace:
        pipeline.profile_batch(workspace, "scores")
        from monitoring_pipeline.store.datasets import columns

        known = columns(workspace.store, workspace.ref("scores"))
    assert "key" not in known
    assert {"guess", "came", "worth"} <= set(known)


def test_a_metric_that_cannot_be_read_is_refused_with_its_place(tmp_path: Path) -> None:
    folder = make(tmp_path, outcomes=range(0)) / "datasets" / "scores"
    broken = DATASET.replace("value.total)", "value.totl)") + "  twice: 2 *\n"
    (folder / "dataset.yaml").write_text(broken)
    with pytest.raises(DocumentError) as refused:
        load_monitored_dataset(folder)
    found = {problem.path: problem.found for problem in refused.value.problems}
    assert "at character 46" in found["$.metrics.lift"]
    assert "value.total" in found["$.metrics.lift"]
    assert "at character" in found["$.metrics.twice"]
