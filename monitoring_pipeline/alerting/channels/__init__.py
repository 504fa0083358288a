"""Where digests go. A channel has a name and sends one digest; the outbox (`delivery.py`) does everything else.

A channel never retries by itself and never lets a secret into an exception, a log or its own representation.
"""

from __future__ import annotations

from typing import Protocol, TextIO, runtime_checkable

from monitoring_pipeline.alerting.channels.console import ConsoleChannel
from monitoring_pipeline.alerting.channels.slack import SlackChannel
from monitoring_pipeline.alerting.digests import Digest
from monitoring_pipeline.settings import Settings

__all__ = ["Channel", "ConsoleChannel", "SlackChannel", "configured_channels"]


@runtime_checkable
class Channel(Protocol):
    """A way to reach people."""

    @property
    def name(self) -> str:
        """The name by which monitors' actions call it."""
        ...

    def send(self, digest: Digest) -> str:
        """Send a digest and return the receipt: what the other side calls the message.

        Raises DeliveryError, `permanent` when trying again cannot help, `retry_after` when the other side said so.
        """
        ...


def configured_channels(settings: Settings, *, stream: TextIO | None = None) -> dict[str, Channel]:
    """The channels that the settings hold what is needed for, by name. The console is always there."""
    channels: dict[str, Channel] = {"console": ConsoleChannel(stream)}
    slack = SlackChannel.from_settings(settings)
    if slack is not None:
        channels["slack"] = slack
    return channels
