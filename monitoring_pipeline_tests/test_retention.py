"""What people still get after old profiles have gone, or after they have deleted some themselves."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from monitoring_pipeline import overview, pipeline, readiness
from monitoring_pipeline.analysis.gates import Gate
from monitoring_pipeline.reanalysis import reanalyze
from monitoring_pipeline.replay import replay
from monitoring_pipeline.settings import Settings
from monitoring_pipeline.store import profiles, results, retention
from monitoring_pipeline.timegrid import TimeRange
from monitoring_pipeline.workspace import Workspace
from monitoring_pipeline_tests.workspaces import DATASET, DOCUMENT, START, make_workspace, write_day

DAY = timedelta(days=1)
DAYS = 100
NOW = START + DAYS * DAY + timedelta(hours=3)


def day(number: int) -> datetime:
    return START + number * DAY


def settings(home: Path, *, now: datetime = NOW) -> Settings:
    return Settings(home=home, now=now, author="ada")


def arrived(home: Path) -> None:
    """Every file came an hour after its day, as far as anybody can tell."""
    for path in (home / "landing" / "orders").iterdir():
        moment = datetime.fromisoformat(f"{path.stem}T00:00:00+00:00") + DAY + timedelta(hours=1)
        os.utime(path, (moment.timestamp(), moment.timestamp()))


def with_retention(home: Path, text: str) -> None:
    (home / "datasets" / "orders" / "dataset.yaml").write_text(f"{DATASET}retention: {text}\n")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hundred days from 1 March on, all profiled and judged."""
    home = make_workspace(tmp_path_factory.mktemp("made") / "data", days=DAYS, few_rows_on=97)
    arrived(home)
    with Workspace(settings(home)) as workspace:
        run(workspace)
    return home


@pytest.fixture
def home(made: Path, tmp_path: Path) -> Path:
    import shutil

    shutil.copytree(made, tmp_path / "data")
    with_retention(tmp_path / "data", "{base: P35D}")
    return tmp_path / "data"


@pytest.fixture
def workspace(home: Path) -> Iterator[Workspace]:
    with Workspace(settings(home)) as opened:
        yield opened


def run(workspace: Workspace) -> pipeline.Analyzed:
    pipeline.profile_batch(workspace, "orders")
    pipeline.roll_up(workspace, "orders")
    analyzed = pipeline.analyze_batch(workspace, "orders")
    pipeline.notify(workspace, "orders")
    return analyzed


def base_profiles(workspace: Workspace) -> set[datetime]:
    window = TimeRange(START, NOW)
    found = profiles.series(
        workspace.store, workspace.ref("orders"), ["n"], window, granularity=workspace.dataset("orders").spec.granularity
    )  # fmt: skip
    there = (found.values["n"] == found.values["n"]).any(axis=0)
    return {day(at) for at, one in enumerate(there.tolist()) if one}


def test_old_days_go_and_nothing_is_taken_for_new(workspace: Workspace) -> None:
    planned = pipeline.retire(workspace, "orders", dry_run=True)
    assert base_profiles(workspace) == {day(number) for number in range(DAYS)}
    gone = pipeline.retire(workspace, "orders")
    assert gone == planned
    # Thirty-five days before 9 June is 5 May: April is over by then, and the week that ends on 3 May.
    assert [*gone.profiles["base"]] == [day(number) for number in range(61)]
    assert base_profiles(workspace) == {day(number) for number in range(61, DAYS)}

    pending = readiness.pending(workspace, "orders")
    assert (pending.profile, pending.due, pending.overdue) == ((), (), None)
    assert pipeline.profile_batch(workspace, "orders").buckets == ()
    assert run(workspace).count == 0
    status = overview.status(workspace, "orders")
    assert (status.buckets, status.first_bucket, status.trouble) == (DAYS, START, ())
    assert readiness.first_bucket(workspace, "orders") == START


