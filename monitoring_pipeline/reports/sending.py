"""A report on its way to people: by e-mail as a file, to other channels as a message that sums it up.

Each report goes to each channel once: what a channel has accepted is noted in the store, and whoever sends the report of
the same period again sends it only to those that have not got it, unless somebody insists.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from monitoring_pipeline.alerting.channels import Channel, configured_channels
from monitoring_pipeline.alerting.channels.protocol import Speaks
from monitoring_pipeline.alerting.digests import Escalation
from monitoring_pipeline.alerting.figures import how_many, name
from monitoring_pipeline.alerting.messages import Facts, Item, Items, Message
from monitoring_pipeline.config.channels import load_channels
from monitoring_pipeline.errors import DeliveryError, UsageError
from monitoring_pipeline.reports.report import Report
from monitoring_pipeline.store import reports
from monitoring_pipeline.workspace import Workspace

_TOLD = 20


@dataclass(frozen=True)
class Sent:
    """What became of a report at one channel: accepted now, or `before`, or not (`problem`)."""

    channel: str
    before: datetime | None = None
    problem: str = ""
    permanent: bool = False
    """Whether trying again cannot help."""

    @property
    def words(self) -> str:
        """In words."""
        if self.problem:
            return f"{self.channel}: not sent: {self.problem}"
        if self.before is not None:
            return f"{self.channel}: sent already, {self.before:%Y-%m-%d %H:%M} UTC"
        return f"{self.channel}: sent"


def report_channels(workspace: Workspace) -> tuple[str, ...]:
    """The channels that get the weekly report, as `channels.yaml` says."""
    return tuple(dict.fromkeys(load_channels(workspace.home).routes.report))


def send_report(
    workspace: Workspace,
    report: Report,
    path: Path,
    names: Sequence[str],
    *,
    channels: Mapping[str, Channel] | None = None,
    again: bool = False,
    called: str = "",
) -> list[Sent]:
    """Send a report to the channels of these names, and note that it was sent. Never raises for a channel.

    `path` is where the page was written. `called` (else the file's name) tells one report from another. `again` also
    sends it to those that have got it. Raises UsageError for a channel that does not exist or cannot take a report.
    """
    known = configured_channels(workspace.settings) if channels is None else channels
    for one in names:
        if one not in known:
            raise UsageError(f"no channel {one!r} is configured; there are: {', '.join(sorted(known))}")
        if not isinstance(known[one], Speaks):
            raise UsageError(f"the channel {one!r} takes digests only; a report needs e-mail or a chat")
    return [
        _send(workspace, report, path, known[one], one, again=again, key=called or path.name)
        for one in dict.fromkeys(names)
    ]


def _send(
    workspace: Workspace, report: Report, path: Path, channel: Channel, called: str, *, again: bool, key: str
) -> Sent:
    from monitoring_pipeline.alerting.channels.email import Attachment, EmailChannel

    now = workspace.now()
    before = reports.sent_at(workspace.store, key, called)
    if before is not None and not again:
        return Sent(called, before)
    mail = f"report:{key}" + (f":{now.isoformat()}" if again else "")
    try:
        if isinstance(channel, EmailChannel):
            page = Attachment(path.name, report.html.encode())
            receipt = channel.say(message_of_report(report), key=mail, attachments=[page])
        elif isinstance(channel, Speaks):
            receipt = channel.say(message_of_report(report, kept=str(path)), key=mail)
        else:
            return Sent(called, problem="it takes digests only", permanent=True)
    except DeliveryError as error:
        return Sent(called, problem=str(error), permanent=error.permanent)
    except Exception as error:  # noqa: BLE001 - a channel may be anybody's code; its words may hold secrets
        return Sent(called, problem=f"the channel failed with {type(error).__name__}")
    reports.note_sent(workspace.store, key, called, receipt=receipt, now=now)
    return Sent(called)


def message_of_report(report: Report, *, kept: str = "") -> Message:
    """A report as a message: its headline, and a few lines about each dataset. `kept` is where the page is."""
    facts = [("period", report.period.words), ("datasets", f"{report.datasets:,}")]
    if report.open_incidents:
        facts.append(("open incidents", f"{report.open_incidents:,}"))
    if kept:
        facts.append(("page", kept))
    items = tuple(Item(f"`{name(one)}`: {headline}", changes) for one, headline, changes in report.told)
    left = len(items) - _TOLD
    blocks = [Facts(tuple(facts))]
    more = how_many(left, "more dataset") if left > 0 else None
    return Message(
        level=Escalation.WARNING if report.open_incidents or report.broken else Escalation.INFO,
        title=report.subject,
        summary=f"{report.subject} ({report.period.words})",
        blocks=(*blocks, *([Items("Datasets", items[:_TOLD], more)] if items else [])),
    )
