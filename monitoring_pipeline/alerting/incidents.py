"""Anomalies with one cause → one incident, opened, extended and resolved.

Pure and independent of the order of its input. Two anomalies of a dataset belong together when

- they are about the same subject (a column; or, at the dataset level, its volume, performance or schema) in the same or
  neighbouring buckets, whatever the segment or metric;
- the same analyzer says so about the same column within two buckets: a trailing baseline that still holds the bad
  bucket makes its echo an anomaly of its own;
- one explains the other: missing data or a changed number of rows explains what happens to the counts of the columns in
  the same bucket, in the same segment or in a part of it.

An incident is everything that hangs together so, and what was one incident stays one. It is resolved when every series
that was part of it has had a normal verdict since, and open again when it comes back within reach.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from itertools import pairwise
from typing import Self, cast

from monitoring_pipeline.alerting.anomalies import Anomaly, severity_of, worst_first
from monitoring_pipeline.alerting.figures import how_many, segment_name
from monitoring_pipeline.alerting.figures import name as shown_name
from monitoring_pipeline.alerting.wording import MISSING_DATA, canonical, metric_words
from monitoring_pipeline.analysis.result import AnalyzerResult
from monitoring_pipeline.config.analyzers import Analyzer
from monitoring_pipeline.segments import OVERALL, segment_tags
from monitoring_pipeline.timegrid import parse_moment

REACH = 1
"""Buckets between two anomalies of one subject that still belong together: neighbours."""

ECHO = 2
"""The same for two anomalies of one analyzer on one column."""

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
            members=tuple(Anomaly.from_json(one) for one in records["members"]),
            watched=tuple(Watched.from_json(one) for one in records["watched"]),
        )


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
    bonds = [[member.analysis_id for member in incident.members] for incident in existing]
    parts = {incident.members[0].analysis_id: incident for incident in existing if incident.members}
    incidents = [
        _incident(
            members, [parts[one.analysis_id] for one in members if one.analysis_id in parts], normal or {}
        )
        for members in _components(nodes, [*bonds, *_bonds(nodes.values())])
    ]
    return sorted(incidents, key=_order)


def _order(incident: Incident) -> tuple[object, ...]:
    return incident.status is Status.RESOLVED, worst_first(incident.worst), incident.start, incident.id


def _bonds(anomalies: Iterable[Anomaly]) -> Iterable[Sequence[str]]:
    """Groups of names that belong together, each found by sorting within what could belong together."""
    by_subject: defaultdict[tuple[str, str], list[Anomaly]] = defaultdict(list)
    by_analyzer: defaultdict[tuple[str, str, str], list[Anomaly]] = defaultdict(list)
    by_bucket: defaultdict[datetime, list[Anomaly]] = defaultdict(list)
    for anomaly in anomalies:
        by_subject[subject(anomaly)].append(anomaly)
        by_analyzer[(anomaly.analyzer_id, *subject(anomaly))].append(anomaly)
        by_bucket[anomaly.bucket].append(anomaly)
    for group in by_subject.values():
        yield from _near(group, REACH)
    for group in by_analyzer.values():
        yield from _near(group, ECHO)
    for group in by_bucket.values():
        causes = [anomaly for anomaly in group if _is_volume(anomaly)]
        for anomaly in group if causes else ():
            if _counts(anomaly):
                yield [
                    anomaly.analysis_id,
                    *(cause.analysis_id for cause in causes if _within(anomaly.segment, cause.segment)),
                ]


def _near(group: Sequence[Anomaly], reach: int) -> Iterable[Sequence[str]]:
    """Neighbours in time, in pairs."""
    ordered = sorted(group, key=lambda anomaly: anomaly.bucket)
    for before, after in pairwise(ordered):
        granularity = after.granularity
        if granularity.index(after.bucket) - granularity.index(before.bucket) <= reach:
            yield before.analysis_id, after.analysis_id


def _components(nodes: Mapping[str, Anomaly], bonds: Iterable[Sequence[str]]) -> list[list[Anomaly]]:
    """Connected components (disjoint sets with path halving)."""
    parent = {key: key for key in nodes}

    def root(key: str) -> str:
        while parent[key] != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    for bond in bonds:
        for other in bond[1:]:
            parent[root(other)] = root(bond[0])
    groups: defaultdict[str, list[Anomaly]] = defaultdict(list)
    for key, anomaly in nodes.items():
        groups[root(key)].append(anomaly)
    return list(groups.values())


def subject(anomaly: Anomaly) -> tuple[str, str]:
    """What an anomaly is about: a column, or a side of the dataset (volume, performance, schema, or the metric)."""
    if anomaly.column:
        return anomaly.column, ""
    metric = canonical(anomaly.metric)
    if _is_volume(anomaly):
        return "", "volume"
    if metric.startswith(("classification_", "regression_")):
        return "", "performance"
    return "", "schema" if metric in _SCHEMA else metric


_VOLUME = {
    MISSING_DATA,
    "secondssincelastupload",
    "shape_row_count",
    "column_row_count_sum",
    "input_count",
    "output_count",
    "count",
}
_SCHEMA = {"shape_column_count", "column_list"}


def _is_volume(anomaly: Anomaly) -> bool:
    return anomaly.column == "" and canonical(anomaly.metric) in _VOLUME


def _counts(anomaly: Anomaly) -> bool:
    """Whether it is about how many values a column has, which follows from how many rows there are."""
    metric = canonical(anomaly.metric)
    counts = metric == "count" or (metric.startswith(("count_", "unique_")) and not metric.endswith("_ratio"))
    return anomaly.column != "" and (counts or metric == MISSING_DATA)


def _within(segment: str, outer: str) -> bool:
    """Whether a segment is the other one or a part of it."""
    return outer in (OVERALL, segment) or segment_tags(outer).items() <= segment_tags(segment).items()


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
    return Incident(
        id=name,
        title=_title(ranked, columns, segments),
        severity=ranked[0].severity,
        status=Status.RESOLVED if all(one.calm for one in watched) else Status.OPEN,
        start=first.bucket,
        end=granularity.shift(max(member.bucket for member in members), 1),
        worst=ranked[0],
        columns=columns,
        segments=segments,
        anomaly_count=sum(member.count for member in members),
        absorbed=tuple(sorted(absorbed)),
        members=tuple(sorted(members, key=lambda member: (member.bucket, member.analysis_id))),
        watched=watched,
    )


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
    return anomaly.severity, not _is_volume(anomaly), anomaly.segment != OVERALL, worst_first(anomaly)


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
