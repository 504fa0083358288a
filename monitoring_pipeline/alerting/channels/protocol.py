"""What a channel is: something with a name that takes a digest and returns a receipt, and maybe more.

A channel never retries by itself and never lets a secret into an exception, a log or its own representation. It
answers within seconds: one request, or a few small ones, each with a time limit.

Threads: the receipt of the first message about an incident is what later messages about it give as `thread`. A channel
that knows no threads ignores it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol, runtime_checkable

from monitoring_pipeline.alerting.digests import Digest
from monitoring_pipeline.alerting.incidents import Incident
from monitoring_pipeline.alerting.messages import Message


@runtime_checkable
class Channel(Protocol):
    """A way to reach people."""

    @property
    def name(self) -> str:
        """The name by which monitors' actions and the routes call it."""
        ...

    def send(self, digest: Digest, *, thread: str | None = None) -> str:
        """Send a digest and return the receipt: what the other side calls the message.

        `thread` is the receipt of this channel's first message about the same incident, if there was one.

        Raises DeliveryError, `permanent` when trying again cannot help, `retry_after` when the other side said so.
        """
        ...


@runtime_checkable
class Speaks(Protocol):
    """A channel that also takes messages that are no digest: an escalation, an outage, a test."""

    def say(self, message: Message, *, key: str, thread: str | None = None) -> str:
        """Send a message and return the receipt. The same `key` is the same message, should it be sent again.

        Raises DeliveryError like `send`.
        """
        ...


@runtime_checkable
class KeepsThreads(Protocol):
    """A channel that may put a message under an earlier one, whose receipt it is given as `thread`."""

    @property
    def threads(self) -> bool:
        """Whether it does: then what becomes of an incident is told in its thread, quietly."""
        ...


class Step(StrEnum):
    """What became of an incident that people were told of."""

    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"
    REOPENED = "reopened"


@runtime_checkable
class FollowsIncidents(Protocol):
    """A channel that keeps a state for each incident, by the incident's id, and wants to know when it changes."""

    def update(self, incident: Incident, step: Step, *, dataset: str) -> str:
        """Tell what became of an incident and return the receipt. Telling it again changes nothing.

        Raises DeliveryError like `send`.
        """
        ...
