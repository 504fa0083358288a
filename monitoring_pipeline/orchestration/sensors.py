"""One readiness sensor for all datasets: the only thing that launches runs by itself. And one that notes failed runs.

Each tick asks what is due, collapses neighbouring buckets of a dataset into one ranged run, and gives every request a
key made of the work itself, so that a tick that dies or repeats launches nothing twice. Its state lives in the store;
what the process remembers between ticks only saves time. A tick has a time budget; what does not fit comes first in
the next one, by the cursor.
"""

import hashlib
import math
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import dagster as dg

from monitoring_pipeline import outgoing, overview, pipeline, readiness
from monitoring_pipeline.errors import MonitoringError
from monitoring_pipeline.lookout import Look, Lookout
from monitoring_pipeline.orchestration.assets import DATASET_TAG, asset_key, job_name
from monitoring_pipeline.orchestration.jobs import DIGEST_JOB
from monitoring_pipeline.orchestration.partitions import buckets_of, key_of, partitions_for
from monitoring_pipeline.readiness import ATTEMPTS, Pending
from monitoring_pipeline.store import work
from monitoring_pipeline.store.work import Failure, Stale
from monitoring_pipeline.workspace import Workspace

SENSOR = "data_readiness"
FAILURES = "failed_runs"
TICK_SECONDS = 1.5
REQUESTS_PER_TICK = 25
ARRIVALS_PER_TICK = 200
"""Arrivals that are reported to Dagster in one tick, 13 ms each, the newest of a dataset first."""
LINES_SHOWN = 50
DELIVERY_SECONDS = 600
"""After so long what still waits is asked for once more, in case the run that was to send it has died."""
WORK_TAG = "monitoring/work"
RANGE_TAGS = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
PARTITION_TAG = "dagster/partition"


def readiness_sensor(
    starts: Mapping[str, datetime],
    jobs: Sequence[Any],  # Dagster has no public name for what `define_asset_job` returns
) -> dg.SensorDefinition:
    """The sensor over the datasets whose first buckets are given."""
    lookout, lock, told = Lookout(), threading.Lock(), _Told()

    @dg.sensor(
        name=SENSOR,
        jobs=list(jobs),
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Launches profiling, analysis and delivery as soon as they are due, and says what waits for what.",
    )
    def data_readiness(
        context: dg.SensorEvaluationContext, workspace: dg.ResourceParam[Workspace]
    ) -> dg.SensorResult:
        with lock:
            return _tick(context, workspace, lookout, told, starts)

    return data_readiness


def failure_sensor(starts: Mapping[str, datetime], jobs: Sequence[Any]) -> dg.SensorDefinition:
    """The sensor that notes on which buckets a run failed; after `ATTEMPTS` runs their work is given up."""

    @dg.run_failure_sensor(
        name=FAILURES,
        monitored_jobs=list(jobs),
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Notes failed runs with their error, so that their work is tried again, or given up and shown.",
    )
    def failed_runs(context: dg.RunFailureSensorContext, workspace: dg.ResourceParam[Workspace]) -> None:
        tags, run_id = context.dagster_run.tags, context.dagster_run.run_id
        error = _error_of(context)
        dataset_id = tags.get(DATASET_TAG)
        if dataset_id is None or dataset_id not in starts or WORK_TAG not in tags:
            context.log.error(f"run {run_id} of {context.dagster_run.job_name} failed: {error}")
            return
        noted = _note(workspace, dataset_id, starts[dataset_id], tags, run_id=run_id, error=error)
        for attempts in sorted({one.attempts for one in noted}):
            buckets = [one.bucket for one in noted if one.attempts == attempts]
            again = "it is given up" if attempts >= ATTEMPTS else "it is tried again, each bucket by itself"
            context.log.error(
                f"{dataset_id}: run {run_id} failed on {readiness.span_in_words(buckets)}, attempt {attempts} of "
                f"{ATTEMPTS}; {again}: {error}"
            )

    return failed_runs


@dataclass
class _Told:
    """What this process has reported to Dagster already. A new one reports what is pending once more."""

    arrivals: dict[str, dict[datetime, str]] = field(default_factory=dict)
    stale: dict[str, Stale] = field(default_factory=dict)
    undelivered: dict[str, list[str]] = field(default_factory=dict)


