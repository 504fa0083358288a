"""A report as it is kept and sent: the page, and the words for a message that carries it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from monitoring_pipeline.alerting.figures import how_many, name
from monitoring_pipeline.errors import MonitoringError, UsageError
from monitoring_pipeline.reports.page import Broken, page_of
from monitoring_pipeline.reports.period import Period
from monitoring_pipeline.reports.story import Story, story_of
from monitoring_pipeline.workspace import Workspace

MOST_BUCKETS = 10_000
"""Buckets of a period and dataset; more than a year of hours."""

_TOLD = 50
"""Datasets that the text of a message names."""

_CHANGES = 3


@dataclass(frozen=True)
class Report:
    """A page and what to say of it. `html` is below 2 MB and fetches nothing; `text` sums it up in plain lines.

    `datasets`: how many it tells of; `broken`: of how many it could not. `open_incidents` and `resolved` are counts over
    all of them.
    """

    period: Period
    html: str
    subject: str
    headline: str
    text: str
    datasets: int
    broken: int
    open_incidents: int
    resolved: int
    told: tuple[tuple[str, str, tuple[str, ...]], ...] = ()
    """Of each dataset its name, its headline and what changed most; names of columns stand in backticks."""

    @property
    def file_name(self) -> str:
        """What a file of it is called: `2026-W47.html`."""
        return f"{self.period.name.replace(' ', '_')}.html"

    @property
    def size(self) -> int:
        """Bytes of the page."""
        return len(self.html.encode())


def build_report(workspace: Workspace, period: Period, datasets: Sequence[str] | None = None) -> Report:
    """The report of some datasets, or of all in the workspace, those that cannot be used among them.

    The same store at the same moment gives the same page. A dataset whose profiles cannot be read does not keep the
    others from being told of. Raises UnknownDatasetError, and UsageError for a period that is empty, not begun or longer
    than 10,000 buckets of a dataset.
    """
    catalog, now = workspace.catalog, workspace.now()
    if period.range.start >= period.range.end or period.range.start >= now:
        raise UsageError(
            f"a report is about time that has been: found {period.words}; --from must lie before --to and the present"
        )
    broken = [
        Broken(dataset_id, str(error)) for dataset_id, error in catalog.broken.items() if datasets is None
    ]
    stories: list[Story] = []
    for dataset_id in catalog.datasets if datasets is None else dict.fromkeys(datasets):
        granularity = workspace.dataset(dataset_id).spec.granularity
        if len(period.buckets(granularity, now=now)) > MOST_BUCKETS:
            raise UsageError(
                f"{period.words} has more than {MOST_BUCKETS:,} {granularity} buckets of {dataset_id}; "
                "ask for a shorter period"
            )
        try:
            stories.append(story_of(workspace, dataset_id, period))
        except MonitoringError as error:
            broken.append(Broken(dataset_id, str(error)))
    headline = _headline(stories, broken)
    return Report(
        period=period,
        html=page_of(stories, broken, period=period, headline=headline, written=now),
        subject=f"Monitoring report {period.name}: {headline}",
        headline=headline,
        text=_text(stories, broken, period, headline),
        datasets=len(stories),
        broken=len(broken),
        open_incidents=sum(len(story.open) for story in stories),
        resolved=sum(story.resolved for story in stories),
        told=(
            *((story.dataset_id, story.headline, story.changes[:_CHANGES]) for story in stories),
            *((one.dataset_id, f"cannot be read: {name(one.error)}", ()) for one in broken),
        ),
    )


def write_report(report: Report, path: Path) -> None:
    """Write the page, whole or not at all; makes the folder. Raises UsageError when it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, unfinished = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(report.html.encode())
                file.flush()
                os.fsync(file.fileno())
            Path(unfinished).chmod(0o644)
            Path(unfinished).replace(path)
        except BaseException:
            with suppress(OSError):
                Path(unfinished).unlink()
            raise
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror or error}") from error


def _headline(stories: Sequence[Story], broken: Sequence[Broken]) -> str:
    count = len(stories)
    if not count and not broken:
        return "no datasets"
    parts: list[str] = []
    hurt = [story for story in stories if story.open]
    if hurt:
        number = sum(len(story.open) for story in hurt)
        parts.append(f"{how_many(number, 'incident')} open in {len(hurt):,} of {how_many(count, 'dataset')}")
    resolved = sum(story.resolved for story in stories)
    if resolved:
        parts.append(f"{resolved:,} resolved" if hurt else f"{how_many(resolved, 'incident')} resolved")
    states = {"look": "to look at", "silent": "without data", "unwatched": "not judged"}
    for state, words in states.items():
        if number := sum(story.state == state for story in stories):
            parts.append(f"{how_many(number, 'dataset')} {words}")
    if broken:
        parts.append(f"{how_many(len(broken), 'dataset')} cannot be read")
    if parts:
        return ", ".join(parts)
    return "healthy" if count == 1 else f"all {how_many(count, 'dataset')} healthy"


def _text(stories: Sequence[Story], broken: Sequence[Broken], period: Period, headline: str) -> str:
    when = f"{period.name} ({period.words})" if period.is_week else period.words
    lines = [f"{when}: {headline}"]
    for story in stories[:_TOLD]:
        lines += ["", f"{name(story.dataset_id)}: {_plain(story.headline)}"]
        lines += [f"  - {_plain(line)}" for line in story.changes[:_CHANGES]]
    if len(stories) > _TOLD:
        lines += ["", f"and {how_many(len(stories) - _TOLD, 'more dataset')}"]
    for one in broken[:_TOLD]:
        lines += ["", f"{name(one.dataset_id)} cannot be read: {name(one.error)}"]
    return "\n".join(lines) + "\n"


def _plain(sentence: str) -> str:
    return sentence.replace("`", "")
