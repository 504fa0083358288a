"""Anomalies with one cause → one incident, opened, extended and resolved.

What belongs together is decided in `joining`; an incident is everything that hangs together so, and what was one stays
one. It is resolved when every series that was part of it has had a normal verdict since, or a person says so, and open
again when it comes back within reach. Whether anybody is to be told of it is decided in `news`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Self, cast

from monitoring_pipeline.alerting.anomalies import Anomaly, severity_of, worst_first
from monitoring_pipeline.alerting.figures import how_many, segment_name
from monitoring_pipeline.alerting.figures import name as shown_name
from monitoring_pipeline.alerting.joining import ECHO, bonds, components, is_volume
from monitoring_pipeline.alerting.wording import MISSING_DATA, canonical, metric_words
from monitoring_pipeline.analysis.result import AnalyzerResult
from monitoring_pipeline.config.analyzers import Analyzer
from monitoring_pipeline.segments import OVERALL
from monitoring_pipeline.timegrid import parse_moment

NAMED = 2
"""Columns and changes that a title names."""

Series = tuple[str, str, str]
"""Analyzer, column, segment."""


class Status(StrEnum):
    """Whether an incident goes on."""

    OPEN = "open"
    RESOLVED = "resolved"


@dataclass(frozen=True)
class Watched:
    """The state of one series of an incident: its last anomaly, and its last normal verdict if there was one."""

    series: Series
    last_anomaly: datetime
    last_normal: datetime | None = None

    @property
    def calm(self) -> bool:
        """Whether it has been normal since, or the anomaly itself, judged again on repaired data."""
        return self.last_normal is not None and self.last_normal >= self.last_anomaly

    def to_json(self) -> dict[str, object]:
        """As JSON values."""
        normal = self.last_normal.isoformat() if self.last_normal else None
        return {
            "series": list(self.series),
            "last_anomaly": self.last_anomaly.isoformat(),
            "last_normal": normal,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> Self:
        """Inverse of `to_json`."""
        analyzer, column, segment = cast("Sequence[str]", data["series"])
        normal = data.get("last_normal")
        return cls(
            (analyzer, column, segment),
            parse_moment(str(data["last_anomaly"])),
            parse_moment(str(normal)) if normal else None,
        )


@dataclass(frozen=True)
class Told:
    """How severe and how bad an incident was when somebody was last told of it, and its last bucket then."""

    severity: int
    bucket: datetime
    badness: float

    def to_json(self) -> dict[str, object]:
        """As JSON values."""
        return {"severity": self.severity, "bucket": self.bucket.isoformat(), "badness": self.badness}

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> Self:
        """Inverse of `to_json`."""
        badness = float(cast("float", data["badness"]))
        return cls(int(cast("int", data["severity"])), parse_moment(str(data["bucket"])), badness)

    def also(self, other: Told | None) -> Told:
        """Both as one: as severe and as bad as the worse, as late as the later."""
        if other is None:
            return self
        return Told(
            min(self.severity, other.severity),
            max(self.bucket, other.bucket),
            max(self.badness, other.badness),
        )


@dataclass(frozen=True, kw_only=True)
class Incident:
    """What went wrong, from `start` to `end` (half-open, whole buckets), worst anomaly first.

    `segments` are those affected; `only_segments` says that all data together looks normal. `members` are all its
    anomalies and `watched` the state of their series; a digest carries neither. `absorbed` are the ids of incidents that
    were known by themselves and turned out to be part of this one.
    """

    id: str
    title: str
    severity: int
    status: Status
    start: datetime
    end: datetime
    worst: Anomaly
    columns: tuple[str, ...]
    segments: tuple[str, ...]
    anomaly_count: int
    absorbed: tuple[str, ...] = ()
    returned: datetime | None = None
    """The bucket with which it last came back after healthy ones."""
    closed: datetime | None = None
    """Its end when a person said that it was over."""
    told: Mapping[str, Told] = field(default_factory=dict)
    """Who has been told, by where monitors' actions lead."""
    likely_cause: str | None = None
    """An upstream dataset with an incident at the same time, and that incident's title."""
    members: tuple[Anomaly, ...] = field(default=(), repr=False)
    watched: tuple[Watched, ...] = field(default=(), repr=False)

    @property
    def only_segments(self) -> bool:
        """Whether only some segments are affected, and not all data."""
        return OVERALL not in self.segments

    @property
    def last_bucket(self) -> datetime:
        """The newest bucket with an anomaly."""
        return self.worst.granularity.shift(self.end, -1)

    @property
    def episodes(self) -> tuple[tuple[Anomaly, ...], ...]:
        """Its members from each opening to the next: one group more than it has come back."""
        return _episodes(self.members)

    def to_json(self) -> dict[str, object]:
        """As JSON values."""
        return {
            "id": self.id,
            "title": self.title,
            "severity": self.severity,
            "status": self.status.value,
            "start": self.start.isoformat(),
            "end": self.end.isoformat(),
            "worst": self.worst.to_json(),
            "columns": list(self.columns),
            "segments": list(self.segments),
            "anomaly_count": self.anomaly_count,
            "absorbed": list(self.absorbed),
            "returned": self.returned.isoformat() if self.returned else None,
            "closed": self.closed.isoformat() if self.closed else None,
            "told": {name: told.to_json() for name, told in sorted(self.told.items())},
            "likely_cause": self.likely_cause,
            "members": [member.to_json() for member in self.members],
            "watched": [watched.to_json() for watched in self.watched],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> Self:
        """Inverse of `to_json`. What else the store keeps beside it is ignored."""
        records = {
            key: cast("Sequence[Mapping[str, object]]", data.get(key) or ()) for key in ("members", "watched")
        }
        return cls(
            id=str(data["id"]),
            title=str(data["title"]),
            severity=int(cast("int", data["severity"])),
            status=Status(str(data["status"])),
            start=parse_moment(str(data["start"])),
            end=parse_moment(str(data["end"])),
            worst=Anomaly.from_json(cast("Mapping[str, object]", data["worst"])),
            columns=tuple(cast("Sequence[str]", data["columns"])),
            segments=tuple(cast("Sequence[str]", data["segments"])),
            anomaly_count=int(cast("int", data["anomaly_count"])),
            absorbed=tuple(cast("Sequence[str]", data.get("absorbed") or ())),
            returned=_moment(data.get("returned")),
            closed=_moment(data.get("closed")),
            told={name: Told.from_json(one) for name, one in _told(data.get("told"))},
            likely_cause=cast("str | None", data.get("likely_cause")),
            members=tuple(Anomaly.from_json(one) for one in records["members"]),
            watched=tuple(Watched.from_json(one) for one in records["watched"]),
        )


def with_likely_cause(incident: Incident, upstream: Iterable[tuple[str, Incident]]) -> Incident:
    """The incident with the first of the upstream ones that went on when it began, or in the bucket before.

    `upstream` are incidents with their datasets. What was named once stays named.
    """
    if incident.likely_cause is not None or incident.status is not Status.OPEN:
        return incident
    earliest = incident.worst.granularity.shift(incident.start, -1)
    found = [
        (other.start, other.severity, dataset_id, other.title)
        for dataset_id, other in upstream
        if other.start < incident.end and other.end > earliest
    ]
    if not found:
        return incident
    _, _, dataset_id, title = min(found)
    return replace(incident, likely_cause=f"{dataset_id}: {title}")


def _moment(value: object) -> datetime | None:
    return parse_moment(str(value)) if value else None


def _told(value: object) -> Iterable[tuple[str, Mapping[str, object]]]:
    return cast("Mapping[str, Mapping[str, object]]", value or {}).items()


def group_incidents(
    results: Sequence[AnalyzerResult],
    existing: Sequence[Incident] = (),
    *,
    severities: Mapping[str, int] | None = None,
    analyzers: Mapping[str, Analyzer] | None = None,
    normal: Mapping[Series, datetime] | None = None,
) -> list[Incident]:
    """The incidents of one dataset after these results, worst and newest first.

    `results` are all new verdicts, the normal ones too, as they are what resolves an incident; of those that are not
    among them `normal` says which series they were about, and the newest bucket. `existing` are the incidents
    known so far; each comes back, extended or not. One that turns out to be part of another comes back inside of it,
    under the name of the one that started first (`absorbed`). `severities` are those of the monitors, by id;
    `analyzers`, by id, let sentences name the baseline exactly.
    """
    known = analyzers or {}
    anomalies = [
        Anomaly.of(
            result, severity=severity_of(result, severities or {}), analyzer=known.get(result.analyzer_id)
        )
        for result in results
        if result.is_anomaly and not result.failed
    ]
    calm = dict(normal or {})
    for result in results:
        if not result.is_anomaly and not result.failed:
            series = (result.analyzer_id, result.column, result.segment)
            calm[series] = max(result.bucket, calm.get(series, result.bucket))
    return group_anomalies(anomalies, existing, normal=calm)


def group_anomalies(
    anomalies: Sequence[Anomaly],
    existing: Sequence[Incident] = (),
    *,
    normal: Mapping[Series, datetime] | None = None,
) -> list[Incident]:
    """The same for anomalies; `normal` is the newest normal verdict of each series."""
    nodes: dict[str, Anomaly] = {}
    for anomaly in [*(member for incident in existing for member in incident.members), *anomalies]:
        nodes[anomaly.analysis_id] = anomaly  # judged again, the newer verdict counts
    known = [[member.analysis_id for member in incident.members] for incident in existing]
    parts = {incident.members[0].analysis_id: incident for incident in existing if incident.members}
    incidents = [
        _incident(
            members, [parts[one.analysis_id] for one in members if one.analysis_id in parts], normal or {}
        )
        for members in components(nodes, [*known, *bonds(nodes.values())])
    ]
    return sorted(incidents, key=_order)


def _order(incident: Incident) -> tuple[object, ...]:
    return incident.status is Status.RESOLVED, worst_first(incident.worst), incident.start, incident.id


def _incident(
    members: Sequence[Anomaly], parts: Sequence[Incident], normal: Mapping[Series, datetime]
) -> Incident:
    ranked = sorted(members, key=_telling_first)
    granularity = ranked[0].granularity
    watched = _watched(members, parts, normal)
    columns = tuple(dict.fromkeys(member.column for member in ranked if member.column))
    segments = tuple(sorted({member.segment for member in members}))
    first = min(members, key=lambda member: (member.bucket, member.analysis_id))
    oldest = min(parts, key=lambda part: (part.start, part.id), default=None)
    name = oldest.id if oldest else f"incident-{first.analysis_id}"
    absorbed = {part.id for part in parts}.union(*(part.absorbed for part in parts)) - {name}
    end = granularity.shift(max(member.bucket for member in members), 1)
    episodes = _episodes(members)
    closed = max((part.closed for part in parts if part.closed), default=None)
    over = all(one.calm for one in watched) or (closed is not None and closed >= end)
    return Incident(
        id=name,
        title=_title(ranked, columns, segments),
        severity=ranked[0].severity,
        status=Status.RESOLVED if over else Status.OPEN,
        start=first.bucket,
        end=end,
        worst=ranked[0],
        columns=columns,
        segments=segments,
        anomaly_count=sum(member.count for member in members),
        absorbed=tuple(sorted(absorbed)),
        returned=episodes[-1][0].bucket if len(episodes) > 1 else None,
        closed=closed,
        told=_told_of(parts),
        likely_cause=next((part.likely_cause for part in parts if part.likely_cause), None),
        members=tuple(sorted(members, key=lambda member: (member.bucket, member.analysis_id))),
        watched=watched,
    )


def _episodes(members: Sequence[Anomaly]) -> tuple[tuple[Anomaly, ...], ...]:
    """Members in order of time, parted where the gap is more than an echo."""
    found: list[list[Anomaly]] = []
    for member in sorted(members, key=lambda one: (one.bucket, one.analysis_id)):
        index = member.granularity.index
        if found and index(member.bucket) - index(found[-1][-1].bucket) <= ECHO:
            found[-1].append(member)
        else:
            found.append([member])
    return tuple(tuple(episode) for episode in found)


def _told_of(parts: Sequence[Incident]) -> dict[str, Told]:
    """Who has been told of any part."""
    found: dict[str, Told] = {}
    for name, one in (item for part in parts for item in part.told.items()):
        found[name] = one.also(found.get(name))
    return found


def _watched(
    members: Sequence[Anomaly], parts: Sequence[Incident], normal: Mapping[Series, datetime]
) -> tuple[Watched, ...]:
    last: dict[Series, datetime] = {}
    for member in members:
        last[member.series] = max(member.bucket, last.get(member.series, member.bucket))
    calm = dict(normal)
    for known in (one for part in parts for one in part.watched):
        if known.last_normal is not None:
            calm[known.series] = max(known.last_normal, calm.get(known.series, known.last_normal))
    return tuple(Watched(series, last[series], calm.get(series)) for series in sorted(last))


def _telling_first(anomaly: Anomaly) -> tuple[object, ...]:
    """Sort key within an incident: severity, then what explains the rest, then all data before segments, then badness."""
    return anomaly.severity, not is_volume(anomaly), anomaly.segment != OVERALL, worst_first(anomaly)


def _title(ranked: Sequence[Anomaly], columns: Sequence[str], segments: Sequence[str]) -> str:
    """What happened, in a few words: the cause if one is known, otherwise the worst columns and what is wrong there."""
    causes = [anomaly for anomaly in ranked if not anomaly.column]
    what = ", ".join(list(dict.fromkeys(_change(anomaly) for anomaly in causes or ranked))[:NAMED])
    if not causes:
        what = f"{_column_list(columns)}{':' if len(columns) > 1 else ''} {what}"
    elif columns:
        what = f"{what}, affecting {how_many(len(columns), 'column')}"
    what = what[:1].upper() + what[1:]
    if OVERALL in segments:
        return what
    where = (
        f"segment {segment_name(segments[0])}" if len(segments) == 1 else how_many(len(segments), "segment")
    )
    return f"{what}, {where} only"


def _change(anomaly: Anomaly) -> str:
    if canonical(anomaly.metric) == MISSING_DATA:
        return "no data"
    if anomaly.analyzer_type == "drift":
        return "drift"
    return f"{metric_words(anomaly.metric)} {anomaly.direction or 'unusual'}"


def _column_list(columns: Sequence[str]) -> str:
    shown = ", ".join(f"`{shown_name(column)}`" for column in columns[:NAMED])
    return shown if len(columns) <= NAMED else f"{shown} and {len(columns) - NAMED:,} more"