def _tick(
    context: dg.SensorEvaluationContext,
    workspace: Workspace,
    lookout: Lookout,
    told: _Told,
    starts: Mapping[str, datetime],
) -> dg.SensorResult:
    deadline = time.monotonic() + TICK_SECONDS
    requests: list[dg.RunRequest] = []
    events: list[dg.AssetMaterialization | dg.AssetObservation] = []
    waiting: list[str] = []
    last = context.cursor
    lookout.begin(workspace)
    holding = {*pipeline.holding(workspace)}
    has_looked = False
    for dataset_id in _rotated(sorted(starts), context.cursor):
        if len(requests) >= REQUESTS_PER_TICK:
            break
        start, left = starts[dataset_id], deadline - time.monotonic()
        try:
            look = lookout.look(workspace, dataset_id, within=left if has_looked else math.inf)
        except MonitoringError as error:
            context.log.error(f"{dataset_id}: {error}")
            last = dataset_id
            continue
        if look is None:
            context.log.info(f"the time of this tick is over; the next one begins with {dataset_id}")
            break
        last = dataset_id
        if look.is_new:
            has_looked = True
            _tell(context, look, start)
        for request in _requests(look.pending, start):
            if len(requests) < REQUESTS_PER_TICK:
                requests.append(request)
        events += _arrivals(look.pending, start, told, at_most=ARRIVALS_PER_TICK - len(events))
        events += _staleness(context, look, told)
        waiting += [f"{dataset_id}: {line}" for line in look.pending.summary()]
        try:
            if dataset_id in holding:
                pipeline.tell_what_is_due(workspace, dataset_id, look.pending)
        except MonitoringError as error:
            context.log.error(f"{dataset_id}: digests by the calendar: {error}")
    requests += _delivery(context, workspace)
    events += _undelivered(context, workspace, told, sorted(starts))
    skip = None if requests or events else _skipped(waiting)
    return dg.SensorResult(run_requests=requests, asset_events=events, skip_reason=skip, cursor=last)


def _tell(context: dg.SensorEvaluationContext, look: Look, start: datetime) -> None:
    """Everything about a dataset in words, when something about it is new."""
    dataset_id, pending = look.dataset.id, look.pending
    early = [bucket for bucket in pending.buckets if bucket < start]
    if early:
        context.log.warning(
            f"{dataset_id}: {len(early):,} buckets lie before {start:%Y-%m-%d %H:%M}, where the partitions of this "
            "code location begin; reload the code location"
        )
    for line in pending.trouble():
        context.log.warning(f"{dataset_id}: {line}")
    for line in [*pending.todo(), *pending.summary()]:
        context.log.info(f"{dataset_id}: {line}")


def _requests(pending: Pending, start: datetime) -> Iterator[dg.RunRequest]:
    partitions = partitions_for(pending.granularity, start)
    for one in pending.requests(start):
        keys = key_of(partitions, one.first), key_of(partitions, one.last)
        span = {} if one.first == one.last else dict(zip(RANGE_TAGS, keys, strict=True))
        yield dg.RunRequest(
            job_name=job_name(pending.dataset_id),
            run_key=f"{pending.dataset_id}:{keys[0]}:{keys[1]}:{one.work}:{one.attempts}",
            partition_key=None if span else keys[0],
            tags={DATASET_TAG: pending.dataset_id, WORK_TAG: one.work, **span},
        )


def _arrivals(
    pending: Pending, start: datetime, told: _Told, *, at_most: int
) -> Iterator[dg.AssetMaterialization]:
    """Data that has come since this was last reported, as materialisations of the dataset's `batches`."""
    before = told.arrivals.get(pending.dataset_id, {})
    known = {bucket: before[bucket] for bucket in pending.profile if bucket in before}
    told.arrivals[pending.dataset_id] = known
    fresh = [
        bucket
        for bucket in pending.profile
        if bucket >= start and known.get(bucket) != pending.arrivals[bucket].fingerprint
    ]
    partitions = partitions_for(pending.granularity, start)
    for bucket in fresh[-at_most:] if at_most > 0 else []:
        arrival = pending.arrivals[bucket]
        known[bucket] = arrival.fingerprint
        yield dg.AssetMaterialization(
            asset_key(pending.dataset_id, "batches"),
            partition=key_of(partitions, bucket),
            metadata={
                "dagster/partition_row_count": arrival.rows,
                "files": arrival.files,
                "last upload": dg.MetadataValue.timestamp(arrival.last_upload),
            },
            tags={"dagster/data_version": arrival.fingerprint[:63]},
        )


