"""Whole runs of the reference platform: drift of frequent items over fifty days of loans."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from monitoring_pipeline.analysis.engine import analyze
from monitoring_pipeline.analysis.gates import BatchFacts, decide
from monitoring_pipeline.config.document import MonitorDocument
from monitoring_pipeline.profiling import ColumnProfile, DatasetProfile
from monitoring_pipeline.profiling.sketches import FrequentItems
from monitoring_pipeline.store.database import Store, open_store
from monitoring_pipeline.store.datasets import register_dataset
from monitoring_pipeline.store.profiles import write_batch
from monitoring_pipeline.timegrid import utc
from monitoring_pipeline_tests.analysis.documents import document
from monitoring_pipeline_tests.analysis.vectors import FOLDER, cases


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    opened = open_store(f"sqlite:///{tmp_path_factory.mktemp('runs') / 'store.db'}")
    yield opened
    opened.close()


@pytest.mark.parametrize("case", cases("AdHocV3Test", kind="adhoc"))
def test_a_run_gives_the_results_and_anomalies_of_the_reference(store: Store, case: dict[str, Any]) -> None:
    end = datetime.fromisoformat(case["request"]["end"])
    monitors = _monitors(case)
    ref = register_dataset(store, "org-0", case["id"])
    facts: dict[datetime, int] = {}
    for bucket, profile in _batches(case):
        facts[bucket] = 1
        write_batch(
            store,
            ref,
            bucket,
            profile,
            fingerprint="",
            first_upload=bucket,
            last_upload=bucket,
            files=1,
            quality={},
            now=end,
        )
    known = BatchFacts(facts, {}, min(facts))
    due = decide(monitors, facts=known, calculated=(), now=end).due
    found = analyze(store, ref, monitors, due, now=end, run_id="run").results
    assert len(found) == case["expected"]["numEventsProduced"]
    assert sum(result.anomaly_count for result in found) == case["expected"]["numAnomalies"]


def _monitors(case: dict[str, Any]) -> MonitorDocument:
    return document(*case["analyzers"], granularity=case["request"]["granularity"])


def _batches(case: dict[str, Any]) -> Iterator[tuple[datetime, DatasetProfile]]:
    items: dict[str, dict[str, dict[str, int]]] = case.get("bucket_items") or _items_of(
        case["bucket_items_ref"]
    )
    segment = case["data_segment"]
    for day in sorted({day for by_day in items.values() for day in by_day}):
        columns = {
            column: ColumnProfile(
                n=sum(by_day[day].values()),
                t_string=sum(by_day[day].values()),
                frequent_items=FrequentItems.of(
                    by_day[day].items(), total=sum(by_day[day].values())
                ).to_image(),
            )
            for column, by_day in items.items()
            if day in by_day
        }
        yield utc(datetime.fromisoformat(day)), DatasetProfile({segment: 1}, {segment: columns})


def _items_of(name: str) -> dict[str, dict[str, dict[str, int]]]:
    content = json.loads((FOLDER / "AdHocV3Test.json").read_text())
    return next(case["bucket_items"] for case in content["cases"] if case["id"].endswith(f".{name}"))
