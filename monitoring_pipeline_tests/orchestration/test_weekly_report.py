"""The report in Dagster: an asset with a partition a week, asked for on Mondays."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from monitoring_pipeline.orchestration.definitions import build_definitions
from monitoring_pipeline.orchestration.resources import WorkspaceResource
from monitoring_pipeline.orchestration.weekly_report import REPORT_JOB, WEEKLY_REPORT
from monitoring_pipeline.settings import Settings
from monitoring_pipeline_tests.reports.shop import NOW, make_shop

MONDAY = datetime(2026, 3, 16, 6, tzinfo=UTC)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_shop(tmp_path_factory.mktemp("shop") / "data")


def definitions_of(home: Path) -> dg.Definitions:
    resource = WorkspaceResource(home=str(home), now=NOW.isoformat())
    return build_definitions(resource, Settings(home=home, now=NOW))


def evaluated(home: Path, moment: datetime) -> dg.RunRequest | dg.SkipReason:
    schedule = definitions_of(home).resolve_schedule_def("weekly_report")
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("0 6 * * 1", "UTC")
    answer = schedule(dg.build_schedule_context(scheduled_execution_time=moment))
    assert isinstance(answer, dg.RunRequest | dg.SkipReason)
    return answer


def test_on_mondays_the_week_that_is_over_is_asked_for_once(home: Path) -> None:
    request = evaluated(home, MONDAY)
    assert isinstance(request, dg.RunRequest)
    assert (request.partition_key, request.run_key) == ("2026-03-09", "2026-W11")


def test_before_any_data_nothing_is_asked_for(home: Path) -> None:
    assert isinstance(evaluated(home, MONDAY - timedelta(weeks=6)), dg.SkipReason)


def test_the_run_writes_the_file_and_shows_what_it_says(home: Path) -> None:
    job = definitions_of(home).resolve_job_def(REPORT_JOB)
    with dg.DagsterInstance.ephemeral() as instance:
        quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
        result = job.execute_in_process(instance=instance, partition_key="2026-03-09", run_config=quiet)
    assert result.success
    (event,) = [one for one in result.get_asset_materialization_events() if one.asset_key == WEEKLY_REPORT]
    shown = {name: value.value for name, value in event.materialization.metadata.items()}
    path = Path(str(shown["path"]))
    assert path == (home / "reports" / "2026-W11.html").resolve()
    assert shown["bytes"] == path.stat().st_size
    assert "2 incidents resolved" in str(shown["headline"])
    assert (shown["open incidents"], shown["resolved incidents"], shown["datasets"]) == (0, 2, 1)


def test_the_report_comes_after_the_results_of_every_dataset(home: Path) -> None:
    specs = {spec.key: spec for spec in definitions_of(home).resolve_all_asset_specs()}
    assert [dep.asset_key for dep in specs[WEEKLY_REPORT].deps] == [dg.AssetKey(["shop", "analyzer_results"])]


def test_a_workspace_without_datasets_has_no_report(tmp_path: Path) -> None:
    definitions = definitions_of(tmp_path)
    dg.Definitions.validate_loadable(definitions)
    assert WEEKLY_REPORT not in {spec.key for spec in definitions.resolve_all_asset_specs()}