def test_recent_days_are_judged_as_if_nothing_had_gone(made: Path, home: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(made, tmp_path / "whole")
    verdicts: list[list[tuple[object, ...]]] = []
    for folder in (home, tmp_path / "whole"):
        write_day(folder, DAYS, rows=12, null_share=0.5)
        arrived(folder)
        with Workspace(settings(folder, now=NOW + DAY)) as workspace:
            if folder == home:
                assert pipeline.retire(workspace, "orders").profiles
            run(workspace)
            rows = results.results(workspace.store, workspace.ref("orders"))
            named = (
                "analyzer_id",
                "segment",
                "column",
                "bucket",
                "anomaly_count",
                "metric_value",
                "calculated_upper",
            )
            verdicts.append([tuple(row[name] for name in named) for row in rows])
    assert verdicts[0] == verdicts[1]
    assert len(verdicts[0]) > DAYS


def test_days_stay_that_an_analyzer_looks_at(home: Path) -> None:
    document = json.loads(json.dumps(DOCUMENT))
    document["analyzers"][1]["config"]["baseline"]["size"] = 60
    (home / "datasets" / "orders" / "monitors.json").write_text(json.dumps(document))
    with Workspace(settings(home)) as workspace:
        gone = pipeline.retire(workspace, "orders", dry_run=True)
    # Ninety days before 9 June: thirty in which a day may still be judged, sixty that it is compared with.
    assert [*gone.profiles["base"]] == [day(number) for number in range(10)]
    assert gone.needed == 51


def test_a_fixed_baseline_stays(home: Path) -> None:
    document = json.loads(json.dumps(DOCUMENT))
    fixed = {"type": "TimeRange", "range": {"start": "2026-03-10T00:00:00Z", "end": "2026-03-12T00:00:00Z"}}
    document["analyzers"][1]["config"]["baseline"] = fixed
    (home / "datasets" / "orders" / "monitors.json").write_text(json.dumps(document))
    with Workspace(settings(home)) as workspace:
        gone = {*pipeline.retire(workspace, "orders", dry_run=True).profiles["base"]}
    assert {day(number) for number in range(61)} - gone == {day(9), day(10)}


def test_a_new_analyzer_is_told_that_old_days_can_no_longer_be_judged(home: Path) -> None:
    document = json.loads(json.dumps(DOCUMENT))
    missing = {**document["analyzers"][0], "id": "orders-missing-analyzer"}
    missing["config"] = {"type": "fixed", "metric": "missingDatapoint", "upper": 0}
    document["analyzers"].append(missing)
    with Workspace(settings(home)) as workspace:
        pipeline.retire(workspace, "orders")
        (home / "datasets" / "orders" / "monitors.json").write_text(json.dumps(document))
        workspace.load()
        analyzed = pipeline.analyze_batch(workspace, "orders", [day(3), day(70)])
    assert not [one for one in analyzed.anomalies if one.bucket == day(3)]
    [told] = [one for one in analyzed.waiting if one.analyzer_id == "orders-missing-analyzer"]
    assert (told.bucket, told.gate) == (day(3), Gate.FORGOTTEN)
    assert "retention" in told.reason
    assert [one.bucket for one in analyzed.due if one.analyzer_id == "orders-missing-analyzer"] == [day(70)]


def test_late_data_of_a_retired_day_is_profiled_and_kept(home: Path, workspace: Workspace) -> None:
    pipeline.retire(workspace, "orders")
    write_day(home, 5, rows=140)
    moment = (NOW - timedelta(hours=1)).timestamp()
    os.utime(home / "landing" / "orders" / f"{day(5):%Y-%m-%d}.parquet", (moment, moment))
    assert [one.bucket for one in pipeline.profile_batch(workspace, "orders").buckets] == [day(5)]
    stuck = pipeline.roll_up(workspace, "orders").stuck
    assert {one.grain for one in stuck} == {"week", "month"}
    assert pipeline.retire(workspace, "orders").profiles == {}
    assert day(5) in base_profiles(workspace)
    pipeline.profile_batch(workspace, "orders", [day(number) for number in range(61)], again=True)
    assert pipeline.roll_up(workspace, "orders").stuck == ()
    assert pipeline.retire(workspace, "orders").profiles["base"]


def test_a_stale_verdict_whose_profiles_have_gone_stays_as_it_is(workspace: Workspace) -> None:
    pipeline.retire(workspace, "orders")
    window = TimeRange(day(20), day(21))
    before = results.results(workspace.store, workspace.ref("orders"), window=window)
    results.mark_stale(workspace.store, workspace.ref("orders"), window)
    report = reanalyze(workspace, "orders")
    assert (report.retired, report.left > 0) == (0, True)
    assert any("retention" in note for note in report.notes)
    after = results.results(workspace.store, workspace.ref("orders"), window=window)
    assert [row["metric_value"] for row in after] == [row["metric_value"] for row in before]


def test_a_replay_leaves_out_what_nobody_can_know_any_more(workspace: Workspace) -> None:
    pipeline.retire(workspace, "orders")
    found = replay(workspace, "orders", TimeRange(day(40), day(75)))
    assert not found.differences
    assert 0 < found.left < found.verdicts


def test_a_workspace_says_how_long_for_those_that_do_not(made: Path) -> None:
    given = Settings(home=made, now=NOW, retention={"base": "P2Y", "daily": "P35D"})
    with Workspace(given) as workspace:
        assert len(pipeline.retire(workspace, "orders", dry_run=True).profiles["base"]) == 61


# --- deletion ----------------------------------------------------------------------------------------------------


def test_a_deleted_range_is_not_profiled_again_until_somebody_asks(home: Path, workspace: Workspace) -> None:
    gone = pipeline.delete(workspace, "orders", TimeRange(day(90), day(93)))
    assert [*gone.buckets] == [day(90), day(91), day(92)]
    run(workspace)
    assert not base_profiles(workspace) & {day(90), day(91), day(92)}
    write_day(home, 91, rows=70)
    moment = (NOW - timedelta(hours=1)).timestamp()
    os.utime(home / "landing" / "orders" / f"{day(91):%Y-%m-%d}.parquet", (moment, moment))
    assert readiness.pending(workspace, "orders").profile == ()
    assert any(
        "3 buckets" in line and "deleted" in line for line in overview.status(workspace, "orders").trouble
    )
    pipeline.profile_batch(workspace, "orders", [day(90), day(91), day(92)])
    assert not base_profiles(workspace) & {day(90), day(91), day(92)}

    pipeline.profile_batch(workspace, "orders", [day(90), day(91), day(92)], again=True)
    assert {day(90), day(91), day(92)} <= base_profiles(workspace)
    assert retention.forgotten_buckets(workspace.store, workspace.ref("orders")) == {}
    assert run(workspace).count > 0


def test_verdicts_whose_baselines_held_the_range_are_stale(workspace: Workspace) -> None:
    pipeline.delete(workspace, "orders", TimeRange(day(80), day(82)))
    rows = results.results(workspace.store, workspace.ref("orders"), stale_only=True)
    touched = {(str(row["analyzer_id"]), int(str(row["bucket"]))) for row in rows}
    assert {name for name, _ in touched} == {"orders-nulls-analyzer"}
    reanalyze(workspace, "orders")
    assert not results.results(workspace.store, workspace.ref("orders"), stale_only=True)


def test_nobody_misses_the_newest_days_after_they_were_deleted(workspace: Workspace) -> None:
    pipeline.delete(workspace, "orders", TimeRange(day(95), day(DAYS)))
    assert readiness.pending(workspace, "orders").overdue is None
    assert not pipeline.analyze_batch(workspace, "orders", [day(97)]).anomalies
