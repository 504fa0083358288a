"""Secrets are planted in the data, everything runs, and every byte that was written is searched for them."""

from __future__ import annotations

import json
import logging
import os
import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from monitoring_pipeline import pipeline
from monitoring_pipeline.errors import UsageError
from monitoring_pipeline.orchestration.assets import job_name
from monitoring_pipeline.orchestration.definitions import build_definitions
from monitoring_pipeline.orchestration.resources import WorkspaceResource
from monitoring_pipeline.reports import Period, build_report, write_report
from monitoring_pipeline.settings import Settings
from monitoring_pipeline.timegrid import TimeRange
from monitoring_pipeline.workspace import Workspace
from monitoring_pipeline_tests.planted import Secret, found_in, in_database, in_files, number, token
from monitoring_pipeline_tests.workspaces import START

DAYS, ROWS = 6, 120
KEY = "a key of some length for tests"
NOW = START + timedelta(days=DAYS + 0.4)

PRIVACY = """\
privacy:
  columns:
    email: {frequent_items: off}
    account: {frequent_items: hashed}
    city: {frequent_items: {at_least: 5}}
    amount: {extremes: masked}
    "*_id": {frequent_items: off}
    diagnosis: {frequent_items: hashed}
    predicted: {frequent_items: hashed}
    odd: {frequent_items: off}
    seen_at: {extremes: masked}
"""

DATASET = """\
id: patients
granularity: daily
start: 2026-03-01
source: {path: landing/patients}
timestamp: at
segments: [ward]
columns: {prediction: predicted, target: diagnosis}
"""


def _document() -> dict[str, object]:
    def analyzer(name: str, target: dict[str, object], config: dict[str, object]) -> dict[str, object]:
        return {
            "id": name,
            "schedule": {"type": "fixed", "cadence": "daily"},
            "backfillGracePeriodDuration": "P3650D",
            "targetMatrix": target,
            "config": config,
        }

    texts = {"type": "column", "include": ["email", "account", "city", "diagnosis", "odd"]}
    numbers = {"type": "column", "include": ["amount", "patient_id"]}
    trailing = {"type": "TrailingWindow", "size": 3}
    analyzers = [
        analyzer("new", texts, {"type": "frequent_string_comparison", "operator": "eq", "baseline": trailing}),
        analyzer(
            "drift",
            texts,
            {"type": "drift", "metric": "frequent_items", "algorithm": "hellinger", "threshold": 0.01,
             "baseline": trailing},
        ),
        analyzer(
            "moved",
            numbers,
            {"type": "drift", "metric": "histogram", "algorithm": "hellinger", "threshold": 0.01,
             "baseline": trailing},
        ),
        analyzer("largest", numbers, {"type": "fixed", "metric": "max", "upper": 1}),
    ]  # fmt: skip
    return {
        "orgId": "org-0",
        "datasetId": "patients",
        "granularity": "daily",
        "analyzers": analyzers,
        "monitors": [
            {
                "id": "everything",
                "analyzerIds": [one["id"] for one in analyzers],
                "schedule": {"type": "immediate"},
                "mode": {"type": "DIGEST"},
                "severity": 1,
                "actions": [{"type": "global", "target": "slack"}],
            }
        ],
    }


