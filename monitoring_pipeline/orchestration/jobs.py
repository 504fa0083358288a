"""The jobs that make no data: the outbox goes out to its channels, and what is old enough goes for good.

Ops with resources, not assets: a message sent is not data. The outbox makes it safe to run at any time and again.
"""

from collections import Counter
from collections.abc import Sequence

import dagster as dg

from monitoring_pipeline import pipeline
from monitoring_pipeline.alerting.channels import Channel
from monitoring_pipeline.errors import MonitoringError
from monitoring_pipeline.workspace import Workspace

DIGEST_JOB = "deliver_digests"
RETENTION_JOB = "retention"


@dg.op(description="Send what waits in the outbox; a channel that is down holds up no other.")
def deliver(
    context: dg.OpExecutionContext,
    workspace: dg.ResourceParam[Workspace],
    channels: dg.ResourceParam[dict[str, Channel]],
) -> list[str]:
    """What could not be delivered and will not be tried again, in words."""
    report = pipeline.deliver(workspace, channels=channels)
    context.add_output_metadata(
        {
            "delivered": report.delivered,
            "given up": report.failed,
            "waiting": report.waiting,
            **({"problems": dg.MetadataValue.md(_listed(report.problems))} if report.problems else {}),
        }
    )
    for problem in report.problems:
        context.log.warning(problem)
    return list(report.problems) if report.failed else []


@dg.op(description="Fail when a message was given up, so that somebody looks.")
def account_for(lost: list[str]) -> None:
    """Trying again cannot help: the failure is permanent and says so."""
    if lost:
        raise dg.Failure(
            description=f"digests were given up: {lost[0]}",
            allow_retries=False,
            metadata={"lost": dg.MetadataValue.md(_listed(lost))},
        )


def _listed(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines[:20])


@dg.job(name=DIGEST_JOB, description="Deliver recorded digests to Slack and the other channels.")
def deliver_digests() -> None:
    account_for(deliver())


@dg.op(
    description="Remove what is older than each dataset's retention says; one that fails holds up no other."
)
def remove_old(context: dg.OpExecutionContext, workspace: dg.ResourceParam[Workspace]) -> list[str]:
    """What failed, in words."""
    failed: list[str] = []
    counts: Counter[str] = Counter()
    for dataset_id in workspace.catalog.datasets:
        try:
            gone = pipeline.retire(workspace, dataset_id, actor=f"Dagster run {context.run.run_id}")
        except MonitoringError as error:
            failed.append(f"{dataset_id}: {error}")
            continue
        counts.update(gone.counts)
        if gone.counts:
            context.log.info(f"{dataset_id}: {gone.counts}")
    context.add_output_metadata(dict(counts) or {"removed": 0})
    return failed


@dg.op(description="Fail when a dataset could not be cleared, so that somebody looks.")
def report_failures(failed: list[str]) -> None:
    """The others are done all the same, and doing them again changes nothing."""
    if failed:
        raise dg.Failure(
            description=f"retention failed: {failed[0]}",
            metadata={"failed": dg.MetadataValue.md("\n".join(f"- {line}" for line in failed[:20]))},
        )


@dg.job(name=RETENTION_JOB, description="Remove what the datasets' retention does not keep.")
def remove_old_profiles() -> None:
    report_failures(remove_old())
