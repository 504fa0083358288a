"""What is to be said of incidents that people were told of, and of channels that are down: who, when, and once.

Pure: the same incidents, rules and moment give the same messages with the same names, which the outbox uses so that
nothing is said twice. An incident escalates while it is open, and nobody has acknowledged, snoozed or judged it. What
became of it (acknowledged, resolved, opened again) follows the message that told of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from monitoring_pipeline.alerting.channels.protocol import Step
from monitoring_pipeline.alerting.digests import Escalation
from monitoring_pipeline.alerting.routes import routed
from monitoring_pipeline.config.channels import CONSOLE, ChannelsFile, EscalationSpec
from monitoring_pipeline.store.backlogs import Backlog
from monitoring_pipeline.store.channel_states import ChannelState
from monitoring_pipeline.store.digests import ESCALATION, STEP
from monitoring_pipeline.store.telling import Standing
from monitoring_pipeline.timegrid import Duration, to_micros

OUTAGE_AFTER = Duration.parse("PT2H")
"""When others hear of a channel that is down, unless `channels.yaml` says so itself."""


@dataclass(frozen=True)
class Due:
    """One message that is to be recorded: of which kind, about which incident, to which channels.

    `name` is unique among the messages about the incident and stays the same. `severity` is that of the message,
    `reason` says why, in words; a `step` is what became of the incident, None that it goes on.
    """

    kind: str
    incident: str
    name: str
    to: tuple[str, ...]
    severity: int
    reason: str
    step: Step | None = None

    def dedup_key(self, dataset: str) -> str:
        """The key under which the outbox takes it once."""
        return hashlib.sha256(f"{dataset}\n{self.incident}\n{self.name}".encode()).hexdigest()


def due(
    standing: Standing,
    rules: ChannelsFile,
    *,
    now: datetime,
    followers: Collection[str] = (),
    threads: Collection[str] = (),
) -> list[Due]:
    """What is to be said of an incident now and has not been said yet, in order.

    `followers` are the channels that want to know what became of an incident, `threads` those that can be told quietly
    that it goes on: whenever it has lasted twice as long as they have heard.
    """
    return [
        *_steps(standing, followers),
        *_progress(standing, threads),
        *_escalations(standing, rules, now=now),
    ]


def severity_of(standing: Standing, rules: ChannelsFile) -> int:
    """The severity of an incident: one level higher when it has gone on for as long as `rise` says."""
    if rules.rise is not None and rules.rise.after.after(standing.start) <= standing.end:
        return max(1, min(standing.severity, 3) - 1)
    return standing.severity


def _escalations(standing: Standing, rules: ChannelsFile, *, now: datetime) -> list[Due]:
    since = _unheeded_since(standing, now=now)
    if since is None:
        return []
    severity = severity_of(standing, rules)
    level, episode = Escalation.of(severity), _stamp(standing.reopened)
    found: list[Due] = []
    if rules.rise is not None and severity < standing.severity:
        to, name = routed(rules.routes, level), f"rise:{level.value}"
        reason = f"goes on for {_words(rules.rise.after)}, and counts as {level.value} from now on"
        found.append(Due(ESCALATION, standing.incident, name, to, severity, reason))
    passed = [
        rule for rule in rules.escalation if level.value in rule.levels and rule.after.after(since) <= now
    ]
    for rule in sorted(passed, key=lambda rule: rule.after.after(since)):
        reason = f"nobody has acknowledged this for {_words(rule.after)}"
        name = f"escalation:{_name(rule)}:{episode}"
        found.append(Due(ESCALATION, standing.incident, name, tuple(rule.to), severity, reason))
    # Who would get several at once gets the last one, also when the others were due while nobody was there to send.
    fresh = [one for one in found if one.name not in standing.said]
    return [
        Due(
            one.kind,
            one.incident,
            one.name,
            tuple(name for name in one.to if not any(name in later.to for later in fresh[at + 1 :])),
            one.severity,
            one.reason,
        )
        for at, one in enumerate(fresh)
    ]


def _unheeded_since(standing: Standing, *, now: datetime) -> datetime | None:
    """Since when nobody has cared about an incident that people were told of; None when somebody has, or need not."""
    if standing.status != "open" or standing.verdict is not None:
        return None
    if standing.snoozed_until is not None and standing.snoozed_until > now:
        return None
    opened = max(standing.told, standing.reopened or standing.told)
    if standing.acknowledged is not None and standing.acknowledged >= (
        standing.reopened or standing.acknowledged
    ):
        return None
    return max(opened, standing.snoozed_until or opened)


def _steps(standing: Standing, followers: Collection[str]) -> list[Due]:
    to = tuple(name for name in standing.channels if name in followers)
    if not to or standing.status == "merged":
        return []
    moments: list[tuple[datetime | None, Step, str]] = [
        (
            standing.acknowledged,
            Step.ACKNOWLEDGED,
            f"acknowledged by {standing.acknowledged_by or 'somebody'}",
        ),
        (standing.resolved if standing.status == "resolved" else None, Step.RESOLVED, "resolved"),
        (standing.reopened if standing.status == "open" else None, Step.REOPENED, "it is back"),
    ]
    happened = [(moment, step, words) for moment, step, words in moments if moment is not None]
    dues = [
        Due(
            STEP, standing.incident, f"step:{step.value}:{_stamp(moment)}", to, standing.severity, words, step
        )
        for moment, step, words in sorted(happened)
    ]
    return [one for one in dues if one.name not in standing.said]


def _progress(standing: Standing, threads: Collection[str]) -> list[Due]:
    to, heard = tuple(name for name in standing.channels if name in threads), standing.heard_until
    if not to or heard is None or standing.status != "open" or standing.verdict is not None:
        return []
    if standing.end - standing.start < 2 * (heard - standing.start):
        return []
    name = f"progress:{_stamp(standing.end)}"
    return [Due(STEP, standing.incident, name, to, standing.severity, "it goes on")]


@dataclass(frozen=True)
class ChannelNews:
    """What is to be told through other channels of one that is down, or that works again (`is_over`)."""

    channel: str
    key: str
    to: tuple[str, ...]
    since: datetime | None = None
    backlog: Backlog | None = None
    error: str | None = None
    is_over: bool = False


def channel_news(
    states: Mapping[str, ChannelState],
    backlogs: Sequence[Backlog],
    rules: ChannelsFile,
    *,
    channels: Collection[str],
    now: datetime,
) -> list[ChannelNews]:
    """Outages that others should hear of by now, and those that are over: each once, to the first channel that works."""
    after = rules.outage.after if rules.outage else OUTAGE_AFTER
    left = {backlog.channel: backlog for backlog in backlogs}
    news: list[ChannelNews] = []
    for name, state in states.items():
        backlog = left.get(name)
        if state.failing_since is None:
            if state.outage is not None:
                news.append(ChannelNews(name, f"{state.outage}:over", (), is_over=True))
        elif state.outage is None and backlog is not None and after.after(state.failing_since) <= now:
            key = f"outage:{name}:{to_micros(state.failing_since)}"
            to = _elsewhere(name, states, rules, channels)
            news.append(ChannelNews(name, key, to, state.failing_since, backlog, state.error))
    return news


def _elsewhere(
    down: str, states: Mapping[str, ChannelState], rules: ChannelsFile, channels: Collection[str]
) -> tuple[str, ...]:
    """Whom to tell of a channel that is down, besides the log: the first of those named, or of all, that works."""
    named = rules.outage.to if rules.outage else tuple(sorted(name for name in channels if name != CONSOLE))
    possible = [name for name in named if name in channels and name != down]
    working = [name for name in possible if name not in states or states[name].failing_since is None]
    return tuple(dict.fromkeys([*(name for name in [CONSOLE] if name != down), *(working or possible)[:1]]))


def _name(rule: EscalationSpec) -> str:
    return f"{rule.after}>{','.join(rule.levels)}>{','.join(rule.to)}"


def _stamp(moment: datetime | None) -> str:
    return "" if moment is None else str(to_micros(moment))


def _words(length: Duration) -> str:
    """A duration in words.

    >>> _words(Duration.parse("PT90M")), _words(Duration.parse("P1D")), _words(Duration.parse("P1M"))
    ('90 minutes', '1 day', 'P1M')
    """
    seconds = int(length.length.total_seconds())
    if length.months or seconds <= 0 or seconds % 60:
        return str(length)
    for size, noun in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds % size == 0:
            number = seconds // size
            return f"{number} {noun}{'s' if number != 1 else ''}"
    return str(length)
