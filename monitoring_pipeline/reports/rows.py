"""Rows of the tables of a page: columns that drifted or changed, analyzers, all columns."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from markupsafe import Markup

from monitoring_pipeline.alerting.figures import (
    Unit,
    figure,
    figures,
    how_many,
    name,
)
from monitoring_pipeline.alerting.formats import charts
from monitoring_pipeline.alerting.formats.charts import Size
from monitoring_pipeline.reports.columns import ColumnStory
from monitoring_pipeline.reports.coverage import Watcher
from monitoring_pipeline.reports.drift import Drift
from monitoring_pipeline.reports.shown import Row, distance, drawing, known_figure, prose
from monitoring_pipeline.reports.story import Story, partial_words

_BEFORE, _NOW = "var(--before)", "var(--now)"
_CELL = Size(120, 22)

MOST_ROWS = 1_000
"""Columns of the table of all columns."""


def drift_row(one: Drift) -> Row:
    """How far a column moved, and what its analyzer says to that."""
    watch = one.watch
    if watch is None:
        held = "not watched"
    elif math.isnan(one.watched):
        held = f"{name(watch.algorithm)}, allowed {figure(watch.threshold)}"
    else:
        held = f"{name(watch.algorithm)} {distance(one.watched)}, allowed {figure(watch.threshold)}"
    said = (
        "beyond its threshold"
        if one.beyond
        else "moved"
        if one.moved
        else "no more than chance"
        if one.is_noise
        else "hardly moved"
    )
    return Row(
        (
            prose(f"`{name(one.column)}`"),
            *map(distance, (one.score, one.noise, one.psi, one.reference_score, one.reference_noise)),
            held,
            said,
        ),
        one.beyond,
    )


def quality_rows(story: Story) -> Iterator[Row]:
    """Columns whose nulls or types changed, those with another type first."""
    changed = [one for one in story.columns if one.nulls_moved or one.type_changed]
    for one in sorted(changed, key=lambda one: (not one.type_changed, -abs(one.nulls_moved), one.name)):
        was, now = figures((one.before.nulls, one.now.nulls), Unit.RATIO)
        types = one.now.type if one.now.type == one.before.type else f"{one.before.type} → {one.now.type}"
        chart = charts.timeline(
            one.null_shares,
            (_BEFORE, _NOW),
            f"Nulls over time, {was} before, {now} now",
            size=_CELL,
            split=len(story.buckets),
        )
        yield Row((prose(f"`{name(one.name)}`"), was, now, drawing(chart), types), one.type_changed)


def quality_lines(story: Story) -> Iterator[Markup]:
    """Columns that came, went or were away for a part, and rows that could not be taken as they were."""
    if len(story.buckets) and not math.isnan(story.volume.before) and story.volume.now:
        for words, found in (
            ("new", [one.name for one in story.columns if one.came]),
            ("gone", [one.name for one in story.columns if one.went]),
        ):
            if found:
                shown = ", ".join(f"`{name(one)}`" for one in found[:10]) + (", …" if len(found) > 10 else "")
                yield prose(f"{how_many(len(found), 'column')} {words}: {shown}")
    yield from map(prose, partial_words(story))
    for kind, count in sorted(story.volume.problems.items()):
        if count:
            yield prose(f"{how_many(count, 'row')} with {name(kind.replace('_', ' '))}")


def worst_watchers(story: Story) -> Sequence[Watcher]:
    """Those that found something or could not work first, else as in the document."""
    return sorted(
        story.coverage.watchers,
        key=lambda one: (bool(one.state), -one.tally.anomalies, -one.tally.failed, -one.tally.stale),
    )


def watcher_row(one: Watcher, story: Story) -> Row:
    """An analyzer: at work on how many buckets, and what came of it."""
    why = "; ".join(
        f"{count:,} {name(failure)}" + (f" ({name(why)})" if why else "")
        for failure, why, count in one.tally.failures[:2]
    )
    idle = not one.state and not one.judged
    said = one.state or ("judged nothing" if idle else why)
    return Row(
        (
            prose(f"`{name(one.analyzer_id)}`"),
            name(" ".join(part for part in (one.type, one.metric) if part)),
            f"{one.judged:,} of {len(story.buckets):,}",
            f"{one.tally.verdicts:,}",
            f"{one.tally.anomalies:,}",
            f"{one.tally.failed:,}",
            f"{one.tally.stale:,}",
            said,
        ),
        idle,
    )


def ranked_columns(story: Story) -> list[tuple[ColumnStory, Drift | None]]:
    """By name, except that where not all are shown, those with something to tell come first."""
    drifts = {one.column: one for one in story.drifts.columns}
    told = [(one, drifts.get(one.name)) for one in story.columns]
    if len(told) <= MOST_ROWS:
        return told
    return sorted(told, key=lambda pair: (-_interest(pair[0], pair[1], story), pair[0].name))


def _interest(one: ColumnStory, drift: Drift | None, story: Story) -> float:
    moved = drift.telling[0] if drift is not None and drift.moved else 0.0
    count = story.column_anomalies.get(one.name, 0)
    return float(count > 0) + moved + abs(one.nulls_moved) + one.type_changed + one.came + one.went


def column_row(one: ColumnStory, drift: Drift | None, story: Story) -> Row:
    """A column in figures."""
    now = one.now
    nulls = known_figure(now.nulls, Unit.RATIO)
    if one.nulls_moved:
        nulls = " → ".join(figures((one.before.nulls, now.nulls), Unit.RATIO))
    anomalies = story.column_anomalies.get(one.name, 0)
    types = f"{one.before.type} → {now.type}" if one.type_changed else now.type
    return Row(
        (
            prose(f"`{name(one.name)}`"),
            "gone"
            if one.went
            else f"{types}, new"
            if one.came and not math.isnan(story.volume.before)
            else types,
            known_figure(now.values, Unit.COUNT),
            nulls,
            known_figure(now.distinct, Unit.COUNT),
            known_figure(now.least),
            known_figure(now.mean),
            known_figure(now.most),
            "–" if drift is None else distance(drift.telling[0]),
            f"{anomalies:,}" if anomalies else "–",
        ),
        bool(anomalies),
    )
