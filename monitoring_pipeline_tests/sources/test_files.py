from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitoring_pipeline.errors import SourceError
from monitoring_pipeline.sources.base import FileEntry, InputProblem
from monitoring_pipeline.sources.files import FilesSource
from monitoring_pipeline_tests.sources.conftest import (
    Describe,
    day,
    read_all,
    rows_of,
    touch,
    write_parquet,
)


def kinds(problems: tuple[InputProblem, ...] | list[InputProblem]) -> dict[str, int]:
    return {problem.kind: problem.rows for problem in problems}


def write_any(path: Path, rows: list[dict[str, object]]) -> None:
    """Rows as the format that the extension names; times as ISO text except in Parquet."""
    texts = [{k: v.isoformat() if isinstance(v, datetime) else v for k, v in row.items()} for row in rows]
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".csv":
        names = list(rows[0])
        lines = [",".join("" if row[n] is None else str(row[n]) for n in names) for row in texts]
        path.write_text("\n".join([",".join(names), *lines]) + "\n")
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in texts))


FORMATS = ["parquet", "csv", "jsonl"]


@pytest.mark.parametrize("extension", FORMATS)
def test_rows_are_counted_and_read_by_the_bucket_of_their_timestamp(
    describe: Describe, home: Path, extension: str
) -> None:
    rows = [
        {"at": day(2, 1), "n": 1},
        {"at": day(1, 23), "n": 2},
        {"at": day(2, 0), "n": 3},
        {"at": day(3, 5), "n": 4},
    ]
    write_any(home / f"landing/a.{extension}", rows)
    source = FilesSource(describe(), home)
    scan = source.scan()
    assert rows_of(scan) == {day(1): 1, day(2): 2, day(3): 1}
    assert scan.problems == ()
    tables, problems = read_all(source, scan)
    assert {bucket: table["n"].to_pylist() for bucket, table in tables.items()} == {
        day(1): [2],
        day(2): [1, 3],
        day(3): [4],
    }
    assert problems == []


@pytest.mark.parametrize("extension", FORMATS)
def test_only_the_buckets_asked_for_are_read(describe: Describe, home: Path, extension: str) -> None:
    write_any(home / f"landing/a.{extension}", [{"at": day(number), "n": number} for number in (1, 2, 3)])
    source = FilesSource(describe(), home)
    pieces = list(source.read(source.scan(), [day(2), day(9)], problems=[]))
    assert [(piece.bucket, piece.batch["n"].to_pylist()) for piece in pieces] == [(day(2), [2])]


