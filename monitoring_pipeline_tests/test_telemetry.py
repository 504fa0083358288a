"""What faces ask of the store, through a whole workspace; docs/store.md, example by example."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shlex
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

import monitoring_pipeline as mp
from monitoring_pipeline import telemetry
from monitoring_pipeline.cli import app
from monitoring_pipeline.errors import UnknownMetricError, UsageError
from monitoring_pipeline.notebook import Profile
from monitoring_pipeline.settings import Settings
from monitoring_pipeline.timegrid import Granularity, TimeRange
from monitoring_pipeline.workspace import Workspace
from monitoring_pipeline_tests.workspaces import DATASET, make_workspace

PAGE = Path(__file__).parents[1] / "docs" / "store.md"
DAYS = 40
MARCH = TimeRange(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC))
APRIL = TimeRange(datetime(2026, 4, 1, tzinfo=UTC), datetime(2026, 4, 10, tzinfo=UTC))
WEEKLY, MONTHLY = Granularity.WEEKLY, Granularity.MONTHLY
OWN = "metrics: {filled_share: 1 - count_null / count}\ncolumns: {prediction: express, target: returned}\n"


def monitor(home: Path, *arguments: str) -> Result:
    environment = {"MONITORING_HOME": str(home), "COLUMNS": "160", "MONITORING_AUTHOR": "ada"}
    result = CliRunner().invoke(app, list(arguments), env=environment)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty days of orders by country and express, rolled up; the amounts of the 31st day have 40 % nulls."""
    made = make_workspace(tmp_path_factory.mktemp("telemetry") / "data", days=DAYS, nulls_on=30)
    description = DATASET.replace("segments: [country]", "segments: [[country, express]]")
    (made / "datasets" / "orders" / "dataset.yaml").write_text(description)
    assert monitor(made, "backfill", "orders", "--no-report").exit_code == 0
    return made


@pytest.fixture
def workspace(home: Path) -> Iterator[Workspace]:
    with Workspace(Settings(home=home)) as opened:
        yield opened


def rows(home: Path, window: TimeRange) -> pa.Table:
    """The rows of a window, from the files."""
    files = sorted((home / "landing" / "orders").glob("*.parquet"))
    chosen = [path for path in files if datetime.fromisoformat(path.stem).replace(tzinfo=UTC) in window]
    return pa.concat_tables([pq.read_table(path) for path in chosen])


