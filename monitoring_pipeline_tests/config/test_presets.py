from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from monitoring_pipeline.analysis.engine import unable
from monitoring_pipeline.config.dataset import parse_dataset
from monitoring_pipeline.config.descriptions import ColumnDescription, DatasetDescription, dataset_document
from monitoring_pipeline.config.document import MonitorDocument, parse_document
from monitoring_pipeline.config.presets import PRESETS, Preset, first_monitors, made_by, preset
from monitoring_pipeline.errors import UsageError
from monitoring_pipeline.metrics.catalog import metric
from monitoring_pipeline.timegrid import Granularity

NOW = datetime(2026, 2, 1, 9, tzinfo=UTC)

VISITS = DatasetDescription(
    path="landing/*.parquet",
    format="parquet",
    files=31,
    rows=62_000,
    sampled_rows=50_000,
    columns=(
        ColumnDescription("visit_id", "string", "text", 50_000, 0.0),
        ColumnDescription("at", "timestamp[us]", "timestamp", 50_000, 0.0),
        ColumnDescription("region", "string", "text", 3, 0.0, smallest_share=0.2),
        ColumnDescription("pages", "int64", "integer", 50, 0.01, 0, 49),
        ColumnDescription("balance", "double", "number", 9_000, 0.0, -10, 10),
        ColumnDescription("zip_code", "int64", "integer", 900, 0.0, 1, 99_999),
        ColumnDescription("comment", "string", "text", 30_000, 0.4),
    ),
    granularity=Granularity.DAILY,
    rows_per_bucket=2_000,
    timestamp="at",
    start=NOW.replace(month=1, day=1, hour=0),
    end=NOW.replace(month=1, day=31, hour=0),
    segments=(("region",),),
    roles={"id": "visit_id"},
    exclude=("visit_id",),
)


def document(description: DatasetDescription = VISITS) -> MonitorDocument:
    loaded = parse_document(first_monitors(description, dataset_id="visits", now=NOW), source="presets")
    assert loaded.warnings == ()
    return loaded.document


def columns_of(document: MonitorDocument, analyzer_id: str) -> list[str]:
    raw = document.to_json()["analyzers"]
    return next(a for a in raw if a["id"] == analyzer_id)["targetMatrix"]["include"]


@pytest.mark.parametrize("granularity", list(Granularity))
def test_the_document_is_accepted_without_warnings(granularity: Granularity) -> None:
    made = document(replace(VISITS, granularity=granularity))
    assert made.granularity is granularity
    assert len(made.monitors) <= 8


def test_only_analyzers_and_metrics_that_exist_are_used() -> None:
    made = document()
    assert {analyzer.config.type for analyzer in made.analyzers} <= {"fixed", "stddev", "diff", "drift"}
    for analyzer in made.to_json()["analyzers"]:
        metric(analyzer["config"]["metric"])


def test_every_analyzer_has_a_monitor_with_a_name_for_people() -> None:
    made = document()
    used = {analyzer_id for monitor in made.monitors for analyzer_id in monitor.analyzer_ids}
    assert used == {analyzer.id for analyzer in made.analyzers}
    assert all(" " in (monitor.display_name or "") for monitor in made.monitors)


def test_numbers_and_categories_are_watched_as_what_they_are() -> None:
    made = document()
    assert columns_of(made, "number-drift-analyzer") == ["pages", "balance"]
    assert columns_of(made, "category-drift-analyzer") == ["region"]
    assert columns_of(made, "never-negative-analyzer") == ["pages"]


def test_few_rows_make_wider_thresholds() -> None:
    def thresholds(rows: float) -> dict[str, float]:
        made = document(replace(VISITS, rows_per_bucket=rows)).to_json()["analyzers"]
        return {a["id"]: a["config"]["threshold"] for a in made if "threshold" in a["config"]}

    many, few = thresholds(100_000), thresholds(50)
    assert few["null-ratio-jump-analyzer"] > many["null-ratio-jump-analyzer"]
    assert few["number-drift-analyzer"] > many["number-drift-analyzer"]