@pytest.mark.parametrize("extension", FORMATS)
def test_bad_and_early_and_future_timestamps_are_counted_not_dropped(
    describe: Describe, home: Path, extension: str
) -> None:
    rows: list[dict[str, object]] = [
        {"at": day(5), "n": 1},
        {"at": None, "n": 2},
        {"at": day(1), "n": 3},
        {"at": day(1), "n": 4},
        {"at": day(20), "n": 5},
    ]
    write_any(home / f"landing/a.{extension}", rows)
    source = FilesSource(describe(start=day(4).isoformat()), home)
    touch(home / f"landing/a.{extension}", day(6))
    scan = source.scan(as_of=day(6))
    assert rows_of(scan) == {day(5): 1}
    found = {(problem.kind, problem.rows, problem.detail) for problem in scan.problems}
    assert found == {
        ("bad_timestamp", 1, "the timestamp is empty or cannot be read"),
        ("outside", 2, "earlier than the dataset's start 2026-01-04"),
        ("outside", 1, "dated more than a day ahead of now"),
    }


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_every_row_is_in_a_bucket_or_in_a_problem(
    describe: Describe, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    home = tmp_path_factory.mktemp("home")
    (home / "landing").mkdir()
    moments = st.one_of(st.none(), st.integers(0, 60 * 24).map(lambda hours: day(1) + timedelta(hours=hours)))
    files = data.draw(st.lists(st.lists(moments, min_size=1, max_size=30), min_size=1, max_size=3))
    for number, values in enumerate(files):
        write_parquet(
            home / f"landing/{number}.parquet",
            {"at": pa.array(values, pa.timestamp("us", "UTC"))},
            rows_per_group=data.draw(st.integers(1, 10)),
        )
    source = FilesSource(describe(start="2026-01-10"), home)
    scan = source.scan(as_of=datetime(2030, 1, 1, tzinfo=UTC))
    tables, problems = read_all(source, scan)
    assert {bucket: table.num_rows for bucket, table in tables.items()} == rows_of(scan)
    assert problems == []
    assert sum(rows_of(scan).values()) + sum(problem.rows for problem in scan.problems) == sum(
        map(len, files)
    )


def test_row_groups_that_cannot_hold_the_bucket_are_not_read(describe: Describe, home: Path) -> None:
    path = home / "landing/a.parquet"
    moments = [day(number) for number in (1, 2, 3, 4)]
    write_parquet(path, {"at": moments, "text": ["x" * 1000, "y" * 1000, "z" * 1000, "w"]}, rows_per_group=1)
    source = FilesSource(describe(), home)
    scan = source.scan()
    # Damage the pages of the first row group: only who reads them can notice.
    columns = pq.ParquetFile(path).metadata.row_group(0).column(1)
    content = bytearray(path.read_bytes())
    start = columns.dictionary_page_offset or columns.data_page_offset
    content[start : start + columns.total_compressed_size] = bytes(columns.total_compressed_size)
    moment = path.stat()
    path.write_bytes(content)
    touch_exactly(path, moment.st_mtime_ns)
    problems: list[InputProblem] = []
    pieces = list(source.read(scan, [day(3)], problems=problems))
    assert [piece.batch["text"].to_pylist() for piece in pieces] == [["z" * 1000]]
    assert problems == []
    assert list(source.read(scan, [day(1)], problems=problems)) == []
    assert [(problem.kind, problem.buckets) for problem in problems] == [("unreadable", (day(1),))]


def touch_exactly(path: Path, nanoseconds: int) -> None:
    import os

    os.utime(path, ns=(nanoseconds, nanoseconds))


def test_batches_hold_at_most_131072_rows_and_keep_the_order(describe: Describe, home: Path) -> None:
    rows = 300_000
    write_parquet(
        home / "landing/a.parquet",
        {"at": pa.array([day(1)] * rows), "n": pa.array(range(rows)), "kind": ["a", "b"] * (rows // 2)},
    )
    source = FilesSource(describe(), home)
    batches = [piece.batch for piece in source.read(source.scan(), [day(1)], problems=[])]
    assert max(batch.num_rows for batch in batches) <= 131_072
    assert pa.Table.from_batches(batches)["n"].to_pylist() == list(range(rows))
    assert pa.types.is_dictionary(batches[0]["kind"].type)


def test_unchanged_files_are_not_opened_again(describe: Describe, home: Path) -> None:
    path = home / "landing/a.parquet"
    write_parquet(path, {"at": [day(1)]})
    touch(path, day(2))
    source = FilesSource(describe(), home)
    first = source.scan()
    known = {
        entry.path: FileEntry.from_json(json.loads(json.dumps(entry.to_json()))) for entry in first.files
    }
    path.write_bytes(b"x" * path.stat().st_size)
    touch(path, day(2))
    assert source.scan(known) == first
    touch(path, day(3))
    assert [problem.kind for problem in source.scan(known).problems] == ["unreadable"]


def test_entries_of_another_description_are_not_reused(describe: Describe, home: Path) -> None:
    write_parquet(home / "landing/a.parquet", {"at": [day(1)], "seen": [day(2)]})
    known = {entry.path: entry for entry in FilesSource(describe(), home).scan().files}
    assert rows_of(FilesSource(describe(timestamp="seen"), home).scan(known)) == {day(2): 1}


def test_the_fingerprint_changes_with_any_file_of_the_bucket_only(describe: Describe, home: Path) -> None:
    write_parquet(home / "landing/a.parquet", {"at": [day(1), day(2)]})
    write_parquet(home / "landing/b.parquet", {"at": [day(2)]})
    source = FilesSource(describe(), home)
    before = source.scan().arrivals
    assert source.scan().arrivals == before
    write_parquet(home / "landing/b.parquet", {"at": [day(2), day(2)]})
    after = source.scan().arrivals
    assert after[day(1)].fingerprint == before[day(1)].fingerprint
    assert after[day(2)].fingerprint != before[day(2)].fingerprint
    assert (after[day(2)].rows, after[day(2)].files) == (3, 2)


def test_a_replay_does_not_see_files_that_had_not_arrived(describe: Describe, home: Path) -> None:
    for number in (1, 2):
        path = home / f"landing/{number}.parquet"
        write_parquet(path, {"at": [day(number)]})
        touch(path, day(number + 1, 2))
    source = FilesSource(describe(), home)
    assert set(source.scan(as_of=day(3)).arrivals) == {day(1)}
    scan = source.scan(as_of=day(3, 2))
    assert set(scan.arrivals) == {day(1), day(2)}
    assert scan.arrivals[day(1)].first_upload == day(2, 2)


def test_a_half_written_parquet_is_reported_and_tried_again(describe: Describe, home: Path) -> None:
    path = home / "landing/a.parquet"
    write_parquet(path, {"at": [day(1)]})
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    touch(path, day(2))
    source = FilesSource(describe(), home)
    scan = source.scan()
    assert scan.arrivals == {}
    assert kinds(scan.problems) == {"unreadable": 0}
    path.write_bytes(whole)
    assert rows_of(source.scan({entry.path: entry for entry in scan.files})) == {day(1): 1}


@pytest.mark.parametrize("name", ["empty.csv", "empty.parquet", "what.bin"])
def test_files_that_are_no_data_are_unreadable(describe: Describe, home: Path, name: str) -> None:
    (home / "landing" / name).write_bytes(b"")
    scan = FilesSource(describe(path="landing/*.*"), home).scan()
    assert kinds(scan.problems) == {"unreadable": 0}


def test_a_file_that_changed_since_the_scan_is_not_read(describe: Describe, home: Path) -> None:
    write_parquet(home / "landing/a.parquet", {"at": [day(1)]})
    write_parquet(home / "landing/b.parquet", {"at": [day(2)]})
    source = FilesSource(describe(), home)
    scan = source.scan()
    write_parquet(home / "landing/a.parquet", {"at": [day(1), day(1)]})
    (home / "landing/b.parquet").unlink()
    tables, problems = read_all(source, scan)
    assert tables == {}
    assert [(problem.kind, problem.buckets) for problem in problems] == [
        ("changed", (day(1),)),
        ("changed", (day(2),)),
    ]


def test_a_file_that_changes_while_it_is_read_names_its_buckets(describe: Describe, home: Path) -> None:
    path = home / "landing/a.parquet"
    write_parquet(path, {"at": [day(1)] * 400_000, "n": list(range(400_000))}, rows_per_group=100_000)
    source = FilesSource(describe(), home)
    problems: list[InputProblem] = []
    pieces = source.read(source.scan(), [day(1)], problems=problems)
    next(pieces)
    touch(path, datetime.now(UTC) + timedelta(seconds=5))
    list(pieces)
    assert [(problem.kind, problem.buckets) for problem in problems] == [("changed", (day(1),))]


@pytest.mark.parametrize("extension", FORMATS)
def test_missing_columns_are_reported_and_segment_columns_filled_with_nulls(
    describe: Describe, home: Path, extension: str
) -> None:
    write_any(home / f"landing/a.{extension}", [{"at": day(1), "n": 1}])
    spec = describe(segments=[["region"]], columns={"prediction": "answer"})
    source = FilesSource(spec, home)
    scan = source.scan()
    assert [(problem.kind, problem.detail, problem.rows) for problem in scan.problems] == [
        ("missing_column", "answer, region", 1)
    ]
    tables, _ = read_all(source, scan)
    assert tables[day(1)]["region"].to_pylist() == [None]
    assert "answer" not in tables[day(1)].column_names


def test_a_file_without_the_timestamp_column_has_no_bucket(describe: Describe, home: Path) -> None:
    write_parquet(home / "landing/a.parquet", {"n": [1, 2]})
    scan = FilesSource(describe(), home).scan()
    assert scan.arrivals == {}
    assert kinds(scan.problems) == {"missing_column": 2, "bad_timestamp": 2}


def test_excluded_columns_are_not_read(describe: Describe, home: Path) -> None:
    write_parquet(home / "landing/a.parquet", {"at": [day(1)], "secret": ["x"], "region": ["EU"], "n": [1]})
    source = FilesSource(describe(exclude=["secret", "at", "region"], segments=[["region"]]), home)
    tables, _ = read_all(source, source.scan())
    assert tables[day(1)].column_names == ["region", "n"]


@pytest.mark.parametrize("extension", FORMATS)
def test_the_date_in_the_path_makes_the_bucket(describe: Describe, home: Path, extension: str) -> None:
    folder = home / "landing/date=2026-01-05"
    folder.mkdir()
    write_any(folder / f"a.{extension}", [{"n": 1}, {"n": 2}])
    write_any(home / f"landing/undated.{extension}", [{"n": 3}])
    spec = describe("landing", source={"date_in_path": "date=%Y-%m-%d"}, timestamp=None)
    source = FilesSource(spec, home)
    scan = source.scan()
    assert rows_of(scan) == {day(5): 2}
    assert kinds(scan.problems) == {"bad_timestamp": 1}
    tables, _ = read_all(source, scan)
    assert tables[day(5)]["n"].to_pylist() == [1, 2]


def test_numbered_files_follow_each_other_from_the_start(describe: Describe, home: Path) -> None:
    for name in ("batch_00", "batch_02", "reference"):
        write_parquet(home / f"landing/{name}.parquet", {"n": [1, 2]})
    spec = describe("landing", source={"file_sequence": True}, timestamp=None, start="2026-01-05")
    scan = FilesSource(spec, home).scan()
    assert rows_of(scan) == {day(5): 2, day(7): 2}
    assert [(problem.kind, problem.path) for problem in scan.problems] == [
        ("bad_timestamp", "landing/reference.parquet")
    ]


def test_outcomes_add_columns_but_no_rows_to_their_bucket(describe: Describe, home: Path) -> None:
    write_parquet(home / "landing/a.parquet", {"id": [1, 2], "at": [day(1), day(1)], "region": ["EU", "US"]})
    outcome = {
        "id": [1, 2, 3],
        "at": [day(1), day(1), day(2)],
        "region": ["EU", "US", "EU"],
        "won": [True] * 3,
    }
    write_parquet(home / "results/a.parquet", outcome)
    touch(home / "landing/a.parquet", day(2))
    touch(home / "results/a.parquet", day(9))
    spec = describe(
        outcomes={"path": "results/*"},
        segments=[["region"]],
        columns={"id": "id", "target": "won"},
        exclude=["id"],
    )
    source = FilesSource(spec, home)
    scan = source.scan()
    arrival = scan.arrivals[day(1)]
    assert (arrival.rows, arrival.files, arrival.first_upload, arrival.last_upload) == (2, 2, day(2), day(9))
    assert list(scan.arrivals) == [day(1)]
    assert [(problem.kind, problem.rows) for problem in scan.problems] == [("outside", 1)]
    pieces = list(source.read(scan, [day(1)], problems=[]))
    assert [(piece.part, piece.batch.schema.names) for piece in pieces] == [
        ("rows", ["at", "region"]),
        ("outcomes", ["region", "won"]),
    ]
    before = source.scan(as_of=day(3)).arrivals[day(1)]
    assert before.fingerprint != arrival.fingerprint


def test_nothing_to_read_is_a_clear_error(describe: Describe, home: Path) -> None:
    source = FilesSource(describe("landing/**/*.parquet"), home)
    with pytest.raises(
        SourceError, match=r"dataset 'visits': no file matches .*landing/\*\*/\*\.parquet; correct"
    ):
        source.check()
    write_parquet(home / "landing/a.parquet", {"at": [day(1)]})
    source.check()


def test_compressed_text_is_read(describe: Describe, home: Path) -> None:
    (home / "landing/a.csv.gz").write_bytes(gzip.compress(b"at,n\n2026-01-01,1\n"))
    (home / "landing/b.jsonl.gz").write_bytes(gzip.compress(b'{"at": 1767225600, "n": 2}\n'))
    assert rows_of(FilesSource(describe(), home).scan()) == {day(1): 2}


def test_hourly_and_monthly_buckets(describe: Describe, home: Path) -> None:
    write_parquet(home / "landing/a.parquet", {"at": [day(1, 1), day(1, 2), day(2, 1)]})
    assert rows_of(FilesSource(describe(granularity="monthly"), home).scan()) == {day(1): 3}
    assert rows_of(FilesSource(describe(granularity="hourly"), home).scan()) == {
        day(1, 1): 1,
        day(1, 2): 1,
        day(2, 1): 1,
    }


def test_columns_of_one_name_are_read_once(describe: Describe, home: Path) -> None:
    table = pa.Table.from_arrays([pa.array([day(1)]), pa.array([1]), pa.array([2])], names=["at", "n", "n"])
    pq.write_table(table, home / "landing/a.parquet")
    source = FilesSource(describe(), home)
    tables, problems = read_all(source, source.scan())
    assert tables[day(1)].column_names == ["at", "n"]
    assert (tables[day(1)]["n"].to_pylist(), problems) == ([1], [])
