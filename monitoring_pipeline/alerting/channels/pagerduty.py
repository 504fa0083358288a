"""Incidents in PagerDuty, through the Events API v2: one alert per incident, by the incident's own id.

An alert is triggered with the incident's id as `dedup_key`, so telling again, or a retry, never opens a second one; it
is acknowledged and resolved under the same key.
https://developer.pagerduty.com/docs/send-alert-event
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime

from pydantic import SecretStr

from monitoring_pipeline.alerting.channels.https import post
from monitoring_pipeline.alerting.channels.protocol import Step
from monitoring_pipeline.alerting.digests import Digest, Escalation
from monitoring_pipeline.alerting.figures import segment_name
from monitoring_pipeline.alerting.formats.text import text_of
from monitoring_pipeline.alerting.incidents import Incident, Status
from monitoring_pipeline.alerting.messages import Message, message_of
from monitoring_pipeline.errors import DeliveryError

EVENTS_URL = "https://events.pagerduty.com/v2/enqueue"

MOST_SUMMARY = 1024
MOST_KEY = 255
MOST_DETAIL = 2000
MOST_INCIDENTS = 20
"""Incidents of one digest that get an alert of their own; what is left out is named in the last one."""

_SEVERITIES = {Escalation.CRITICAL: "critical", Escalation.WARNING: "warning", Escalation.INFO: "info"}

JsonObject = dict[str, object]


class PagerDutyChannel:
    """Triggers, acknowledges and resolves alerts of one PagerDuty service."""

    def __init__(
        self,
        routing_key: SecretStr,
        *,
        name: str = "pagerduty",
        url: str = EVENTS_URL,
        timeout: float = 10.0,
        key_name: str = "the routing key",
    ) -> None:
        self._routing_key = routing_key
        self._name = name
        self._url = url
        self._timeout = timeout
        self._key_name = key_name

    @property
    def name(self) -> str:
        """Its name."""
        return self._name

    def __repr__(self) -> str:
        return f"PagerDutyChannel({self._name})"

    def send(self, digest: Digest, *, thread: str | None = None) -> str:  # noqa: ARG002 - the incident's id is the thread
        """Trigger an alert for each open incident, and resolve what is over or has become part of another.

        The receipt is the key of the worst incident. Raises DeliveryError; sending again changes nothing.
        """
        message = message_of(digest)
        if not digest.incidents:
            return self.say(message, key=digest.dedup_key)
        for place, incident in enumerate(digest.incidents[:MOST_INCIDENTS]):
            for absorbed in incident.absorbed[:MOST_INCIDENTS]:
                self.resolve(absorbed)
            if incident.status is Status.RESOLVED:
                self.resolve(incident.id)
                continue
            left = digest.incident_count - MOST_INCIDENTS if place == MOST_INCIDENTS - 1 else 0
            self._trigger(
                incident.id,
                f"{digest.dataset}: {incident.title} — {incident.worst.sentence}",
                level=Escalation.of(incident.severity),
                source=f"{digest.organisation}/{digest.dataset}",
                details=_details(digest, incident, left),
                link=message.link,
            )
        return _key(digest.incidents[0].id)

    def say(self, message: Message, *, key: str, thread: str | None = None) -> str:  # noqa: ARG002 - no threads here
        """Trigger an alert with any message, under its own key."""
        details: JsonObject = {"text": _cut(text_of(message), MOST_DETAIL)}
        return self._trigger(
            key, message.summary, level=message.level, source="monitoring", details=details, link=message.link
        )

    def update(self, incident: Incident, step: Step, *, dataset: str) -> str:
        """Acknowledge or resolve the incident's alert, or trigger it again."""
        if step is Step.REOPENED:
            details: JsonObject = {"dataset": dataset, "what": _cut(incident.worst.sentence, MOST_DETAIL)}
            return self._trigger(
                incident.id,
                f"{dataset}: again: {incident.title} — {incident.worst.sentence}",
                level=Escalation.of(incident.severity),
                source=dataset,
                details=details,
                link=None,
            )
        return self._event("acknowledge" if step is Step.ACKNOWLEDGED else "resolve", incident.id)

    def resolve(self, key: str) -> str:
        """Resolve the alert of that key; nothing happens where there is none."""
        return self._event("resolve", key)

    def _trigger(
        self, key: str, summary: str, *, level: Escalation, source: str, details: JsonObject, link: str | None
    ) -> str:
        payload: JsonObject = {
            "summary": _cut(summary.replace("`", ""), MOST_SUMMARY),
            "severity": _SEVERITIES[level],
            "source": _cut(source, MOST_DETAIL),
            "timestamp": datetime.now(UTC).isoformat(timespec="seconds"),
            "custom_details": details,
        }
        further: JsonObject = {"client": "monitoring-pipeline"}
        if link:
            further |= {"client_url": link, "links": [{"href": link, "text": "Open"}]}
        return self._event("trigger", key, {**further, "payload": payload})

    def _event(self, action: str, key: str, content: Mapping[str, object] | None = None) -> str:
        event = {
            "routing_key": self._routing_key.get_secret_value(),
            "event_action": action,
            "dedup_key": _key(key),
            **(content or {}),
        }
        reply = post(
            self._url,
            json.dumps(event).encode(),
            {"Content-Type": "application/json"},
            who="PagerDuty",
            timeout=self._timeout,
        )
        if reply.status == 429:
            raise DeliveryError("PagerDuty asks to slow down", retry_after=reply.retry_after)
        if reply.status in (400, 401, 403, 404):
            raise DeliveryError(
                f"PagerDuty refused the event (HTTP {reply.status}); check {self._key_name}", permanent=True
            )
        if reply.status >= 500 or reply.status == 408:
            raise DeliveryError(f"PagerDuty is not available (HTTP {reply.status})")
        if reply.status >= 300:
            raise DeliveryError(f"PagerDuty refused the event (HTTP {reply.status})", permanent=True)
        if not _accepted(reply.body):
            raise DeliveryError(f"PagerDuty gave no answer that can be understood (HTTP {reply.status})")
        return _key(key)


def _accepted(body: bytes) -> bool:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return False
    return isinstance(answer, dict) and answer.get("status") == "success"


def _key(key: str) -> str:
    """A key of an alert, short enough."""
    return key if len(key) <= MOST_KEY else hashlib.sha256(key.encode()).hexdigest()


def _details(digest: Digest, incident: Incident, left: int) -> JsonObject:
    details: JsonObject = {
        "dataset": digest.dataset,
        "monitor": _cut(digest.monitor_name, 200),
        "what": _cut(incident.worst.sentence, MOST_DETAIL),
        "start": incident.start.isoformat(),
        "end": incident.end.isoformat(),
        "anomalies": incident.anomaly_count,
        "columns": [_cut(column, 200) for column in incident.columns[:20]],
        "segments": [_cut(segment_name(segment), 200) for segment in incident.segments[:20]],
    }
    return {**details, "more incidents": left} if left > 0 else details


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
