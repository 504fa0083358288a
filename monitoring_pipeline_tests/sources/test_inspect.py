from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from monitoring_pipeline.errors import SourceError
from monitoring_pipeline.sources.inspect import describe_file
from monitoring_pipeline.sources.sample import SAMPLE_ROWS
from monitoring_pipeline.timegrid import Granularity
from monitoring_pipeline_tests.sources.conftest import day, write_parquet

SHARED = Path(__file__).parents[3] / "shared" / "data"
NOW = datetime(2026, 2, 1, 9, tzinfo=UTC)


def write_visits(path: Path, *, rows: int, every: timedelta) -> None:
    numbers = np.arange(rows)
    write_parquet(
        path,
        {
            "visit_id": [f"v{number}" for number in numbers],
            "updated_at": [day(1) + every * int(number) + timedelta(hours=3) for number in numbers],
            "visited_at": [day(1) + every * int(number) for number in numbers],
            "region": [("EU", "US", "APAC")[number % 3] for number in numbers],
            "pages": numbers % 50,
            "score": numbers / rows,
            "predicted": numbers % 2,
            "bought": numbers % 2,
        },
    )


def test_a_file_with_a_time_column(tmp_path: Path) -> None:
    write_visits(tmp_path / "visits.parquet", rows=6_000, every=timedelta(minutes=7))
    found = describe_file("visits.parquet", home=tmp_path, now=NOW)
    assert (found.timestamp, found.granularity, found.rows, found.files) == (
        "visited_at",
        Granularity.DAILY,
        6_000,
        1,
    )
    assert found.start == day(1)
    assert found.roles == {"prediction": "predicted", "score": "score", "target": "bought", "id": "visit_id"}
    assert found.segments == (("region",),)
    assert found.exclude == ("visit_id",)
    assert found.column("pages").kind == "integer"
    assert (found.column("pages").minimum, found.column("pages").maximum) == (0, 49)


@pytest.mark.parametrize(
    ("every", "granularity"),
    [
        (timedelta(seconds=20), Granularity.HOURLY),
        (timedelta(minutes=10), Granularity.DAILY),
        (timedelta(hours=1), Granularity.WEEKLY),
        (timedelta(hours=6), Granularity.MONTHLY),
    ],
)
def test_the_granularity_leaves_enough_rows_in_a_bucket(
    tmp_path: Path, every: timedelta, granularity: Granularity
) -> None:
    write_visits(tmp_path / "visits.parquet", rows=2_000, every=every)
    assert describe_file("visits.parquet", home=tmp_path, now=NOW).granularity is granularity


def test_a_few_wrong_clocks_do_not_stretch_the_span(tmp_path: Path) -> None:
    moments = [day(1) + timedelta(minutes=10 * number) for number in range(4_000)]
    write_parquet(tmp_path / "a.parquet", {"at": [datetime(1970, 1, 1, tzinfo=UTC), *moments]})
    found = describe_file("a.parquet", home=tmp_path, now=NOW)
    assert (found.start, found.granularity, found.fixed_start) == (day(1), Granularity.DAILY, True)


def test_dates_as_text_in_csv(tmp_path: Path) -> None:
    lines = [f"{day(1 + number // 200):%Y-%m-%d},{number}" for number in range(2_000)]
    (tmp_path / "a.csv").write_text("\n".join(["order_date,amount", *lines]))
    found = describe_file("a.csv", home=tmp_path, now=NOW)
    assert (found.timestamp, found.granularity, found.format) == ("order_date", Granularity.DAILY, "csv")


def test_dates_in_paths_when_no_column_tells_the_time(tmp_path: Path) -> None:
    for number in range(1, 6):
        write_parquet(tmp_path / f"in/date=2026-01-0{number}/a.parquet", {"n": range(500)})
    found = describe_file("in", home=tmp_path, now=NOW)
    assert (found.timestamp, found.date_in_path, found.granularity) == (
        None,
        "date=%Y-%m-%d",
        Granularity.DAILY,
    )
    assert (found.start, found.end, found.rows_per_bucket) == (day(1), day(5), pytest.approx(500))


def test_numbered_files_are_days_and_files_named_otherwise_are_left_out(tmp_path: Path) -> None:
    for number in range(4):
        write_parquet(tmp_path / f"in/batch_{number:02}.parquet", {"n": range(300)})
    write_parquet(tmp_path / "in/reference.parquet", {"n": range(300)})
    found = describe_file("in", home=tmp_path, now=NOW)
    assert (found.file_sequence, found.fixed_start, found.path, found.files) == (
        True,
        True,
        "in/batch_*.parquet",
        4,
    )
    assert (found.start, found.end) == (day(28), day(31))
    assert any("reference" in note or "left out" in note for note in found.notes)


def test_the_sample_is_bounded(tmp_path: Path) -> None:
    for number in range(20):
        at = pa.array([day(1 + number)] * 10_000)
        write_parquet(tmp_path / f"in/{number}.parquet", {"at": at, "n": np.arange(10_000)})
    found = describe_file("in", home=tmp_path, now=NOW)
    assert found.sampled_rows <= SAMPLE_ROWS
    assert found.rows == pytest.approx(200_000, rel=0.02)


def test_files_whose_types_differ_are_described_together(tmp_path: Path) -> None:
    write_parquet(
        tmp_path / "in/1.parquet", {"at": [day(1), day(2)], "a": [1, 2], "b": [1, 2], "c": [None, None]}
    )
    write_parquet(
        tmp_path / "in/2.parquet", {"at": [day(3), day(4)], "a": [1.5, 2], "b": ["x", "y"], "d": [1, 2]}
    )
    found = describe_file("in", home=tmp_path, now=NOW)
    assert {column.name: column.kind for column in found.columns} == {
        "at": "timestamp",
        "a": "number",
        "b": "text",
        "c": "other",
        "d": "integer",
    }


def test_nothing_there_and_no_time_are_clear_errors(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no Parquet, CSV or JSON-lines file in"):
        describe_file("nowhere", home=tmp_path)
    write_parquet(tmp_path / "people.parquet", {"name": ["Ada"], "n": [1]})
    with pytest.raises(SourceError, match="no column, path or file number tells the time"):
        describe_file("people.parquet", home=tmp_path)
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    with pytest.raises(SourceError, match="no rows in 1 of 1 files"):
        describe_file("broken.parquet", home=tmp_path)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared real data is not here")
def test_real_data() -> None:
    taxi = describe_file(SHARED / "nyc_taxi", home=Path(), now=NOW)
    assert (taxi.timestamp, taxi.granularity, taxi.files) == ("pickup_datetime", Granularity.DAILY, 36)
    assert taxi.rows_per_bucket == pytest.approx(330, rel=0.05)
    adult = describe_file(SHARED / "adult", home=Path(), now=NOW)
    assert (adult.file_sequence, adult.files) == (True, 14)
    assert adult.roles == {"prediction": "predicted", "target": "income"}