def test_every_example_of_the_page_works(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONITORING_HOME", str(home))
    names: dict[str, object] = {}
    printed, compared, ran = "", 0, 0
    for kind, text in re.findall(
        r"^```(python|text|sh)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL
    ):
        if kind == "python":
            with contextlib.redirect_stdout(io.StringIO()) as told:
                exec(compile(text, str(PAGE), "exec"), names)  # noqa: S102  the page is ours
            printed = told.getvalue()
        elif kind == "text":
            compared += 1
            assert printed == text
        else:
            for line in text.splitlines():
                ran += 1
                assert monitor(home, *shlex.split(line)[1:]).exit_code == 0, line
    assert isinstance(names["workspace"], Workspace)
    names["workspace"].close()
    assert (compared, ran) == (4, 6)


def test_a_week_is_what_its_rows_say_together(workspace: Workspace, home: Path) -> None:
    week = TimeRange(datetime(2026, 3, 9, tzinfo=UTC), datetime(2026, 3, 16, tzinfo=UTC))
    found = telemetry.metric_series(
        workspace,
        "orders",
        ["mean", "shape_row_count", "inferred_data_type"],
        columns=["amount"],
        window=week,
        granularity=WEEKLY,
    )
    amounts = rows(home, week)["amount"].to_numpy()
    assert found.keys == (("", ""), ("", "amount"))
    assert found.starts == [week.start]
    assert found.values["mean"][1, 0] == pytest.approx(amounts.mean())
    assert np.isnan(found.values["mean"][0, 0])
    assert found.values["shape_row_count"].tolist()[0] == [700.0]
    assert found.values["inferred_data_type"].tolist() == [[""], ["FRACTIONAL"]]
    frame = found.to_frame()
    assert frame["column"].tolist() == ["", "amount"]
    assert str(frame["bucket"].dtype) == "datetime64[us, UTC]"


def test_what_only_a_sketch_tells_is_read_off_merged_ones(workspace: Workspace, home: Path) -> None:
    found = telemetry.metric_series(
        workspace,
        "orders",
        ["outlier_ratio", "outlier_count"],
        columns=["amount"],
        window=MARCH,
        granularity=MONTHLY,
    )
    expected = mp.profile(rows(home, MARCH)).summary().set_index("column").loc["amount"]
    assert found.values["outlier_count"][0, 0] == pytest.approx(expected["outlier_count"], abs=3)
    assert found.values["outlier_ratio"][0, 0] == pytest.approx(expected["outlier_ratio"], abs=1e-3)


def test_a_metric_of_the_datasets_own_and_quality_of_predictions(tmp_path: Path) -> None:
    home = make_workspace(tmp_path / "data", days=8)
    for path in (home / "landing" / "orders").glob("*.parquet"):
        table = pq.read_table(path)
        pq.write_table(table.append_column("returned", pa.array([True, False] * 50)), path)
    (home / "datasets" / "orders" / "dataset.yaml").write_text(DATASET + OWN)
    assert monitor(home, "profile", "orders").exit_code == 0
    with Workspace(Settings(home=home)) as workspace:
        window = telemetry.known_window(workspace, "orders")
        found = telemetry.metric_series(
            workspace,
            "orders",
            ["filled_share", "classification.accuracy"],
            columns=["amount"],
            granularity=MONTHLY,
        )
    table = rows(home, window)
    right = (table["express"].to_numpy() == np.tile([True, False], 400)).mean()
    assert (
        dict(zip(found.keys, found.values["filled_share"][:, 0].tolist(), strict=True))["", "amount"] == 1.0
    )
    assert found.values["classification.accuracy"][found.keys.index(("", "")), 0] == pytest.approx(right)


def test_the_columns_with_the_most_of_a_metric(workspace: Workspace) -> None:
    top = telemetry.top_columns(workspace, "orders", "count_null_ratio", count=2)
    # 40 of 4,000 amounts are missing; of the rest nothing is, and names decide.
    assert [(one.column, one.value) for one in top] == [("amount", pytest.approx(0.01)), ("country", 0.0)]
    least = telemetry.top_columns(workspace, "orders", "mean", segment="country=DE", least=True)
    assert [one.column for one in least] == ["amount"]
    with pytest.raises(UsageError, match="not a number of each column"):
        telemetry.top_columns(workspace, "orders", "shape_row_count")


def test_comparing_windows_is_comparing_their_profiles(workspace: Workspace, home: Path) -> None:
    found = telemetry.compare_windows(workspace, "orders", APRIL, MARCH)
    expected = mp.compare(mp.profile(rows(home, MARCH)), mp.profile(rows(home, APRIL)))
    assert found.rows == (900, 3_100)
    ours, theirs = ({one.column: one for one in side} for side in (found.columns.drifts, expected.drifts))
    assert ours.keys() == theirs.keys()
    assert ours["country"].score == pytest.approx(theirs["country"].score)
    assert ours["amount"].ks == pytest.approx(theirs["amount"].ks, abs=theirs["amount"].rank_error + 0.01)
    frame = found.columns.to_frame().set_index("column")
    assert frame.loc["amount", "count_baseline"] == 3_100
    assert frame.loc["amount", "mean_target"] == pytest.approx(rows(home, APRIL)["amount"].to_pandas().mean())
    # The merged profiles are profiles like any other.
    same = mp.compare(Profile(found.baseline.profile), Profile(found.target.profile))
    assert [one.column for one in same.drifts] == [one.column for one in found.columns.drifts]


def test_without_a_baseline_it_is_the_time_before(workspace: Workspace) -> None:
    found = telemetry.compare_windows(workspace, "orders", APRIL)
    assert found.baseline_window == TimeRange(datetime(2026, 3, 23, tzinfo=UTC), APRIL.start)
    with pytest.raises(UsageError, match="no time before"):
        telemetry.compare_windows(workspace, "orders", TimeRange.always())
    with pytest.raises(UsageError, match="no profiles of all data"):
        telemetry.compare_windows(workspace, "orders", TimeRange(MARCH.start, MARCH.start))


def test_what_profiles_do_not_tell_is_refused(workspace: Workspace) -> None:
    for name in ("throughput", "profile.count", "input.count"):
        with pytest.raises(UsageError, match="not told by profiles alone"):
            telemetry.metric_series(workspace, "orders", [name])
    with pytest.raises(UsageError, match="is a distribution"):
        telemetry.metric_series(workspace, "orders", ["histogram"])
    with pytest.raises(UnknownMetricError):
        telemetry.metric_series(workspace, "orders", ["meen"])


def test_commands_say_what_the_store_knows(home: Path) -> None:
    weeks = monitor(
        home,
        "metrics",
        "orders",
        "--metric",
        "count",
        "--column",
        "amount",
        "--granularity",
        "weekly",
        "--json",
    )
    told = json.loads(weeks.stdout)
    assert told["buckets"][0] == "2026-02-23T00:00:00+00:00"
    assert told["series"] == [
        {"segment": "", "column": "amount", "metric": "count", "values": [100, 700, 700, 700, 700, 700, 400]}
    ]
    top = monitor(home, "metrics", "orders", "--metric", "count_null_ratio", "--top", "1")
    assert "amount" in top.stdout
    assert "country" not in top.stdout
    by = monitor(
        home,
        "metrics",
        "orders",
        "--metric",
        "count",
        "--column",
        "amount",
        "--by",
        "country",
        "--from",
        "2026-04-01",
    )
    assert "count of amount, country=DE" in by.stdout
    compared = json.loads(
        monitor(home, "compare", "orders", "--from", "2026-04-01", "--to", "2026-04-10", "--json").stdout
    )
    assert compared["target"] == {
        "from": "2026-04-01T00:00:00+00:00",
        "to": "2026-04-10T00:00:00+00:00",
        "rows": 900,
    }
    assert {one["column"] for one in compared["columns"]} == {"amount", "country", "express", "placed_at"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["metrics", "orders", "--metric", "mean", "--by", "planet"], "not segmented by planet"),
        (
            ["metrics", "orders", "--metric", "mean", "--granularity", "hourly"],
            "cannot be put together into hourly",
        ),
        (["metrics", "orders", "--metric", "mean", "--granularity", "yearly"], "--granularity"),
        (["metrics", "orders", "--metric", "mean", "--exclude", "2026"], "FROM/TO"),
        (["metrics", "orders", "--metric", "mean", "--metric", "max", "--top", "3"], "one metric"),
        (["compare", "orders", "--with-from", "2026-03-01"], "go together"),
        (["compare", "orders", "--from", "2030-01-01", "--to", "2030-02-01"], "no profiles of all data"),
    ],
)
def test_mistakes_are_explained(home: Path, arguments: list[str], said: str) -> None:
    result = monitor(home, *arguments)
    assert result.exit_code == 2
    assert said in result.stderr
