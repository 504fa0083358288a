"""What a target is compared with: the buckets before it, a fixed range of time, a reference profile, or another batch.

Every baseline may name another dataset (`datasetId`); without one it reads the analyzer's own.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from monitoring_pipeline.config.fields import DocumentModel, Listed, RangeField, Whole, variants
from monitoring_pipeline.config.schedules import ExclusionSchedule
from monitoring_pipeline.timegrid import TimeRange

LONGEST_WINDOW = 100_000
"""Buckets; nearly three years of quarter hours."""


class _Baseline(DocumentModel):
    dataset_id: str | None = Field(
        default=None,
        min_length=1,
        max_length=100,
        description="Read the baseline from this dataset of the same organisation. Default: the analyzer's own.",
    )
    inherit_segment: bool = Field(
        default=False,
        description="With datasetId: compare with the same segment of the other dataset (true) or with all of its "
        "data (false, the default). Without datasetId the baseline is always the target's own segment.",
    )


class TrailingWindowBaseline(_Baseline):
    """The buckets before the target."""

    type: Literal["TrailingWindow"] = "TrailingWindow"
    size: Whole = Field(
        default=7,
        ge=1,
        le=LONGEST_WINDOW,
        description="Length of the window in buckets of the dataset's granularity. Default 7.",
    )
    offset: Whole = Field(
        default=0,
        ge=0,
        description="Buckets between the window and the target. Default 0: the window ends right before the target.",
    )
    exclusion_ranges: Listed[RangeField] = Field(
        default=(),
        description="Ranges of dataset time (UTC, end excluded) that never count as baseline. What is left out is "
        "missing from the window; no older bucket replaces it.",
    )
    exclusion_schedule: ExclusionSchedule | None = Field(
        default=None,
        description="A cron schedule of the buckets that never count as baseline: '0 0 * * 6,0' leaves out weekends.",
    )


class TimeRangeBaseline(_Baseline):
    """A fixed range of time that is known to have been normal."""

    type: Literal["TimeRange"] = "TimeRange"
    range: RangeField = Field(description="The range of dataset time, UTC, end excluded.")


class ReferenceBaseline(_Baseline):
    """A reference profile, made once from data that is known to be good."""

    type: Literal["Reference"] = "Reference"
    profile_id: str = Field(min_length=1, max_length=100, description="Id of the reference profile.")


class CurrentBatchBaseline(_Baseline):
    """The batch of the same time, usually of another dataset: training against serving, shadow against live."""

    type: Literal["CurrentBatch"] = "CurrentBatch"
    offset: Whole = Field(
        default=0, ge=0, description="Buckets back from the target. Default 0: the bucket of the same time."
    )


_NAMES = ("TrailingWindow", "TimeRange", "Reference", "CurrentBatch")

Baseline = Annotated[
    TrailingWindowBaseline | TimeRangeBaseline | ReferenceBaseline | CurrentBatchBaseline,
    Field(discriminator="type"),
    variants(*_NAMES),
]
TrailingBaseline = Annotated[TrailingWindowBaseline, variants("TrailingWindow")]

__all__ = [
    "LONGEST_WINDOW",
    "Baseline",
    "CurrentBatchBaseline",
    "ReferenceBaseline",
    "TimeRange",
    "TimeRangeBaseline",
    "TrailingBaseline",
    "TrailingWindowBaseline",
]
