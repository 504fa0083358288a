"""What goes out: the outbox with its channels, and what has become due without a run.

`send` is the second half of the pipeline's last step, `deliver`; `escalate` puts what is to be said of incidents and
channels by now into the outbox.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from monitoring_pipeline.alerting import delivery, escalation
from monitoring_pipeline.alerting.channels import Channel, configured_channels
from monitoring_pipeline.alerting.delivery import DeliveryReport
from monitoring_pipeline.alerting.incidents import Incident
from monitoring_pipeline.alerting.notices import channel_notice, incident_notice
from monitoring_pipeline.config.channels import CONSOLE, load_channels
from monitoring_pipeline.links import Links
from monitoring_pipeline.store import channel_states, digests, telling
from monitoring_pipeline.store.backlogs import Backlog
from monitoring_pipeline.store.channel_states import ChannelState
from monitoring_pipeline.store.digests import STEP
from monitoring_pipeline.store.telling import Announcement, Saying, Standing
from monitoring_pipeline.workspace import Workspace


def send(workspace: Workspace, *, channels: Mapping[str, Channel] | None = None) -> DeliveryReport:
    """Send what waits in the outbox, through the configured channels unless given. Safe at any time and again.

    First what has become due without a run is recorded (`escalate`), and afterwards that channels are down, or work
    again, which others hear at once.
    """
    chosen = configured_channels(workspace.settings) if channels is None else channels
    escalate(workspace, channels=chosen)
    report = delivery.deliver(workspace.store, chosen, now=workspace.now())
    if not _tell_of_channels(workspace, chosen):
        return report
    second = delivery.deliver(workspace.store, chosen, now=workspace.now())
    return DeliveryReport(
        report.delivered + second.delivered,
        report.failed + second.failed,
        second.waiting,
        tuple(dict.fromkeys([*report.problems, *second.problems])),
    )


def send_again(workspace: Workspace) -> int:
    """Let what was given up wait in the outbox once more, and return how many messages that is."""
    return digests.try_again(workspace.store, now=workspace.now())


def escalate(workspace: Workspace, *, channels: Mapping[str, Channel] | None = None) -> int:
    """Record what is to be said by now without a run, and return how many messages are new in the outbox.

    Of incidents: that nobody cares, that somebody does, that they are over. Of channels: that they are down, or work
    again. Each is recorded once, however often this is called, and it costs next to nothing when nothing is due.
    """
    chosen = configured_channels(workspace.settings) if channels is None else channels
    rules, store, now = load_channels(workspace.home), workspace.store, workspace.now()
    news = _tell_of_channels(workspace, chosen)
    standings = telling.standings(store, now=now)
    links = Links.of(workspace.settings)
    follow, quietly = delivery.followers(chosen), delivery.threads(chosen)
    touched: dict[int, list[Standing]] = {}
    for one in standings:
        if escalation.due(one, rules, now=now, followers=follow, threads=quietly):
            touched.setdefault(one.dataset.pk, []).append(one)

    def say(standing: Standing, record: Mapping[str, object]) -> list[Saying]:
        incident = replace(Incident.from_json(record), severity=standing.severity)
        granularity, name = incident.worst.granularity, standing.dataset.dataset_id
        link = links.on_dashboard(name, incident.last_bucket) or links.bucket(
            name, granularity, incident.last_bucket
        )
        return [
            Saying(
                one.kind,
                incident_notice(one, incident, standing.dataset, now=now, link=link),
                [name for name in one.to if name in chosen] + ([] if one.kind == STEP else [CONSOLE]),
            )
            for one in escalation.due(standing, rules, now=now, followers=follow, threads=quietly)
        ]

    return news + sum(
        telling.tell_more(store, group[0].dataset, say, incidents_of=[one.incident for one in group], now=now)
        for group in touched.values()
    )


def _tell_of_channels(workspace: Workspace, channels: Mapping[str, Channel]) -> int:
    """Record what there is to say of channels that are down, or work again; returns how many messages are new."""
    rules, now = load_channels(workspace.home), workspace.now()
    if not channel_states.channel_states(workspace.store):
        return 0

    def say(states: Mapping[str, ChannelState], backlogs: Sequence[Backlog]) -> list[Announcement]:
        return [
            Announcement(
                one.channel,
                one.key,
                channel_notice(one),
                one.to,
                one.backlog.dataset if one.backlog and not one.is_over else None,
            )
            for one in escalation.channel_news(states, backlogs, rules, channels=channels, now=now)
        ]

    return telling.tell_of_channels(workspace.store, say, now=now)
