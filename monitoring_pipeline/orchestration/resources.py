"""Resources: the workspace, handed to assets, sensor and ops as the plain domain object."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import dagster as dg

from monitoring_pipeline.settings import Settings
from monitoring_pipeline.workspace import Workspace


class WorkspaceResource(dg.ConfigurableResource[Workspace]):
    """Opens the workspace for the length of a step and closes it afterwards.

    Secrets (store URL, Slack token) are not configured here: they come from the environment, so that the UI never
    shows them.
    """

    home: str | None = None
    """The workspace folder; `MONITORING_HOME` unless set."""
    now: str | None = None
    """Pretend that it is this ISO-8601 time (replays and demonstrations)."""

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator[Workspace]:  # noqa: ARG002
        settings = Settings()
        changes: dict[str, object] = {}
        if self.home is not None:
            changes["home"] = Path(self.home)
        if self.now is not None:
            changes["now"] = datetime.fromisoformat(self.now)
        with Workspace(settings.model_copy(update=changes)) as workspace:
            yield workspace
