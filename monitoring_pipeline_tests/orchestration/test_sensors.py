"""The sensors on a real Dagster instance: what they ask for, what survives a restart, what becomes of failures."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest

from monitoring_pipeline import overview, pipeline, readiness
from monitoring_pipeline.orchestration import sensors
from monitoring_pipeline.orchestration.definitions import build_definitions
from monitoring_pipeline.orchestration.resources import WorkspaceResource
from monitoring_pipeline.orchestration.sensors import FAILURES, SENSOR
from monitoring_pipeline.settings import Settings
from monitoring_pipeline.store import results, work
from monitoring_pipeline.timegrid import TimeRange
from monitoring_pipeline.workspace import Workspace
from monitoring_pipeline_tests.workspaces import DATASET, DOCUMENT, START, make_workspace, write_day

DAY = timedelta(days=1)
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


class Daemon:
    """A code location in a process of its own, and the ticks of its sensors."""

    def __init__(self, home: Path, instance: dg.DagsterInstance, *, days: float = 20.4) -> None:
        self.home, self.instance, self.now = home, instance, START + timedelta(days=days)
        self.cursor: str | None = None
        self.restart()

    def restart(self) -> None:
        """The process ends and another begins; the cursor is kept by the instance."""
        resource = WorkspaceResource(home=str(self.home), now=self.now.isoformat())
        self.definitions = build_definitions(resource, Settings(home=self.home, now=self.now))
        self.sensor = self.definitions.resolve_sensor_def(SENSOR)

    def open(self) -> Workspace:
        return Workspace(Settings(home=self.home, now=self.now))

    def tick(self, *, keep_cursor: bool = True) -> dg.SensorResult:
        with self.open() as workspace:
            context = dg.build_sensor_context(
                instance=self.instance, resources={"workspace": workspace}, cursor=self.cursor
            )
            answer = self.sensor(context)
        assert isinstance(answer, dg.SensorResult)
        if keep_cursor:
            self.cursor = answer.cursor
        return answer

    def requests(self) -> list[dg.RunRequest]:
        return [one for one in self.tick().run_requests or [] if one.job_name != "deliver_digests"]

    def execute(self, request: dg.RunRequest) -> dg.ExecuteInProcessResult:
        """What the run queue does with a request; a failed run is told to the sensor of failures."""
        job = self.definitions.resolve_job_def(str(request.job_name))
        result = job.execute_in_process(
            instance=self.instance,
            partition_key=request.partition_key,
            tags=request.tags,
            run_config=QUIET,
            raise_on_error=False,
        )
        if not result.success:
            failed = self.definitions.resolve_sensor_def(FAILURES)
            with self.open() as workspace:
                context = dg.build_run_status_sensor_context(
                    sensor_name=FAILURES,
                    dagster_instance=self.instance,
                    dagster_run=result.dagster_run,
                    dagster_event=result.get_run_failure_event(),
                    resources={"workspace": workspace},
                )
                failed(context.for_run_failure())
        return result

    def until_quiet(self) -> list[dg.RunRequest]:
        """Do all that is asked for, each run key once; returns what was asked for."""
        asked: dict[str, dg.RunRequest] = {}
        while new := [one for one in self.requests() if one.run_key not in asked]:
            for request in new:
                asked[str(request.run_key)] = request
                self.execute(request)
        return list(asked.values())


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = make_workspace(tmp_path / "data", days=20)
    for path in (home / "landing" / "orders").iterdir():
        os.utime(path, (START.timestamp(), START.timestamp()))
    return home


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def more_datasets(home: Path, *names: str) -> None:
    """Copies of the orders under other names, over the same files."""
    for name in names:
        folder = home / "datasets" / name
        folder.mkdir()
        (folder / "dataset.yaml").write_text(DATASET.replace("id: orders", f"id: {name}"))
        (folder / "monitors.json").write_text(json.dumps({**DOCUMENT, "datasetId": name}))


def keys(requests: list[dg.RunRequest]) -> list[str]:
    return [str(one.run_key) for one in requests]


def break_day(monkeypatch: pytest.MonkeyPatch, day: int) -> None:
    """Profiling that day fails until the patch is undone."""
    original = pipeline._write

    def write(workspace, dataset_id, arrival, profile, problems):  # type: ignore[no-untyped-def]
        if arrival.bucket == START + day * DAY:
            raise RuntimeError("the disk of the fifth is full")
        return original(workspace, dataset_id, arrival, profile, problems)

    monkeypatch.setattr(pipeline, "_write", write)


def test_a_tick_that_dies_after_it_asked_asks_for_the_same_again(
    home: Path, instance: dg.DagsterInstance
) -> None:
    daemon = Daemon(home, instance)
    first = daemon.tick(keep_cursor=False)  # and the daemon dies before it can note anything
    daemon.restart()
    second = daemon.tick()

    assert first.run_requests
    assert keys(list(first.run_requests)) == keys(list(second.run_requests or []))


def test_two_daemons_that_tick_at_once_ask_for_one_run(home: Path, instance: dg.DagsterInstance) -> None:
    daemons = [Daemon(home, instance) for _ in range(2)]
    asked: list[list[str]] = [[], []]

    def tick(number: int) -> None:
        asked[number] = keys(daemons[number].requests())

    threads = [threading.Thread(target=tick, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert asked[0] == asked[1]  # Dagster launches a run key of a sensor once
    assert len({*asked[0], *asked[1]}) == 1


def test_a_tick_whose_time_is_over_goes_on_where_it_stopped_also_after_a_restart(
    home: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    more_datasets(home, "returns", "visits")
    monkeypatch.setattr(sensors, "TICK_SECONDS", 0)  # time for one dataset
    daemon = Daemon(home, instance)
    reached: list[set[str]] = []
    for _ in range(4):
        reached.append({request.tags["monitoring/dataset"] for request in daemon.requests()})
        daemon.restart()

    assert reached == [{"orders"}, {"returns"}, {"visits"}, {"orders"}]


def test_the_cursor_moves_on_also_when_nothing_is_due(
    home: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    more_datasets(home, "returns")
    daemon = Daemon(home, instance)
    daemon.until_quiet()
    daemon.restart()
    monkeypatch.setattr(sensors, "TICK_SECONDS", 0)
    daemon.cursor = None

    first, second = daemon.tick(), daemon.tick()
    assert first.cursor == "orders"
    assert "returns" not in str(first.skip_reason)
    assert "returns" in str(second.skip_reason)


def test_a_dataset_that_broke_since_the_start_holds_up_no_other(
    home: Path, instance: dg.DagsterInstance
) -> None:
    more_datasets(home, "returns")
    daemon = Daemon(home, instance)
    (home / "datasets" / "orders" / "monitors.json").write_text("{")

    assert {request.tags["monitoring/dataset"] for request in daemon.requests()} == {"returns"}


def test_an_arrival_is_reported_once(home: Path, instance: dg.DagsterInstance) -> None:
    daemon = Daemon(home, instance)
    reported = [len(daemon.tick().asset_events) for _ in range(2)]
    write_day(home, 3, rows=90)
    os.utime(
        home / "landing" / "orders" / "2026-03-04.parquet", (START.timestamp() + 5, START.timestamp() + 5)
    )

    assert [*reported, len(daemon.tick().asset_events)] == [20, 0, 1]


def test_a_bucket_that_fails_holds_up_no_other_and_is_given_up(
    home: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_day(monkeypatch, 4)
    daemon = Daemon(home, instance)
    asked = daemon.until_quiet()
    with daemon.open() as workspace:
        pending = readiness.pending(workspace, "orders")
        status = overview.status(workspace, "orders")

    alone = [one.partition_key for one in asked if one.partition_key]
    assert alone.count("2026-03-05") == 2  # after the ranged run
    assert {*pending.profile} == {START + 4 * DAY}
    assert [one.attempts for one in pending.given_up] == [3]
    [line] = status.trouble
    assert "2026-03-05 00:00 was given up after 3 failed runs" in line
    assert "the disk of the fifth is full" in line
    assert "monitor run orders --from 2026-03-05T00:00 --to 2026-03-06T00:00" in line


def test_what_was_given_up_is_tried_again_when_its_data_changes(
    home: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        break_day(patch, 4)
        daemon = Daemon(home, instance)
        daemon.until_quiet()
    assert daemon.requests() == []
    write_day(home, 4, rows=70)
    os.utime(
        home / "landing" / "orders" / "2026-03-05.parquet", (START.timestamp() + 5, START.timestamp() + 5)
    )
    daemon.restart()

    assert [one.partition_key for one in daemon.requests()] == ["2026-03-05"]
    daemon.until_quiet()
    with daemon.open() as workspace:
        assert not readiness.pending(workspace, "orders").buckets
        assert work.failures(workspace.store, workspace.ref("orders")) == {}


def test_what_was_given_up_is_done_when_a_person_asks(
    home: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        break_day(patch, 4)
        daemon = Daemon(home, instance)
        daemon.until_quiet()
    job = daemon.definitions.resolve_job_def("monitor_orders")
    assert job.execute_in_process(instance=instance, partition_key="2026-03-05", run_config=QUIET).success

    assert daemon.requests() == []
    with daemon.open() as workspace:
        assert not any("given up" in line for line in overview.status(workspace, "orders").trouble)


def test_a_failed_run_that_somebody_launched_by_hand_gives_nothing_up(
    home: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_day(monkeypatch, 4)
    daemon = Daemon(home, instance)
    for _ in range(3):
        assert not daemon.execute(
            dg.RunRequest(job_name="monitor_orders", partition_key="2026-03-05")
        ).success

    [request] = daemon.requests()
    assert request.tags["dagster/asset_partition_range_start"] == "2026-03-01"


def test_stale_results_are_told_once_as_an_observation(home: Path, instance: dg.DagsterInstance) -> None:
    daemon = Daemon(home, instance)
    daemon.until_quiet()
    with daemon.open() as workspace:
        ref = workspace.ref("orders")
        marked = results.mark_stale(workspace.store, ref, TimeRange(START, START + 3 * DAY))
    told = [daemon.tick().asset_events for _ in range(2)]
    with daemon.open() as workspace:
        trouble = overview.status(workspace, "orders").trouble

    [[observation], nothing] = told
    assert isinstance(observation, dg.AssetObservation)
    assert observation.asset_key == dg.AssetKey(["orders", "analyzer_results"])
    assert observation.metadata["stale results"].value == marked > 0
    assert nothing == []
    assert "monitor reanalyze orders" in trouble[0]
    assert daemon.requests() == []  # results are immutable: nobody judges again unasked


def test_a_weekly_cron_analyzer_on_daily_data_runs_on_the_buckets_that_its_expression_picks(
    home: Path, instance: dg.DagsterInstance
) -> None:
    [volume, nulls] = DOCUMENT["analyzers"]
    weekly = {**volume, "id": "weekly", "schedule": {"type": "cron", "cron": "0 0 * * 1"}}
    document = {**DOCUMENT, "analyzers": [volume, nulls, weekly]}
    (home / "datasets" / "orders" / "monitors.json").write_text(json.dumps(document))
    daemon = Daemon(home, instance)
    daemon.until_quiet()

    with daemon.open() as workspace:
        rows = results.results(workspace.store, workspace.ref("orders"), analyzer_ids=["weekly"])
    seconds = [row["bucket"] for row in rows]
    # 2026-03-02, -09 and -16 are the Mondays among the twenty days
    assert seconds == [int((START + day * DAY).timestamp() * 1e6) for day in (1, 8, 15)]
    assert len(instance.get_materialized_partitions(dg.AssetKey(["orders", "analyzer_results"]))) == 20


def test_the_log_says_what_is_due_and_what_waits_until_when(
    home: Path, instance: dg.DagsterInstance, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon = Daemon(home, instance)
    capsys.readouterr()
    daemon.tick()
    said = capsys.readouterr().err

    assert "orders: profiling is due on 20 buckets from 2026-03-01 00:00 to 2026-03-20 00:00" in said
    assert "orders: orders-volume-analyzer is due on 20 buckets from 2026-03-01 00:00" in said
    assert "orders: orders-volume-analyzer on 2026-03-21 00:00: ready at 2026-03-22 00:00 UTC" in said


def test_a_tick_over_two_hundred_datasets_asks_each_for_the_run_it_needs_in_turn(
    tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = make_workspace(tmp_path / "data", days=2)
    for path in (home / "landing" / "orders").iterdir():
        os.utime(path, (START.timestamp(), START.timestamp()))
    names = [f"shop-{number:03}" for number in range(199)]
    more_datasets(home, *names)
    monkeypatch.setattr(sensors, "TICK_SECONDS", 60)
    daemon = Daemon(home, instance, days=2.4)
    asked: list[str] = []
    ticks = 0
    while len({*asked}) < 200 and ticks < 20:
        asked += [request.tags["monitoring/dataset"] for request in daemon.requests()]
        ticks += 1

    assert sorted(asked) == ["orders", *names]
    assert ticks == 8  # twenty-five a tick