def test_weak_evidence_needs_more_than_one_bucket_or_more_than_a_little() -> None:
    def config(analyzer_id: str, rows: float = 2_000) -> dict[str, object]:
        made = document(replace(VISITS, rows_per_bucket=rows)).to_json()["analyzers"]
        return next(a["config"] for a in made if a["id"] == analyzer_id)

    assert config("never-negative-analyzer")["nConsecutive"] == 2
    assert config("few-rows-again-analyzer") == {
        "type": "fixed",
        "metric": "shape_row_count",
        "lower": 1_000,
        "nConsecutive": 2,
    }
    assert config("average-value-analyzer")["params"] == {"leastChange": "0.05"}
    # four of 333 rows, but half a percent of many
    assert [config("first-nulls-analyzer", rows)["maxUpperThreshold"] for rows in (333, 1e6)] == [3, 5_000]
    assert columns_of(document(), "first-nulls-analyzer") == ["at", "region", "pages", "balance", "zip_code"]


def test_a_dataset_that_has_ended_is_not_missing_every_day() -> None:
    ended = document(replace(VISITS, end=NOW - timedelta(days=300)))
    assert "missing-data-monitor" not in {monitor.id for monitor in ended.monitors}
    assert "missing-data-monitor" in {monitor.id for monitor in document().monitors}


def test_the_grace_reaches_back_to_the_first_bucket() -> None:
    old = first_monitors(replace(VISITS, start=NOW - timedelta(days=1_000)), dataset_id="visits", now=NOW)
    analyzers = old["analyzers"]
    assert isinstance(analyzers, list)
    assert {analyzer["backfillGracePeriodDuration"] for analyzer in analyzers} == {"P1030D"}


def test_without_columns_the_dataset_itself_is_watched() -> None:
    bare = document(replace(VISITS, columns=()))
    assert {monitor.id for monitor in bare.monitors} == {
        "missing-data-monitor",
        "row-count-monitor",
        "missing-values-monitor",
        "schema-change-monitor",
    }


def test_the_description_makes_a_dataset_file() -> None:
    spec = parse_dataset(dataset_document(VISITS, dataset_id="visits", owner="team:web"), source="presets")
    assert (spec.id, spec.timestamp, spec.segments, spec.columns.id) == (
        "visits",
        "at",
        (("region",),),
        "visit_id",
    )
    assert spec.start is None
    numbered = replace(VISITS, timestamp=None, file_sequence=True, fixed_start=True)
    spec = parse_dataset(dataset_document(numbered, dataset_id="visits"), source="presets")
    assert (spec.source.file_sequence, spec.start) == (True, VISITS.start)
    dated = replace(VISITS, timestamp=None, date_in_path="date=%Y-%m-%d", fixed_start=True)
    spec = parse_dataset(dataset_document(dated, dataset_id="visits"), source="presets")
    assert (spec.source.date_in_path, spec.start) == ("date=%Y-%m-%d", VISITS.start)


MODEL = replace(
    VISITS,
    columns=(
        *VISITS.columns,
        ColumnDescription("latency_ms", "double", "number", 9_000, 0.0, 1, 900),
        ColumnDescription("is_error", "bool", "boolean", 2, 0.0),
    ),
    roles={**VISITS.roles, "prediction": "region", "target": "region"},
)


@pytest.mark.parametrize("granularity", list(Granularity))
@pytest.mark.parametrize("chosen", PRESETS, ids=lambda one: one.name)
def test_every_preset_is_accepted_alone_and_twice(chosen: Preset, granularity: Granularity) -> None:
    described = replace(MODEL, granularity=granularity, end=NOW)
    once, twice = (made_by(chosen, described, now=NOW, suffix=suffix) for suffix in ("", "b"))
    data = {
        "orgId": "org-0",
        "datasetId": "visits",
        "granularity": str(granularity),
        "analyzers": [*once.analyzers, *twice.analyzers],
        "monitors": [*once.monitors, *twice.monitors],
    }
    loaded = parse_document(data, source="presets")
    assert loaded.warnings == ()
    assert not unable(loaded.document)


def test_a_preset_without_anything_to_watch_says_what_it_needs() -> None:
    with pytest.raises(UsageError, match="needs the roles target"):
        made_by(preset("classification-performance"), VISITS, now=NOW)
    with pytest.raises(UsageError, match="did you mean 'row-count'"):
        preset("rowcount")


def test_few_rows_raise_the_thresholds_of_psi() -> None:
    def thresholds(rows: float) -> list[float]:
        made = made_by(preset("psi-drift"), replace(VISITS, rows_per_bucket=rows), now=NOW)
        configs = [analyzer["config"] for analyzer in made.analyzers]
        return [config["threshold"] for config in configs if isinstance(config, dict)]

    assert thresholds(100_000) == [0.25, 0.25, 0.5, 0.5]
    assert thresholds(100)[0] > 1
