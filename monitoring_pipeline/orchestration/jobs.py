"""The digest job: what monitors recorded in the outbox goes out to its channels.

Ops with resources, not assets: a message sent is not data. The outbox makes it safe to run at any time and again.
"""

import dagster as dg

from monitoring_pipeline import pipeline
from monitoring_pipeline.workspace import Workspace

DIGEST_JOB = "deliver_digests"


@dg.op(description="Send what waits in the outbox; a channel that is down holds up no other.")
def deliver(context: dg.OpExecutionContext, workspace: dg.ResourceParam[Workspace]) -> list[str]:
    """What could not be delivered and will not be tried again, in words."""
    report = pipeline.deliver(workspace)
    context.add_output_metadata(
        {"delivered": report.delivered, "given up": report.failed, "waiting": report.waiting}
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
            metadata={"lost": dg.MetadataValue.md("\n".join(f"- {line}" for line in lost[:20]))},
        )


@dg.job(name=DIGEST_JOB, description="Deliver recorded digests to Slack and the other channels.")
def deliver_digests() -> None:
    account_for(deliver())
