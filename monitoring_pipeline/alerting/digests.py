"""Results → digests: what a monitor has to say, once, about the anomalies of its analyzers.

Pure: the same results give the same digests with the same `dedup_key`, which the outbox uses so that nothing is ever
said twice. Failures never alert. A digest holds statistics over all its anomalies, a sample of the newest ones, and the
incidents that they add up to.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Self, cast

from monitoring_pipeline.alerting.anomalies import Anomaly, newest_first
from monitoring_pipeline.alerting.evidence import ILLUSTRATED, Evidence
from monitoring_pipeline.alerting.filters import accepts, accepts_all, in_time, total_weight
from monitoring_pipeline.alerting.incidents import Incident, group_anomalies
from monitoring_pipeline.analysis.result import AnalyzerResult
from monitoring_pipeline.config.document import MonitorDocument
from monitoring_pipeline.config.entity_schema import WeightConfig
from monitoring_pipeline.config.monitors import DigestMode, Monitor
from monitoring_pipeline.timegrid import Granularity, TimeRange, parse_moment, utc

SAMPLE = 100
"""Anomalies that a digest shows one by one, newest first."""

LISTED = 100
"""Columns, segments and incidents that a digest lists; the counts are over all of them."""


class Escalation(StrEnum):
    """Who is told, by severity: 1 critical (e-mail, Slack, PagerDuty), 2 warning (Slack), 3 info (logged)."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"

    @classmethod
    def of(cls, severity: int) -> Escalation:
        """The level of a severity."""
        if severity <= 1:
            return cls.CRITICAL
        return cls.WARNING if severity == 2 else cls.INFO


