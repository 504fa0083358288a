"""Messages that are no digests, as they are recorded and as people read them.

An escalation is a digest of one incident with the reason why it comes again. A step says what became of an incident, an
outage that a channel has refused messages for a time, a recovery that it takes them again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import cast

from monitoring_pipeline.alerting.channels.protocol import Step
from monitoring_pipeline.alerting.digests import SAMPLE, Digest, Escalation
from monitoring_pipeline.alerting.escalation import ChannelNews, Due
from monitoring_pipeline.alerting.figures import how_many, name, span
from monitoring_pipeline.alerting.incidents import Incident
from monitoring_pipeline.alerting.messages import Facts, Item, Items, Message, message_of
from monitoring_pipeline.store.datasets import DatasetRef
from monitoring_pipeline.store.digests import ESCALATION, OUTAGE, RECOVERY, STEP
from monitoring_pipeline.timegrid import TimeRange, parse_moment

JsonObject = dict[str, object]


def incident_notice(
    due: Due, incident: Incident, ref: DatasetRef, *, now: datetime, link: str | None = None
) -> JsonObject:
    """An escalation or a step, as it is recorded; `link` is where a person can look further."""
    told = replace(incident, members=(), watched=())
    period = {"start": incident.start.isoformat(), "end": incident.end.isoformat()}
    content: JsonObject = {
        "dedup_key": due.dedup_key(ref.dataset_id),
        "monitor_id": due.name,
        "severity": due.severity,
        "reason": due.reason,
        "period": period,
        "incidents": [{"id": incident.id}],
    }
    if due.kind == STEP:
        return {
            **content,
            "step": due.step.value if due.step else None,
            "incident": told.to_json(),
            "dataset": ref.dataset_id,
        }
    members = incident.members or (incident.worst,)
    granularity = incident.worst.granularity
    digest = Digest(
        organisation=ref.organisation,
        dataset=ref.dataset_id,
        granularity=granularity,
        monitor_id=due.name,
        monitor_name="escalation",
        run_id="",
        mode="ESCALATION",
        severity=due.severity,
        created=now,
        period=TimeRange(incident.start, incident.end),
        anomaly_count=incident.anomaly_count,
        column_count=sum(bool(column) for column in incident.columns),
        segment_count=len(incident.segments),
        incident_count=1,
        total_weight=None,
        columns=(),
        segments=(),
        sample=tuple(sorted(members, key=lambda one: one.bucket, reverse=True)[:SAMPLE]),
        incidents=(told,),
        dedup_key=str(content["dedup_key"]),
        link=link,
    )
    return {**content, "digest": digest.to_json()}


def channel_notice(news: ChannelNews) -> JsonObject:
    """An outage or a recovery, as it is recorded."""
    content: JsonObject = {
        "dedup_key": news.key,
        "monitor_id": RECOVERY if news.is_over else OUTAGE,
        "severity": 3 if news.is_over else 2,
        "channel": news.channel,
    }
    if news.is_over or news.backlog is None or news.since is None:
        return {**content, "about": news.key.removesuffix(":over")}
    return {
        **content,
        "since": news.since.isoformat(),
        "waiting": news.backlog.waiting,
        "given_up": news.backlog.given_up,
        "error": news.error,
    }


def escalation_digest(content: Mapping[str, object]) -> Digest:
    """The digest inside an escalation."""
    return Digest.from_json(cast("Mapping[str, object]", content["digest"]))


def step_of(content: Mapping[str, object]) -> tuple[Incident, Step | None, str]:
    """What a step says: the incident, what became of it (None: it goes on), the dataset."""
    incident = Incident.from_json(cast("Mapping[str, object]", content["incident"]))
    step = content["step"]
    return incident, None if step is None else Step(str(step)), str(content["dataset"])


def notice_message(kind: str, content: Mapping[str, object], *, recorded: datetime) -> Message:
    """The message that people read, the same whenever it is sent. Raises KeyError, TypeError or ValueError when the record cannot be understood."""
    if kind == ESCALATION:
        message = message_of(escalation_digest(content))
        reason = str(content["reason"])
        return replace(
            message,
            title=f"{reason[0].upper()}{reason[1:]}: {message.title}",
            summary=f"{reason[0].upper()}{reason[1:]}: {message.summary}",
        )
    if kind == STEP:
        incident, step, dataset = step_of(content)
        title = f"{name(dataset)}: {content['reason']}: {incident.title}"
        words = {
            Step.ACKNOWLEDGED: "Nobody else is asked to look while it is acknowledged.",
            Step.RESOLVED: "Everything that was part of it has been normal since.",
            Step.REOPENED: "What was resolved is anomalous again.",
            None: f"{how_many(incident.anomaly_count, 'anomaly', 'anomalies')} by now, "
            f"{span(incident.start, incident.last_bucket, incident.worst.granularity)}.",
        }[step]
        level = Escalation.of(incident.severity) if step is Step.REOPENED else Escalation.INFO
        return Message(level, title, title, (Items("What became of it", (Item(incident.title, (words,)),)),))
    channel = name(str(content["channel"]))
    if kind == RECOVERY:
        title = f"`{channel}` takes messages again"
        return Message(Escalation.INFO, title, title, (Facts((("channel", channel),)),))
    since = parse_moment(str(content["since"]))
    waiting, given_up = int(cast("int", content["waiting"])), int(cast("int", content["given_up"]))
    left = [f"{how_many(waiting, 'message')} {'waits' if waiting == 1 else 'wait'}"] if waiting else []
    left += (
        [f"{how_many(given_up, 'message')} {'was' if given_up == 1 else 'were'} given up"] if given_up else []
    )
    title = f"`{channel}` has refused messages for {_long(recorded, since)}: {', '.join(left)}"
    facts = [("since", f"{since:%Y-%m-%d %H:%M} UTC"), ("last answer", str(content.get("error") or "none"))]
    again = "what waits is sent by itself when the channel works again"
    facts.append(("what to do", f"{again}; what was given up by `monitor digest --send --again`"))
    return Message(Escalation.WARNING, title, title, (Facts(tuple(facts)),))


def _long(now: datetime, since: datetime) -> str:
    """How long something has lasted, in whole hours or minutes."""
    minutes = max(0, int((now - since).total_seconds() // 60))
    return how_many(minutes // 60, "hour") if minutes >= 60 else how_many(minutes, "minute")
