"""Profile files where they land: which bucket each is of, and what happens to those that cannot be used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings

from monitoring_pipeline.profiling import ColumnProfile, DatasetProfile, profile
from monitoring_pipeline.profiling.merging import ProfileMerger
from monitoring_pipeline.profiling.whylogs import read_batches, write_whylogs
from monitoring_pipeline.profiling.whylogs.batches import WhylogsBatch
from monitoring_pipeline.sources.base import FileEntry, InputProblem, Scan
from monitoring_pipeline.sources.profile_files import MOST_BYTES, BucketOf, ProfileFilesSource
from monitoring_pipeline_tests.profiling.test_whylogs_damage import damaged_files
from monitoring_pipeline_tests.sources.conftest import Describe, day, rows_of, touch


@cache
def visits(rows: int = 10) -> DatasetProfile:
    return profile(pa.table({"n": pa.array(range(rows))}))


def write(home: Path, name: str, moment: datetime, *, rows: int = 10) -> Path:
    path = home / "landing" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(write_whylogs(visits(rows), dataset_timestamp=moment))
    return path


@dataclass
class Reader:
    """Reads whylogs files and remembers how many; the first few times the disk fails."""

    files: list[int] = field(default_factory=list)
    failures: int = 0

    def __call__(self, data: bytes, bucket_of: BucketOf) -> Mapping[datetime | None, WhylogsBatch]:
        self.files.append(len(data))
        if len(self.files) <= self.failures:
            raise OSError("the share is gone")
        return read_batches(data, bucket_of)


def source_of(
    describe: Describe,
    home: Path,
    reader: Reader | None = None,
    path: str = "landing/**/*.bin",
    *,
    source: Mapping[str, object] | None = None,
    **given: object,
) -> ProfileFilesSource[DatasetProfile]:
    spec = describe(path, source={"format": "whylogs", **(source or {})}, timestamp=None, **given)
    return ProfileFilesSource(spec, home, read=reader or Reader())


def known(scan: Scan) -> dict[str, FileEntry]:
    return {entry.path: FileEntry.from_json(entry.to_json()) for entry in scan.files}


def read_rows(source: ProfileFilesSource[DatasetProfile], scan: Scan) -> list[tuple[datetime, int]]:
    problems: list[InputProblem] = []
    pieces = list(source.read(scan, list(scan.arrivals), problems=problems))
    assert problems == []
    return [(piece.bucket, piece.profile.rows[""]) for piece in pieces]


def test_a_file_belongs_to_the_bucket_of_its_dataset_timestamp(home: Path, describe: Describe) -> None:
    write(home, "late/a.bin", day(1, 23), rows=3)
    write(home, "b.bin", day(1), rows=4)
    write(home, "c.bin", day(2, 5), rows=5)
    source = source_of(describe, home)
    scan = source.scan()
    assert rows_of(scan) == {day(1): 7, day(2): 5}
    assert read_rows(source, scan) == [(day(1), 4), (day(2), 5), (day(1), 3)]
    hourly = source_of(describe, home, granularity="hourly").scan()
    assert sorted(hourly.arrivals) == [day(1), day(1, 23), day(2, 5)]


def test_the_date_in_the_path_overrides_it(home: Path, describe: Describe) -> None:
    write(home, "date=2026-01-07/a.bin", day(1))
    write(home, "undated.bin", day(1))
    scan = source_of(describe, home, source={"date_in_path": "date=%Y-%m-%d"}).scan()
    assert rows_of(scan) == {day(7): 10}
    assert [(one.kind, one.path) for one in scan.problems] == [("bad_timestamp", "landing/undated.bin")]


def test_profiles_before_the_start_and_of_the_future_lie_outside(home: Path, describe: Describe) -> None:
    write(home, "old.bin", datetime(2025, 12, 31, 23, tzinfo=UTC))
    write(home, "new.bin", day(3))
    write(home, "next.bin", datetime(2099, 1, 1, tzinfo=UTC))
    scan = source_of(describe, home, start="2026-01-01").scan()
    assert rows_of(scan) == {day(3): 10}
    assert [(one.kind, one.path, one.rows) for one in scan.problems] == [
        ("outside", "landing/next.bin", 10),
        ("outside", "landing/old.bin", 10),
    ]


def test_a_folder_stands_for_the_profiles_in_it(home: Path, describe: Describe) -> None:
    write(home, "deep/er/a.bin", day(1))
    (home / "landing/README.md").write_text("not a profile")
    scan = source_of(describe, home, path="landing").scan()
    assert ([entry.path for entry in scan.files], scan.problems) == (["landing/deep/er/a.bin"], ())


def test_a_file_is_opened_again_only_when_it_changes_damaged_or_not(home: Path, describe: Describe) -> None:
    write(home, "good.bin", day(1))
    bad = home / "landing/bad.bin"
    bad.write_bytes(b"WHY1")
    reader = Reader()
    source = source_of(describe, home, reader)
    first = source.scan()
    again = source.scan(known(first))
    assert (len(reader.files), again.problems) == (2, first.problems)
    write(home, "bad.bin", day(2))
    touch(bad, day(9))
    mended = source.scan(known(again))
    assert (len(reader.files), mended.problems, sorted(mended.arrivals)) == (3, (), [day(1), day(2)])


def test_a_damaged_file_is_kept_aside_with_its_reason(home: Path, describe: Describe) -> None:
    bad = write(home, "bad.bin", day(1))
    bad.write_bytes(bad.read_bytes()[:70])
    [problem] = source_of(describe, home).scan().problems
    [copy] = (home / "_quarantine/visits").glob("*.bin")
    assert copy.read_bytes() == bad.read_bytes()
    reason = copy.with_name(f"{copy.name}.reason.txt").read_text()
    assert reason.startswith("landing/bad.bin: profile header: ")
    assert (
        problem.detail
        == f"{reason.strip().removeprefix('landing/bad.bin: ')}; kept aside as _quarantine/visits/{copy.name}"
    )


def test_a_file_that_is_too_large_is_not_read(home: Path, describe: Describe) -> None:
    huge = home / "landing/huge.bin"
    with huge.open("wb") as file:
        file.truncate(MOST_BYTES + 1)  # a hole, which takes no space
    reader = Reader()
    [problem] = source_of(describe, home, reader).scan().problems
    assert (problem.kind, reader.files) == ("unreadable", [])
    assert problem.detail.startswith("268,435,457 bytes; at most 268,435,456 are read; ")
    assert [path.suffix for path in (home / "_quarantine/visits").iterdir()] == [".txt"]


def test_a_quarantine_that_cannot_be_written_is_told_and_stops_nothing(
    home: Path, describe: Describe
) -> None:
    write(home, "good.bin", day(1))
    (home / "landing/bad.bin").write_bytes(b"")
    (home / "_quarantine").write_text("in the way")
    scan = source_of(describe, home).scan()
    [problem] = scan.problems
    assert sorted(scan.arrivals) == [day(1)]
    assert problem.detail.startswith("the file is empty; landing/bad.bin cannot be kept aside in ")


def test_a_file_that_cannot_be_read_now_is_tried_again(home: Path, describe: Describe) -> None:
    write(home, "a.bin", day(1))
    reader = Reader(failures=1)
    source = source_of(describe, home, reader)
    first = source.scan()
    assert [(problem.kind, problem.detail) for problem in first.problems] == [
        ("unreadable", "the share is gone")
    ]
    assert sorted(source.scan(known(first)).arrivals) == [day(1)]
    assert not (home / "_quarantine").exists()


def test_a_file_that_was_sound_and_is_damaged_now_is_told_of_in_its_bucket(
    home: Path, describe: Describe
) -> None:
    path = write(home, "a.bin", day(1))
    write(home, "b.bin", day(1), rows=5)
    source = source_of(describe, home)
    first = source.scan()
    path.write_bytes(b"WHY1")
    second = source.scan(known(first))
    assert rows_of(second) == {day(1): 5}
    assert second.arrivals[day(1)].fingerprint != first.arrivals[day(1)].fingerprint
    assert [problem.buckets for problem in second.problems] == [(day(1),)]


def test_a_file_that_changes_between_scan_and_read_makes_its_bucket_wait(
    home: Path, describe: Describe
) -> None:
    path = write(home, "a.bin", day(1))
    source = source_of(describe, home)
    scan = source.scan()
    write(home, "a.bin", day(1), rows=11)
    touch(path, day(9))
    problems: list[InputProblem] = []
    assert list(source.read(scan, [day(1)], problems=problems)) == []
    assert [(problem.kind, problem.buckets) for problem in problems] == [("changed", (day(1),))]


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=damaged_files())
def test_no_damage_stops_the_other_files(home: Path, describe: Describe, data: bytes) -> None:
    write(home, "good.bin", day(1))
    bad = home / "landing/bad.bin"
    bad.write_bytes(data)
    source = source_of(describe, home, segments=[["side"]])
    scan = source.scan()
    assert day(1) in scan.arrivals
    assert len([one for one in scan.problems if one.kind == "unreadable"]) <= 1
    problems: list[InputProblem] = []
    mergers: dict[datetime, ProfileMerger] = {}
    for piece in source.read(scan, list(scan.arrivals), problems=problems):
        mergers.setdefault(piece.bucket, ProfileMerger([["side"]])).update(piece.profile)
    for merger in mergers.values():
        found = merger.finish()
        assert DatasetProfile.from_bytes(found.to_bytes()).rows == found.rows
        for columns in found.columns.values():
            for column in columns.values():
                column.scalars()


@pytest.mark.parametrize("levels", [39, 60])
def test_counts_beyond_all_reason_are_damage(home: Path, describe: Describe, levels: int) -> None:
    many = DatasetProfile({"": 1 << levels}, {"": {"n": ColumnProfile(n=(1 << levels) + 1)}})
    (home / "landing/a.bin").write_bytes(write_whylogs(many, dataset_timestamp=day(1)))
    scan = source_of(describe, home).scan()
    assert bool(scan.problems) == (levels == 60)


def test_the_same_twice_is_one_arrival_of_two_files(home: Path, describe: Describe) -> None:
    write(home, "a.bin", day(1))
    write(home, "b.bin", day(1))
    [arrival] = source_of(describe, home).scan().arrivals.values()
    assert (arrival.rows, arrival.files) == (20, 2)
