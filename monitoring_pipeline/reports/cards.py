"""Cards of a page: a chart with what it means, of a metric, a distribution, an incident or the volume."""

from __future__ import annotations

import html
import math

import numpy as np
from markupsafe import Markup

from monitoring_pipeline.alerting.figures import (
    Unit,
    figure,
    figures,
    how_many,
    moment,
    name,
    segment_name,
    span,
)
from monitoring_pipeline.alerting.formats import charts
from monitoring_pipeline.alerting.formats.charts import Size
from monitoring_pipeline.alerting.incidents import Incident, Status
from monitoring_pipeline.alerting.messages import severity_word
from monitoring_pipeline.analysis.comparing import Pair
from monitoring_pipeline.reports.drift import Drift
from monitoring_pipeline.reports.performance import MetricStory
from monitoring_pipeline.reports.shown import Card, distance, drawing, known_figure, lag_words, prose
from monitoring_pipeline.reports.story import Story

_BEFORE, _NOW, _BAD, _TINT = "var(--before)", "var(--now)", "var(--bad)", "var(--tint)"
_WIDE, _CARD, _METRIC = Size(960, 110), Size(300, 72), Size(300, 64)
_LABELS = 5
_SENTENCES = 4


def volume_card(story: Story) -> Card:
    """Rows over time, and in words what is missing and how late data came."""
    buckets, volume = story.buckets, story.volume
    known = volume.rows[len(buckets) :]
    known = known[~np.isnan(known)]
    told = (
        f"Rows of each {buckets.noun}: {figure(float(known.min()), Unit.COUNT)} to "
        f"{figure(float(known.max()), Unit.COUNT)}, median {figure(float(np.median(known)), Unit.COUNT)}"
        if len(known)
        else f"No {buckets.noun} has data"
    )
    lines = [f"{told}."]
    if volume.missing:
        lines.append(f"Without data: {buckets.moments(volume.missing)}.")
    if volume.reloaded:
        lines.append(
            f"{how_many(volume.reloaded, buckets.noun)} loaded more than once, because data came late or changed."
        )
    median, longest = volume.lag
    if not math.isnan(median):
        was = volume.lag_before[0]
        lines.append(
            f"The last data of each {buckets.noun} came {lag_words(median)} after its end (median; at most {lag_words(longest)}"
            + (f"; {story.period.before} {lag_words(was)}" if not math.isnan(was) else "")
            + ")."
        )
    chart = charts.columns(
        volume.rows,
        (_BEFORE, _NOW),
        html.escape(told),
        split=len(buckets),
        missing=_BAD,
        size=_WIDE,
    )
    return Card(
        Markup("Rows over time"), (), tuple(prose(line) for line in lines), drawing(chart), _axis(story)
    )


def incident_card(incident: Incident, story: Story, *, charted: bool) -> Card:
    """An incident with its worst sentences, and the metric of the worst with what was expected of it."""
    granularity = incident.worst.granularity
    resolved = incident.status is Status.RESOLVED
    badges = [
        ("resolved" if resolved else incident.status.value, "good" if resolved else "bad"),
        (f"{severity_word(incident.severity)} severity", "bad" if incident.severity <= 1 else ""),
    ]
    if len(story.buckets) and incident.start >= story.buckets.window.start:
        badges.append(("new", ""))
    count = how_many(incident.anomaly_count, "anomaly", "anomalies")
    lines = [f"{moment(incident.worst.bucket, granularity)}: {incident.worst.sentence}"]
    said = {incident.worst.sentence, (incident.worst.metric, incident.worst.column, incident.worst.segment)}
    for member in sorted(incident.members, key=lambda one: (-one.badness, one.bucket, one.analysis_id)):
        key = (member.metric, member.column, member.segment)
        if len(lines) >= _SENTENCES or key in said:
            continue
        said.add(key)
        lines.append(f"{moment(member.bucket, granularity)}: {member.sentence}")
    where = ""
    if incident.only_segments and len(incident.segments) > 1:
        shown = "; ".join(segment_name(one) for one in incident.segments[:3])
        where = f", only in {how_many(len(incident.segments), 'segment')}: {shown}" + (
            "; …" if len(incident.segments) > 3 else ""
        )
    lines.append(f"{span(incident.start, incident.last_bucket, granularity)}, {count}{where}")
    judged = story.judged.get(incident.worst.series) if charted else None
    chart = ""
    if judged is not None and judged.known > 1:
        chart = charts.timeline(
            judged.values,
            (_BEFORE, _NOW),
            charts.text(incident.worst.sentence, most=200),
            size=_CARD,
            split=len(story.buckets),
            band=(judged.lower, judged.upper),
            marks=judged.anomalies,
            alert=_BAD,
            tint=_TINT,
        )
    return Card(
        prose(incident.title, most=160),
        tuple(badges),
        tuple(prose(line) for line in lines),
        drawing(chart),
        _axis(story) if chart else ("", ""),
    )