def _staleness(context: dg.SensorEvaluationContext, look: Look, told: _Told) -> Iterator[dg.AssetObservation]:
    """Results that late data has made stale, as an observation whenever there are others than before."""
    dataset_id, stale = look.dataset.id, look.stale
    if stale == told.stale.get(dataset_id):
        return
    if stale is None:
        del told.stale[dataset_id]
        context.log.info(f"{dataset_id}: no result is stale any more")
        yield dg.AssetObservation(asset_key(dataset_id, "analyzer_results"), metadata={"stale results": 0})
        return
    told.stale[dataset_id] = stale
    words = overview.stale_words(dataset_id, stale)
    context.log.warning(f"{dataset_id}: {words}")
    yield dg.AssetObservation(
        asset_key(dataset_id, "analyzer_results"),
        description=words,
        metadata={
            "stale results": stale.results,
            "stale buckets": stale.buckets,
            "first stale bucket": dg.MetadataValue.timestamp(stale.first),
            "last stale bucket": dg.MetadataValue.timestamp(stale.last),
        },
    )


def _delivery(context: dg.SensorEvaluationContext, workspace: Workspace) -> Iterator[dg.RunRequest]:
    """A run that sends what waits, or has become due without new data: nobody has acknowledged an incident, say."""
    try:
        outgoing.escalate(workspace)
    except MonitoringError as error:
        context.log.error(f"escalation: {error}")
    waiting = overview.outbox(workspace)
    if waiting:
        # A run that died without a note asks again under another key, after a while.
        slot = int(workspace.now().timestamp() // DELIVERY_SECONDS)
        key = hashlib.sha256("\n".join([str(slot), *waiting]).encode()).hexdigest()[:16]
        yield dg.RunRequest(job_name=DIGEST_JOB, run_key=f"{DIGEST_JOB}:{key}")


def _undelivered(
    context: dg.SensorEvaluationContext, workspace: Workspace, told: _Told, dataset_ids: Sequence[str]
) -> Iterator[dg.AssetObservation]:
    """Messages that no channel takes, as an observation whenever there are others than before."""
    refused = overview.refused(workspace)
    for dataset_id in dataset_ids:
        lines = overview.undelivered(workspace, dataset_id, tried=True) if dataset_id in refused else []
        if lines == told.undelivered.get(dataset_id, []):
            continue
        told.undelivered[dataset_id] = lines
        for line in lines:
            context.log.warning(f"{dataset_id}: undelivered: {line}")
        yield dg.AssetObservation(
            asset_key(dataset_id, "analyzer_results"),
            description="; ".join(lines) or "every message has been delivered",
            metadata={
                "undelivered": len(lines),
                **(
                    {"undelivered messages": dg.MetadataValue.md("\n".join(f"- {line}" for line in lines))}
                    if lines
                    else {}
                ),
            },
        )


def _skipped(waiting: Sequence[str]) -> str:
    if not waiting:
        return "nothing is due"
    rest = len(waiting) - LINES_SHOWN
    return "; ".join(
        [*waiting[:LINES_SHOWN], *([f"and {rest:,} more (`monitor status`)"] if rest > 0 else [])]
    )


def _rotated(dataset_ids: Sequence[str], after: str | None) -> list[str]:
    """The datasets, beginning with the one after the last that the previous tick reached."""
    split = next((index for index, name in enumerate(dataset_ids) if after is not None and name > after), 0)
    return [*dataset_ids[split:], *dataset_ids[:split]]


def _note(
    workspace: Workspace,
    dataset_id: str,
    start: datetime,
    tags: Mapping[str, str],
    *,
    run_id: str,
    error: str,
) -> list[Failure]:
    """Write down what a run was to do on its buckets and has not done."""
    pending = readiness.pending(workspace, dataset_id)
    partitions = partitions_for(pending.granularity, start)
    first, last = (tags.get(name, tags.get(PARTITION_TAG, "")) for name in RANGE_TAGS)
    [begin], [end] = buckets_of(partitions, [first]), buckets_of(partitions, [last])
    undone = {bucket: text for bucket, text in pending.work.items() if begin <= bucket <= end}
    ref = workspace.ref(dataset_id)
    return work.record_failure(workspace.store, ref, undone, run_id=run_id, error=error, now=workspace.now())


def _error_of(context: dg.RunFailureSensorContext) -> str:
    """The first error that the run died of, in one line."""
    for event in context.get_step_failure_events():
        error = event.step_failure_data.error
        if error is not None:
            cause = error
            while cause.cause is not None:
                cause = cause.cause
            return cause.message.strip().splitlines()[0]
    return (context.failure_event.message or "no error was recorded").strip().splitlines()[0]
