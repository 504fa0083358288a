"""The code location: composes what the other modules build, and holds no logic.

A dataset whose files are broken is left out and named by a failing check on `monitor_documents`; the others load.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from datetime import datetime

import dagster as dg

from monitoring_pipeline import readiness
from monitoring_pipeline.errors import ConflictError, SourceError
from monitoring_pipeline.links import slug
from monitoring_pipeline.orchestration.assets import dataset_definitions
from monitoring_pipeline.orchestration.documents import documents_definitions
from monitoring_pipeline.orchestration.jobs import deliver_digests, remove_old_profiles
from monitoring_pipeline.orchestration.resources import WorkspaceResource, channels_resource
from monitoring_pipeline.orchestration.schedules import retention_schedule
from monitoring_pipeline.orchestration.sensors import failure_sensor, readiness_sensor
from monitoring_pipeline.orchestration.weekly_report import report_definitions
from monitoring_pipeline.settings import Settings
from monitoring_pipeline.workspace import Workspace

_log = logging.getLogger(__name__)


@dg.definitions
def defs() -> dg.Definitions:
    """The code location of the workspace that the environment names."""
    return build_definitions(WorkspaceResource(), Settings())


def build_definitions(
    resource: WorkspaceResource, settings: Settings, *, only: Collection[str] | None = None
) -> dg.Definitions:
    """Definitions of every loadable dataset of a workspace, or of some of them."""
    with Workspace(settings) as workspace:
        chosen = {
            name: one for name, one in workspace.catalog.datasets.items() if only is None or name in only
        }
        for dataset_id in chosen:
            _apply(workspace, dataset_id)
        starts = {dataset_id: _start(workspace, dataset_id) for dataset_id in chosen}
    _refuse_equal_slugs(starts)
    per_dataset = [
        dataset_definitions(dataset, start=starts[dataset_id]) for dataset_id, dataset in chosen.items()
    ]
    jobs = [job for definitions in per_dataset for job in definitions.jobs or []]
    return dg.Definitions.merge(
        *per_dataset,
        documents_definitions(),
        report_definitions(starts),
        dg.Definitions(
            jobs=[deliver_digests, remove_old_profiles],
            schedules=[retention_schedule()],
            sensors=[
                readiness_sensor(starts, [*jobs, deliver_digests]),
                failure_sensor(starts, [*jobs, deliver_digests, remove_old_profiles]),
            ],
            resources={
                "workspace": resource,
                "channels": channels_resource(settings, home=resource.home),
            },
            executor=dg.in_process_executor,
        ),
    )


def _apply(workspace: Workspace, dataset_id: str) -> None:
    """Note the dataset's files as versions in the store. A conflict is for `monitor_documents` to show."""
    try:
        workspace.apply(dataset_id, author="code location")
    except ConflictError as error:
        _log.warning("%s: %s", dataset_id, error)


def _start(workspace: Workspace, dataset_id: str) -> datetime:
    """Where a dataset's partitions begin; the present where its data cannot be read just now, so that it still loads."""
    try:
        return readiness.first_bucket(workspace, dataset_id)
    except SourceError as error:
        _log.warning("%s: %s", dataset_id, error)
        return workspace.dataset(dataset_id).spec.granularity.floor(workspace.now())


def _refuse_equal_slugs(starts: dict[str, datetime]) -> None:
    seen: dict[str, str] = {}
    for dataset_id in starts:
        other = seen.setdefault(slug(dataset_id), dataset_id)
        if other != dataset_id:
            raise dg.DagsterInvalidDefinitionError(
                f"datasets {other!r} and {dataset_id!r} have the same name in Dagster ({slug(dataset_id)}); rename one"
            )
