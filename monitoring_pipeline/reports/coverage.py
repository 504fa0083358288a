"""Who watched: which analyzers gave verdicts on the period, which could not and why, and what is stale or waits."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from monitoring_pipeline import overview
from monitoring_pipeline.config.document import MonitorDocument
from monitoring_pipeline.errors import MonitoringError
from monitoring_pipeline.reports.period import Buckets
from monitoring_pipeline.store.database import Store
from monitoring_pipeline.store.datasets import DatasetRef
from monitoring_pipeline.store.results import calculated
from monitoring_pipeline.store.tallies import AnalyzerTally, analyzer_tallies
from monitoring_pipeline.timegrid import from_micros
from monitoring_pipeline.workspace import Workspace


@dataclass(frozen=True)
class Watcher:
    """One analyzer: on how many buckets of the period it was at work (`judged`, results or not), and what it found.

    `state` is "" for one that is at work, else why it is not: disabled, or not in the document any more.
    """

    analyzer_id: str
    type: str
    metric: str
    state: str
    judged: int
    tally: AnalyzerTally


@dataclass(frozen=True)
class Coverage:
    """All analyzers, in the order of the document; and lines about what is not as it should be now."""

    watchers: tuple[Watcher, ...]
    waiting: tuple[str, ...]
    trouble: tuple[str, ...]
    unjudged: tuple[datetime, ...] = ()
    """Buckets of the period that an analyzer should have judged, and none has."""

    @property
    def verdicts(self) -> int:
        """Verdicts on the period, of all analyzers."""
        return sum(one.tally.verdicts for one in self.watchers)

    @property
    def anomalies(self) -> int:
        """Anomalies of the period, of all analyzers."""
        return sum(one.tally.anomalies for one in self.watchers)

    @property
    def failures(self) -> int:
        """Results of the period that hold no verdict."""
        return sum(one.tally.failed for one in self.watchers)

    @property
    def stale(self) -> int:
        """Results of the period that rest on data which has changed since."""
        return sum(one.tally.stale for one in self.watchers)

    @property
    def silent(self) -> tuple[Watcher, ...]:
        """Analyzers that should have been at work and judged nothing."""
        return tuple(one for one in self.watchers if not one.state and not one.judged)


def coverage_of(workspace: Workspace, document: MonitorDocument, buckets: Buckets) -> Coverage:
    """The analyzers of a dataset in the period, and the state of the dataset at this moment."""
    dataset_id = document.dataset_id
    ref = workspace.ref(dataset_id)
    watchers = _watchers(workspace.store, ref, document, buckets)
    unjudged = _unjudged(workspace.store, ref, document, buckets)
    try:
        status = overview.status(workspace, dataset_id)
    except MonitoringError as error:  # a source that cannot be reached must not keep people from the rest
        return Coverage(watchers, (), (f"what is due cannot be told: {error}",), unjudged)
    return Coverage(
        watchers, (*status.todo, *status.waiting), (*status.trouble, *status.undelivered), unjudged
    )


def _unjudged(
    store: Store, ref: DatasetRef, document: MonitorDocument, buckets: Buckets
) -> tuple[datetime, ...]:
    if not len(buckets):
        return ()
    judged = {from_micros(bucket) for _, _, bucket in calculated(store, ref, buckets.window)}
    granularity = buckets.granularity
    return tuple(
        bucket
        for bucket in buckets.window.buckets(granularity)
        if bucket not in judged
        and any(
            one.schedule is None or one.schedule.matches(bucket, granularity)
            for one in document.analyzers
            if not one.disabled
        )
    )


def _watchers(
    store: Store, ref: DatasetRef, document: MonitorDocument, buckets: Buckets
) -> tuple[Watcher, ...]:
    if not len(buckets):
        return ()
    tallies = analyzer_tallies(store, ref, buckets.window)
    judged: dict[str, set[int]] = {}
    for analyzer_id, _, bucket in calculated(store, ref, buckets.window):
        judged.setdefault(analyzer_id, set()).add(bucket)
    known = {analyzer.id: analyzer for analyzer in document.analyzers}
    watchers: list[Watcher] = []
    for analyzer_id in [*known, *sorted(tallies.keys() - known.keys())]:
        analyzer = known.get(analyzer_id)
        state = "no longer in the document" if analyzer is None else "disabled" if analyzer.disabled else ""
        tally = tallies.get(analyzer_id, AnalyzerTally(analyzer_id, 0, 0, 0, 0, ()))
        watchers.append(
            Watcher(
                analyzer_id,
                "" if analyzer is None else str(analyzer.config.type),
                (analyzer.metric or "") if analyzer is not None else "",
                state,
                max(len(judged.get(analyzer_id, ())), tally.buckets),
                tally,
            )
        )
    return tuple(watchers)