class Hospital:
    """A workspace whose data is full of secrets. `texts` and `numbers` are those that nobody may find."""

    def __init__(self, home: Path, url: str, *, private: bool) -> None:
        self.home, self.url = home, url
        self.chance = random.Random(11)
        self.texts: list[str] = []
        self.numbers: list[int] = []
        folder = home / "datasets" / "patients"
        folder.mkdir(parents=True)
        (folder / "dataset.yaml").write_text(DATASET + (PRIVACY if private else ""))
        (folder / "monitors.json").write_text(json.dumps(_document()))
        (home / "landing" / "patients").mkdir(parents=True)
        for day in range(DAYS):
            self._write(day)
        self._write_odd_files()
        self._arrive(START)

    def _arrive(self, moment: datetime) -> None:
        for path in (self.home / "landing" / "patients").iterdir():
            os.utime(path, (moment.timestamp(), moment.timestamp()))

    def token(self) -> str:
        self.texts.append(token(self.chance))
        return self.texts[-1]

    def number(self) -> int:
        self.numbers.append(number(self.chance))
        return self.numbers[-1]

    def _write(self, day: int) -> None:
        start = START + timedelta(days=day)
        often, labels = self.token(), [self.token(), self.token()]
        amounts = [self.chance.gammavariate(3, 20) for _ in range(ROWS)]
        amounts[7], amounts[40] = float(self.number()), -float(self.number())
        diagnoses = [self.chance.choice(labels) for _ in range(ROWS)]
        columns = {
            "at": [start + timedelta(minutes=row) for row in range(ROWS)],
            "ward": ["north" if row % 3 else "south" for row in range(ROWS)],
            "email": [f"{self.token()}@example.org" for _ in range(ROWS)],
            "account": [often if row % 4 else self.token() for row in range(ROWS)],
            "city": ["Springfield" if row % 10 else self.token() for row in range(ROWS)],
            "amount": amounts,
            "patient_id": [self.number() for _ in range(ROWS)],
            "diagnosis": diagnoses,
            "predicted": [self.chance.choice(labels) for _ in range(ROWS)],
        }
        odd = [self.token() if day % 2 else self.number() for _ in range(ROWS)]
        seen = [start - timedelta(seconds=self.chance.randrange(10**6)) for _ in range(ROWS)]
        self.numbers.append(int(seen[9].timestamp()) * 1_000_000)
        table = pa.table({**columns, "odd": odd, "seen_at": pa.array(seen, pa.timestamp("us", tz="UTC"))})
        pq.write_table(table, self.home / "landing" / "patients" / f"{start:%Y-%m-%d}.parquet")

    def _write_odd_files(self) -> None:
        """Files that lead to warnings and refusals: wrong fields, wrong times, text where numbers were, no file at all."""
        landing = self.home / "landing" / "patients"
        at = f"{START + timedelta(days=2, hours=3):%Y-%m-%dT%H:%M:%S}"
        landing.joinpath("odd.csv").write_text(
            "at,ward,email,patient_id\n"
            f"{at},north,{self.token()},{self.number()}\n"
            f"{at},north,{self.token()}\n"
            f"{self.token()},north,{self.token()},{self.number()}\n"
            f"{at},north,{self.token()},{self.token()}\n"
            f'{at},north,"{self.token()}\n{self.token()},{self.number()}\n'
        )
        landing.joinpath("broken.jsonl").write_text(
            f'{{"at": "{at}", "ward": "north", "email": "{self.token()}"}}\n'
            f'{{"at": "{at}", "email": {self.token()}, "ward"\n{self.token()}\n'
        )
        landing.joinpath("broken.parquet").write_bytes(b"PAR1" + self.token().encode() + b"PAR1")
        landing.joinpath("worse.csv").write_text(f'at,email\n"{self.token()}')

    @property
    def secrets(self) -> list[Secret]:
        return [*self.texts, *self.numbers]

    def settings(self, key: str | None = KEY) -> Settings:
        return Settings.model_validate(
            {"home": self.home, "store_url": self.url, "now": NOW, "privacy_key": key}
        )

    def run(self) -> list[tuple[str, bytes]]:
        """The whole pipeline without Dagster, its reports, and what of it changes later; gives what was said."""
        said: list[tuple[str, bytes]] = []
        with Workspace(self.settings()) as workspace:
            workspace.apply("patients")
            for _ in range(2):
                profiled = pipeline.profile_batch(workspace, "patients")
                pipeline.roll_up(workspace, "patients")
                analyzed = pipeline.analyze_batch(workspace, "patients")
                notified = pipeline.notify(workspace, "patients")
                said.append(("what was done", f"{profiled}{analyzed}{notified}".encode()))
                said.append(("anomalies", "".join(str(one.to_row()) for one in analyzed.anomalies).encode()))
                self._write(DAYS - 2)  # other data, so that verdicts become stale and profiles superseded
                self._arrive(NOW)
            pipeline.deliver(workspace)
            made = build_report(workspace, Period(TimeRange(START, NOW)), ["patients"])
            write_report(made, self.home / "reports" / "report.html")
        return said


