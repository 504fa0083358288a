"""What is special about CSV and JSON lines: types, broken lines, spellings of null."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from monitoring_pipeline.sources import delimited, jsonlines
from monitoring_pipeline.sources.files import FilesSource
from monitoring_pipeline_tests.sources.conftest import Describe, day, read_all, rows_of


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delimited, "BLOCK_BYTES", 512)
    monkeypatch.setattr(jsonlines, "BLOCK_BYTES", 512)


def csv(home: Path, text: str | bytes) -> None:
    (home / "landing/a.csv").write_bytes(text if isinstance(text, bytes) else text.encode())


def only_day(describe: Describe, home: Path) -> pa.Table:
    source = FilesSource(describe(), home)
    tables, problems = read_all(source, source.scan())
    assert problems == []
    return tables[day(1)]


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize(
    ("early", "late", "type_"),
    [
        ("1", "2.5", pa.float64()),
        ("1", "many", pa.string()),
        ("1.5", "many", pa.string()),
        ("", "3", pa.int64()),
        ("", "3.5", pa.float64()),
        ("", "word", pa.string()),
        ("true", "maybe", pa.string()),
        ("2026-01-01", "2026-01-01 10:00:00", pa.timestamp("s")),
        ("2026-01-01 10:00:00", "2026-01-01 10:00:00.25", pa.timestamp("ns")),
    ],
)
def test_a_column_is_wide_enough_for_its_late_values(
    describe: Describe, home: Path, early: str, late: str, type_: pa.DataType
) -> None:
    csv(home, "at,v\n" + f"2026-01-01,{early}\n" * 200 + f"2026-01-01,{late}\n")
    table = only_day(describe, home)
    assert table["v"].type == type_
    assert table.num_rows == 201
    assert table["v"][-1].is_valid


@pytest.mark.usefixtures("small_blocks")
def test_several_columns_widen_and_reading_uses_what_the_scan_found(describe: Describe, home: Path) -> None:
    csv(home, "at,a,b,c\n" + "2026-01-01,1,1,\n" * 200 + "2026-01-01,x,2.5,7\n")
    scan = FilesSource(describe(), home).scan()
    assert scan.files[0].column_types == {"a": "string", "b": "double", "c": "int64"}
    table = only_day(describe, home)
    assert (table["a"][0].as_py(), table["b"][0].as_py(), table["c"][200].as_py()) == ("1", 1.0, 7)


def test_na_is_a_region_and_no_number(describe: Describe, home: Path) -> None:
    csv(home, 'at,region,n\n2026-01-01,NA,NA\n2026-01-01,,1\n2026-01-01,"",2\n2026-01-01,EU,3\n')
    table = only_day(describe, home)
    assert table["region"].to_pylist() == ["NA", None, None, "EU"]
    assert table["n"].to_pylist() == [None, 1, 2, 3]


def test_the_timestamp_is_handed_on_as_a_time(describe: Describe, home: Path) -> None:
    csv(home, "at\n1767225600\n2026-01-01T05:00:00+02:00\n")
    table = only_day(describe, home)
    assert table["at"].type == pa.timestamp("us", "UTC")
    assert table["at"].to_pylist() == [day(1), day(1, 3)]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_separator_is_found_in_the_header(describe: Describe, home: Path, separator: str) -> None:
    csv(
        home,
        separator.join(["at", '"a,;b"', "n"]) + "\n" + separator.join(["2026-01-01", '"x\ny"', "1"]) + "\n",
    )
    table = only_day(describe, home)
    assert table.to_pylist() == [{"at": day(1), "a,;b": "x\ny", "n": 1}]


def test_lines_with_another_number_of_fields_are_counted(describe: Describe, home: Path) -> None:
    csv(home, "at,n\n2026-01-01,1\n2026-01-01\n2026-01-01,2,3\n2026-01-01,4\n")
    scan = FilesSource(describe(), home).scan()
    assert rows_of(scan) == {day(1): 2}
    assert [(problem.kind, problem.rows) for problem in scan.problems] == [("unreadable", 2)]


def test_text_that_is_not_utf8_is_kept_as_far_as_it_can_be_read(describe: Describe, home: Path) -> None:
    csv(home, b"at,name\n2026-01-01,Z\xfcrich\n")
    assert only_day(describe, home)["name"].to_pylist() == ["Z�rich"]


def test_a_byte_order_mark_and_windows_line_ends(describe: Describe, home: Path) -> None:
    csv(home, b"\xef\xbb\xbfat,n\r\n2026-01-01,1\r\n")
    assert only_day(describe, home).to_pylist() == [{"at": day(1), "n": 1}]


def test_a_header_alone_has_no_rows(describe: Describe, home: Path) -> None:
    csv(home, "at,n\n")
    scan = FilesSource(describe(), home).scan()
    assert (dict(scan.arrivals), scan.problems) == ({}, ())


def test_values_do_not_get_into_problems(describe: Describe, home: Path) -> None:
    (home / "landing/a.parquet").write_text("secret")
    csv(home, b"at,\xff\xfe\n")
    (home / "landing/b.jsonl").write_text('{"at": "2026-01-01", "a": {"secret": [1, "x"]}}\n{"at": secret}\n')
    text = "\n".join(map(str, FilesSource(describe(), home).scan().problems))
    assert "secret" not in text


@pytest.mark.usefixtures("small_blocks")
def test_json_lines_that_are_broken_are_counted_and_the_others_kept(describe: Describe, home: Path) -> None:
    good = '{"at": "2026-01-01T01:00:00Z", "n": 1}\n'
    (home / "landing/a.jsonl").write_text(good * 50 + "{broken\n[1]\n" + "\n" + good * 50)
    scan = FilesSource(describe(), home).scan()
    assert rows_of(scan) == {day(1): 100}
    assert [(problem.kind, problem.rows) for problem in scan.problems] == [("unreadable", 2)]


@pytest.mark.usefixtures("small_blocks")
def test_a_json_column_of_numbers_and_text_becomes_text(describe: Describe, home: Path) -> None:
    (home / "landing/a.jsonl").write_text(
        '{"at": "2026-01-01", "v": 1, "w": 1}\n{"at": "2026-01-01", "v": "x"}\n{"at": "2026-01-01", "v": {"k": 2}}\n'
    )
    table = only_day(describe, home)
    assert table["v"].to_pylist() == ["1", "x", '{"k": 2}']
    assert table["w"].to_pylist() == [1, None, None]


def test_a_last_json_line_without_an_end_counts(describe: Describe, home: Path) -> None:
    (home / "landing/a.jsonl").write_text('{"at": 1767225600}\n{"at": "2026-01-01"}')
    assert rows_of(FilesSource(describe(), home).scan()) == {day(1): 2}
