"""A story as the template shows it, and only as much of it as the page has room for."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from markupsafe import Markup

from monitoring_pipeline.alerting.figures import (
    Unit,
    figure,
    how_long,
    how_many,
    moment,
    name,
)
from monitoring_pipeline.reports.cards import drift_card, incident_card, metric_card, volume_card
from monitoring_pipeline.reports.rows import (
    MOST_ROWS,
    column_row,
    drift_row,
    quality_lines,
    quality_rows,
    ranked_columns,
    watcher_row,
    worst_watchers,
)
from monitoring_pipeline.reports.shown import Card, Row, Tile, known_figure, lag_words, prose
from monitoring_pipeline.reports.story import Story

_WAITING = 8
_BUCKETS_NAMED = 7


@dataclass(frozen=True)
class Detail:
    """How much of a dataset is shown: rows of the table of all columns, cards with charts, incidents, lines of lists."""

    rows: int
    cards: int
    incidents: int
    lines: int


LEVELS = (
    Detail(MOST_ROWS, 12, 20, 60),
    Detail(300, 12, 20, 40),
    Detail(100, 9, 12, 24),
    Detail(30, 6, 6, 12),
    Detail(10, 3, 3, 6),
    Detail(0, 0, 1, 2),
)
"""From the richest to the poorest."""


@dataclass(frozen=True)
class View:
    """Everything that the template needs of one dataset."""

    anchor: str
    name: str
    state: str
    headline: Markup
    description: str
    facts: str
    changes: tuple[Markup, ...]
    tiles: tuple[Tile, ...]
    volume: Card | None
    incidents: tuple[Card, ...]
    more_incidents: str
    drifted: tuple[Card, ...]
    drift_rows: tuple[Row, ...]
    more_drift: str
    reference: str
    outcomes: tuple[Card, ...]
    watched: tuple[Card, ...]
    outcomes_known: str
    quality: tuple[Row, ...]
    quality_lines: tuple[Markup, ...]
    watchers: tuple[Row, ...]
    more_watchers: str
    state_lines: tuple[Markup, ...]
    unjudged: str
    told: tuple[Markup, ...]
    columns: tuple[Row, ...]
    more_columns: str
    column_count: str


def view_of(story: Story, detail: Detail, *, anchor: str) -> View:
    """The dataset in so much detail."""
    incidents = story.incidents[: detail.incidents]
    moved = [one for one in story.drifts.moved if one.telling[2] is not None]
    listed = [one for one in story.drifts.columns if not math.isnan(one.telling[0])]
    columns = ranked_columns(story)
    return View(
        anchor=anchor,
        name=name(story.dataset_id),
        state=story.state,
        headline=prose(story.headline),
        description=name((story.spec.description or "")[:300]),
        facts=_facts(story),
        changes=tuple(prose(line) for line in story.changes[: max(detail.lines, 3)]),
        tiles=tuple(_tiles(story)),
        volume=volume_card(story) if len(story.buckets) else None,
        incidents=tuple(incident_card(one, story, charted=bool(detail.cards)) for one in incidents),
        more_incidents=_more(len(story.incidents) - len(incidents), "incident"),
        drifted=tuple(drift_card(one, story) for one in moved[: detail.cards]),
        drift_rows=tuple(drift_row(one) for one in listed[: detail.lines]),
        more_drift=_more(len(listed) - detail.lines, "column"),
        reference=story.drifts.reference,
        outcomes=tuple(metric_card(one, story) for one in story.performance.outcomes[: 2 * detail.cards]),
        watched=tuple(metric_card(one, story) for one in story.performance.watched[: detail.cards]),
        outcomes_known=known_figure(story.performance.known, Unit.RATIO),
        quality=tuple(quality_rows(story))[: detail.lines],
        quality_lines=tuple(quality_lines(story))[: max(detail.lines, 3)],
        watchers=tuple(watcher_row(one, story) for one in worst_watchers(story)[: detail.lines]),
        more_watchers=_more(len(story.coverage.watchers) - detail.lines, "analyzer"),
        state_lines=_state_lines(story, most=min(max(detail.lines, 3), _WAITING)),
        unjudged=_unjudged(story),
        told=tuple(prose(line) for line in story.told.lines),
        columns=tuple(column_row(one, drift, story) for one, drift in columns[: detail.rows]),
        more_columns=_more(len(columns) - detail.rows, "column"),
        column_count=how_many(len(columns), "column"),
    )


def _more(left: int, noun: str) -> str:
    return f"… {how_many(left, f'more {noun}')}" if left > 0 else ""


def _facts(story: Story) -> str:
    parts = [story.buckets.words if len(story.buckets) else how_long(0, story.spec.granularity)]
    if story.spec.owner:
        parts.append(f"owner {name(story.spec.owner)}")
    return " · ".join(parts)


def _tiles(story: Story) -> Iterator[Tile]:
    if not len(story.buckets):
        return
    n, before, volume = len(story.buckets), story.period.before, story.volume
    change = ""
    if not math.isnan(volume.change):
        sign = "+" if volume.change >= 0 else "−"
        change = f"{sign}{figure(abs(volume.change), Unit.RATIO, digits=2)} against {before}"
    yield Tile("Rows", known_figure(volume.now, Unit.COUNT), change or f"nothing known of {before}")
    yield Tile(
        f"{story.buckets.noun.capitalize()}s without data",
        f"{len(volume.missing):,}",
        f"of {n:,}",
        "bad" if volume.missing else "",
    )
    lag, longest = volume.lag
    yield Tile(
        "Arrival after the end", lag_words(lag), f"at most {lag_words(longest)}" if longest == longest else ""
    )
    now, was = sum(story.anomalies[n:]), sum(story.anomalies[:n])
    yield Tile("Anomalies", f"{now:,}", f"{was:,} {before}", "bad" if now else "good")
    yield Tile(
        "Incidents open",
        f"{len(story.open):,}",
        f"{story.resolved:,} resolved",
        "bad" if story.open else "good",
    )
    beyond = sum(one.beyond for one in story.drifts.columns)
    yield Tile(
        "Columns that moved",
        f"{len(story.drifts.moved):,}",
        f"{beyond:,} beyond a threshold",
        "bad" if beyond else "",
    )
    new, gone = sum(one.came for one in story.columns), sum(one.went for one in story.columns)
    there = sum(one.now.there for one in story.columns)
    yield Tile(
        "Columns", f"{there:,}", f"{new:,} new, {gone:,} gone" if not math.isnan(volume.before) else ""
    )
    if story.performance.outcomes:
        yield Tile("Outcomes known", known_figure(story.performance.known, Unit.RATIO), "of the predictions")
        return
    failures = story.coverage.failures
    yield Tile(
        "Verdicts",
        f"{story.coverage.verdicts:,}",
        f"{failures:,} could not be given",
        "bad" if not story.coverage.verdicts else "",
    )


def _unjudged(story: Story) -> str:
    """Which buckets nobody judged, and why as far as that is known."""
    buckets = story.coverage.unjudged
    if not buckets:
        return ""
    missing = {one for one in buckets if story.buckets.place(one) in story.volume.missing}
    parts = [
        f"{words} {_named([one for one in buckets if (one in missing) == without], story)}"
        for words, without in (
            ("without data:", True),
            ("with data, not judged yet or not to be judged any more:", False),
        )
        if any((one in missing) == without for one in buckets)
    ]
    noun = story.buckets.noun
    return (
        f"{how_many(len(buckets), noun)} of {len(story.buckets):,} judged by no analyzer; {'; '.join(parts)}"
    )


def _named(buckets: Sequence[datetime], story: Story) -> str:
    shown = ", ".join(moment(one, story.spec.granularity) for one in buckets[:_BUCKETS_NAMED])
    left = len(buckets) - _BUCKETS_NAMED
    return f"{shown} and {left:,} more" if left > 0 else shown


def _state_lines(story: Story, *, most: int) -> tuple[Markup, ...]:
    lines = [*story.coverage.trouble, *story.coverage.waiting]
    shown = [prose(line) for line in lines[:most]]
    return tuple(shown) if len(lines) <= most else (*shown, prose(_more(len(lines) - most, "line")))