@pytest.fixture
def hospital(tmp_path: Path, database_url: str) -> Hospital:
    return Hospital(tmp_path / "home", database_url, private=True)


@pytest.fixture
def postgres_files(request: pytest.FixtureRequest, database_url: str) -> Iterator[Path | None]:
    if database_url.startswith("sqlite"):
        yield None
        return
    engine = sa.create_engine(
        database_url.replace("postgresql://", "postgresql+psycopg://"), poolclass=sa.NullPool
    )
    with engine.connect() as connection:
        yield Path(connection.execute(sa.text("SHOW data_directory")).scalar_one())


def _everything(hospital: Hospital, postgres_files: Path | None) -> Iterator[tuple[str, bytes]]:
    yield from in_database(hospital.url)
    if postgres_files is not None:
        yield from in_files(postgres_files)
    yield from in_files(hospital.home, skip=[hospital.home / "landing"])


@pytest.mark.slow
def test_no_planted_secret_is_anywhere_in_the_store(
    hospital: Hospital,
    postgres_files: Path | None,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    with caplog.at_level(logging.DEBUG):
        said = hospital.run()
    printed = "".join(capfd.readouterr())
    said += [("log", caplog.text.encode()), ("output", printed.encode())]
    if hospital.url.startswith("sqlite"):
        said += in_files(tmp_path, skip=[hospital.home])  # the database, its write-ahead log among them
    assert found_in([*hospital.secrets, KEY], [*said, *_everything(hospital, postgres_files)]) == {}
    kept = found_in(["Springfield", "frequent_string_comparison"], in_database(hospital.url))
    assert set(kept) == {"Springfield", "frequent_string_comparison"}


def test_what_is_not_private_is_found_by_the_same_search(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    hospital = Hospital(tmp_path / "home", url, private=False)
    hospital.run()
    found = found_in(hospital.secrets, in_database(url))
    # Items and sketches hold some of the thousands of values, the verdicts name others.
    assert len(found) > 1_000
    assert {"profile_sketch.components", "superseded_profile.components", "profile.max"} <= set().union(
        *found.values()
    )
    assert any(
        place.startswith(("analyzer_result.", "digest.")) for places in found.values() for place in places
    )


@pytest.mark.slow
def test_no_planted_secret_is_in_what_dagster_keeps(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    hospital = Hospital(tmp_path / "home", url, private=True)
    resource = WorkspaceResource(home=str(hospital.home), now=NOW.isoformat())
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("MONITORING_STORE_URL", url)
        environment.setenv("MONITORING_PRIVACY_KEY", KEY)
        definitions = build_definitions(resource, hospital.settings())
        (tmp_path / "instance").mkdir()
        with dg.DagsterInstance.local_temp(str(tmp_path / "instance")) as instance:
            result = definitions.resolve_job_def(job_name("patients")).execute_in_process(
                instance=instance,
                tags={
                    "dagster/asset_partition_range_start": "2026-03-01",
                    "dagster/asset_partition_range_end": "2026-03-06",
                },
            )
    assert result.success
    assert {"profile", "analyzer_result"} <= {place.partition(".")[0] for place, _ in in_database(url)}
    printed = "".join(capfd.readouterr()) + caplog.text
    places = [*in_files(tmp_path, skip=[hospital.home / "landing"]), ("output", printed.encode())]
    assert found_in([*hospital.secrets, KEY], [*places, *in_database(url)]) == {}


@pytest.mark.parametrize(
    ("key", "found"), [(None, "it is not set"), ("short", "it has fewer than 16 characters")]
)
def test_hashed_values_without_a_fit_key_are_a_clear_error_before_anything_is_written(
    tmp_path: Path, key: str | None, found: str
) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    hospital = Hospital(tmp_path / "home", url, private=True)
    with Workspace(hospital.settings(key)) as workspace:
        with pytest.raises(UsageError, match=rf"MONITORING_PRIVACY_KEY: {found}") as caught:
            pipeline.profile_batch(workspace, "patients")
        assert "short" not in str(caught.value).replace("shorter", "")
        with workspace.store.read() as connection:
            assert connection.execute(sa.text("SELECT count(*) FROM batch")).scalar_one() == 0
