"""Late data, repaired days and loads that come twice: what becomes stale, what is judged again, what people hear of it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from monitoring_pipeline import overview, pipeline
from monitoring_pipeline.alerting.incidents import Status
from monitoring_pipeline.reanalysis import Reanalyzed, reanalyze
from monitoring_pipeline.replay import replay
from monitoring_pipeline.settings import Settings
from monitoring_pipeline.store import digests, profiles, results
from monitoring_pipeline.timegrid import TimeRange, from_micros
from monitoring_pipeline.workspace import Workspace
from monitoring_pipeline_tests.workspaces import START, make_workspace, write_day

DAY = timedelta(days=1)


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    """Twenty days, the 16th with few rows and the 18th with many nulls (days count from 0: 15 and 17)."""
    home = make_workspace(tmp_path / "data", days=20, few_rows_on=15, nulls_on=17)
    with Workspace(Settings(home=home)) as opened:
        run(opened)
        yield opened


def run(workspace: Workspace) -> pipeline.Notified:
    pipeline.profile_batch(workspace, "orders")
    pipeline.analyze_batch(workspace, "orders")
    return pipeline.notify(workspace, "orders")


def again(workspace: Workspace) -> Reanalyzed:
    return reanalyze(workspace, "orders")


def day(number: int) -> datetime:
    return START + number * DAY


def stale(workspace: Workspace) -> set[tuple[int, str]]:
    """Days and analyzers with stale verdicts."""
    rows = results.results(workspace.store, workspace.ref("orders"), stale_only=True)
    return {((from_micros(int(str(row["bucket"]))) - START).days, str(row["analyzer_id"])) for row in rows}


def test_a_repaired_day_makes_its_own_verdicts_stale_and_those_whose_baselines_hold_it(
    workspace: Workspace,
) -> None:
    assert stale(workspace) == set()
    write_day(workspace.home, 9, rows=140)
    run(workspace)

    volume, nulls = "orders-volume-analyzer", "orders-nulls-analyzer"
    assert {number for number, name in stale(workspace) if name == volume} == {9}
    assert {number for number, name in stale(workspace) if name == nulls} == {9, *range(10, 17)}


def test_nothing_is_judged_again_by_itself(workspace: Workspace) -> None:
    before = results.results(workspace.store, workspace.ref("orders"), window=TimeRange(day(15), day(16)))
    write_day(workspace.home, 15, rows=100)
    run(workspace)

    after = results.results(workspace.store, workspace.ref("orders"), window=TimeRange(day(15), day(16)))
    assert [row["anomaly_count"] for row in after] == [row["anomaly_count"] for row in before]


def test_a_repaired_day_judged_again_closes_its_incident_and_keeps_the_old_verdict(
    workspace: Workspace,
) -> None:
    [volume] = [found for found in overview.find_incidents(workspace, "orders") if found.start == day(15)]
    write_day(workspace.home, 15, rows=100)
    run(workspace)
    report = again(workspace)
    pipeline.notify(workspace, "orders")

    assert ("orders-volume-analyzer", day(15)) in {
        (one.analyzer_id, one.bucket) for one in report.turned_good
    }
    assert not report.turned_bad
    assert stale(workspace) == set()
    [closed] = [found for found in overview.find_incidents(workspace, "orders") if found.id == volume.id]
    assert closed.status is Status.RESOLVED
    kept = results.results(workspace.store, workspace.ref("orders"), state="superseded")
    assert {row["anomaly_count"] for row in kept if row["analyzer_id"] == "orders-volume-analyzer"} == {1}


def test_what_was_told_is_not_told_again_and_what_is_new_is(workspace: Workspace) -> None:
    told = len(digests.digests(workspace.store, workspace.ref("orders")))
    write_day(workspace.home, 15, rows=4)  # still few
    run(workspace)
    again(workspace)
    assert not pipeline.notify(workspace, "orders").digests

    write_day(workspace.home, 5, rows=7)
    run(workspace)
    report = again(workspace)
    [new] = pipeline.notify(workspace, "orders").digests
    assert [one.bucket for one in report.turned_bad] == [day(5)]
    assert [anomaly.bucket for anomaly in new.sample] == [day(5)]
    assert len(digests.digests(workspace.store, workspace.ref("orders"))) == told + 1


def test_the_same_load_twice_changes_nothing(workspace: Workspace) -> None:
    for path in (workspace.home / "landing" / "orders").iterdir():
        path.write_bytes(path.read_bytes())
    report = pipeline.profile_batch(workspace, "orders")

    assert {bucket.version for bucket in report.buckets} <= {1, 2}
    assert stale(workspace) == set()


def test_a_day_that_comes_weeks_late_is_judged_and_makes_stale_what_did_without_it(tmp_path: Path) -> None:
    home = make_workspace(tmp_path / "data", days=20)
    missing = sorted((home / "landing" / "orders").iterdir())[8]
    kept = missing.read_bytes()
    missing.unlink()
    with Workspace(Settings(home=home)) as workspace:
        run(workspace)
        missing.write_bytes(kept)
        run(workspace)

        nulls = {number for number, name in stale(workspace) if name == "orders-nulls-analyzer"}
        assert nulls == set(range(9, 16))
        judged = results.results(workspace.store, workspace.ref("orders"), window=TimeRange(day(8), day(9)))
        assert judged


def test_stopping_between_passes_leaves_the_rest_for_the_next_call(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (9, 12):
        write_day(workspace.home, number, rows=140)
    run(workspace)
    broken = results.supersede

    def fails(*_: object, **__: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(results, "supersede", fails)
    with pytest.raises(KeyboardInterrupt):
        again(workspace)
    before = stale(workspace)
    assert before
    monkeypatch.setattr(results, "supersede", broken)
    assert again(workspace).retired > 0
    assert stale(workspace) == set()
    assert again(workspace).retired == 0


def test_everything_can_be_judged_again_and_comes_out_the_same(workspace: Workspace) -> None:
    def verdicts() -> list[tuple[object, ...]]:
        rows = results.results(workspace.store, workspace.ref("orders"))
        names = (
            "bucket",
            "analyzer_id",
            "segment",
            "column",
            "metric_value",
            "anomaly_count",
            "calculated_upper",
        )
        return [tuple(row[name] for name in names) for row in rows]

    before = verdicts()
    report = reanalyze(workspace, "orders", everything=True)

    assert report.retired == len(before)
    assert not report.turned_bad
    assert not report.turned_good
    assert verdicts() == before


def test_every_verdict_can_be_replayed_from_what_was_known_then(workspace: Workspace) -> None:
    write_day(workspace.home, 9, rows=140)
    write_day(workspace.home, 15, rows=100)
    run(workspace)
    again(workspace)
    write_day(workspace.home, 9, rows=30)
    run(workspace)
    again(workspace)

    found = replay(workspace, "orders")

    assert found.differences == ()
    assert found.left == 0
    assert found.runs >= 3
    assert found.verdicts == len(results.results(workspace.store, workspace.ref("orders"), state=None))


def test_a_replay_finds_what_was_tampered_with(workspace: Workspace) -> None:
    table = results._table
    with workspace.store.begin() as connection:
        connection.execute(
            table.update()
            .where(
                table.c.analyzer_id == "orders-volume-analyzer",
                table.c.segment == "",
                table.c.metric_value > 50,
            )
            .values(metric_value=51.0)
        )
    found = replay(workspace, "orders", TimeRange(day(3), day(4)))

    assert [(one.bucket, one.name, one.then) for one in found.differences] == [(day(3), "metric_value", 51.0)]


def test_profiles_of_before_are_kept_as_they_were(workspace: Workspace) -> None:
    from monitoring_pipeline.store.history import as_of

    ref, window = workspace.ref("orders"), TimeRange(day(9), day(10))
    before = profiles.bucket_profiles(workspace.store, ref, window)
    moment = workspace.now()
    write_day(workspace.home, 9, rows=140)
    run(workspace)

    assert profiles.bucket_profiles(workspace.store, ref, window) != before
    with as_of(workspace.store, {ref: window}, moment) as then:
        assert profiles.bucket_profiles(then, ref, window) == before
        assert [batch.version for batch in profiles.batches(then, ref, window)] == [1]


def test_verdicts_of_another_dataset_that_rest_on_this_one_become_stale(tmp_path: Path) -> None:
    home = make_workspace(tmp_path / "data", days=6)
    _second_dataset(home)
    with Workspace(Settings(home=home)) as workspace:
        for name in ("orders", "returns"):
            pipeline.profile_batch(workspace, name)
            pipeline.analyze_batch(workspace, name)
        assert results.results(workspace.store, workspace.ref("returns"), window=TimeRange(day(3), day(4)))
        write_day(home, 3, rows=150)
        pipeline.profile_batch(workspace, "orders")

        rows = results.results(workspace.store, workspace.ref("returns"), stale_only=True)
        assert {from_micros(int(str(row["bucket"]))) for row in rows} == {day(3)}


def _second_dataset(home: Path) -> None:
    """Returns, compared with the orders of the same day."""
    folder, landing = home / "datasets" / "returns", home / "landing" / "returns"
    folder.mkdir()
    landing.mkdir()
    for number in range(6):
        moments = pa.array(
            [day(number) + timedelta(minutes=minute) for minute in range(50)], pa.timestamp("us", "UTC")
        )
        amounts = np.random.default_rng(number).lognormal(3, 1, 50)
        pq.write_table(
            pa.table({"placed_at": moments, "amount": amounts}), landing / f"{day(number):%Y-%m-%d}.parquet"
        )
    (folder / "dataset.yaml").write_text(
        "id: returns\ngranularity: daily\nsource: {path: landing/returns}\ntimestamp: placed_at\n"
    )
    (folder / "monitors.json").write_text(
        """{"orgId": "org-0", "datasetId": "returns", "granularity": "daily", "analyzers": [{"id": "against-orders",
        "schedule": {"type": "fixed", "cadence": "daily"}, "backfillGracePeriodDuration": "P3650D",
        "targetMatrix": {"type": "column", "include": ["amount"], "segments": []},
        "config": {"type": "diff", "mode": "pct", "metric": "mean", "threshold": 1000,
        "baseline": {"type": "CurrentBatch", "datasetId": "orders"}}}], "monitors": []}"""
    )
