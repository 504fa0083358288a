"""One monitor: which anomalies are worth telling, to whom, and how urgently."""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, model_validator

from monitoring_pipeline.config.checks import monitor_errors
from monitoring_pipeline.config.fields import (
    Choice,
    DocumentModel,
    DurationField,
    Listed,
    Metadata,
    Number,
    Whole,
    refuse,
    variants,
    with_id,
)
from monitoring_pipeline.config.problems import validated
from monitoring_pipeline.config.schedules import ImmediateSchedule, MonitorSchedule
from monitoring_pipeline.errors import DocumentError
from monitoring_pipeline.timegrid import Duration, Granularity

HIGH, MEDIUM, LOW = 1, 2, 3


class AnomalyFilter(DocumentModel):
    """Which anomalies a monitor tells, and which digests it sends. All limits include their value."""

    include_columns: Listed[str] | None = Field(
        default=None, description="Only anomalies of these columns. Default: all; an empty list means none."
    )
    exclude_columns: Listed[str] = Field(default=(), description="No anomalies of these columns.")
    include_metrics: Listed[str] | None = Field(
        default=None, description="Only anomalies of these metrics. Default: all; an empty list means none."
    )
    exclude_metrics: Listed[str] = Field(default=(), description="No anomalies of these metrics.")
    min_weight: Number | None = Field(
        default=None,
        description="Only columns with at least this weight; a column of unknown weight does not pass.",
    )
    max_weight: Number | None = Field(
        default=None, description="Only columns with at most this weight; a column of unknown weight passes."
    )
    min_rank_by_weight: Whole | None = Field(
        default=None,
        description="Only columns from this place on, counted from the largest absolute weight (1).",
    )
    max_rank_by_weight: Whole | None = Field(
        default=None,
        description="Only columns up to this place, counted from the largest absolute weight (1).",
    )
    min_total_weight: Number | None = Field(
        default=None, description="No digest when the anomalous columns weigh less in total."
    )
    max_total_weight: Number | None = Field(
        default=None, description="No digest when the anomalous columns weigh more in total."
    )
    min_alert_count: Whole | None = Field(default=None, description="No digest with fewer anomalies.")
    max_alert_count: Whole | None = Field(default=None, description="No digest with more anomalies.")


class DigestGrouping(Choice):
    """How a digest orders its anomalies."""

    BY_COLUMN = "byColumn"
    BY_DATASET = "byDataset"
    BY_ANALYZER = "byAnalyzer"
    BY_DAY = "byDay"
    BY_HOUR = "byHour"


class DigestMode(DocumentModel):
    """One message that sums up all anomalies of a run, or of a period of the schedule."""

    type: Literal["DIGEST"] = "DIGEST"
    filter: AnomalyFilter = Field(default=AnomalyFilter(), description="Which anomalies count. Default: all.")
    creation_time_offset: DurationField | None = Field(
        default=None,
        description="Only results that were calculated at most this long ago. Default: no limit.",
    )
    dataset_timestamp_offset: DurationField | None = Field(
        default=None,
        description="Only buckets that started at most this long ago, so that a backfill of old data stays silent: "
        "P3D. Default: no limit.",
    )
    group_by: Listed[DigestGrouping] = Field(default=(), description="How the message orders its anomalies.")


class EveryAnomalyMode(DocumentModel):
    """One message for each anomaly."""

    type: Literal["EVERY_ANOMALY"] = "EVERY_ANOMALY"
    filter: AnomalyFilter = Field(default=AnomalyFilter(), description="Which anomalies count. Default: all.")


MonitorMode = Annotated[
    DigestMode | EveryAnomalyMode,
    Field(discriminator="type"),
    variants("DIGEST", "EVERY_ANOMALY", default=lambda _: "DIGEST"),
]


class GlobalAction(DocumentModel):
    """A channel that the organisation has set up, by its id."""

    type: Literal["global"] = "global"
    id: str | None = Field(default=None, description="The older way to write `target`.")
    target: str = Field(default="", max_length=100, description="Id of the channel, such as slack.")

    @model_validator(mode="after")
    def _names_a_channel(self) -> GlobalAction:
        if not self.target and self.id:
            object.__setattr__(self, "target", self.id)  # read from elsewhere: not "given"
        if not self.target:
            raise refuse(
                "the id of a channel of the organisation, such as slack", found="nothing", key="target"
            )
        return self


