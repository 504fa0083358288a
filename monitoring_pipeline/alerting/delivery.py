"""The outbox: digests are recorded before they are sent, sent at least once, and never again once accepted.

`address` says where digests go; who tells of a run records them all with the rest of what is told, in one transaction.
`deliver` claims what is due, sends it, and notes the receipt, or when to try again. It is the only place that retries.
Channels are served one after the other, and one that does not answer is left alone until the next call, so that it
holds nobody up for longer than one timeout.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from monitoring_pipeline.alerting.channels import Channel
from monitoring_pipeline.alerting.digests import Digest
from monitoring_pipeline.config.document import MonitorDocument
from monitoring_pipeline.config.monitors import GlobalAction, Monitor
from monitoring_pipeline.errors import DeliveryError
from monitoring_pipeline.store import digests as outbox
from monitoring_pipeline.store.database import Store
from monitoring_pipeline.store.digests import Delivery

CONSOLE = "console"

FIRST_RETRY = timedelta(minutes=1)
LONGEST_RETRY = timedelta(hours=1)
"""Waits double from the first to the longest; a channel that asks for more gets it."""

GIVE_UP_AFTER = timedelta(days=7)
"""Age at which a digest that could not be delivered is not news any more."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DeliveryReport:
    """What one call of `deliver` did: accepted, given up, still to be sent; and what went wrong, one line each."""

    delivered: int
    failed: int
    waiting: int
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Route:
    """The channels that a monitor's digests go to, and what it names that does not exist."""

    channels: tuple[str, ...]
    problems: tuple[str, ...] = ()


def channels_of(monitor: Monitor, configured: Mapping[str, Channel] | Collection[str]) -> Route:
    """Where a monitor's digests go: always to the console (the log), and to the channels that its actions name.

    An action that leads nowhere is a problem that is reported, and no reason not to tell the others. Addresses that
    stand in the document itself are not used, and not repeated in the problem: they may be secrets.
    """
    names, problems = [CONSOLE], list[str]()
    for action in monitor.actions:
        channel = action.target if isinstance(action, GlobalAction) else None if action.target else action.id
        if channel is None:
            problems.append(
                f"monitor {monitor.id}: the address in its {action.type} action is not used; set it up as a channel "
                'and name that: {"type": "global", "target": "slack"}'
            )
        elif channel == CONSOLE or channel in configured:
            names.append(channel)
        else:
            known = ", ".join(sorted({CONSOLE, *configured}))
            problems.append(f"monitor {monitor.id}: no channel {channel!r} is configured; there are: {known}")
    return Route(tuple(dict.fromkeys(names)), tuple(problems))


def address(
    document: MonitorDocument, digests: Sequence[Digest], channels: Mapping[str, Channel] | Collection[str]
) -> tuple[list[tuple[Digest, Sequence[str]]], list[str]]:
    """Each digest with the channels that it goes to, and what monitors' actions name in vain."""
    monitors = {monitor.id: monitor for monitor in document.monitors}
    addressed: list[tuple[Digest, Sequence[str]]] = []
    problems: dict[str, None] = {}
    for digest in digests:
        route = channels_of(monitors[digest.monitor_id], channels)
        problems.update(dict.fromkeys(route.problems))
        addressed.append((digest, route.channels))
    return addressed, list(problems)


def deliver(store: Store, channels: Mapping[str, Channel], *, now: datetime) -> DeliveryReport:
    """Send what is due. Never raises for a channel; calling it again sends nothing twice."""
    delivered = failed = 0
    problems: list[str] = []
    for name, channel in channels.items():
        while claimed := outbox.pending_deliveries(store, now, 1, channels=[name]):
            delivery = claimed[0]
            error = _send(store, channel, delivery, now=now)
            if error is None:
                delivered += 1
                continue
            problems.append(f"{name}: {delivery.dataset_id}: {error}")
            _log.warning("digest %s was not delivered to %s: %s", delivery.dedup_key[:12], name, error)
            if _give_up(store, delivery, error, now=now):
                failed += 1
            if not error.permanent:
                break
    waiting = [one for one in outbox.undelivered(store) if one.state == "pending"]
    homeless = sorted({one.channel for one in waiting if one.channel not in channels})
    problems += [f"{name}: digests wait for a channel that is not configured any more" for name in homeless]
    return DeliveryReport(delivered, failed, len(waiting), tuple(problems))


def _send(store: Store, channel: Channel, delivery: Delivery, *, now: datetime) -> DeliveryError | None:
    """Send one delivery and note the receipt; otherwise what went wrong."""
    try:
        digest = Digest.from_json(delivery.digest)
    except (KeyError, TypeError, ValueError) as error:
        return DeliveryError(f"the recorded digest cannot be read ({type(error).__name__})", permanent=True)
    try:
        receipt = channel.send(digest)
    except DeliveryError as error:
        return error
    except Exception as error:  # noqa: BLE001 - a channel may be anybody's code; its words may hold secrets
        return DeliveryError(f"the channel failed with {type(error).__name__}")
    outbox.mark_delivered(store, delivery.pk, now=now, receipt=receipt)
    return None


def _give_up(store: Store, delivery: Delivery, error: DeliveryError, *, now: datetime) -> bool:
    """Note a failure: when to try again, or that there is no point."""
    wait = min(FIRST_RETRY * 2 ** min(delivery.attempts, 10), LONGEST_RETRY)
    if error.retry_after is not None:
        wait = max(wait, timedelta(seconds=min(error.retry_after, GIVE_UP_AFTER.total_seconds())))
    retry_at = now + wait
    final = error.permanent or retry_at >= delivery.created + GIVE_UP_AFTER
    outbox.mark_failed(store, delivery.pk, error=str(error), retry_at=retry_at, permanent=final)
    return final
