"""Where digests go. A channel has a name and sends one digest; the outbox (`delivery.py`) does everything else.

A channel never retries by itself and never lets a secret into an exception, a log or its own representation.
"""

from __future__ import annotations

from monitoring_pipeline.alerting.channels.building import (
    Described,
    UnreadyChannel,
    configured_channels,
    described_channels,
)
from monitoring_pipeline.alerting.channels.console import ConsoleChannel
from monitoring_pipeline.alerting.channels.email import Attachment, EmailChannel
from monitoring_pipeline.alerting.channels.other_services import AppriseChannel
from monitoring_pipeline.alerting.channels.pagerduty import PagerDutyChannel
from monitoring_pipeline.alerting.channels.protocol import (
    Channel,
    FollowsIncidents,
    KeepsThreads,
    Speaks,
    Step,
)
from monitoring_pipeline.alerting.channels.slack import SlackChannel
from monitoring_pipeline.alerting.channels.webhook import WebhookChannel

__all__ = [
    "AppriseChannel",
    "Attachment",
    "Channel",
    "ConsoleChannel",
    "Described",
    "EmailChannel",
    "FollowsIncidents",
    "KeepsThreads",
    "PagerDutyChannel",
    "SlackChannel",
    "Speaks",
    "Step",
    "UnreadyChannel",
    "WebhookChannel",
    "configured_channels",
    "described_channels",
]
