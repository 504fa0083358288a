from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from monitoring_pipeline.config.dataset import load_dataset
from monitoring_pipeline.config.document import load_document
from monitoring_pipeline.demo.business import generate
from monitoring_pipeline.demo.incidents import LEADS, REQUESTS, PlantedIncident, Truth, read_truth
from monitoring_pipeline.demo.leads import leads
from monitoring_pipeline.errors import UsageError
from monitoring_pipeline.sources.files import FilesSource

END = date(2026, 3, 1)
DATASETS = Path(__file__).parents[2] / "data" / "datasets"
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Truth]:
    home = tmp_path_factory.mktemp("demo")
    return home, generate(home, end=END, days=100)


@pytest.fixture(scope="module")
def again(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same demo made a second time, over an earlier one of other days."""
    home = tmp_path_factory.mktemp("again")
    for name in ("lead-scoring/date=2020-01-01/part-000.parquet", "incidents.json"):
        (home / "landing" / name).parent.mkdir(parents=True, exist_ok=True)
        (home / "landing" / name).write_bytes(b"old")
    told: list[tuple[int, int]] = []
    generate(home, end=END, days=100, progress=lambda done, total: told.append((done, total)))
    assert told == sorted(told)
    assert 0 < told[-1][0] <= told[-1][1]
    return home


@pytest.fixture(scope="module")
def home(demo: tuple[Path, Truth]) -> Path:
    return demo[0]


@pytest.fixture(scope="module")
def incident(demo: tuple[Path, Truth]) -> Callable[[str], PlantedIncident]:
    return demo[1].incident


Incident = Callable[[str], PlantedIncident]


def lead_file(home: Path, day: datetime, *, name: str = "part-000", folder: str = LEADS) -> Path:
    return home / f"landing/{folder}/date={day:%Y-%m-%d}/{name}.parquet"


def day_of(home: Path, day: datetime) -> pa.Table:
    return pq.ParquetFile(lead_file(home, day)).read()


def arrival(path: Path) -> datetime:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)


def share(table: pa.Table, column: str, value: str) -> float:
    return table[column].to_pylist().count(value) / table.num_rows


def test_the_same_seed_makes_the_same_files(home: Path, again: Path) -> None:
    ours = sorted(path.relative_to(home) for path in home.rglob("*.parquet"))
    assert ours == sorted(path.relative_to(again) for path in again.rglob("*.parquet"))
    for path in ours[::20]:
        assert (home / path).read_bytes() == (again / path).read_bytes()
        assert arrival(home / path) == arrival(again / path)


def test_another_seed_makes_other_rows(demo: tuple[Path, Truth]) -> None:
    truth = demo[1]
    ours, _ = leads(truth)
    others, _ = leads(Truth(truth.end, truth.days, truth.seed + 1, truth.incidents))
    assert not ours[0].equals(others[0])


def test_the_truth_lies_beside_the_data(home: Path, demo: tuple[Path, Truth]) -> None:
    assert read_truth(home / "landing/incidents.json") == demo[1]


def test_files_arrive_when_the_services_would_have_written_them(home: Path) -> None:
    day = datetime(2026, 1, 5, tzinfo=UTC)
    assert arrival(lead_file(home, day)) == day + DAY + timedelta(hours=2, minutes=10)
    outcomes = lead_file(home, day, folder=f"{LEADS}-outcomes")
    assert arrival(outcomes) == day + 7 * DAY + timedelta(hours=2, minutes=30)
    hour = home / "landing/api-requests/date=2026-01-05/hour=07.parquet"
    assert arrival(hour) == day + timedelta(hours=8, minutes=4)


def test_normal_days_have_a_weekly_rhythm_and_noise(home: Path) -> None:
    monday = datetime(2026, 1, 5, tzinfo=UTC)
    rows = [day_of(home, monday + number * DAY).num_rows for number in range(14)]
    assert all(1_200 < count < 2_600 for count in rows)
    assert max(rows[5:7] + rows[12:14]) < min(rows[0:4] + rows[7:11])
    assert len(set(rows)) > 10


def test_null_burst(home: Path, incident: Incident) -> None:
    start = incident("null_burst").start
    shares = [day_of(home, start + n * DAY)["email_open_rate"].null_count for n in (-1, 0, 1, 2)]
    assert max(shares[0], shares[3]) < 150 < 500 < min(shares[1:3])


def test_unit_change_is_a_factor_of_a_hundred(home: Path, incident: Incident) -> None:
    start = incident("unit_change").start
    means = [pc.mean(day_of(home, start + n * DAY)["annual_revenue"]).as_py() for n in (-1, 0, 2)]
    assert means[1] / means[0] == pytest.approx(100, rel=0.1)
    assert means[2] / means[0] == pytest.approx(1, rel=0.1)


def test_renamed_and_new_categories(home: Path, incident: Incident) -> None:
    renamed, new = incident("category_renamed").start, incident("new_category").start
    assert share(day_of(home, renamed), "device", "mobile") == 0
    assert share(day_of(home, renamed), "device", "smartphone") > 0.3
    assert share(day_of(home, renamed - DAY), "device", "smartphone") == 0
    assert share(day_of(home, new), "campaign", "partner-fair") == pytest.approx(0.34, abs=0.05)


def test_the_drift_is_in_one_region_and_gradual(home: Path, incident: Incident) -> None:
    start = incident("gradual_drift").start

    def mean(day: datetime, region: str) -> float:
        table = day_of(home, day)
        return pc.mean(table.filter(pc.field("region") == region)["session_minutes"]).as_py()

    week = [start + n * DAY for n in (-14, 0, 7, 14, 21)]
    emea = [mean(day, "EMEA") for day in week]
    assert emea[1] < emea[2] < emea[3] < emea[4]
    assert emea[4] / emea[0] == pytest.approx(1.7, rel=0.1)
    assert mean(week[4], "AMER") / mean(week[0], "AMER") == pytest.approx(1, rel=0.1)


def test_conversions_drop_in_the_outcomes(home: Path, incident: Incident) -> None:
    start = incident("conversion_drop").start

    def rate(day: datetime) -> float:
        table = pq.ParquetFile(lead_file(home, day, folder=f"{LEADS}-outcomes")).read()
        return pc.mean(table["converted"].cast(pa.float64())).as_py()

    assert rate(start) < 0.5 * rate(start - DAY)


def test_schema_changes(home: Path, incident: Incident) -> None:
    typed, dropped = incident("type_changed").start, incident("column_dropped").start
    assert [day_of(home, typed + n * DAY).schema.field("company_size").type for n in (-1, 0, 2)] == [
        pa.int64(),
        pa.string(),
        pa.int64(),
    ]
    for column in ("newsletter", "has_phone"):
        present = [column in day_of(home, dropped + n * DAY).column_names for n in (-1, 0, 1, 2)]
        assert present == [True, False, False, True]


def test_missing_late_and_doubled_days(home: Path, incident: Incident) -> None:
    assert not lead_file(home, incident("missing_day").start).exists()
    late = incident("late_day").start
    assert arrival(lead_file(home, late)) == late + 3 * DAY + timedelta(hours=2, minutes=10)
    doubled = incident("duplicate_load").start
    again = lead_file(home, doubled, name="part-001")
    assert pq.ParquetFile(again).read().equals(day_of(home, doubled))
    assert arrival(again) == arrival(lead_file(home, doubled))


def test_latency_spike_and_error_burst(home: Path, incident: Incident) -> None:
    def hour(moment: datetime) -> pa.Table:
        path = home / f"landing/{REQUESTS}/date={moment:%Y-%m-%d}/hour={moment:%H}.parquet"
        return pq.ParquetFile(path).read()

    def slow(moment: datetime) -> float:
        return pc.quantile(hour(moment)["latency_ms"], 0.95)[0].as_py()

    def failing(moment: datetime) -> float:
        return pc.mean(hour(moment)["is_error"].cast(pa.float64())).as_py()

    spike, burst = incident("latency_spike"), incident("error_burst")
    an_hour = timedelta(hours=1)
    assert slow(spike.start) > 400 > 300 > slow(spike.start - an_hour)
    assert slow(spike.end - an_hour) > 400 > 300 > slow(spike.end)
    assert failing(burst.start) > 0.08 > 0.03 > failing(burst.end)


def test_an_earlier_demo_is_replaced_whole(again: Path, demo: tuple[Path, Truth]) -> None:
    assert not (again / "landing/lead-scoring/date=2020-01-01").exists()
    assert read_truth(again / "landing/incidents.json") == demo[1]
    assert [path.name for path in (again / "landing").iterdir() if path.name.startswith(".")] == []


def test_other_data_is_not_replaced(tmp_path: Path) -> None:
    precious = tmp_path / "landing" / LEADS / "precious.parquet"
    precious.parent.mkdir(parents=True)
    precious.write_bytes(b"x")
    with pytest.raises(UsageError, match="was not written by a demo"):
        generate(tmp_path, end=END, days=100)
    assert precious.exists()


def test_the_demo_datasets_read_the_landing_folders(home: Path, demo: tuple[Path, Truth]) -> None:
    hours = FilesSource(load_dataset(DATASETS / REQUESTS / "dataset.yaml"), home).scan()
    assert (len(hours.arrivals), hours.problems) == (100 * 24 + 9, ())
    scan = FilesSource(load_dataset(DATASETS / LEADS / "dataset.yaml"), home).scan()
    assert (len(scan.arrivals), scan.problems) == (99, ())
    late = demo[1].incident("late_day").start
    source = FilesSource(load_dataset(DATASETS / LEADS / "dataset.yaml"), home)
    before, after = late + 2 * DAY, late + 3 * DAY + timedelta(hours=3)
    assert late not in source.scan(as_of=before).arrivals
    assert late in source.scan(as_of=after).arrivals


@pytest.mark.parametrize("dataset", [LEADS, REQUESTS])
def test_the_demo_monitors_are_few_and_valid(dataset: str) -> None:
    loaded = load_document(DATASETS / dataset / "monitors.json")
    assert loaded.warnings == ()
    assert len(loaded.document.monitors) <= 8
    assert {analyzer.config.type for analyzer in loaded.document.analyzers} <= {
        "fixed",
        "stddev",
        "diff",
        "drift",
    }
