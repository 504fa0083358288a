"""Runs on a real Dagster instance: the sensor asks, jobs do, and everything is visible afterwards."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from monitoring_pipeline.orchestration.definitions import build_definitions
from monitoring_pipeline.orchestration.resources import WorkspaceResource
from monitoring_pipeline.orchestration.sensors import SENSOR
from monitoring_pipeline.readiness import ranges
from monitoring_pipeline.settings import Settings
from monitoring_pipeline.timegrid import Granularity
from monitoring_pipeline.workspace import Workspace
from monitoring_pipeline_tests.workspaces import START, make_workspace, write_day

PROFILES = dg.AssetKey(["orders", "profiles"])
RESULTS = dg.AssetKey(["orders", "analyzer_results"])
BATCHES = dg.AssetKey(["orders", "batches"])
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
NOW = START + timedelta(days=20, hours=9)


class House:
    """A workspace, its code location and a Dagster instance."""

    def __init__(self, home: Path, instance: dg.DagsterInstance) -> None:
        self.home, self.instance = home, instance
        self.now = NOW

    @property
    def definitions(self) -> dg.Definitions:
        resource = WorkspaceResource(home=str(self.home), now=self.now.isoformat())
        return build_definitions(resource, Settings(home=self.home, now=self.now))

    def tick(self) -> dg.SensorResult:
        sensor = self.definitions.resolve_sensor_def(SENSOR)
        with Workspace(Settings(home=self.home, now=self.now)) as workspace:
            context = dg.build_sensor_context(instance=self.instance, resources={"workspace": workspace})
            answer = sensor(context)
        assert isinstance(answer, dg.SensorResult)
        return answer

    def requests(self) -> list[dg.RunRequest]:
        return list(self.tick().run_requests or [])

    def execute(self, request: dg.RunRequest) -> dg.ExecuteInProcessResult:
        job = self.definitions.resolve_job_def(str(request.job_name))
        return job.execute_in_process(
            instance=self.instance,
            partition_key=request.partition_key,
            tags=request.tags,
            run_config=QUIET,
            raise_on_error=False,
        )

    def until_quiet(self) -> int:
        runs = 0
        while requests := self.requests():
            for request in requests:
                assert self.execute(request).success
                runs += 1
        return runs


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    home = make_workspace(tmp_path / "data", days=20, few_rows_on=15, nulls_on=17)
    for day, path in enumerate(sorted((home / "landing" / "orders").iterdir())):
        arrived = (START + timedelta(days=day + 1, hours=2)).timestamp()
        os.utime(path, (arrived, arrived))
    with dg.DagsterInstance.ephemeral() as instance:
        yield House(home, instance)


def test_the_sensor_asks_for_one_ranged_run_and_then_for_the_digests(house: House) -> None:
    (request,) = house.requests()
    assert house.execute(request).success
    (delivery,) = house.requests()
    assert delivery.job_name == "deliver_digests"
    assert house.execute(delivery).success

    assert house.tick().skip_reason
    assert len(house.instance.get_materialized_partitions(PROFILES)) == 20
    assert len(house.instance.get_materialized_partitions(RESULTS)) == 20


def test_a_request_has_the_same_key_until_something_changes(house: House) -> None:
    first, again = house.requests(), house.requests()
    write_day(house.home, 3, rows=90)
    house.now += timedelta(days=1)
    changed = house.requests()

    assert [request.run_key for request in first] == [request.run_key for request in again]
    assert [request.run_key for request in first] != [request.run_key for request in changed]


def test_arrivals_are_reported_on_the_external_asset(house: House) -> None:
    answer = house.tick()

    arrived = {
        event.partition: event for event in answer.asset_events if isinstance(event, dg.AssetMaterialization)
    }
    assert len(arrived) == 20
    assert arrived["2026-03-16"].asset_key == BATCHES
    assert arrived["2026-03-16"].metadata["dagster/partition_row_count"].value == 10


def test_a_partition_shows_what_was_found(house: House) -> None:
    house.until_quiet()

    records = house.instance.fetch_materializations(RESULTS, limit=100).records
    shown = {record.partition_key: record.asset_materialization.metadata for record in records}  # pyright: ignore[reportOptionalMemberAccess]
    assert shown["2026-03-16"]["anomalies"].value == 1
    assert "rows" in str(shown["2026-03-16"]["worst"].value)
    page = "http://localhost:3000/assets/orders"
    assert shown["2026-03-16"]["profile"].value == f"{page}/profiles?view=partitions&partition=2026-03-16"
    assert shown["2026-03-16"]["checks"].value == f"{page}/analyzer_results?view=checks"
    assert "dashboard" not in shown["2026-03-16"]
    assert f"{page}/analyzer_results?view=partitions&partition=2026-03-18)" in str(
        shown["2026-03-16"]["digest"].value
    )


def test_metadata_leads_to_the_dashboard_that_the_settings_name(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MONITORING_DASHBOARD_URL", "https://board.example")
    house.until_quiet()

    for key in (PROFILES, RESULTS):
        [record] = house.instance.fetch_materializations(key, limit=1).records
        assert record.asset_materialization is not None
        assert str(record.asset_materialization.metadata["dashboard"].value).startswith(
            "https://board.example/?"
        )


def test_numbers_that_say_most_are_plotted_over_partitions(house: House) -> None:
    house.until_quiet()

    records = house.instance.fetch_materializations(PROFILES, limit=100).records
    shown = {record.partition_key: record.asset_materialization.metadata for record in records}  # pyright: ignore[reportOptionalMemberAccess]
    assert shown["2026-03-10"]["null share"].value == 0
    assert shown["2026-03-18"]["null share"].value > 0
    assert any(name.startswith("mean of ") for name in shown["2026-03-10"])


def test_columns_are_shown_with_their_types_and_come_from_the_asset_before(house: House) -> None:
    house.until_quiet()

    for key, before in ((PROFILES, BATCHES), (RESULTS, PROFILES)):
        events = house.instance.fetch_materializations(key, limit=100).records
        (shown, *_) = (
            record.asset_materialization.metadata  # pyright: ignore[reportOptionalMemberAccess]
            for record in events
            if "dagster/column_schema" in record.asset_materialization.metadata  # pyright: ignore[reportOptionalMemberAccess]
        )
        columns = {column.name: column.type for column in shown["dagster/column_schema"].value.columns}
        lineage = shown["dagster/column_lineage"].value.deps_by_column
        assert columns["amount"] == "fractional"
        assert lineage["amount"] == [dg.TableColumnDep(asset_key=before, column_name="amount")]


def test_a_run_that_told_people_shows_what_it_told_them(house: House) -> None:
    house.until_quiet()

    records = house.instance.fetch_materializations(RESULTS, limit=100).records
    told = [
        str(record.asset_materialization.metadata["digest"].value)  # pyright: ignore[reportOptionalMemberAccess]
        for record in records
        if "digest" in record.asset_materialization.metadata  # pyright: ignore[reportOptionalMemberAccess]
    ]
    assert told
    assert "Orders arrive" in told[0]


def test_a_monitor_with_anomalies_fails_its_check_with_a_warning(house: House) -> None:
    (request,) = house.requests()

    (evaluation,) = house.execute(request).get_asset_check_evaluations()

    assert evaluation.check_name == "orders_volume_monitor"
    assert not evaluation.passed
    assert evaluation.severity is dg.AssetCheckSeverity.WARN
    assert evaluation.metadata["anomalies"].value == 2


def test_a_failed_check_stops_nothing(house: House) -> None:
    (request,) = house.requests()

    assert house.execute(request).success


def test_one_partition_can_be_materialised_by_hand(house: House) -> None:
    result = house.definitions.resolve_job_def("monitor_orders").execute_in_process(
        instance=house.instance, partition_key="2026-03-05", run_config=QUIET
    )

    assert result.success
    assert house.instance.get_materialized_partitions(PROFILES) == {"2026-03-05"}


def test_ranges_are_cut_at_gaps_and_at_what_one_run_should_hold() -> None:
    days = [START + timedelta(days=day) for day in [*range(40), 50]]

    found = [((last - first).days + 1, first) for first, last in ranges(days, Granularity.DAILY)]

    assert found == [(31, START), (9, START + timedelta(days=31)), (1, START + timedelta(days=50))]
    assert datetime(2026, 3, 1, tzinfo=START.tzinfo) == START
