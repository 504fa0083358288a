"""What one worker process does: everything that is due in a round, with its step on a slate for whoever finds it dead."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from pydantic import SecretStr
from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.pool import Pool

from monitoring_pipeline import pipeline
from monitoring_pipeline.alerting.channels.slack import SlackChannel
from monitoring_pipeline.alerting.digests import Digest
from monitoring_pipeline.backfill import backfill
from monitoring_pipeline.reanalysis import reanalyze
from monitoring_pipeline.settings import Settings
from monitoring_pipeline.timegrid import TimeRange
from monitoring_pipeline.workspace import Workspace
from monitoring_pipeline_tests.kills.scenario import Round

Slate = Callable[[str], None]
"""Notes what the worker is at."""


@dataclass(frozen=True)
class Job:
    """One attempt at a round, and how it dies: after some seconds, at its nth point of interest, or not at all.

    Points of interest are the instants just before and just after a writing transaction is committed, and just after
    a message was accepted.
    """

    home: str
    store_url: str
    webhook: str
    now: str
    reanalyze: bool = False
    backfill: tuple[str, ...] = ()
    die_after: float | None = None
    die_at: int | None = None

    @classmethod
    def of(cls, one: Round, *, home: Path, store_url: str, webhook: str) -> Self:
        """The job of doing a round."""
        return cls(
            home=str(home),
            store_url=store_url,
            webhook=webhook,
            now=one.now.isoformat(),
            reanalyze=one.reanalyze,
            backfill=one.backfill,
        )

    def to_json(self) -> dict[str, object]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        return cls(**{**data, "backfill": tuple(data["backfill"])})

    def open(self) -> Workspace:
        return Workspace(
            Settings(
                home=Path(self.home),
                store_url=self.store_url,
                now=datetime.fromisoformat(self.now),
                slack_webhook=SecretStr(self.webhook),
                author="ada",
            )
        )


def work(job: Job, slate: Slate = lambda _: None) -> None:
    """Do what is due."""
    with job.open() as workspace:
        slate("open")
        names = sorted(workspace.catalog.datasets)
        for name in names:
            slate(f"apply {name}")
            workspace.apply(name)
        for name in names:
            if name in job.backfill:
                slate(f"backfill {name}")
                for _ in backfill(workspace, name, TimeRange.always()):
                    pass
                continue
            slate(f"profile {name}")
            pipeline.profile_batch(workspace, name)
            slate(f"roll up {name}")
            pipeline.roll_up(workspace, name)
            slate(f"analyze {name}")
            pipeline.analyze_batch(workspace, name)
            slate(f"notify {name}")
            pipeline.notify(workspace, name)
        for name in names if job.reanalyze else ():
            slate(f"reanalyze {name}")
            reanalyze(workspace, name)
            slate(f"notify {name} again")
            pipeline.notify(workspace, name)
        slate("deliver")
        pipeline.deliver(workspace)
        slate("close")


class Points:
    """Counts points of interest, and dies of one."""

    def __init__(self, die_at: int | None) -> None:
        self.passed = 0
        self._die_at = die_at
        self._committing = False

    def watch(self) -> None:
        """From now on, in this process."""
        send = SlackChannel.send

        def sent(channel: SlackChannel, digest: Digest, *, thread: str | None = None) -> str:
            receipt = send(channel, digest, thread=thread)
            self._reached()
            return receipt

        SlackChannel.send = sent  # type: ignore[method-assign]
        event.listen(Engine, "commit", self._before_commit)
        event.listen(Pool, "checkin", self._after_commit)

    def _before_commit(self, connection: Connection) -> None:
        if connection.get_execution_options().get("store_writes"):
            self._committing = True
            self._reached()

    def _after_commit(self, *_: object) -> None:
        if self._committing:
            self._committing = False
            self._reached()

    def _reached(self) -> None:
        self.passed += 1
        if self.passed == self._die_at:
            os.kill(os.getpid(), signal.SIGKILL)
