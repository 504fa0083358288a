"""Stories as one HTML page that holds everything it needs and stays below its size whatever the datasets are like."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from monitoring_pipeline.alerting.figures import Unit, figure, name
from monitoring_pipeline.reports.period import Period
from monitoring_pipeline.reports.shown import distance, prose
from monitoring_pipeline.reports.story import Story
from monitoring_pipeline.reports.views import LEVELS, view_of

LARGEST: Final = 1_950_000
"""Bytes of a page: below 2 MB, with room for what carries it."""

_HERE: Final = "<!--sections-->"
"""Where the sections go; no text of the data can say this, because it would be escaped."""

_WORDS = {
    "incidents": "open",
    "resolved": "resolved",
    "healthy": "healthy",
    "look": "to look at",
    "unwatched": "not judged",
    "silent": "no data",
    "between": "none ended",
    "broken": "broken",
}
_TONES = {
    "incidents": "bad",
    "silent": "bad",
    "broken": "bad",
    "unwatched": "warn",
    "look": "warn",
    "between": "",
}


@dataclass(frozen=True)
class Broken:
    """A dataset that could not be told of, and why."""

    dataset_id: str
    error: str


@dataclass(frozen=True)
class _Entry:
    """A line of the index."""

    anchor: str
    name: str
    state: str
    tone: str
    headline: str
    rows: str
    change: str
    anomalies: str
    moved: Markup


def page_of(
    stories: Sequence[Story], broken: Sequence[Broken], *, period: Period, headline: str, written: datetime
) -> str:
    """The whole page. What does not fit is left out by dataset, the least telling first, and said."""
    entries = [
        *(_entry(story, f"d{number}") for number, story in enumerate(stories)),
        *(
            _Entry("", name(one.dataset_id), _WORDS["broken"], "bad", one.error, "–", "–", "–", Markup("–"))
            for one in broken
        ),
    ]
    listed = len(entries)
    frame = _frame(entries, period=period, headline=headline, written=written, listed=listed)
    while len(frame.encode()) > LARGEST // 2 and listed:
        listed //= 2
        frame = _frame(entries, period=period, headline=headline, written=written, listed=listed)
    sections = _sections(stories, period, LARGEST - len(frame.encode()))
    return frame.replace(_HERE, "".join(sections), 1)


def _frame(
    entries: Sequence[_Entry], *, period: Period, headline: str, written: datetime, listed: int
) -> str:
    """The page around its sections, with the first `listed` datasets in the index."""
    template = _environment().get_template("report.html.j2")
    return template.render(
        period=period,
        headline=headline,
        written=written,
        tone=next((tone for tone in ("bad", "warn") if any(one.tone == tone for one in entries)), "good"),
        indexed=len(entries) != 1 or not entries[0].anchor,
        entries=entries[:listed],
        more_entries=len(entries) - listed,
        sections=Markup(_HERE),  # noqa: S704 - a constant
        prose=prose,
    )


def _sections(stories: Sequence[Story], period: Period, room: int) -> list[str]:
    """A section for each dataset. What small datasets do not need is there for the large ones."""
    richest = [_section(story, number, period, level=0) for number, story in enumerate(stories)]
    found = [""] * len(stories)
    order = sorted(range(len(stories)), key=lambda number: (len(richest[number].encode()), number))
    for place, number in enumerate(order):
        share = room // (len(order) - place)
        section = richest[number]
        for level in range(1, len(LEVELS)):
            if len(section.encode()) <= share:
                break
            section = _section(stories[number], number, period, level=level)
        if len(section.encode()) > share:
            section = f'<section id="d{number}"></section>'
            if len(section) > share:
                continue
        found[number] = section
        room -= len(section.encode())
    return found


def _section(story: Story, number: int, period: Period, *, level: int) -> str:
    view = view_of(story, LEVELS[level], anchor=f"d{number}")
    return (
        _environment()
        .get_template("dataset.html.j2")
        .render(
            view=view,
            period=period,
            word=_WORDS[view.state],
            tone=_TONES.get(view.state, "good"),
            cut=level > 0,
        )
    )


def _entry(story: Story, anchor: str) -> _Entry:
    change = story.volume.change
    furthest = next(iter(story.drifts.moved), None)
    moved = (
        Markup("–")
        if furthest is None
        else prose(f"`{name(furthest.column)}` {distance(furthest.telling[0])}")
    )
    sign = "+" if change >= 0 else "−"
    return _Entry(
        anchor=anchor,
        name=name(story.dataset_id),
        state=_WORDS[story.state],
        tone=_TONES.get(story.state, "good"),
        headline=story.headline,
        rows=figure(story.volume.now, Unit.COUNT) if len(story.buckets) else "–",
        change=f"{sign}{figure(abs(change), Unit.RATIO, digits=2)}" if change == change else "–",
        anomalies=f"{sum(story.anomalies[len(story.buckets) :]):,}",
        moved=moved,
    )


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("monitoring_pipeline.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