@dataclass(frozen=True)
class Tally:
    """Anomalies of one column or segment: how many, and the first and last bucket that holds one."""

    name: str
    anomalies: int
    earliest: datetime
    latest: datetime

    def to_json(self) -> dict[str, object]:
        """As JSON values."""
        return {
            "name": self.name,
            "anomalies": self.anomalies,
            "earliest": self.earliest.isoformat(),
            "latest": self.latest.isoformat(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> Self:
        """Inverse of `to_json`."""
        return cls(
            str(data["name"]),
            int(cast("int", data["anomalies"])),
            parse_moment(str(data["earliest"])),
            parse_moment(str(data["latest"])),
        )


@dataclass(frozen=True, kw_only=True)
class Digest:
    """One notification of one monitor, independent of where it is sent.

    `period` is half-open and covers the buckets of all anomalies. `columns` and `segments` are the statistics over all
    anomalies, most anomalies first ("" is the dataset, or all data), `sample` and `incidents` are cut; the `…_count`
    fields are not. `dedup_key` names the monitor and the anomalies, and nothing that differs between runs.
    """

    organisation: str
    dataset: str
    granularity: Granularity
    monitor_id: str
    monitor_name: str
    run_id: str
    mode: str
    severity: int
    created: datetime
    period: TimeRange
    anomaly_count: int
    column_count: int
    segment_count: int
    incident_count: int
    total_weight: float | None
    columns: tuple[Tally, ...]
    segments: tuple[Tally, ...]
    sample: tuple[Anomaly, ...]
    incidents: tuple[Incident, ...]
    dedup_key: str
    order: tuple[str, ...] = ()
    """What the message orders its anomalies by (`groupBy`), before time."""
    link: str | None = None
    """Where a person can look further."""
    evidence: tuple[Evidence, ...] = ()
    """Of the worst anomalies: their metric over the last buckets, and what moved."""
    normal_columns: int | None = None
    """Other columns that the monitor's analyzers judged at the same time and found normal; None where nobody counted."""

    @property
    def level(self) -> Escalation:
        """The escalation level of the severity."""
        return Escalation.of(self.severity)

    @property
    def last_bucket(self) -> datetime:
        """The newest bucket with an anomaly."""
        return self.granularity.shift(self.period.end, -1)

    def to_json(self) -> dict[str, object]:
        """As JSON values, with the version of this layout."""
        return {
            **self.__dict__,
            "schema_version": 1,
            "granularity": self.granularity.value,
            "level": self.level.value,
            "created": self.created.isoformat(),
            "period": {"start": self.period.start.isoformat(), "end": self.period.end.isoformat()},
            "order": list(self.order),
            "columns": [tally.to_json() for tally in self.columns],
            "segments": [tally.to_json() for tally in self.segments],
            "sample": [anomaly.to_json() for anomaly in self.sample],
            "incidents": [incident.to_json() for incident in self.incidents],
            "evidence": [one.to_json() for one in self.evidence],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> Self:
        """Inverse of `to_json`."""
        values = {name: value for name, value in data.items() if name not in ("schema_version", "level")}
        period = cast("Mapping[str, str]", data["period"])
        values["granularity"] = Granularity.parse(str(data["granularity"]))
        values["created"] = parse_moment(str(data["created"]))
        values["period"] = TimeRange(parse_moment(period["start"]), parse_moment(period["end"]))
        values["order"] = tuple(cast("Sequence[str]", data.get("order") or ()))
        values["columns"] = tuple(Tally.from_json(one) for one in _records(data["columns"]))
        values["segments"] = tuple(Tally.from_json(one) for one in _records(data["segments"]))
        values["sample"] = tuple(Anomaly.from_json(one) for one in _records(data["sample"]))
        values["incidents"] = tuple(Incident.from_json(one) for one in _records(data["incidents"]))
        values["evidence"] = tuple(Evidence.from_json(one) for one in _records(data.get("evidence") or ()))
        return cls(**values)  # pyright: ignore[reportArgumentType]


def build_digests(
    document: MonitorDocument,
    results: Sequence[AnalyzerResult],
    *,
    now: datetime,
    run_id: str | None,
    weights: WeightConfig | None = None,
    organisation: str | None = None,
    incidents: Sequence[Incident] = (),
    link: str | None = None,
    monitors: Sequence[Monitor] | None = None,
    held: bool = False,
) -> list[Digest]:
    """The digests of all enabled monitors of a document (or of some of them), in the document's order.

    A monitor with the immediate schedule speaks about the results of `run_id` only (None: of any run); the others about
    all results given, and those are what belongs to one moment of their schedule (`speaking`). `held` results were in
    time when they were found, and waited for that moment. `weights` and `organisation` default to the document's; a weight that a result carries wins.
    `incidents` are those of the dataset as they are known: a digest calls its incidents by their names. Nothing comes
    out for a monitor without anomalies after its filter.
    """
    weights = weights or document.weight_config
    known = {member.analysis_id: incident for incident in incidents for member in incident.members}
    digests: list[Digest] = []
    for monitor in document.monitors if monitors is None else monitors:
        if monitor.disabled:
            continue
        timely = [
            result
            for result in results
            if _is_for(monitor, result) and (held or in_time(monitor, result, now=utc(now), run_id=run_id))
        ]
        anomalies = _anomalies(document, monitor, timely, weights=weights)
        anomalies = accepts_all(monitor, anomalies)
        together = anomalies and isinstance(monitor.mode, DigestMode)
        digests += [
            _digest(
                document.dataset_id,
                monitor,
                group,
                now=utc(now),
                run_id=run_id or "",
                organisation=organisation or document.org_id,
                known=known,
                link=link,
            )
            for group in ([anomalies] if together else [[anomaly] for anomaly in anomalies])
        ]
    return digests


def illustrated(digest: Digest, known: Mapping[str, Evidence]) -> Digest:
    """The digest with the evidence that there is of its anomalies, by analysis id, and the sentences that go with it."""
    wanted = [incident.worst for incident in digest.incidents] + list(digest.sample)
    chosen = list(dict.fromkeys(one.analysis_id for one in wanted if one.analysis_id in known))[:ILLUSTRATED]

    def told(anomaly: Anomaly) -> Anomaly:
        found = known.get(anomaly.analysis_id)
        return replace(anomaly, sentence=found.sentence) if found else anomaly

    return replace(
        digest,
        evidence=tuple(known[one] for one in chosen),
        sample=tuple(told(one) for one in digest.sample),
        incidents=tuple(replace(one, worst=told(one.worst)) for one in digest.incidents),
    )


def to_hold(monitor: Monitor, results: Sequence[AnalyzerResult], *, now: datetime) -> list[AnalyzerResult]:
    """The anomalies, found now, that a monitor is to tell of when its schedule comes, whatever its filter will say."""
    if monitor.disabled:
        return []
    return [one for one in results if _is_for(monitor, one) and in_time(monitor, one, now=now, run_id=None)]


def _is_for(monitor: Monitor, result: AnalyzerResult) -> bool:
    return result.analyzer_id in monitor.analyzer_ids and result.is_anomaly and not result.failed


def _anomalies(
    document: MonitorDocument,
    monitor: Monitor,
    results: Sequence[AnalyzerResult],
    *,
    weights: WeightConfig | None,
) -> list[Anomaly]:
    """The anomalies that pass the filter; each verdict once."""
    analyzers = {
        analyzer.id: analyzer for analyzer in document.analyzers if analyzer.id in monitor.analyzer_ids
    }
    found: dict[str, Anomaly] = {}
    for result in results:
        weight = result.segment_weight
        if weight is None and weights is not None and result.column:
            weight = weights.weight(result.column, result.segment)
        if not accepts(monitor, result, weight=weight, weights=weights):
            continue
        analyzer = analyzers.get(result.analyzer_id)
        found[result.analysis_id] = Anomaly.of(
            result, severity=monitor.severity, weight=weight, analyzer=analyzer
        )
    return sorted(found.values(), key=newest_first)


def _digest(
    dataset: str,
    monitor: Monitor,
    anomalies: Sequence[Anomaly],
    *,
    now: datetime,
    run_id: str,
    organisation: str,
    known: Mapping[str, Incident],
    link: str | None,
) -> Digest:
    granularity = anomalies[0].granularity
    columns = _tallies(anomalies, lambda anomaly: anomaly.column)
    segments = _tallies(anomalies, lambda anomaly: anomaly.segment)
    incidents = [_as_known(incident, known) for incident in group_anomalies(anomalies)]
    first, last = min(one.bucket for one in anomalies), max(one.bucket for one in anomalies)
    return Digest(
        organisation=organisation,
        dataset=dataset,
        granularity=granularity,
        monitor_id=monitor.id,
        monitor_name=monitor.display_name or monitor.id,
        run_id=run_id,
        mode=str(monitor.mode.type),
        severity=monitor.severity,
        created=now,
        period=TimeRange(first, granularity.shift(last, 1)),
        anomaly_count=sum(anomaly.count for anomaly in anomalies),
        column_count=sum(tally.name != "" for tally in columns),
        segment_count=len(segments),
        incident_count=len(incidents),
        total_weight=total_weight(anomalies),
        columns=columns[:LISTED],
        segments=segments[:LISTED],
        sample=tuple(sorted(anomalies, key=newest_first)[:SAMPLE]),
        incidents=tuple(incidents[:LISTED]),
        dedup_key=_dedup_key(organisation, dataset, monitor.id, anomalies),
        order=tuple(monitor.mode.group_by) if isinstance(monitor.mode, DigestMode) else (),
        link=link,
    )


def _tallies(anomalies: Sequence[Anomaly], name: Callable[[Anomaly], str]) -> tuple[Tally, ...]:
    """Statistics by name, most anomalies first."""
    by_name: defaultdict[str, list[Anomaly]] = defaultdict(list)
    for anomaly in anomalies:
        by_name[name(anomaly)].append(anomaly)
    tallies = [
        Tally(
            key,
            sum(anomaly.count for anomaly in group),
            min(anomaly.bucket for anomaly in group),
            max(anomaly.bucket for anomaly in group),
        )
        for key, group in by_name.items()
    ]
    return tuple(sorted(tallies, key=lambda tally: (-tally.anomalies, tally.name)))


def _as_known(incident: Incident, known: Mapping[str, Incident]) -> Incident:
    """The incident without its members, under the name and with the start of the known one that it belongs to."""
    told = replace(incident, members=(), watched=())
    for member in incident.members:
        if other := known.get(member.analysis_id):
            back = other.returned if other.returned and other.returned >= incident.start else None
            return replace(
                told,
                id=other.id,
                title=f"{told.title} (came back)" if back or (other.closed and other.told) else told.title,
                start=min(other.start, incident.start),
                status=other.status,
                returned=back,
                likely_cause=other.likely_cause,
            )
    return told


def _dedup_key(organisation: str, dataset: str, monitor_id: str, anomalies: Sequence[Anomaly]) -> str:
    names = [organisation, dataset, monitor_id, *sorted(anomaly.analysis_id for anomaly in anomalies)]
    return hashlib.sha256("\n".join(names).encode()).hexdigest()


def _records(value: object) -> Sequence[Mapping[str, object]]:
    return cast("Sequence[Mapping[str, object]]", value)
