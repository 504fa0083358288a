"""A preview says what a run would store, and stores nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from monitoring_pipeline import pipeline
from monitoring_pipeline.analysis.result import AnalyzerResult
from monitoring_pipeline.config.document import MonitorDocument
from monitoring_pipeline.errors import DocumentError, UsageError
from monitoring_pipeline.preview import preview, with_fragment
from monitoring_pipeline.settings import Settings
from monitoring_pipeline.store import results
from monitoring_pipeline.store.database import Store
from monitoring_pipeline.timegrid import TimeRange
from monitoring_pipeline.workspace import Workspace
from monitoring_pipeline_tests.workspaces import DOCUMENT, START, make_workspace

TRAILING = {"type": "TrailingWindow", "size": 7}
ALL = {
    "type": "column",
    "include": ["*"],
    "segments": [{"tags": []}, {"tags": [{"key": "country", "value": "*"}]}],
}
ROWS = {"type": "dataset", "segments": []}
DAYS = 40

MORE: list[dict[str, Any]] = [
    {"id": "drift", "targetMatrix": ALL, "config": {"type": "drift", "metric": "frequent_items", "threshold": 0.2, "baseline": TRAILING}},
    {"id": "diff", "targetMatrix": ALL, "config": {"type": "diff", "metric": "mean", "mode": "pct", "threshold": 5, "baseline": TRAILING}},
    {"id": "healed", "targetMatrix": ROWS, "config": {"type": "stddev", "metric": "shape_row_count", "baseline": {**TRAILING, "size": 5}, "params": {"enableAnomalyReplacement": "true"}}},
    {"id": "season", "targetMatrix": ROWS, "config": {"type": "seasonal", "metric": "shape_row_count", "minBatchSize": 14, "baseline": {"type": "TrailingWindow", "size": 28}}},
    {"id": "weekly", "schedule": {"type": "fixed", "cadence": "weekly"}, "targetMatrix": ROWS, "targetSize": 7, "config": {"type": "fixed", "metric": "shape_row_count", "lower": 650}},
    {"id": "both", "config": {"type": "conjunction", "analyzerIds": ["orders-volume-analyzer", "healed"]}},
    {"id": "off", "disabled": True, "targetMatrix": ROWS, "config": {"type": "fixed", "metric": "shape_row_count", "upper": 50}},
]  # fmt: skip


def rows(
    found: Iterator[AnalyzerResult] | list[AnalyzerResult] | tuple[AnalyzerResult, ...],
) -> list[dict[str, Any]]:
    """Verdicts without what says which run they are of."""
    run = ("run_id", "result_id", "created", "user_initiated_backfill")
    return sorted(
        ({name: value for name, value in one.to_row().items() if name not in run} for one in found),
        key=lambda row: json.dumps(row, default=str, sort_keys=True),
    )


def everything(store: Store) -> dict[str, int]:
    """Rows of every table."""
    with store.read() as connection:
        return {
            name: connection.execute(sa.select(sa.func.count()).select_from(sa.table(name))).scalar_one()
            for name in sa.inspect(connection).get_table_names()
        }


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    """Forty days, one with few rows, one with nulls; profiled, and nothing judged."""
    home = make_workspace(tmp_path / "data", days=DAYS, few_rows_on=33, nulls_on=20)
    grace = [{**one, "backfillGracePeriodDuration": "P3650D"} for one in MORE]
    document = {**DOCUMENT, "analyzers": [*DOCUMENT["analyzers"], *grace]}
    (home / "datasets" / "orders" / "monitors.json").write_text(json.dumps(document))
    with Workspace(Settings(home=home)) as opened:
        pipeline.profile_batch(opened, "orders")
        yield opened


def test_the_verdicts_are_those_that_a_run_stores(workspace: Workspace) -> None:
    window = TimeRange(START, START + timedelta(days=DAYS))

    seen = preview(workspace, "orders", window=window)
    pipeline.analyze_batch(workspace, "orders", list(window.buckets(seen.results[0].granularity)))
    stored = [
        AnalyzerResult.from_row(row) for row in results.results(workspace.store, workspace.ref("orders"))
    ]

    assert len(stored) > 500
    assert {one.analyzer_id for one in stored} == {one["id"] for one in (*DOCUMENT["analyzers"], *MORE)} - {
        "off"
    }
    assert rows(seen.results) == rows(stored)


def test_what_a_run_stored_before_counts_as_it_would_in_the_next_run(workspace: Workspace) -> None:
    early = [START + timedelta(days=day) for day in range(34)]
    late = TimeRange(early[-1] + timedelta(days=1), START + timedelta(days=DAYS))
    pipeline.analyze_batch(workspace, "orders", early)

    seen = preview(workspace, "orders", window=late)
    done = pipeline.analyze_batch(workspace, "orders", list(late.buckets(seen.results[0].granularity)))

    assert rows(seen.results) == rows(done.results)
    assert any("season: what it replaced" in note for note in seen.notes)


def test_nothing_is_stored(workspace: Workspace) -> None:
    workspace.ref("orders")
    before = everything(workspace.store)
    preview(workspace, "orders")
    assert everything(workspace.store) == before


def test_an_analyzer_that_is_named_runs_alone_even_when_it_is_off(workspace: Workspace) -> None:
    seen = preview(workspace, "orders", analyzer_ids=["off"])
    tally = seen.tallies[0]
    assert [one.analyzer_id for one in seen.tallies] == ["off"]
    assert (tally.results, tally.anomalies, tally.failures, tally.columns) == (30, 29, 0, {"": 29})


def test_one_about_others_takes_them_along_and_shows_itself(workspace: Workspace) -> None:
    seen = preview(workspace, "orders", analyzer_ids=["both"])
    assert {one.analyzer_id for one in seen.results} == {"both"}
    assert [(one.bucket - START).days for one in seen.anomalies] == [33]


def test_the_newest_thirty_buckets_are_judged_unless_a_range_is_given(workspace: Workspace) -> None:
    window = preview(workspace, "orders", analyzer_ids=["off"]).window
    assert (window.start, window.end) == (START + timedelta(days=10), START + timedelta(days=40))


def test_what_was_not_judged_is_told(workspace: Workspace) -> None:
    lines = preview(workspace, "orders", window=TimeRange(START, START + timedelta(days=8))).summary()
    assert "off: is disabled" in lines
    assert any(line.startswith("weekly: is not scheduled on 7 buckets") for line in lines)


def test_a_range_without_data_is_a_mistake_that_names_the_data(workspace: Workspace) -> None:
    with pytest.raises(UsageError, match="its data begins 2026-03-01 00:00"):
        preview(workspace, "orders", window=TimeRange(START - timedelta(days=9), START))


def test_without_profiles_it_says_what_to_do(tmp_path: Path) -> None:
    with (
        Workspace(Settings(home=make_workspace(tmp_path / "data"))) as empty,
        pytest.raises(UsageError, match="monitor profile orders"),
    ):
        preview(empty, "orders")


NEW = {
    "id": "new",
    "targetMatrix": ROWS,
    "config": {"type": "fixed", "metric": "shape_row_count", "upper": 99},
}


@pytest.mark.parametrize(
    "data", [NEW, [NEW], {"analyzers": [NEW]}, {**DOCUMENT, "analyzers": [NEW], "monitors": []}]
)
def test_a_file_may_hold_one_analyzer_some_or_a_document(workspace: Workspace, data: object) -> None:
    document, ids = with_fragment(workspace.dataset("orders").document, data, source="idea.json")
    seen = preview(workspace, "orders", analyzer_ids=ids, document=document)
    assert ids == ("new",)
    assert len(seen.anomalies) == 29


def test_an_analyzer_of_the_same_id_takes_the_other_ones_place(workspace: Workspace) -> None:
    changed = {**NEW, "id": "orders-volume-analyzer"}
    document, ids = with_fragment(workspace.dataset("orders").document, changed, source="idea.json")
    assert len(preview(workspace, "orders", analyzer_ids=ids, document=document).anomalies) == 29


def test_a_broken_file_is_told_with_its_place(workspace: Workspace) -> None:
    document: MonitorDocument = workspace.dataset("orders").document
    with pytest.raises(DocumentError, match=r"\$\.analyzers\[0\]\.config\.type"):
        with_fragment(document, {**NEW, "config": {"type": "fixd"}}, source="idea.json")
    with pytest.raises(UsageError, match="holds no analyzer"):
        with_fragment(document, {"monitors": []}, source="idea.json")
    with pytest.raises(UsageError, match="is about sales"):
        with_fragment(document, {**DOCUMENT, "datasetId": "sales"}, source="idea.json")


def test_a_changed_expression_is_another_version_of_the_analyzers_that_measure_it(tmp_path: Path) -> None:
    home = make_workspace(tmp_path / "data", days=3)
    description = home / "datasets" / "orders" / "dataset.yaml"
    plain = description.read_text()
    analyzers = [
        {"id": "own", "targetMatrix": ALL, "config": {"type": "fixed", "metric": "odd", "upper": 0.9}},
        {"id": "other", "targetMatrix": ALL, "config": {"type": "fixed", "metric": "mean", "upper": 0}},
        {"id": "either", "config": {"type": "disjunction", "analyzerIds": ["own", "other"]}},
    ]
    (home / "datasets" / "orders" / "monitors.json").write_text(
        json.dumps({**DOCUMENT, "analyzers": analyzers, "monitors": []})
    )

    def judged(expression: str) -> dict[str, str]:
        description.write_text(f"{plain}metrics: {{odd: twice / 2, twice: {expression}}}\n")
        with Workspace(Settings(home=home)) as workspace:
            pipeline.profile_batch(workspace, "orders")
            done = pipeline.analyze_batch(workspace, "orders", [START])
            return {result.analyzer_id: result.analyzer_version for result in done.results}

    first = judged("2 * count_null_ratio")
    again = judged("2 * count_null_ratio")
    changed = judged("3 * count_null_ratio")

    assert set(first) == {"own", "other", "either"}
    assert again == {}, "judged already"
    assert set(changed) == {"own", "either"}
    assert changed["own"] != first["own"]
    assert changed["either"] != first["either"]