def drift_card(one: Drift, story: Story) -> Card:
    """Both sides of the comparison that says more about a column that moved."""
    pair = one.telling[2]
    assert pair is not None  # noqa: S101 - only such are chosen
    badges = [("beyond its threshold", "bad")] if one.beyond else []
    lines: list[str] = []
    if not math.isnan(one.score):
        lines.append(f"{_score(one.score, one.noise)} from {story.period.before}; PSI {distance(one.psi)}")
    if not math.isnan(one.reference_score):
        lines.append(f"{_score(one.reference_score, one.reference_noise)} from {story.drifts.reference}")
    if one.by_reference:
        lines.append("drawn against the baseline")
    return Card(
        prose(f"`{name(one.column)}`"),
        tuple(badges),
        tuple(prose(line) for line in lines),
        drawing(_overlay(pair)),
        ("", "") if pair.labels else (figure(pair.ends[0]), figure(pair.ends[1])),
    )


def metric_card(one: MetricStory, story: Story) -> Card:
    """A metric before and now, and over time."""
    judged = one.judged
    was, now = (known_figure(value, one.unit) for value in (one.before, one.now))
    if not math.isnan(one.before) and not math.isnan(one.now):
        was, now = figures((one.before, one.now), one.unit)
    badges: list[tuple[str, str]] = []
    if one.verdict:
        badges.append((one.verdict, "good" if one.verdict == "better" else "bad"))
    if judged is not None:
        count = sum(place >= len(story.buckets) for place in judged.anomalies)
        if count:
            badges.append((how_many(count, "anomaly", "anomalies"), "bad"))
    title = f"`{name(one.column)}` {one.title}" if one.column else one.title[:1].upper() + one.title[1:]
    kind = f", median of the {story.buckets.noun}s" if judged is not None else ""
    chart = charts.timeline(
        one.values,
        (_BEFORE, _NOW),
        charts.text(f"{one.title}: {was} before, {now} now", most=200),
        size=_METRIC,
        split=len(story.buckets),
        band=(judged.lower, judged.upper) if judged is not None else None,
        marks=judged.anomalies if judged is not None else (),
        alert=_BAD,
        tint=_TINT,
    )
    return Card(prose(title), tuple(badges), (prose(f"{was} → {now}{kind}"),), drawing(chart))


def _score(score: float, noise: float) -> str:
    return f"{distance(score)} (chance {distance(noise)})"


def _overlay(pair: Pair) -> str:
    sides = (pair.baseline.shares, pair.target.shares)
    if not pair.labels:
        caption = f"Distribution before and now, {figure(pair.ends[0])} to {figure(pair.ends[1])}"
        # The first bin, below the lowest value, is always empty.
        return charts.areas([shares[1:] for shares in sides], [_BEFORE, _NOW], caption, size=_CARD)
    # What moved most is what people look for.
    order = np.argsort(-np.abs(sides[1] - sides[0]) - 1e-9 * np.maximum(*sides), kind="stable")
    rows = [
        (pair.labels[at], tuple(float(shares[at]) for shares in sides)) for at in order[:_LABELS].tolist()
    ]
    return charts.bars(rows, [_BEFORE, _NOW], "Shares before and now", width=_CARD.width, roomy=True)


def _axis(story: Story) -> tuple[str, str]:
    starts = story.buckets.with_before.starts
    return moment(starts[0], story.spec.granularity), moment(starts[-1], story.spec.granularity)
