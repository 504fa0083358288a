from __future__ import annotations

from typing import Any

import numpy as np

from monitoring_pipeline.analysis.findings import Block, Findings
from monitoring_pipeline.analysis.gates import Due
from monitoring_pipeline.analysis.passes import passes
from monitoring_pipeline.analysis.planner import analyzer_version
from monitoring_pipeline.store.database import Store
from monitoring_pipeline.store.datasets import DatasetRef, register_dataset
from monitoring_pipeline.store.results import results, write_results, write_tables
from monitoring_pipeline_tests.analysis.documents import document
from monitoring_pipeline_tests.analysis.engine_runs import DAY, START, diff, load, run, stddev, trailing

ANALYZERS: list[dict[str, Any]] = [
    {"id": "bounds", "config": {"type": "fixed", "metric": "mean", "upper": 1, "nConsecutive": 2}, "tags": ["a"]},
    {"id": "usual", "config": stddev("mean", minBatchSize=3)},
    {"id": "near", "config": diff("count")},
    {"id": "type", "config": {"type": "comparison", "metric": "inferred_data_type", "operator": "eq", "expected": "string"}},
    {"id": "drift", "config": {"type": "drift", "metric": "histogram", "threshold": 0.2, "baseline": trailing(2)}},
    {
        "id": "items",
        "config": {"type": "frequent_string_comparison", "metric": "frequent_items", "operator": "eq", "baseline": trailing(2)},
    },
    {"id": "both", "config": {"type": "conjunction", "analyzerIds": ["bounds", "usual"]}},
]  # fmt: skip


def _days(store: Store, ref: DatasetRef, count: int = 6) -> None:
    random = np.random.default_rng(0)
    for day in range(count):
        load(store, ref, day, {"x": random.normal(day, 1, 20), "w": ["a", f"day {day}"] * 10})


def test_results_in_columns_are_stored_as_single_ones_would_be(store: Store, ref: DatasetRef) -> None:
    _days(store, ref)
    found = run(store, ref, document(*ANALYZERS), range(6)).results
    assert {result.analyzer_id for result in found} == {one["id"] for one in ANALYZERS}
    other = register_dataset(store, "org-1", "lead-scoring")
    one_by_one = write_results(store, ref, [result.to_row() for result in found])
    in_columns = write_tables(store, other, [block.to_table() for block in found.blocks])
    assert in_columns == one_by_one == {result.analysis_id for result in found}
    ours, theirs = ([{**row, "dataset": 0} for row in results(store, one)] for one in (ref, other))
    assert ours == theirs
    assert write_tables(store, other, [block.to_table() for block in found.blocks]) == set()


def test_findings_are_a_sequence_of_results(store: Store, ref: DatasetRef) -> None:
    _days(store, ref)
    found = run(store, ref, document(*ANALYZERS), range(6)).results
    listed = list(found)
    assert found == listed
    assert (found[0], found[-1], found[1:3]) == (listed[0], listed[-1], tuple(listed[1:3]))
    assert found.anomalies == tuple(one for one in listed if one.is_anomaly)
    assert found.failures == sum(one.failed for one in listed)
    some = {one.analysis_id for one in listed[::2]}
    assert list(found.among(some)) == listed[::2]
    assert list(found.of_analyzers(["drift"])) == [one for one in listed if one.analyzer_id == "drift"]
    assert Findings([Block.made_of([one]) for one in listed]) == listed
    assert Findings() == ()


def test_a_backfill_is_cut_into_passes_of_whole_buckets(store: Store, ref: DatasetRef) -> None:
    _days(store, ref, 1)
    monitors = document(
        {"id": "two columns"}, {"id": "one column", "targetMatrix": {"type": "column", "include": ["x"]}}
    )
    due = [
        Due(START + day * DAY, one.id, analyzer_version(one)) for one in monitors.analyzers for day in range(5)
    ]  # fmt: skip
    assert list(passes(store, ref, monitors, due)) == [due]
    found = list(passes(store, ref, monitors, due, most=7))
    assert [sorted({(one.bucket - START).days for one in part}) for part in found] == [[0, 1], [2, 3], [4]]
    assert sorted(one for part in found for one in part) == sorted(due)
    assert len(list(passes(store, ref, monitors, due, most=1))) == 5
    assert list(passes(store, ref, monitors, [])) == [[]]