class _InlineAction(DocumentModel):
    id: str | None = Field(
        default=None, description="Id of the channel. Alone, it means the channel of that id."
    )
    target: str | None = Field(default=None, max_length=2083, description="The address.", repr=False)
    destination: str | None = Field(
        default=None, max_length=2083, description="The way whylabs-toolkit writes `target`.", repr=False
    )

    @model_validator(mode="after")
    def _has_address(self) -> _InlineAction:
        if not self.target and self.destination:
            object.__setattr__(self, "target", self.destination)  # read from elsewhere: not "given"
        if not self.target and not self.id:
            raise refuse(
                "an address, or the id of a channel of the organisation", found="nothing", key="target"
            )
        return self


class EmailAction(_InlineAction):
    """An e-mail address."""

    type: Literal["email"] = "email"


class SlackAction(_InlineAction):
    """The URL of a Slack webhook. Better kept out of documents: set it up as a channel and use `global`."""

    type: Literal["slack"] = "slack"


class PagerDutyAction(_InlineAction):
    """A PagerDuty routing key. Better kept out of documents: set it up as a channel and use `global`."""

    type: Literal["pagerduty"] = "pagerduty"


class WebhookAction(_InlineAction):
    """A URL that gets the message as JSON."""

    type: Literal["raw"] = "raw"


AnyAction = GlobalAction | EmailAction | SlackAction | PagerDutyAction | WebhookAction
MonitorAction = Annotated[
    AnyAction,
    Field(discriminator="type"),
    variants(
        "global",
        "email",
        "slack",
        "pagerduty",
        "raw",
        aliases={"webhook": "raw", "raw_webhook": "raw", "send_email": "email", "slack_webhook": "slack"},
    ),
]


class Monitor(DocumentModel):
    """Which anomalies of which analyzers are told to whom."""

    metadata: Metadata | None = Field(default=None, description="Bookkeeping.")
    id: str = Field(
        min_length=1,
        max_length=256,
        description="Unique within the document. A document of the older generation may leave it out, and gets one "
        "made from the monitor's content.",
    )
    display_name: str | None = Field(
        default=None, max_length=256, description="Name for people. Default: the id."
    )
    tags: Listed[str] = Field(default=(), description="Labels for people.")
    analyzer_ids: Listed[str] = Field(
        description="Ids of the analyzers to listen to, up to 100.", max_length=100
    )
    schedule: MonitorSchedule = Field(
        default=ImmediateSchedule(),
        description="When messages go out: immediately, when a period is over (fixed), or at the moments of a cron "
        "expression. Buckets in its exclusion ranges are never told. Default: immediately.",
    )
    disabled: bool = Field(default=False, description="Send nothing. Default false.")
    severity: Whole = Field(default=3, description="1 high, 2 medium, 3 low. Default 3.")
    mode: MonitorMode = Field(
        default=DigestMode(),
        description="One digest for all anomalies, or a message for each. Default DIGEST.",
    )
    actions: Listed[MonitorAction] = Field(default=(), description="Who is told. Empty: nobody.")

    @model_validator(mode="before")
    @classmethod
    def _id_from_content(cls, data: object) -> object:
        return with_id(data, "monitor")


def usual_offset(granularity: Granularity) -> Duration:
    """A `datasetTimestampOffset` that lets late buckets through and keeps backfills silent.

    >>> str(usual_offset(Granularity.WEEKLY))
    'P14D'
    """
    days = {Granularity.WEEKLY: 14, Granularity.MONTHLY: 45}.get(granularity, 7)
    return Duration(length=timedelta(days=days))


def parse_monitor(data: object, *, source: str) -> Monitor:
    """A monitor on its own. Raises DocumentError with all problems; `source` names where it came from."""
    monitor = validated(_monitor(), data, source=source)
    problems = list(monitor_errors(monitor, (), known_ids=None))
    if problems:
        raise DocumentError(source, problems)
    return monitor


@cache
def _monitor() -> TypeAdapter[Monitor]:
    return TypeAdapter(Monitor)
