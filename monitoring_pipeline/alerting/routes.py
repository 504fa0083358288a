"""Where digests go: to the channels that a monitor's actions name, or by its level to those of the routes.

A monitor whose actions reach nobody but the console, or say `{"type": "global", "target": "routes"}`, goes by the routes
of `channels.yaml`: those of its level (severity 1 critical, 2 warning, 3 info). The console, which is the log, always
hears.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from monitoring_pipeline.alerting.digests import Digest, Escalation
from monitoring_pipeline.config.channels import CHANNELS_FILE, CONSOLE, RoutesSpec
from monitoring_pipeline.config.document import MonitorDocument
from monitoring_pipeline.config.monitors import GlobalAction, Monitor

ROUTES = "routes"
"""The target of an action that means the routes, and no channel's name."""

NO_ROUTES = RoutesSpec()


@dataclass(frozen=True)
class Route:
    """The channels that a monitor's digests go to, and what it names that does not exist."""

    channels: tuple[str, ...]
    problems: tuple[str, ...] = ()


def routed(routes: RoutesSpec, level: Escalation) -> tuple[str, ...]:
    """The channels of a level.

    >>> routed(RoutesSpec(critical=("pager", "slack")), Escalation.CRITICAL)
    ('pager', 'slack')
    """
    return {
        Escalation.CRITICAL: routes.critical,
        Escalation.WARNING: routes.warning,
        Escalation.INFO: routes.info,
    }[level]


def channels_of(
    monitor: Monitor, configured: Mapping[str, object] | Collection[str], *, routes: RoutesSpec = NO_ROUTES
) -> Route:
    """Where a monitor's digests go: always to the console, and to whom its actions or the routes name.

    An action that leads nowhere is a problem that is reported, and no reason not to tell the others. Addresses that
    stand in the document itself are not used, and not repeated in the problem: they may be secrets.
    """
    names, problems, known = list[str](), list[str](), {CONSOLE, *configured}
    by_level = False
    for action in monitor.actions:
        channel = action.target if isinstance(action, GlobalAction) else None if action.target else action.id
        if channel is None:
            problems.append(
                f"monitor {monitor.id}: the address in its {action.type} action is not used; set it up as a channel "
                'and name that: {"type": "global", "target": "slack"}'
            )
        elif channel == ROUTES:
            by_level = True
        elif channel in known:
            names.append(channel)
        else:
            problems.append(f"monitor {monitor.id}: {_unknown(channel, known)}")
    if by_level or not {*names} - {CONSOLE}:
        level = Escalation.of(monitor.severity)
        for channel in routed(routes, level):
            if channel in known:
                names.append(channel)
            else:
                problems.append(f"{CHANNELS_FILE}, routes of {level}: {_unknown(channel, known)}")
    return Route(tuple(dict.fromkeys([CONSOLE, *names])), tuple(problems))


def address(
    document: MonitorDocument,
    digests: Sequence[Digest],
    channels: Mapping[str, object] | Collection[str],
    *,
    routes: RoutesSpec = NO_ROUTES,
) -> tuple[list[tuple[Digest, Sequence[str]]], list[str]]:
    """Each digest with the channels that it goes to, and what actions and routes name in vain."""
    monitors = {monitor.id: monitor for monitor in document.monitors}
    addressed: list[tuple[Digest, Sequence[str]]] = []
    problems: dict[str, None] = {}
    for digest in digests:
        route = channels_of(monitors[digest.monitor_id], channels, routes=routes)
        problems.update(dict.fromkeys(route.problems))
        addressed.append((digest, route.channels))
    return addressed, list(problems)


def _unknown(channel: str, known: Collection[str]) -> str:
    return f"no channel {channel!r} is configured; there are: {', '.join(sorted(known))}"
