"""A digest as a message: a few channel-neutral blocks that every format knows how to draw.

What is worth saying and in which order is decided here, once; `formats/` only draws. Text is plain; what stands in
backticks is a name and may be set as code, and nothing else is markup.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from monitoring_pipeline.alerting.anomalies import Anomaly, worst_first
from monitoring_pipeline.alerting.digests import Digest, Escalation, Tally
from monitoring_pipeline.alerting.evidence import caption
from monitoring_pipeline.alerting.figures import how_many, moment, name, segment_name, span
from monitoring_pipeline.alerting.incidents import Incident, Status
from monitoring_pipeline.config.monitors import DigestGrouping

INCIDENTS_SHOWN = 8
TALLIES_SHOWN = 8
ANOMALIES_SHOWN = 10
ENTRIES_NAMED = 3
CHARTS_SHOWN = 4


@dataclass(frozen=True)
class Facts:
    """Short labelled facts, in order."""

    facts: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Item:
    """One thing that happened: what, then details, a line each."""

    text: str
    details: tuple[str, ...] = ()


@dataclass(frozen=True)
class Items:
    """Things that happened, most important first; `more` says what is left out."""

    title: str
    items: tuple[Item, ...]
    more: str | None = None


@dataclass(frozen=True)
class Table:
    """Rows of text under a header; the first column is text, `numeric` columns are set to the right."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: tuple[int, ...] = ()
    more: str | None = None


@dataclass(frozen=True)
class Chart:
    """A metric over time, oldest first, None where there is no value; `lower` and `upper` are what was expected, as long
    as the values or empty. `marks` are the places of anomalies. The caption says in words what there is to see.
    """

    title: str
    values: tuple[float | None, ...]
    lower: tuple[float | None, ...] = ()
    upper: tuple[float | None, ...] = ()
    marks: tuple[int, ...] = ()
    caption: str = ""


Block = Facts | Items | Table | Chart


@dataclass(frozen=True)
class Message:
    """What a channel shows. `summary` stands alone where there is room for one line only."""

    level: Escalation
    title: str
    summary: str
    blocks: tuple[Block, ...]
    link: str | None = None


def severity_word(severity: int) -> str:
    """`high`, `medium`, `low`, or the number for any other.

    >>> severity_word(1), severity_word(4)
    ('high', 'severity 4')
    """
    return {1: "high", 2: "medium", 3: "low"}.get(severity, f"severity {severity}")


def issues(severity: int, count: int | None = None) -> str:
    """How many issues of which severity.

    >>> issues(2, 4), issues(3, 1), issues(4)
    ('4 medium severity issues', 'a low severity issue', 'a severity 4 issue')
    """
    word = severity_word(severity)
    kind = word if word.startswith("severity") else f"{word} severity"
    return f"a {kind} issue" if count is None or count == 1 else f"{count:,} {kind} issues"


def message_of(digest: Digest) -> Message:
    """The message of a digest: what happened first, then where, then the worst anomalies one by one."""
    title = f"{name(digest.dataset)}: {issues(digest.severity, digest.anomaly_count)}"
    worst = digest.incidents[0] if digest.incidents else None
    said = worst.worst.sentence if worst else digest.sample[0].sentence
    blocks: list[Block] = [_facts(digest)]
    if digest.anomaly_count == 1 or not digest.incidents:
        only = tuple(
            Item(anomaly.sentence, (*_moved(anomaly, digest), *_cause(worst)))
            for anomaly in digest.sample[:1]
        )
        blocks.append(Items("What happened", only))
        blocks += _charts(digest)
    else:
        blocks.append(_incidents(digest))
        blocks += _charts(digest)
        blocks.extend(_tables(digest))
        if digest.anomaly_count > digest.incident_count:
            blocks.append(_worst(digest))
    when = span(digest.period.start, digest.last_bucket, digest.granularity)
    return Message(digest.level, title, f"{title}, {when} — {said}", tuple(blocks), digest.link)


def _facts(digest: Digest) -> Facts:
    when = span(digest.period.start, digest.last_bucket, digest.granularity)
    facts = [("monitor", name(digest.monitor_name)), ("period", f"{when} UTC")]
    if digest.anomaly_count > 1:
        where = [how_many(digest.column_count, "column")] if digest.column_count else []
        where += [how_many(digest.segment_count, "segment")] if digest.segment_count > 1 else []
        inside = f" in {', '.join(where)}" if where else ""
        facts.append(("anomalies", f"{digest.anomaly_count:,}{inside}"))
    if digest.normal_columns:
        others = (
            how_many(digest.normal_columns, "other column")
            if digest.column_count
            else how_many(digest.normal_columns, "column")
        )
        facts.append(("normal", others))
    facts.append(("level", f"{digest.level.value}, {severity_word(digest.severity)} severity"))
    return Facts(tuple(facts))


def _incidents(digest: Digest) -> Items:
    shown = digest.incidents[:INCIDENTS_SHOWN]
    left = digest.incident_count - len(shown)
    return Items(
        "What happened",
        tuple(Item(incident.title, _incident_details(incident, digest)) for incident in shown),
        how_many(left, "more incident") if left else None,
    )


