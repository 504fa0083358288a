"""How long the store keeps what it knows of a dataset: the block `retention` of `dataset.yaml`, or the workspace's default.

Everything is kept for ever unless somebody says otherwise, save for profiles that other data has replaced.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationError,
    WithJsonSchema,
)

from monitoring_pipeline.config.fields import refuse
from monitoring_pipeline.config.problems import translate
from monitoring_pipeline.errors import DocumentError, Problem
from monitoring_pipeline.timegrid import Duration, Granularity

FOREVER = "forever"


def _kept(value: object) -> Duration | None:
    if value is None or isinstance(value, Duration):
        return value
    if isinstance(value, str) and value.replace(" ", "").lower() == FOREVER:
        return None
    if isinstance(value, str) and value.strip().upper().startswith("P"):
        try:
            return Duration.parse(value)
        except ValueError:
            pass
    raise refuse(f"an ISO-8601 duration such as P35D, P6M or P2Y, or {FOREVER}")


Kept = Annotated[
    Duration | None,
    PlainValidator(_kept),
    PlainSerializer(lambda value: FOREVER if value is None else str(value), return_type=str),
    WithJsonSchema({"type": "string", "examples": ["P35D", "P2Y", FOREVER]}),
]
"""A length of time; None is for ever."""


class RetentionSpec(BaseModel):
    """How long things are kept, each counted from the end of its bucket."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base: Kept = Field(
        default=None,
        description="Profiles of the dataset's own buckets, once roll-ups hold what they say. Default forever.",
    )
    daily: Kept = Field(
        default=None, description="Days that were rolled up from shorter buckets. Default forever."
    )
    weekly: Kept = Field(default=None, description="Weeks that were rolled up. Default forever.")
    monthly: Kept = Field(default=None, description="Months that were rolled up. Default forever.")
    results: Kept = Field(
        default=None, description="Verdicts, digests and closed incidents. Default forever."
    )
    superseded: Kept = Field(
        default=Duration(length=timedelta(days=90)),
        description="Profiles that late or repaired data has replaced, from then on; replays of verdicts that rest on "
        "them need them. Default P90D.",
    )

    def problems(self, granularity: Granularity) -> list[Problem]:
        """What of it makes no sense for data of that granularity."""
        grains = ["base", "daily", "weekly", "monthly"]
        if granularity in (Granularity.WEEKLY, Granularity.MONTHLY):
            accepted = f"no limit: nothing takes the place of the profiles of {granularity} data; `monitor delete` removes them"
            return [
                Problem(f"$.retention.{name}", str(getattr(self, name)), accepted)
                for name in grains
                if getattr(self, name) is not None
            ]
        if granularity is Granularity.DAILY and self.daily is not None:
            return [
                Problem(
                    "$.retention.daily", str(self.daily), "base, which is what daily data's own buckets are"
                )
            ]
        pairs = [
            ("base", "daily"),
            ("daily", "weekly"),
            ("daily", "monthly"),
            ("base", "weekly"),
            ("base", "monthly"),
        ]
        return [
            Problem(
                f"$.retention.{longer}",
                _words(getattr(self, longer)),
                f"at least as long as {shorter}, {_words(getattr(self, shorter))}: each takes the place of the one below",
            )
            for shorter, longer in pairs
            if not (granularity is Granularity.DAILY and "daily" in (shorter, longer))
            and _is_longer(getattr(self, shorter), getattr(self, longer))
        ]


def parse_retention(data: Mapping[str, object], *, source: str) -> RetentionSpec:
    """Read a workspace's default. Raises DocumentError with all problems."""
    try:
        return RetentionSpec.model_validate(dict(data))
    except ValidationError as error:
        raise DocumentError(source, translate(error, model=RetentionSpec)) from None


def retention_of(own: RetentionSpec, default: RetentionSpec, granularity: Granularity) -> RetentionSpec:
    """A dataset's retention: what it says, else what the workspace says as far as that makes sense for the dataset.

    The workspace's `daily` is what daily data's own buckets are kept for.
    """
    said = {name: getattr(default, name) for name in default.model_fields_set}
    if granularity is Granularity.DAILY and "daily" in said:
        said["base"] = said.pop("daily")
    if granularity in (Granularity.WEEKLY, Granularity.MONTHLY):
        said = _apart_from_profiles(said)
    stated = {name: getattr(own, name) for name in own.model_fields_set}
    both = RetentionSpec(**said | stated)
    return RetentionSpec(**_apart_from_profiles(said) | stated) if both.problems(granularity) else both


def _apart_from_profiles(said: Mapping[str, Duration | None]) -> dict[str, Duration | None]:
    return {name: kept for name, kept in said.items() if name in ("results", "superseded")}


def _is_longer(one: Duration | None, other: Duration | None) -> bool:
    if other is None:
        return False
    now = datetime(2025, 3, 1, tzinfo=UTC)  # months have lengths only from somewhere on
    return one is None or one.before(now) < other.before(now)


def _words(kept: Duration | None) -> str:
    return FOREVER if kept is None else str(kept)
