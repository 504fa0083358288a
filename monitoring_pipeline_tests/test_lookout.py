"""A process that remembers sees everything that one that looks anew would see, and asks next to nothing meanwhile."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from monitoring_pipeline import pipeline, readiness
from monitoring_pipeline.lookout import LOOK_AGAIN, Look, Lookout
from monitoring_pipeline.settings import Settings
from monitoring_pipeline.store import profiles, work
from monitoring_pipeline.timegrid import to_micros
from monitoring_pipeline.workspace import Workspace
from monitoring_pipeline_tests.workspaces import DOCUMENT

START = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
NOW = START + timedelta(days=40, hours=9)


class Place:
    """Datasets of CSV files, and a process that looks at them by a clock that stands still unless it is moved."""

    def __init__(self, home: Path, *, datasets: int = 1, days: int = 3) -> None:
        self.home, self.now, self.seconds = home, NOW, 0.0
        self.lookout = Lookout(clock=lambda: self.seconds)
        self.names = [f"shop-{number:03}" for number in range(datasets)]
        for name in self.names:
            folder = home / "datasets" / name
            folder.mkdir(parents=True)
            (folder / "dataset.yaml").write_text(
                f"id: {name}\ngranularity: daily\nstart: {START:%Y-%m-%d}\nsource: {{path: landing/{name}}}\n"
                "timestamp: at\n"
            )
            self.write_document(name)
            for day in range(days):
                self.write(day, name=name)
        self.settle()

    def write_document(self, name: str, **changes: object) -> None:
        [volume, _] = DOCUMENT["analyzers"]
        document = {**DOCUMENT, "datasetId": name, "monitors": [], "analyzers": [{**volume, **changes}]}
        (self.home / "datasets" / name / "monitors.json").write_text(json.dumps(document))

    def write(self, day: int, *, rows: int = 2, name: str = "shop-000") -> Path:
        path = self.home / "landing" / name / f"{START + day * DAY:%Y-%m-%d}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        at = f"{START + day * DAY:%Y-%m-%dT%H:%M:%SZ}"
        path.write_text("at,amount\n" + f"{at},1\n" * rows)
        arrived = (START + (day + 1) * DAY).timestamp() + rows
        os.utime(path, (arrived, arrived))
        return path

    def settle(self) -> None:
        """Make folders and documents as old as they are after a few seconds, each change still showing."""
        for path in [self.home / "landing", *(self.home / "landing").iterdir()]:
            age = path.stat().st_mtime_ns - 3_000_000_000
            os.utime(path, ns=(age, age))
        for path in (self.home / "datasets").glob("*/*"):
            age = path.stat().st_mtime_ns - 3_000_000_000
            os.utime(path, ns=(age, age))

    def open(self) -> Workspace:
        return Workspace(Settings(home=self.home, now=self.now))

    def look(self, name: str = "shop-000") -> Look:
        with self.open() as workspace:
            self.lookout.begin(workspace)
            look = self.lookout.look(workspace, name)
        assert look is not None
        return look

    def run(self, name: str = "shop-000") -> None:
        """What a run, another process, would do."""
        with self.open() as workspace:
            pipeline.profile_batch(workspace, name)
            pipeline.analyze_batch(workspace, name, backfill=False)

    def anew(self, name: str = "shop-000") -> readiness.Pending:
        with self.open() as workspace:
            return readiness.pending(workspace, name)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def days(look: Look) -> list[int]:
    return [(bucket - START).days for bucket in look.pending.profile]


def test_where_nothing_happened_nothing_is_found_out_again(place: Place) -> None:
    first, second = place.look(), place.look()

    assert (first.is_new, second.is_new) == (True, False)
    assert second.pending is first.pending
    assert days(first) == [0, 1, 2]


def test_what_a_run_wrote_is_noticed(place: Place) -> None:
    place.look()
    place.run()
    look = place.look()

    assert (look.is_new, look.pending.buckets) == (True, ())
    assert look.pending == place.anew()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda place: place.write(3), [3]),
        (lambda place: place.write(2, rows=5), [2]),
        (lambda place: place.write(3).rename(place.home / "landing" / "shop-000" / "late.csv"), [3]),
    ],
    ids=["a new file", "the newest file rewritten", "a file moved in"],
)
def test_a_change_of_files_is_noticed_at_once(
    place: Place, change: Callable[[Place], object], expected: list[int]
) -> None:
    place.run()
    place.settle()
    assert not place.look().pending.buckets
    change(place)

    assert days(place.look()) == expected


def test_a_file_that_is_gone_is_noticed_at_once(place: Place) -> None:
    assert days(place.look()) == [0, 1, 2]
    (place.home / "landing" / "shop-000" / "2026-03-02.csv").unlink()

    assert days(place.look()) == [0, 2]


def test_a_folder_that_appears_is_noticed(tmp_path: Path) -> None:
    place = Place(tmp_path, days=1)
    moved = (tmp_path / "landing" / "shop-000").rename(tmp_path / "elsewhere")
    place.settle()
    assert days(place.look()) == []
    moved.rename(tmp_path / "landing" / "shop-000")

    assert days(place.look()) == [0]


def test_an_old_file_rewritten_in_place_is_noticed_within_a_quarter_of_an_hour(tmp_path: Path) -> None:
    place = Place(tmp_path, days=30)
    place.run()
    place.settle()
    place.look()
    place.write(0, rows=9)

    assert days(place.look()) == []  # its folder's time is what it was, and it is none of the newest
    place.seconds += LOOK_AGAIN.total_seconds()
    assert days(place.look()) == [0]


def test_the_quarter_hourly_listing_reads_no_history_while_nothing_has_changed(place: Place) -> None:
    place.look()
    place.look()
    place.seconds += LOOK_AGAIN.total_seconds()

    assert not place.look().is_new


def test_a_batch_that_another_process_overwrote_with_older_data_is_profiled_again(place: Place) -> None:
    place.run()
    place.look()
    with place.open() as workspace, workspace.store.begin() as connection:
        connection.execute(
            sa.text("UPDATE batch SET fingerprint = 'older' WHERE bucket = :b"), {"b": to_micros(START)}
        )
        connection.execute(sa.text("UPDATE dataset SET revision = revision + 1"))
    place.look()
    place.seconds += LOOK_AGAIN.total_seconds()

    assert days(place.look()) == [0]


def test_a_batch_that_was_deleted_is_profiled_again(place: Place) -> None:
    place.now -= timedelta(hours=1)
    place.run()
    place.now += timedelta(hours=1)
    place.look()
    with place.open() as workspace, workspace.store.begin() as connection:
        connection.execute(sa.text("DELETE FROM batch WHERE bucket = :b"), {"b": to_micros(START)})
    place.seconds += LOOK_AGAIN.total_seconds()

    assert days(place.look()) == [0]


def test_after_runs_a_quarter_of_an_hour_later_no_file_is_read_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.run()
    place.settle()
    place.look()
    place.now += DAY
    place.write(3)
    place.settle()
    assert days(place.look()) == [3]
    place.run()
    assert place.look().pending.profile == ()
    place.now += timedelta(minutes=15)
    place.seconds += LOOK_AGAIN.total_seconds()
    monkeypatch.setattr(readiness, "discover", None)

    assert place.look().pending.profile == ()


def test_an_edited_document_is_noticed(place: Place) -> None:
    place.run()
    assert not place.look().pending.due
    place.write_document("shop-000", targetSize=2)

    assert len(place.look().pending.due) == 3


def test_the_passing_of_time_alone_makes_things_due(place: Place) -> None:
    place.now = START + 2 * DAY + timedelta(hours=1)
    place.look()
    before = place.look()
    place.now = before.pending.again + timedelta(minutes=1)
    after = place.look()

    assert (days(before), days(after)) == ([0, 1], [0, 1, 2])
    assert before.pending.again == START + 3 * DAY


def test_a_look_that_would_take_too_long_waits_for_its_turn(place: Place) -> None:
    with place.open() as workspace:
        place.lookout.begin(workspace)
        assert place.lookout.look(workspace, "shop-000", within=0) is None
        assert place.lookout.look(workspace, "shop-000") is not None
        place.lookout.begin(workspace)
        assert place.lookout.look(workspace, "shop-000", within=-1) is not None  # nothing to find out


@pytest.mark.parametrize("seed", range(5))
def test_whatever_happens_it_says_what_a_fresh_look_says(tmp_path: Path, seed: int) -> None:
    place, chance = Place(tmp_path, days=8), random.Random(seed)

    def remove() -> None:
        found = sorted((tmp_path / "landing" / "shop-000").iterdir())
        if found:
            chance.choice(found).unlink()

    def wait() -> None:
        place.now += timedelta(hours=chance.choice([1, 7, 30]))

    def edit() -> None:
        place.write_document("shop-000", batchCoolDownPeriod=f"PT{chance.randrange(1, 99)}H")

    def fail() -> None:
        pending = place.anew()
        with place.open() as workspace:
            some = {bucket: pending.work[bucket] for bucket in pending.buckets[:2]}
            work.record_failure(
                workspace.store, workspace.ref("shop-000"), some, run_id="x", error="x", now=place.now
            )

    def write() -> None:
        place.write(chance.randrange(45), rows=chance.randrange(1, 9))

    def add() -> None:
        landed = (tmp_path / "landing" / "shop-000").iterdir()
        place.write(1 + max((int(path.stem[-2:]) for path in landed), default=0) % 30)

    for _ in range(25):
        chance.choice([write, write, add, add, remove, wait, edit, fail, place.run])()
        if chance.random() < 0.2:
            place.seconds += LOOK_AGAIN.total_seconds()
        if chance.random() < 0.5:
            place.settle()
        assert place.look().pending == place.anew()


def counted(place: Place, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """Queries and looks at data files or folders of one round over all datasets."""
    stats: list[str] = []
    queries: list[str] = []
    original = os.stat

    def stat(path: object, **options: object) -> os.stat_result:
        if "landing" in str(path):
            stats.append(str(path))
        return original(path, **options)  # pyright: ignore[reportArgumentType]

    with place.open() as workspace, monkeypatch.context() as patch:
        event.listen(workspace.store.engine, "before_cursor_execute", lambda *given: queries.append(given[2]))
        patch.setattr(os, "stat", stat)
        place.lookout.begin(workspace)
        for name in place.names:
            look = place.lookout.look(workspace, name)
            assert look is not None
            assert not look.is_new
    return len(queries), len(stats)


def test_a_quiet_round_asks_the_same_few_questions_however_many_datasets_and_however_long_their_history(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    questions: dict[tuple[int, int], int] = {}
    for datasets, history in [(1, 40), (1, 200), (12, 30)]:
        place = Place(tmp_path / f"{datasets}-{history}", datasets=datasets, days=history)
        place.now = START + timedelta(days=history + 1)
        for name in place.names:
            place.look(name)
        for name in place.names:
            place.look(name)
        queries, stats = counted(place, monkeypatch)
        questions[datasets, history] = queries
        assert stats == datasets * 17  # the folder and its sixteen newest files

    assert len({*questions.values()}) == 1


def test_one_new_file_is_one_scan_of_one_dataset(tmp_path: Path) -> None:
    place = Place(tmp_path, datasets=5)
    for _ in range(2):
        for name in place.names:
            place.look(name)
    place.write(3, name="shop-002")

    assert [name for name in place.names if place.look(name).is_new] == ["shop-002"]


def test_profiles_are_what_the_bucket_holds_after_all(place: Place) -> None:
    place.look()
    place.write(1, rows=7)
    place.look()
    place.run()
    with place.open() as workspace:
        rows = [row.rows for row in profiles.batches(workspace.store, workspace.ref("shop-000"))]
    assert rows == [2, 7, 2]