def _moved(anomaly: Anomaly, digest: Digest) -> tuple[str, ...]:
    """What moved inside the data, where the digest knows."""
    return next((one.moved for one in digest.evidence if one.analysis_id == anomaly.analysis_id), ())


def _charts(digest: Digest) -> list[Chart]:
    """The metrics of the first incidents, or of the only anomaly, over the last buckets with what was expected."""
    shown = [incident.worst for incident in digest.incidents] or list(digest.sample)
    known = {one.analysis_id: one for one in digest.evidence}
    found = [(one, known[one.analysis_id]) for one in shown if one.analysis_id in known]
    charts = [
        Chart(
            title=evidence.title + (f", segment {segment_name(one.segment)}" if one.segment else ""),
            values=_gaps(evidence.values),
            lower=_gaps(evidence.lower),
            upper=_gaps(evidence.upper),
            marks=evidence.alarms,
            caption=words,
        )
        for one, evidence in found
        if (words := caption(evidence))
    ]
    return charts[:CHARTS_SHOWN]


def _gaps(values: Sequence[float]) -> tuple[float | None, ...]:
    return tuple(value if math.isfinite(value) else None for value in values)


def _incident_details(incident: Incident, digest: Digest) -> tuple[str, ...]:
    when = span(incident.start, incident.last_bucket, incident.worst.granularity)
    state = "resolved" if incident.status is Status.RESOLVED else "open"
    count = how_many(incident.anomaly_count, "anomaly", "anomalies")
    lines = [
        incident.worst.sentence,
        *_moved(incident.worst, digest),
        *_cause(incident),
        f"{when}, {state}, {count}",
    ]
    others = [column for column in incident.columns if column != incident.worst.column]
    if others:
        lines.append(f"also {_some([f'`{name(column)}`' for column in others])}")
    if incident.only_segments and len(incident.segments) > 1:
        lines.append(f"segments {_some([segment_name(segment) for segment in incident.segments], '; ')} only")
    return tuple(lines)


def _cause(incident: Incident | None) -> tuple[str, ...]:
    """What went wrong before, in a dataset that this one is made from."""
    return (f"likely cause: {incident.likely_cause}",) if incident and incident.likely_cause else ()


def _some(names: Sequence[str], separator: str = ", ") -> str:
    shown = separator.join(names[:ENTRIES_NAMED])
    return shown if len(names) <= ENTRIES_NAMED else f"{shown} and {len(names) - ENTRIES_NAMED:,} more"


def _tables(digest: Digest) -> list[Table]:
    """Which columns and segments have most anomalies, where there is more than one of them."""
    tables: list[Table] = []
    if digest.column_count > 1:
        rows = [
            _row(f"`{name(tally.name)}`" if tally.name else "(dataset)", tally, digest)
            for tally in digest.columns
        ]
        tables.append(
            _table(
                "Columns", "column", rows, digest.column_count + (len(digest.columns) > digest.column_count)
            )
        )
    if digest.segment_count > 1:
        rows = [_row(segment_name(tally.name), tally, digest) for tally in digest.segments]
        tables.append(_table("Segments", "segment", rows, digest.segment_count))
    return tables


def _table(title: str, noun: str, rows: Sequence[tuple[str, ...]], count: int) -> Table:
    left = count - min(len(rows), TALLIES_SHOWN)
    more = how_many(left, f"more {noun}") if left > 0 else None
    return Table(title, (noun, "anomalies", "first", "last"), tuple(rows[:TALLIES_SHOWN]), (1,), more)


def _row(label: str, tally: Tally, digest: Digest) -> tuple[str, ...]:
    first, last = (moment(bucket, digest.granularity) for bucket in (tally.earliest, tally.latest))
    return label, f"{tally.anomalies:,}", first, last


def _worst(digest: Digest) -> Items:
    shown = sorted(digest.sample, key=worst_first)[:ANOMALIES_SHOWN]
    left = digest.anomaly_count - sum(anomaly.count for anomaly in shown)
    for key in reversed([_ORDERS[one] for one in digest.order if one in _ORDERS]):
        shown.sort(key=key)  # stable: what is equal stays worst first
    return Items(
        "Worst anomalies",
        tuple(Item(f"{moment(one.bucket, digest.granularity)}  {one.sentence}") for one in shown),
        how_many(left, "more anomaly", "more anomalies") if left > 0 else None,
    )


_ORDERS: Mapping[str, Callable[[Anomaly], str | int]] = {
    DigestGrouping.BY_COLUMN: lambda anomaly: anomaly.column,
    DigestGrouping.BY_ANALYZER: lambda anomaly: anomaly.analyzer_id,
    DigestGrouping.BY_DAY: lambda anomaly: -anomaly.bucket.toordinal(),
    DigestGrouping.BY_HOUR: lambda anomaly: -int(anomaly.bucket.timestamp() // 3600),
}
"""A digest is about one dataset, so `byDataset` orders nothing."""
