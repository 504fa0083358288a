"""The whole house once, as people run it: `dagster dev` as a process, runs launched and checked over GraphQL."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from monitoring_pipeline_tests.workspaces import make_workspace

REPOSITORY = Path(__file__).parents[2]

LAUNCH = """
mutation Launch($params: ExecutionParams!) {
  launchRun(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
    ... on InvalidSubsetError { message }
    ... on RunConfigValidationInvalid { errors { message } }
  }
}"""
RUN = "query Run($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
ASSET = """
query Asset($key: AssetKeyInput!) {
  assetNodeOrError(assetKey: $key) {
    ... on AssetNode {
      partitionStats { numMaterialized numPartitions }
      assetChecksOrError {
        ... on AssetChecks { checks { name executionForLatestMaterialization { status } } }
      }
    }
  }
}"""
RUNS = "query Runs { runsOrError { ... on Runs { results { runId status jobName tags { key value } } } } }"


class Webserver:
    """A running `dagster dev` that answers GraphQL."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/graphql"

    def ask(self, query: str, **variables: object) -> dict:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(self.url, body, {"content-type": "application/json"})  # noqa: S310
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            content = json.load(answer)
        assert "errors" not in content, content["errors"]
        return content["data"]

    def is_up(self) -> bool:
        try:
            return (
                self.ask("{ repositoriesOrError { ... on RepositoryConnection { nodes { name } } } }")
                is not None
            )
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False


@pytest.fixture
def webserver(tmp_path: Path) -> Iterator[Webserver]:
    make_workspace(tmp_path / "data", days=3)
    with dagster_dev(tmp_path) as server:
        yield server


@contextmanager
def dagster_dev(folder: Path, **environment: str) -> Iterator[Webserver]:
    """`dagster dev` in a folder with a workspace in data/, until the end of the context."""
    for name in ("dagster.yaml", "workspace.yaml"):
        shutil.copy(REPOSITORY / name, folder)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = (folder / "dagster.log").open("wb")
    process = subprocess.Popen(
        [Path(sys.executable).parent / "dagster", "dev", "--host", "127.0.0.1", "--port", str(port)],
        cwd=folder,
        env={
            **{k: v for k, v in os.environ.items() if k != "DAGSTER_HOME"},
            "PYTHONPATH": str(REPOSITORY),
            **environment,
        },
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    server = Webserver(port)
    try:
        wait_for(server.is_up, seconds=120, process=process, log=folder / "dagster.log")
        yield server
    finally:
        os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
        log.close()


def wait_for(
    condition: Callable[[], bool],
    *,
    seconds: float,
    process: subprocess.Popen | None = None,
    log: Path | None = None,
) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        output = log.read_text()[-3000:] if log else ""
        assert process is None or process.poll() is None, f"the process ended:\n{output}"
        assert time.monotonic() < deadline, f"nothing after {seconds} s:\n{output}"
        time.sleep(0.5)


@pytest.mark.slow
def test_runs_launched_over_graphql_materialise_and_the_sensor_launches_the_rest(
    webserver: Webserver,
) -> None:
    first_day = {"key": "dagster/partition", "value": "2026-03-02"}
    answer = webserver.ask(
        LAUNCH,
        params={
            "selector": {
                "repositoryLocationName": "monitoring_pipeline",
                "repositoryName": "__repository__",
                "jobName": "monitor_orders",
            },
            "mode": "default",
            "executionMetadata": {"tags": [first_day]},
        },
    )["launchRun"]
    assert answer["__typename"] == "LaunchRunSuccess", answer

    run = answer["run"]["runId"]
    ended = {"SUCCESS", "FAILURE", "CANCELED"}
    wait_for(lambda: webserver.ask(RUN, id=run)["runOrError"]["status"] in ended, seconds=90)
    assert webserver.ask(RUN, id=run)["runOrError"]["status"] == "SUCCESS"

    def asset(name: str) -> dict:
        return webserver.ask(ASSET, key={"path": ["orders", name]})["assetNodeOrError"]

    wait_for(lambda: asset("analyzer_results")["partitionStats"]["numMaterialized"] >= 3, seconds=150)
    assert asset("profiles")["partitionStats"]["numMaterialized"] >= 3
    checks = asset("analyzer_results")["assetChecksOrError"]["checks"]
    assert [check["name"] for check in checks] == ["orders_volume_monitor"]
    by_sensor = [
        run
        for run in webserver.ask(RUNS)["runsOrError"]["results"]
        if {"key": "dagster/sensor_name", "value": "data_readiness"} in run["tags"]
    ]
    assert by_sensor
    assert {run["status"] for run in by_sensor} <= {"SUCCESS", "STARTED", "QUEUED", "STARTING"}
