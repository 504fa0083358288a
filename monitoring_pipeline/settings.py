"""Settings from the environment (`MONITORING_*`) or an `.env` file; everything has a default that works.

Secrets are only ever read from here and are never printed.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

DEFAULT_ORGANISATION = "org-0"


class Settings(BaseSettings):
    """What one workspace runs with."""

    model_config = SettingsConfigDict(env_prefix="MONITORING_", env_file=".env", extra="ignore", frozen=True)

    home: Path = Field(
        default=Path("data"), description="The workspace folder: datasets/, the store, landing data."
    )
    store_url: str | None = Field(
        default=None, description="SQLAlchemy URL of the store; SQLite inside the home unless set."
    )
    organisation: str = Field(
        default=DEFAULT_ORGANISATION, description="Organisation of datasets that name none."
    )
    now: datetime | None = Field(
        default=None, description="Pretend that it is this time (replays, demonstrations)."
    )
    author: str | None = Field(
        default=None, description="Who changes documents; the name of the operating system's user unless set."
    )
    workspace_analyzers: bool = Field(
        default=False,
        description="Run the workspace's own analyzers, analyzers/*.py, with all rights of the pipeline.",
    )
    retention: dict[str, str] = Field(
        default_factory=dict,
        description='How long datasets that say nothing keep things, as JSON: {"base": "P35D", "results": "P2Y"}.',
    )
    privacy_key: SecretStr | None = Field(
        default=None,
        description="Key of the hashes that `privacy: hashed` keeps instead of values; 16 characters or more.",
    )
    dagster_url: str = Field(
        default="http://localhost:3000", description="Where links to the Dagster UI lead."
    )
    dashboard_url: str | None = Field(
        default=None, description="Where links to a dashboard lead; there are none unless set."
    )
    slack_token: SecretStr | None = Field(default=None, description="Bot token (xoxb-…) for Slack messages.")
    slack_webhook: SecretStr | None = Field(
        default=None, description="Incoming-webhook URL for Slack messages."
    )
    slack_channel: str = Field(default="#ml-alerts", description="Channel that the bot token posts to.")
    slack_api_url: str = Field(default="https://slack.com/api/", description="Base URL of Slack's Web API.")

    @property
    def resolved_store_url(self) -> str:
        """The store's URL, with the embedded default filled in."""
        return self.store_url or f"sqlite:///{(self.home / 'store' / 'monitoring.db').resolve()}"
