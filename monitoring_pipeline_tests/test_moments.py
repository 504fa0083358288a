"""Digests by the calendar, on real files and a real store: once a day, everything once, whatever happens in between."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from monitoring_pipeline import moments, pipeline
from monitoring_pipeline.alerting.digests import Digest
from monitoring_pipeline.settings import Settings
from monitoring_pipeline.store import digests, held_back, schema
from monitoring_pipeline.workspace import Workspace

START = datetime(2026, 3, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)

DATASET = """\
id: clicks
granularity: hourly
start: 2026-03-01
source: {path: landing/clicks}
timestamp: at
"""


def document(**monitor: Any) -> dict[str, Any]:
    """At least five rows an hour are expected; one monitor speaks of it once a day unless told otherwise."""
    return {
        "orgId": "org-0",
        "datasetId": "clicks",
        "granularity": "hourly",
        "analyzers": [
            {
                "id": "volume",
                "schedule": {"type": "fixed", "cadence": "hourly"},
                "targetMatrix": {"type": "dataset", "segments": []},
                "config": {"type": "fixed", "metric": "shape_row_count", "lower": 5},
            }
        ],
        "monitors": [
            {
                "id": "daily",
                "analyzerIds": ["volume"],
                "schedule": {"type": "fixed", "cadence": "daily"},
                "mode": {"type": "DIGEST"},
                "severity": 2,
                "actions": [],
                **monitor,
            }
        ],
    }


def make_home(home: Path, **monitor: Any) -> Path:
    folder = home / "datasets" / "clicks"
    folder.mkdir(parents=True)
    (folder / "dataset.yaml").write_text(DATASET)
    write_document(home, **monitor)
    return home


def write_document(home: Path, **monitor: Any) -> None:
    (home / "datasets" / "clicks" / "monitors.json").write_text(json.dumps(document(**monitor)))


def land(home: Path, hour: int, *, rows: int = 10, at: datetime | None = None) -> None:
    """The file of one hour, `hour` hours after the start, which lands ten minutes after the hour unless told otherwise."""
    start = START + hour * HOUR
    folder = home / "landing" / "clicks"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{start:%Y-%m-%dT%H}.parquet"
    stamps = pa.array(
        [start + timedelta(minutes=minute) for minute in range(rows)], pa.timestamp("us", "UTC")
    )
    pq.write_table(pa.table({"at": stamps, "value": pa.array(range(rows))}), path)
    landed = (at or start + HOUR + timedelta(minutes=10)).timestamp()
    os.utime(path, (landed, landed))


def land_all(home: Path, hours: range, few: set[int]) -> None:
    for hour in hours:
        land(home, hour, rows=2 if hour in few else 10)


def work(home: Path, now: datetime) -> list[Digest]:
    """What a run of everything that is due records at a moment."""
    with Workspace(Settings(home=home, now=now)) as workspace:
        workspace.apply("clicks")
        pipeline.profile_batch(workspace, "clicks")
        pipeline.analyze_batch(workspace, "clicks", backfill=False)
        return list(pipeline.notify(workspace, "clicks").digests)


def told_hours(digest: Digest) -> list[int]:
    return sorted((one.bucket - START) // HOUR for one in digest.sample)


def recorded(home: Path) -> Iterator[Digest]:
    """All digests, in the order in which they were recorded."""
    with Workspace(Settings(home=home)) as workspace:
        found = digests.digests(workspace.store, workspace.ref("clicks"))
    return (Digest.from_json(one.content) for one in reversed(found))


def test_a_daily_digest_of_hourly_data_comes_once_a_day_with_all_of_the_day(tmp_path: Path) -> None:
    few = {0, 5, 23, 24, 47, 60}
    home = make_home(tmp_path)
    land_all(home, range(72), few)

    for hour in range(6, 80, 6):
        work(home, START + hour * HOUR + timedelta(minutes=30))

    assert [told_hours(one) for one in recorded(home)] == [[0, 5, 23], [24, 47], [60]]
    assert [one.created for one in recorded(home)] == [
        START + day * DAY + timedelta(minutes=30) for day in (1, 2, 3)
    ]


def test_a_digest_waits_for_the_last_hour_and_comes_without_it_when_it_does_not_come(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    land_all(home, range(23), {3})

    assert work(home, START + DAY + timedelta(minutes=5)) == []
    assert work(home, START + DAY + timedelta(minutes=59)) == []
    (digest,) = work(home, START + DAY + HOUR)

    assert told_hours(digest) == [3]


def test_three_days_without_a_daemon_are_three_digests_afterwards(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    few = {2, 20, 30, 50, 71, 80}
    land_all(home, range(90), few)

    work(home, START + 12 * HOUR)
    with Workspace(Settings(home=home, now=START + 84 * HOUR)) as workspace:
        # The first thing that a daemon may do when it is back: nothing has been judged yet.
        assert moments.due(workspace, "clicks") == []
        assert pipeline.notify(workspace, "clicks").digests == ()
    work(home, START + 84 * HOUR)
    work(home, START + 97 * HOUR)

    assert [told_hours(one) for one in recorded(home)] == [[2, 20], [30], [50, 71], [80]]


def test_late_data_is_told_with_the_next_digest_and_never_twice(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    land_all(home, range(48), {4, 30})
    (home / "landing" / "clicks" / "2026-03-01T10.parquet").unlink()

    work(home, START + DAY + 2 * HOUR)
    land(home, 10, rows=1, at=START + DAY + 5 * HOUR)
    assert work(home, START + DAY + 6 * HOUR) == []
    (second,) = work(home, START + 2 * DAY + HOUR)

    assert told_hours(second) == [10, 30]
    assert [told_hours(one) for one in recorded(home)] == [[4], [10, 30]]
    assert work(home, START + 2 * DAY + HOUR) == []


def test_what_is_repaired_before_the_digest_comes_is_not_told(tmp_path: Path) -> None:
    from monitoring_pipeline import reanalysis

    home = make_home(tmp_path)
    land_all(home, range(24), {4, 8})

    now = START + 12 * HOUR
    work(home, now)
    land(home, 4, rows=10, at=now - HOUR)
    with Workspace(Settings(home=home, now=now)) as workspace:
        pipeline.profile_batch(workspace, "clicks")
        reanalysis.reanalyze(workspace, "clicks")
        pipeline.notify(workspace, "clicks")
    (digest,) = work(home, START + DAY + HOUR)

    assert told_hours(digest) == [8]


@pytest.mark.parametrize("place", ["hold", "_let_go", "_read"])
def test_dying_while_it_is_told_loses_nothing_and_tells_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    home = make_home(tmp_path)
    land_all(home, range(24), {4, 8})

    class Killed(BaseException):
        pass

    def die(*_: object, **__: object) -> None:
        raise Killed

    for now in (START + 12 * HOUR, START + DAY + HOUR):
        with monkeypatch.context() as patched:
            patched.setattr(held_back, place, die)
            patched.setattr("monitoring_pipeline.store.telling.hold", held_back.hold)
            with pytest.raises(Killed):
                work(home, now)
        work(home, now)

    assert [told_hours(one) for one in recorded(home)] == [[4, 8]]
    with Workspace(Settings(home=home)) as workspace, workspace.store.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(schema.held_anomaly)).scalar() == 0


def test_two_that_tell_at_once_tell_once(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    land_all(home, range(24), {4, 8})
    work(home, START + 12 * HOUR)
    now = START + DAY + HOUR
    with Workspace(Settings(home=home, now=now)) as one, Workspace(Settings(home=home, now=now)) as other:
        pipeline.profile_batch(one, "clicks")
        pipeline.analyze_batch(one, "clicks")
        told = [*pipeline.notify(one, "clicks").digests, *pipeline.notify(other, "clicks").digests]
    assert [told_hours(digest) for digest in told] == [[4, 8]]


def test_a_digest_is_due_by_time_alone(tmp_path: Path) -> None:
    home = make_home(tmp_path, schedule={"type": "cron", "cron": "0 9 * * *"})
    land_all(home, range(9), {4})

    work(home, START + 8 * HOUR + timedelta(minutes=30))
    with Workspace(Settings(home=home, now=START + 9 * HOUR + timedelta(minutes=1))) as workspace:
        assert moments.due(workspace, "clicks") == []  # the ninth hour may still come
    with Workspace(Settings(home=home, now=START + 10 * HOUR + timedelta(minutes=1))) as workspace:
        pipeline.profile_batch(workspace, "clicks")
        pipeline.analyze_batch(workspace, "clicks")
        assert moments.due(workspace, "clicks") == ["clicks: daily at 2026-03-01 09:00"]
        report = pipeline.deliver(workspace)  # as Dagster and `monitor digest --send` do, without new data
        assert (report.delivered, report.failed, report.waiting) == (1, 0, 0)
        assert moments.due(workspace, "clicks") == []
    (digest,) = recorded(home)
    assert told_hours(digest) == [4]


def test_filters_offsets_and_exclusions_hold_for_digests_by_the_calendar(tmp_path: Path) -> None:
    holiday = {"start": "2026-03-01T04:00:00Z", "end": "2026-03-01T05:00:00Z"}
    home = make_home(
        tmp_path,
        schedule={"type": "fixed", "cadence": "daily", "exclusionRanges": [holiday]},
        mode={"type": "DIGEST", "filter": {"minAlertCount": 2}, "datasetTimestampOffset": "PT12H"},
    )
    land_all(home, range(72), {0, 4, 20, 22, 40})

    work(home, START + 20 * HOUR)  # hour 0 is older than 12 hours by now
    (first,) = work(home, START + DAY + HOUR)
    assert told_hours(first) == [20, 22]
    assert work(home, START + 2 * DAY + HOUR) == []  # one anomaly only


def test_every_anomaly_by_the_calendar_is_a_message_each(tmp_path: Path) -> None:
    home = make_home(tmp_path, mode={"type": "EVERY_ANOMALY"})
    land_all(home, range(24), {4, 8, 9})
    told = work(home, START + DAY + HOUR)
    assert Counter(hour for digest in told for hour in told_hours(digest)) == {4: 1, 8: 1, 9: 1}


def test_a_monitor_that_becomes_immediate_tells_what_it_held_back_and_one_that_is_disabled_does_not(
    tmp_path: Path,
) -> None:
    home = make_home(tmp_path)
    land_all(home, range(24), {4})
    work(home, START + 12 * HOUR)
    write_document(home, schedule={"type": "immediate"})
    assert [told_hours(one) for one in work(home, START + 13 * HOUR)] == [[4]]

    other = make_home(tmp_path / "other")
    land_all(other, range(24), {4})
    work(other, START + 12 * HOUR)
    write_document(other, disabled=True)
    assert work(other, START + 13 * HOUR) == []
    write_document(other)
    assert work(other, START + DAY + HOUR) == []
