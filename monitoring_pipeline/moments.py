"""Monitors that speak when their schedule comes: what they hold back until then, and what is due to be told now.

The decision is `alerting.speaking`; this puts the facts before it and writes what it says (`store.held_back`). What has
been repaired in the meantime is not told, and what was judged again is told with the newer numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from monitoring_pipeline import readiness, showing
from monitoring_pipeline.alerting import speaking
from monitoring_pipeline.alerting.digests import Digest, build_digests, to_hold
from monitoring_pipeline.alerting.incidents import Incident
from monitoring_pipeline.alerting.speaking import Progress
from monitoring_pipeline.analysis.result import AnalyzerResult
from monitoring_pipeline.config.monitors import Monitor
from monitoring_pipeline.readiness import Pending
from monitoring_pipeline.store import held_back, results
from monitoring_pipeline.store.held_back import Held, HeldBack, Release
from monitoring_pipeline.timegrid import TimeRange, from_micros
from monitoring_pipeline.workspace import MonitoredDataset, Workspace

Address = Callable[[Sequence[Digest]], tuple[Sequence[tuple[Digest, Sequence[str]]], Sequence[str]]]
"""Says where digests go: each with the names of its channels, and what leads nowhere."""


@dataclass(frozen=True)
class Spoken:
    """Digests that are new, the incidents they tell of, and actions that lead nowhere."""

    digests: tuple[Digest, ...] = ()
    incidents: tuple[Incident, ...] = ()
    problems: tuple[str, ...] = ()


def at_once(dataset: MonitoredDataset) -> list[Monitor]:
    """The monitors that tell of a run as soon as it is over."""
    return [one for one in dataset.document.monitors if not speaking.is_scheduled(one)]


def to_be_held(dataset: MonitoredDataset, found: Sequence[AnalyzerResult], *, now: datetime) -> list[Held]:
    """What the other monitors hold back of the anomalies that a run has found."""
    return [
        Held(monitor.id, result.analysis_id, result.bucket)
        for monitor in dataset.document.monitors
        if speaking.is_scheduled(monitor)
        for result in to_hold(monitor, found, now=now)
    ]


def due(workspace: Workspace, dataset_id: str, pending: Pending | None = None) -> list[str]:
    """The monitors that have something to tell now, each with its moment; `pending` saves looking for data again."""
    held = held_back.held_back(workspace.store, workspace.ref(dataset_id))
    if not held.anomalies:
        return []
    lines: list[str] = []
    for monitor, passed in _passed(workspace, dataset_id, held, pending):
        groups = _groups(workspace.dataset(dataset_id), monitor, held, passed)
        lines += [f"{dataset_id}: {monitor.id} at {moment:%Y-%m-%d %H:%M}" for moment, _ in groups]
    return lines


def speak(
    workspace: Workspace, dataset_id: str, *, address: Address, pending: Pending | None = None
) -> Spoken:
    """Record the digests of the monitors whose moment has come, each with all that it holds, in one transaction.

    `pending` saves looking for data again.
    """
    dataset, ref, now = workspace.dataset(dataset_id), workspace.ref(dataset_id), workspace.now()
    held = held_back.held_back(workspace.store, ref)
    passed = _passed(workspace, dataset_id, held, pending)
    forgotten = {*held.spoken, *(one.monitor_id for one in held.anomalies)} - {
        one.id for one in dataset.document.monitors if not one.disabled
    }
    if not passed and not forgotten:
        return Spoken()
    snapshot = {*held.anomalies}
    window = _window(dataset, held, now)
    found = {one.analysis_id: one for one in _anomalies(workspace, dataset_id, held, window)}
    roughly = build_digests(
        dataset.document,
        [*found.values()],
        now=now,
        run_id=None,
        monitors=[one for one, _ in passed],
        held=True,
    )
    finish = showing.finishing(workspace, dataset_id, roughly, [*found.values()])
    addressed: Sequence[tuple[Digest, Sequence[str]]] = []
    known: list[Incident] = []
    problems: Sequence[str] = []

    def tell(current: HeldBack, records: Sequence[Mapping[str, object]]) -> Release:
        nonlocal addressed, known, problems
        known = [Incident.from_json(record) for record in records]
        digests: list[Digest] = []
        done: list[Held] = []
        spoken: dict[str, datetime] = {}
        for monitor, moment in passed:
            told_to = current.spoken.get(monitor.id)
            if told_to is not None and told_to >= moment:
                continue  # somebody else was faster
            mine = {one.analysis_id: one for one in current.anomalies if one.monitor_id == monitor.id}
            for _, names in _groups(dataset, monitor, current, moment):
                done += [mine[name] for name in names if mine[name] in snapshot]
                told = [found[name] for name in names if name in found and mine[name] in snapshot]
                digests += build_digests(
                    dataset.document,
                    told,
                    now=now,
                    run_id=max(told, key=lambda one: one.created).run_id if told else None,
                    organisation=ref.organisation,
                    incidents=known,
                    monitors=[monitor],
                    held=True,
                )
            if speaking.is_scheduled(monitor):
                spoken[monitor.id] = moment
        addressed, problems = address([finish(one) for one in digests])
        return Release([(digest.to_json(), names) for digest, names in addressed], done, spoken, forgotten)

    keys = held_back.release(workspace.store, ref, tell, window=window, now=now)
    recorded = tuple(digest for digest, _ in addressed if digest.dedup_key in keys)
    named = {incident.id for digest in recorded for incident in digest.incidents}
    return Spoken(recorded, tuple(one for one in known if one.id in named), tuple(problems))


def _passed(
    workspace: Workspace, dataset_id: str, held: HeldBack, pending: Pending | None = None
) -> list[tuple[Monitor, datetime]]:
    """The monitors of which a moment has come, each with the newest."""
    dataset, now = workspace.dataset(dataset_id), workspace.now()
    waiting = {one.monitor_id for one in held.anomalies}

    def progress(window: TimeRange) -> Progress:
        at_hand = pending or readiness.pending(workspace, dataset_id)
        given_up = {one.bucket for one in at_hand.given_up}
        judged = results.calculated(workspace.store, workspace.ref(dataset_id), window)
        return Progress(
            {(analyzer_id, from_micros(bucket)) for analyzer_id, _, bucket in judged},
            dataset.spec.start or readiness.first_bucket(workspace, dataset_id),
            [bucket for bucket in at_hand.buckets if bucket not in given_up],
        )

    found: list[tuple[Monitor, datetime]] = []
    for monitor in dataset.document.monitors:
        if monitor.disabled or not (speaking.is_scheduled(monitor) or monitor.id in waiting):
            continue
        told_to = held.spoken.get(monitor.id)
        if moment := speaking.last_passed(dataset.document, monitor, progress, told_to=told_to, now=now):
            found.append((monitor, moment))
    return found


def _groups(
    dataset: MonitoredDataset, monitor: Monitor, held: HeldBack, passed: datetime
) -> list[tuple[datetime, list[str]]]:
    return speaking.assigned(
        monitor,
        {one.analysis_id: one.bucket for one in held.anomalies if one.monitor_id == monitor.id},
        granularity=dataset.spec.granularity,
        told_to=held.spoken.get(monitor.id),
        passed=passed,
    )


def _window(dataset: MonitoredDataset, held: HeldBack, now: datetime) -> TimeRange:
    """The buckets of everything that is held back."""
    granularity = dataset.spec.granularity
    buckets = [one.bucket for one in held.anomalies] or [granularity.floor(now)]
    return TimeRange(min(buckets), granularity.shift(max(buckets), 1))


def _anomalies(
    workspace: Workspace, dataset_id: str, held: HeldBack, window: TimeRange
) -> list[AnalyzerResult]:
    """The verdicts on what is held back that are still anomalies."""
    if not held.anomalies:
        return []
    wanted = {one.analysis_id for one in held.anomalies}
    rows = results.results(workspace.store, workspace.ref(dataset_id), window=window, anomalies_only=True)
    return [AnalyzerResult.from_row(row) for row in rows if row["analysis_id"] in wanted]
