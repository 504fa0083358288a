"""Resources: the workspace and the channels, handed to assets, sensor and ops as the plain domain objects."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import dagster as dg
from pydantic import Field

from monitoring_pipeline.alerting.channels import Channel, configured_channels, described_channels
from monitoring_pipeline.errors import DocumentError
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


class ChannelsResource(dg.ConfigurableResource[dict[str, Channel]]):
    """The channels that digests go to, by name, as `channels.yaml` and the settings say when the step runs.

    The UI shows where each leads and the names of the environment variables that it needs, never what they hold.
    """

    home: str | None = None
    """The workspace folder; `MONITORING_HOME` unless set."""
    configured: dict[str, str] = Field(default_factory=dict)
    """What was configured when the code location was loaded, for people to see."""

    def create_resource(self, context: dg.InitResourceContext) -> dict[str, Channel]:  # noqa: ARG002
        settings = Settings()
        if self.home is not None:
            settings = settings.model_copy(update={"home": Path(self.home)})
        return configured_channels(settings)


def channels_resource(settings: Settings, *, home: str | None) -> ChannelsResource:
    """The channels of a workspace. A file that cannot be used is shown here, and is an error when something is sent."""
    try:
        shown = {
            one.name: f"{one.type}: {one.to}" + (f" ({', '.join(one.variables)})" if one.variables else "")
            for one in described_channels(settings)
        }
    except DocumentError as error:
        shown = {error.source: f"cannot be used: {error}"}
    return ChannelsResource(home=home, configured=shown)
