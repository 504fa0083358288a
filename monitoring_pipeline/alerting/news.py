"""Whether an anomaly is news: an incident is told when it opens, when it gets much worse, and when it comes back.

Worse is a more severe monitor, or an anomaly `WORSE` times as bad as what was told. In between it is updated quietly. What counts is where a message goes: two monitors that lead to the same people tell
them of an incident once, the more severe one first, and one that leads elsewhere tells those. What people said holds:
an incident that is acknowledged or snoozed is not told again unless it becomes more severe than it was then, and of a
series that somebody called expected or unhelpful nobody hears any more within the incident. A monitor that tells of
every anomaly tells of every one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Self, cast

from monitoring_pipeline.alerting.incidents import Incident, Series, Told
from monitoring_pipeline.analysis.result import AnalyzerResult
from monitoring_pipeline.config.monitors import DigestMode, GlobalAction, Monitor
from monitoring_pipeline.timegrid import parse_moment

WORSE = 10.0
"""How many times as bad an anomaly is told again, whatever its severity: not the same thing any more."""


@dataclass(frozen=True, kw_only=True)
class Said:
    """What people said of an incident, as the store keeps it."""

    acknowledged_at: datetime | None = None
    snoozed_until: datetime | None = None
    reopened_at: datetime | None = None
    quiet_severity: int | None = None
    """How severe it was when somebody acknowledged or snoozed it."""
    muted: frozenset[Series] = frozenset()

    @classmethod
    def of(cls, record: Mapping[str, object]) -> Self:
        """Out of a record of `store.incidents`."""
        muted = cast("Sequence[Sequence[str]]", record.get("muted") or ())
        return cls(
            acknowledged_at=_moment(record.get("acknowledged_at")),
            snoozed_until=_moment(record.get("snoozed_until")),
            reopened_at=_moment(record.get("reopened_at")),
            quiet_severity=cast("int | None", record.get("quiet_severity")),
            muted=frozenset((one[0], one[1], one[2]) for one in muted),
        )

    def quiets(self, severity: int, *, now: datetime, returned: bool) -> bool:
        """Whether a message of that severity stays unsaid. An acknowledgement ends when the incident comes back."""
        snoozed = self.snoozed_until is not None and now < self.snoozed_until
        acknowledged = self.acknowledged_at is not None and not returned
        if acknowledged and self.reopened_at is not None:
            acknowledged = cast("datetime", self.acknowledged_at) >= self.reopened_at
        return (snoozed or acknowledged) and severity >= (self.quiet_severity or 1)


_NOTHING = Said()


@dataclass(frozen=True)
class News:
    """The incidents near a run with what people said of them, by id, those that became part of others among them."""

    incidents: Mapping[str, Incident]
    said: Mapping[str, Said]
    incident_of: Mapping[str, str]
    """Of every anomaly, by analysis id."""
    badness_of: Mapping[str, float]

    @classmethod
    def of(cls, incidents: Iterable[Incident], said: Mapping[str, Said]) -> Self:
        """News about these incidents."""
        by_id = {incident.id: incident for incident in incidents}
        members = [(member, incident.id) for incident in by_id.values() for member in incident.members]
        return cls(
            by_id,
            {name: _together(name, by_id, said) for name in by_id},
            {member.analysis_id: name for member, name in members},
            {member.analysis_id: member.badness for member, _ in members},
        )

    def of_monitor(
        self, monitor: Monitor, results: Sequence[AnalyzerResult], *, now: datetime
    ) -> list[AnalyzerResult]:
        """The anomalies that the monitor tells of now, as far as that is for incidents and people to say."""
        heard = [one for one in results if not self.is_muted(one)]
        if not isinstance(monitor.mode, DigestMode):
            return heard
        return [one for one in heard if self._is_news(monitor, one, now=now)]

    def is_muted(self, result: AnalyzerResult) -> bool:
        """Whether a person said that nobody needs to hear of this series within its incident."""
        name = self.incident_of.get(result.analysis_id)
        series = (result.analyzer_id, result.column, result.segment)
        return name is not None and series in self.said[name].muted

    def told_by(self, monitor: Monitor, told: Iterable[Incident]) -> News:
        """The same after the monitor has told of incidents, as its digest shows them."""
        if not isinstance(monitor.mode, DigestMode):
            return self
        changed = dict(self.incidents)
        for shown in told:
            if (incident := changed.get(shown.id)) is not None:
                now = Told(monitor.severity, shown.last_bucket, shown.worst.badness)
                places_told = {place: now.also(incident.told.get(place)) for place in places(monitor)}
                changed[shown.id] = replace(incident, told={**incident.told, **places_told})
        return replace(self, incidents=changed)

    def _is_news(self, monitor: Monitor, result: AnalyzerResult, *, now: datetime) -> bool:
        name = self.incident_of.get(result.analysis_id)
        if name is None:
            return True
        incident = self.incidents[name]
        told = [incident.told.get(place) for place in places(monitor)]
        back = any(one is not None and has_come_back(incident, since=one.bucket) for one in told)
        if self.said[name].quiets(monitor.severity, now=now, returned=back):
            return False
        badness = self.badness_of[result.analysis_id]
        return back or any(
            one is None or monitor.severity < one.severity or badness >= WORSE * one.badness for one in told
        )


def has_come_back(incident: Incident, *, since: datetime) -> bool:
    """Whether an incident that was told of with its bucket `since` has come back after that, or was closed and goes on."""
    if incident.returned is not None and incident.returned > since:
        return True
    return incident.closed is not None and since < incident.closed < incident.end


def reopened(before: Iterable[Incident], after: Iterable[Incident]) -> set[str]:
    """Ids of the incidents that were over, and have come back."""
    over = {incident.id: incident for incident in before if incident.status == "resolved"}
    return {
        incident.id
        for incident in after
        if incident.status == "open"
        and incident.id in over
        and has_come_back(incident, since=over[incident.id].last_bucket)
    }


def places(monitor: Monitor) -> tuple[str, ...]:
    """Where a monitor's messages lead, by the names that its actions have; "" is the log, where all of them go.

    Addresses are no names: they may be secrets, and what is told is kept with the incident.
    """
    named = [
        action.target if isinstance(action, GlobalAction) else action.id or action.type
        for action in monitor.actions
    ]
    return tuple(dict.fromkeys(named)) or ("",)


def _together(name: str, incidents: Mapping[str, Incident], said: Mapping[str, Said]) -> Said:
    """What was said of an incident, with what is muted of those that have become part of it."""
    own = said.get(name, _NOTHING)
    parts = [said[part] for part in incidents[name].absorbed if part in said]
    return replace(own, muted=own.muted.union(*(part.muted for part in parts)))


def _moment(value: object) -> datetime | None:
    return parse_moment(str(value)) if value else None
