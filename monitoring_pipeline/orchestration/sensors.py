"""One readiness sensor for all datasets: the only thing that launches runs by itself.

Each tick asks the pipeline what is due, collapses neighbouring buckets of a dataset into one ranged run, and gives
every request a key made of the work itself, so that a tick that dies or repeats launches nothing twice. Its state
lives in the store. A tick has a time budget; what does not fit comes first in the next one.
"""

import hashlib
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import dagster as dg

from monitoring_pipeline import overview, pipeline
from monitoring_pipeline.errors import MonitoringError
from monitoring_pipeline.orchestration.assets import DATASET_TAG, asset_key, job_name
from monitoring_pipeline.orchestration.jobs import DIGEST_JOB
from monitoring_pipeline.orchestration.partitions import PARTITIONS_PER_RUN, key_of, partitions_for
from monitoring_pipeline.pipeline import Pending
from monitoring_pipeline.timegrid import Granularity
from monitoring_pipeline.workspace import MonitoredDataset, Workspace

SENSOR = "data_readiness"
TICK_SECONDS = 40
REQUESTS_PER_TICK = 25
ATTEMPTS = 3
ARRIVALS_PER_TICK = 500
"""Arrivals of a dataset that are reported to Dagster at once, 13 ms each; of a longer history the newest."""
WORK_TAG = "monitoring/work"


def readiness_sensor(
    starts: dict[str, datetime],
    jobs: Sequence[Any],  # Dagster has no public name for what `define_asset_job` returns
) -> dg.SensorDefinition:
    """The sensor over the datasets whose first buckets are given."""

    @dg.sensor(
        name=SENSOR,
        jobs=list(jobs),
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Launches profiling, analysis and delivery as soon as they are due, and says what waits for what.",
    )
    def data_readiness(
        context: dg.SensorEvaluationContext, workspace: dg.ResourceParam[Workspace]
    ) -> dg.SensorResult | dg.SkipReason:
        deadline = time.monotonic() + TICK_SECONDS
        requests: list[dg.RunRequest] = []
        arrived: list[dg.AssetMaterialization] = []
        waiting: list[str] = []
        order = _rotated(sorted(starts), context.cursor)
        last = context.cursor
        for dataset_id in order:
            if time.monotonic() > deadline or len(requests) >= REQUESTS_PER_TICK:
                break
            dataset = workspace.dataset(dataset_id)
            try:
                pending = pipeline.pending(workspace, dataset_id)
            except MonitoringError as error:
                context.log.error(f"{dataset_id}: {error}")
            else:
                requests += _requests(context.instance, dataset, pending, starts[dataset_id])
                arrived += _arrivals(dataset, pending, starts[dataset_id])
                waiting += [f"{dataset_id}: {line}" for line in pending.summary()]
            last = dataset_id
        requests = [*requests[:REQUESTS_PER_TICK], *_delivery(workspace)]
        for line in waiting:
            context.log.info(line)
        if not requests and not arrived:
            return dg.SkipReason("; ".join(waiting) or "nothing is due")
        return dg.SensorResult(run_requests=requests, asset_events=arrived, cursor=last)

    return data_readiness


def ranges(buckets: Sequence[datetime], granularity: Granularity) -> Iterator[tuple[datetime, datetime]]:
    """Neighbouring buckets as (first, last), none longer than one run should be.

    >>> from datetime import UTC
    >>> days = [datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2, 4)]
    >>> [(first.day, last.day) for first, last in ranges(days, Granularity.DAILY)]
    [(1, 2), (4, 4)]
    """
    run: list[datetime] = []
    for bucket in sorted(buckets):
        if run and (bucket != granularity.shift(run[-1], 1) or len(run) >= PARTITIONS_PER_RUN[granularity]):
            yield run[0], run[-1]
            run = []
        run.append(bucket)
    if run:
        yield run[0], run[-1]


def _requests(
    instance: dg.DagsterInstance, dataset: MonitoredDataset, pending: Pending, start: datetime
) -> Iterator[dg.RunRequest]:
    granularity = dataset.spec.granularity
    partitions = partitions_for(granularity, start)
    for first, last in ranges([bucket for bucket in pending.buckets if bucket >= start], granularity):
        work = _fingerprint(pending, first, last)
        attempt = instance.get_runs_count(
            dg.RunsFilter(tags={WORK_TAG: work}, statuses=[dg.DagsterRunStatus.FAILURE])
        )
        if attempt >= ATTEMPTS:
            continue
        keys = key_of(partitions, first), key_of(partitions, last)
        span = {"dagster/asset_partition_range_start": keys[0], "dagster/asset_partition_range_end": keys[1]}
        yield dg.RunRequest(
            job_name=job_name(dataset.id),
            run_key=f"{dataset.id}:{keys[0]}:{keys[1]}:{work}:{attempt}",
            partition_key=keys[0] if first == last else None,
            tags={DATASET_TAG: dataset.id, WORK_TAG: work, **({} if first == last else span)},
        )


def _fingerprint(pending: Pending, first: datetime, last: datetime) -> str:
    """What a run over the buckets would do, as a short stable text."""
    work = [f"{bucket.isoformat()}={pending.arrivals[bucket].fingerprint}" for bucket in pending.profile]
    work += [f"{due.bucket.isoformat()}:{due.analyzer_id}:{due.analyzer_version}" for due in pending.due]
    inside = sorted(
        line for line in work if first.isoformat() <= line[: len(first.isoformat())] <= last.isoformat()
    )
    return hashlib.sha256("\n".join(inside).encode()).hexdigest()[:16]


def _arrivals(
    dataset: MonitoredDataset, pending: Pending, start: datetime
) -> Iterator[dg.AssetMaterialization]:
    partitions = partitions_for(dataset.spec.granularity, start)
    for bucket in pending.profile[-ARRIVALS_PER_TICK:]:
        arrival = pending.arrivals[bucket]
        yield dg.AssetMaterialization(
            asset_key(dataset.id, "batches"),
            partition=key_of(partitions, bucket),
            metadata={
                "dagster/partition_row_count": arrival.rows,
                "files": arrival.files,
                "last upload": dg.MetadataValue.timestamp(arrival.last_upload),
            },
            tags={"dagster/data_version": arrival.fingerprint[:63]},
        )


def _delivery(workspace: Workspace) -> Iterator[dg.RunRequest]:
    waiting = overview.outbox(workspace)
    if waiting:
        key = hashlib.sha256("\n".join(waiting).encode()).hexdigest()[:16]
        yield dg.RunRequest(job_name=DIGEST_JOB, run_key=f"{DIGEST_JOB}:{key}")


def _rotated(dataset_ids: Sequence[str], after: str | None) -> list[str]:
    """The datasets, beginning with the one after the last that the previous tick reached."""
    split = next((index for index, name in enumerate(dataset_ids) if after is not None and name > after), 0)
    return [*dataset_ids[split:], *dataset_ids[:split]]
