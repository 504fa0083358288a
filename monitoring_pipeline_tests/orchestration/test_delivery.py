"""Messages that wait, as Dagster sees them: a run is asked for without new data, and what is stuck is shown."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest
import yaml

from monitoring_pipeline import pipeline
from monitoring_pipeline.orchestration.jobs import DIGEST_JOB
from monitoring_pipeline.store import digests as outbox
from monitoring_pipeline_tests.orchestration.test_sensors import Daemon
from monitoring_pipeline_tests.workspaces import START, make_workspace

FILE = {
    "channels": {"hook": {"type": "webhook", "url": "https://hook.invalid/x"}},
    "escalation": [{"after": "PT30M", "levels": ["warning"], "to": ["hook"]}],
}


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    home = make_workspace(tmp_path / "data", days=3, few_rows_on=2)
    for path in (home / "landing" / "orders").iterdir():
        os.utime(path, (START.timestamp(), START.timestamp()))
    (home / "channels.yaml").write_text(yaml.safe_dump(FILE))
    with dg.DagsterInstance.ephemeral() as instance:
        made = Daemon(home, instance, days=3.4)
        with made.open() as workspace:
            for step in (pipeline.profile_batch, pipeline.analyze_batch, pipeline.notify):
                step(workspace, "orders")
        yield made


def asked(answer: dg.SensorResult) -> list[str]:
    return [str(one.run_key) for one in answer.run_requests or [] if one.job_name == DIGEST_JOB]


def sent(daemon: Daemon, channel: str, error: str | None = None) -> None:
    """What a run does with all that waits for a channel."""
    with daemon.open() as workspace:
        for one in outbox.pending_deliveries(workspace.store, daemon.now, channels=[channel]):
            if error is None:
                outbox.mark_delivered(workspace.store, one.pk, now=daemon.now)
            else:
                retry = daemon.now + timedelta(minutes=20)
                outbox.mark_failed(
                    workspace.store, one.pk, error=error, retry_at=retry, now=daemon.now, rests_until=retry
                )


def test_a_run_is_asked_for_when_nobody_acknowledges_though_no_data_comes(daemon: Daemon) -> None:
    (first,) = asked(daemon.tick())
    assert asked(daemon.tick()) == [first]
    sent(daemon, "console")
    assert asked(daemon.tick()) == []
    daemon.now += timedelta(minutes=31)
    (second,) = asked(daemon.tick())
    assert second != first


def test_a_run_that_died_is_asked_for_again_under_another_key(daemon: Daemon) -> None:
    (first,) = asked(daemon.tick())
    daemon.now += timedelta(minutes=10)
    (second,) = asked(daemon.tick())
    assert first != second


def test_what_a_channel_does_not_take_is_shown_once_and_so_is_that_it_does_again(daemon: Daemon) -> None:
    sent(daemon, "console")
    daemon.now += timedelta(minutes=31)
    daemon.tick()
    sent(daemon, "console")
    sent(daemon, "hook", error="not available")
    (shown,) = observations(daemon.tick())
    assert shown.description is not None
    assert "1 message to hook since" in shown.description
    assert "not available" in shown.description
    assert observations(daemon.tick()) == []
    daemon.now += timedelta(minutes=21)
    sent(daemon, "hook")
    (over,) = observations(daemon.tick())
    assert over.description == "every message has been delivered"


def observations(answer: dg.SensorResult) -> list[dg.AssetObservation]:
    return [
        one
        for one in answer.asset_events or []
        if isinstance(one, dg.AssetObservation) and "undelivered" in one.metadata
    ]
