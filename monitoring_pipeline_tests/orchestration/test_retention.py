"""Retention in Dagster: a job of its own, every night."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from monitoring_pipeline.orchestration.definitions import build_definitions
from monitoring_pipeline.orchestration.resources import WorkspaceResource
from monitoring_pipeline.settings import Settings
from monitoring_pipeline.store import audit
from monitoring_pipeline.workspace import Workspace
from monitoring_pipeline_tests.cli.test_storage import monitor
from monitoring_pipeline_tests.workspaces import DATASET, make_workspace


def _definitions(home: Path) -> dg.Definitions:
    return build_definitions(WorkspaceResource(home=str(home)), Settings(home=home))


def test_retention_runs_every_night(tmp_path: Path) -> None:
    schedule = _definitions(make_workspace(tmp_path / "data", days=0)).resolve_schedule_def("retention")
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("30 3 * * *", "UTC")
    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING


def test_the_job_removes_what_is_old_and_notes_which_run_it_was(tmp_path: Path) -> None:
    home = make_workspace(tmp_path / "data", days=40)
    monitor(home, "run", "--from", "2026-03-01", "--fail-on", "never")
    (home / "datasets" / "orders" / "dataset.yaml").write_text(DATASET + "retention: {base: P35D}\n")
    job = _definitions(home).resolve_job_def("retention")
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(instance=instance)
    assert result.success
    assert result.output_for_node("remove_old") == []
    with Workspace(Settings(home=home)) as workspace:
        [entry] = audit.entries(workspace.store, "org-0")
    assert entry.actor == f"Dagster run {result.run_id}"
    assert entry.details == {"dataset": "orders", "removed": {"profiles of grain base": 40}}


def test_the_job_fails_when_a_dataset_could_not_be_cleared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = make_workspace(tmp_path / "data", days=1)
    job = _definitions(home).resolve_job_def("retention")
    monkeypatch.setenv("MONITORING_RETENTION", '{"base": "long"}')
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(instance=instance, raise_on_error=False)
    assert not result.success
    [failed] = [event for event in result.all_events if event.is_step_failure]
    assert failed.step_key == "report_failures"
    assert "orders: MONITORING_RETENTION" in str(failed.step_failure_data.error)
