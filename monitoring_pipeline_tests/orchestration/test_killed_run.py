"""A run that a real daemon has launched is killed with SIGKILL, twice: in the end the store is that of one clean run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest

from monitoring_pipeline.settings import Settings
from monitoring_pipeline_tests.kills.dump import Dump, differences, dump
from monitoring_pipeline_tests.orchestration.test_dagster_dev import REPOSITORY, RUNS, dagster_dev, wait_for
from monitoring_pipeline_tests.workspaces import START, make_workspace

DAYS = 6

HELD = '''
"""No anomaly, ever. Says which process runs it, and waits there while the workspace says so."""

import os
import time
from pathlib import Path

import numpy as np

from monitoring_pipeline.analysis.verdicts import Verdicts, no_failures
from monitoring_pipeline.config.analyzers import CustomConfig

name = "held"
needs = "series"
HOME = Path(__file__).parents[1]


class Config(CustomConfig):
    """Nothing of its own."""


def evaluate(config, target, baseline):
    if (HOME / "hold").exists():
        (HOME / "held" / str(os.getpid())).touch()
    while (HOME / "hold").exists():
        time.sleep(0.05)
    nothing = np.full(target.shape, np.nan)
    columns = {"metric_value": target}
    return Verdicts(np.zeros(target.shape, bool), target, nothing, nothing, *no_failures(target.shape), columns)
'''

ONE_CLEAN_RUN = f"""
from datetime import timedelta
from monitoring_pipeline import pipeline
from monitoring_pipeline.settings import Settings
from monitoring_pipeline.workspace import Workspace
from monitoring_pipeline_tests.workspaces import START

buckets = [START + timedelta(days=day) for day in range({DAYS})]
with Workspace(Settings()) as workspace:
    pipeline.profile_batch(workspace, "orders", buckets)
    pipeline.roll_up(workspace, "orders")
    pipeline.analyze_batch(workspace, "orders", buckets)
    pipeline.notify(workspace, "orders")
"""

HOW_IT_WENT = {"failed_work", "delivery", "channel_state", "audit", "document_version"}
"""Tables that say who did it, when it failed, and what has been sent so far."""


def new_home(folder: Path) -> Path:
    home = make_workspace(folder, days=DAYS, few_rows_on=3, nulls_on=5)
    for path in (home / "landing" / "orders").iterdir():
        moment = START.timestamp() + 3600
        os.utime(path, (moment, moment))
    (home / "analyzers").mkdir()
    (home / "analyzers" / "held.py").write_text(HELD)
    (home / "held").mkdir()
    file = home / "datasets" / "orders" / "monitors.json"
    document = json.loads(file.read_text())
    document["analyzers"].append(
        {
            "id": "held-analyzer",
            "schedule": {"type": "fixed", "cadence": "daily"},
            "backfillGracePeriodDuration": "P3650D",
            "targetMatrix": {"type": "column", "include": ["amount"]},
            "config": {
                "type": "held",
                "metric": "mean",
                "baseline": {"type": "TrailingWindow", "size": 3},
            },
        }
    )
    file.write_text(json.dumps(document))
    return home


def environment() -> dict[str, str]:
    return {
        "MONITORING_NOW": (START + timedelta(days=DAYS, hours=9)).isoformat(),
        "MONITORING_WORKSPACE_ANALYZERS": "true",
    }


def store_of(home: Path) -> Dump:
    found = dump(Settings(home=home).resolved_store_url)
    return {
        table: Counter(tuple(value for value in row if not _is_run(value)) for row in rows.elements())
        for table, rows in found.items()
        if table not in HOW_IT_WENT
    }


def _is_run(value: object) -> bool:
    """In how many runs the buckets were judged depends on which of Dagster and the sensor asks first."""
    return isinstance(value, str) and value.startswith("run of ")


@pytest.mark.slow
def test_a_run_killed_twice_leaves_what_one_clean_run_leaves(tmp_path: Path) -> None:
    clean, home = new_home(tmp_path / "clean"), new_home(tmp_path / "data")
    (home / "hold").touch()
    killed: set[int] = set()

    def is_held() -> bool:
        return {int(path.name) for path in (home / "held").iterdir()} > killed

    with dagster_dev(tmp_path, **environment()) as server:
        log = tmp_path / "dagster.log"

        def statuses() -> list[str]:
            runs = server.ask(RUNS)["runsOrError"]["results"]
            return [run["status"] for run in runs if run["jobName"] == "monitor_orders"]

        for _ in range(2):
            wait_for(is_held, seconds=300, log=log)
            for process in {int(path.name) for path in (home / "held").iterdir()} - killed:
                os.kill(process, signal.SIGKILL)
                killed.add(process)
        (home / "hold").unlink()
        wait_for(
            lambda: "SUCCESS" in statuses() and {*statuses()} <= {"SUCCESS", "FAILURE"}, seconds=300, log=log
        )
        assert len(killed) == 2
        assert "FAILURE" in statuses()

    subprocess.run(
        [sys.executable, "-c", ONE_CLEAN_RUN],
        env={**os.environ, **environment(), "MONITORING_HOME": str(clean), "PYTHONPATH": str(REPOSITORY)},
        cwd=tmp_path,
        check=True,
        timeout=300,
    )
    assert "\n".join(differences(store_of(clean), store_of(home))) == ""
