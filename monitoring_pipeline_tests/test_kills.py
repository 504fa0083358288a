"""Workers of the whole pipeline die by `kill -9`, or do the same work twice at once: it ends as one clean run does.

`MONITORING_TEST_KILLS` says how many are killed; `python -m monitoring_pipeline_tests.kills` kills thousands and reports.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from monitoring_pipeline import pipeline
from monitoring_pipeline.alerting.digests import Digest
from monitoring_pipeline.backfill import backfill
from monitoring_pipeline.reanalysis import reanalyze
from monitoring_pipeline.settings import Settings
from monitoring_pipeline.store import digests, entity_schema, profiles, schema
from monitoring_pipeline.store.database import open_store
from monitoring_pipeline.timegrid import TimeRange
from monitoring_pipeline.workspace import Workspace
from monitoring_pipeline_tests.kills.campaign import Clean, Report, run_clean, run_killed, run_two_at_once
from monitoring_pipeline_tests.kills.dump import differences, dump
from monitoring_pipeline_tests.kills.nursery import Nursery
from monitoring_pipeline_tests.workspaces import START, make_workspace, write_day

KILLS = int(os.environ.get("MONITORING_TEST_KILLS", "40"))
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def nurseries() -> Iterator[tuple[Nursery, Nursery]]:
    with Nursery() as one, Nursery() as other:
        yield one, other


@pytest.fixture(scope="module")
def clean(nurseries: tuple[Nursery, Nursery], tmp_path_factory: pytest.TempPathFactory) -> Clean:
    folder = tmp_path_factory.mktemp("clean")
    return run_clean(nurseries[0], folder / "home", f"sqlite:///{folder / 'store.db'}")


def assert_as_clean(report: Report) -> None:
    assert report.errors == []
    assert report.differences == []


@pytest.mark.slow
def test_however_often_workers_are_killed_the_store_ends_as_after_one_clean_run(
    nurseries: tuple[Nursery, Nursery], clean: Clean, tmp_path: Path
) -> None:
    chance, killed = random.Random(20), 0
    while killed < KILLS:
        home = tmp_path / str(killed)
        url = f"sqlite:///{home}.db"
        report = run_killed(nurseries[0], home, url, clean, chance=chance, most=KILLS - killed)
        assert_as_clean(report)
        killed += report.total


@pytest.mark.slow
@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_on_postgresql_it_ends_in_the_same_state(
    nurseries: tuple[Nursery, Nursery], clean: Clean, tmp_path: Path, database_url: str
) -> None:
    report = run_killed(
        nurseries[0], tmp_path / "home", database_url, clean, chance=random.Random(21), most=KILLS // 4
    )
    assert_as_clean(report)


@pytest.mark.slow
def test_two_workers_that_do_everything_at_once_end_as_one(
    nurseries: tuple[Nursery, Nursery], clean: Clean, tmp_path: Path, database_url: str
) -> None:
    report = run_two_at_once(nurseries, tmp_path / "home", database_url, clean, chance=random.Random(22))
    assert_as_clean(report)


@pytest.mark.slow
def test_the_comparison_sees_a_single_row_or_number_that_differs(
    nurseries: tuple[Nursery, Nursery], clean: Clean, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    again = run_clean(nurseries[0], tmp_path / "home", url)
    assert differences(clean.state, again.state) == []

    result, batch = schema.analyzer_result, schema.batch
    newest = sa.select(sa.func.max(result.c.pk)).scalar_subquery()
    bucket = sa.select(sa.func.max(batch.c.bucket)).scalar_subquery()
    for change in (
        sa.update(result).where(result.c.pk == newest).values(stale=~result.c.stale),
        sa.update(batch).where(batch.c.bucket == bucket).values(version=2),
        sa.delete(schema.evaluation).where(schema.evaluation.c.bucket == bucket),
    ):
        before = dump(url)
        store = open_store(url)
        with store.begin() as connection:
            connection.execute(change)
        store.close()
        assert differences(before, dump(url))


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    """Twelve days, the ninth with few rows."""
    home = make_workspace(tmp_path / "data", days=12, few_rows_on=8)
    with Workspace(Settings(home=home)) as opened:
        yield opened


class Died(BaseException):
    """Stands for the death of a process at a certain place."""


def die(*_: object, **__: object) -> None:
    raise Died


def dying(patch: pytest.MonkeyPatch, place: object, name: str, run: Callable[[], object]) -> None:
    """Run something that dies where it calls `place.name`."""
    with patch.context() as broken:
        broken.setattr(place, name, die)
        with pytest.raises(Died):
            run()


def fill(workspace: Workspace) -> None:
    for _ in backfill(workspace, "orders", TimeRange.always()):
        pass


def told(workspace: Workspace) -> list[int]:
    """Days of which people were told, oldest first."""
    recorded = digests.digests(workspace.store, workspace.ref("orders"))
    anomalies = [anomaly for one in recorded for anomaly in Digest.from_json(one.content).sample]
    return sorted({(anomaly.bucket - START).days for anomaly in anomalies})


def test_what_a_dead_run_has_profiled_is_learned_by_the_next(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    dying(monkeypatch, entity_schema, "save_schema", lambda: pipeline.profile_batch(workspace, "orders"))
    assert len(profiles.batches(workspace.store, workspace.ref("orders"))) == 12
    assert not pipeline.profile_batch(workspace, "orders").buckets

    learned = workspace.entity_schema("orders")
    assert learned is not None
    assert {"country", "amount", "express"} <= learned.columns.keys()


def test_a_quiet_backfill_that_dies_before_it_comes_to_tell_stays_quiet(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    dying(monkeypatch, pipeline, "notify", lambda: fill(workspace))
    notified = pipeline.notify(workspace, "orders")

    assert notified.digests == ()
    assert told(workspace) == []


def test_a_quiet_backfill_does_not_silence_what_another_run_has_found(workspace: Workspace) -> None:
    pipeline.profile_batch(workspace, "orders")
    pipeline.analyze_batch(workspace, "orders")  # and dies before it can tell
    fill(workspace)

    assert told(workspace) == [8]


def test_what_a_dead_run_has_found_is_told_also_when_it_was_judged_again_meanwhile(
    workspace: Workspace,
) -> None:
    pipeline.profile_batch(workspace, "orders")
    pipeline.analyze_batch(workspace, "orders")  # and dies before it can tell
    write_day(workspace.home, 8, rows=9)
    pipeline.profile_batch(workspace, "orders")
    assert reanalyze(workspace, "orders").retired
    first, *more = pipeline.notify(workspace, "orders").digests

    assert more == []
    assert {anomaly.bucket for anomaly in first.sample} == {START + 8 * DAY}


def test_a_run_that_dies_while_it_tells_leaves_nothing_half_told(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.profile_batch(workspace, "orders")
    pipeline.analyze_batch(workspace, "orders")
    dying(monkeypatch, digests, "record", lambda: pipeline.notify(workspace, "orders"))
    ref = workspace.ref("orders")
    with workspace.store.read() as connection:
        kept = connection.execute(sa.select(sa.func.count()).select_from(schema.incident)).scalar_one()

    assert kept == 0
    assert len(pipeline.notify(workspace, "orders").digests) == 1
    assert len(digests.digests(workspace.store, ref)) == 1
