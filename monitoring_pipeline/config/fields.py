"""The field types that documents are made of: as lenient as the reference platform was, and no more.

A scalar stands for a list of one, a number may be written as text (`".7"`, `"Infinity"`), names of choices and types
are read in any case, `null` means "not given", and unknown keys are kept. What remains is checked strictly, and every
refusal carries what would have been accepted (see `problems.py`, which turns it into words).
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Annotated, TypeVar

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetPydanticSchema,
    JsonValue,
    PlainSerializer,
    PlainValidator,
    WithJsonSchema,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from monitoring_pipeline.config.problems import choices_hint, listing, shorten
from monitoring_pipeline.timegrid import Duration, Granularity, TimeRange, check_cron, parse_moment, utc

T = TypeVar("T")


class DocumentModel(BaseModel):
    """An object of the monitor document: frozen, camelCase in JSON, unknown keys kept."""

    model_config = ConfigDict(
        frozen=True,
        extra="allow",
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        coerce_numbers_to_str=True,
        defer_build=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _null_is_not_given(cls, data: object) -> object:
        if not isinstance(data, Mapping):
            return data
        defaults = {
            key: info.get_default(call_default_factory=True, validated_data={})
            for name, info in cls.model_fields.items()
            for key in (info.alias or name, name)
            if not info.is_required() and key in data and data[key] is None
        }
        return {**data, **defaults} if defaults else data


class Metadata(DocumentModel):
    """Bookkeeping of an object: who changed it when. Kept, not interpreted."""

    version: int | None = Field(default=None, description="Number of the saved version.")
    schema_version: int | None = Field(default=None, description="Version of the document format; 1.")
    updated_timestamp: int | None = Field(
        default=None, description="Time of the last change, in milliseconds since 1970 (UTC)."
    )
    author: str | None = Field(default=None, description="Who changed it last.")
    description: str | None = Field(default=None, description="A remark for people.")


class Choice(StrEnum):
    """A closed set of names, read in any case and with any punctuation (`ON_ADD`, `onAdd`, `on-add`)."""

    @classmethod
    def _missing_(cls, value: object) -> Choice | None:
        if not isinstance(value, str):
            return None
        return next((member for member in cls if plain(member.value) == plain(value)), None)


def plain(name: str) -> str:
    """A name without case and punctuation, for comparing spellings."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def refuse(accepted: str, *, found: str | None = None, key: str | None = None) -> PydanticCustomError:
    """The error that a validator raises: what would have been accepted.

    `found` replaces the value in the message; `key` names the key of the object that is meant.
    """
    context = {"accepted": accepted, "found": found, "key": key}
    return PydanticCustomError("refused", "accepted: {accepted}", context)


def with_id(data: object, kind: str) -> object:
    """`data` with an id made from its content when it names none."""
    if not isinstance(data, Mapping) or data.get("id") is not None:
        return data
    content = json.dumps({str(key): data[key] for key in data if key != "id"}, sort_keys=True, default=str)
    return {**data, "id": f"{kind}-{hashlib.sha256(content.encode()).hexdigest()[:10]}"}


# --- numbers and flags -------------------------------------------------------------------------------------------


def _number(value: object) -> object:
    if isinstance(value, bool):
        raise refuse("a number")
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            raise refuse("a number") from None
    if isinstance(value, float) and math.isnan(value):
        raise refuse("a number; NaN compares with nothing")
    return value


def _finite(value: object) -> object:
    value = _number(value)
    if isinstance(value, float) and math.isinf(value):
        raise refuse("a finite number")
    return value


def _whole(value: object) -> object:
    if isinstance(value, bool):
        raise refuse("a whole number")
    return value


def _number_json(value: float) -> float | str:
    return value if math.isfinite(value) else {math.inf: "Infinity", -math.inf: "-Infinity"}.get(value, "NaN")


NumberJson = PlainSerializer(_number_json, when_used="json")
"""JSON has no infinities and no NaN: they are written as text."""

Number = Annotated[float, BeforeValidator(_number), NumberJson]
"""A number, infinities included (`"Infinity"` as text)."""

FiniteNumber = Annotated[float, BeforeValidator(_finite)]

Whole = Annotated[int, BeforeValidator(_whole)]

# --- lists -------------------------------------------------------------------------------------------------------


def as_list(value: object) -> object:
    """A list as it is, anything else as a list of one."""
    return value if isinstance(value, (list, tuple)) else [value]


Listed = Annotated[tuple[T, ...], BeforeValidator(as_list)]
"""A list; a single value stands for a list of one."""


def _scalar_text(value: object) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, (int, float)) else value


Params = dict[str, Annotated[str, BeforeValidator(_scalar_text)]]
"""Extra parameters by name; numbers and booleans become text."""

# --- types told apart by `type` ----------------------------------------------------------------------------------


def variants(
    *names: str,
    aliases: Mapping[str, str] | None = None,
    default: Callable[[Mapping[str, object]], str | None] = lambda _: None,
) -> BeforeValidator:
    """Reads `type` of an object in any spelling, before the union of its variants is chosen.

    `aliases` maps further spellings to the names; `default` gives the type of an object that names none.
    """
    spellings = {plain(name): name for name in names}
    spellings |= {plain(alias): name for alias, name in (aliases or {}).items()}

    def canonical(value: object) -> object:
        if isinstance(value, BaseModel):
            return value
        if not isinstance(value, Mapping):
            raise refuse(f'an object with a "type": {listing(names)}')
        given = value.get("type")
        if given is None:
            given = default(value)
        if given is None:
            raise refuse(listing(names), found="nothing", key="type")
        if not isinstance(given, str) or plain(given) not in spellings:
            raise refuse(choices_hint(given, names), found=shorten(given), key="type")
        return {**value, "type": spellings[plain(given)]}

    return BeforeValidator(canonical)


# --- time --------------------------------------------------------------------------------------------------------


def _duration(value: object) -> Duration:
    if isinstance(value, Duration):
        return value
    if isinstance(value, (str, int, float)) and not isinstance(value, bool):
        try:
            return Duration.parse(value)
        except ValueError:
            pass
    raise refuse("an ISO-8601 duration such as PT6H, P1DT12H, P2W or P1M, or a number of seconds")


DurationField = Annotated[
    Duration,
    PlainValidator(_duration),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "format": "duration", "examples": ["PT6H", "P1DT12H", "P2W", "P1M"]}),
]


def _moment(value: object) -> object:
    if isinstance(value, str):
        try:
            return parse_moment(value)
        except ValueError:
            pass
    elif isinstance(value, datetime):
        return utc(value)
    raise refuse("an ISO-8601 time in UTC such as 2026-01-31T00:00:00Z")


Moment = Annotated[AwareDatetime, BeforeValidator(_moment)]


class _Range(DocumentModel):
    start: Moment
    end: Moment


@dataclass(frozen=True)
class NotedTimeRange(TimeRange):
    """A time range of a document that has more keys than its two ends, a name for instance. They are kept."""

    notes: Mapping[str, JsonValue] = field(default_factory=dict, compare=False)


def _range(parsed: _Range) -> TimeRange:
    if parsed.end < parsed.start:
        raise refuse(
            "an end that is not before the start",
            found=f"an end before the start ({parsed.end.isoformat()})",
            key="end",
        )
    if parsed.model_extra:
        return NotedTimeRange(parsed.start, parsed.end, notes=parsed.model_extra)
    return TimeRange(parsed.start, parsed.end)


def _range_json(value: TimeRange) -> dict[str, JsonValue]:
    notes = value.notes if isinstance(value, NotedTimeRange) else {}
    return {"start": _zulu(value.start), "end": _zulu(value.end), **notes}


def _zulu(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def _range_schema(_source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
    return core_schema.no_info_wrap_validator_function(
        lambda value, read: value if isinstance(value, TimeRange) else _range(read(value)), handler(_Range)
    )


RangeField = Annotated[
    TimeRange,
    GetPydanticSchema(_range_schema),
    PlainSerializer(_range_json),
    WithJsonSchema(
        {
            "type": "object",
            "title": "Time range",
            "description": "A half-open range of time in UTC: the start belongs to it, the end does not.",
            "properties": {
                "start": {
                    "type": "string",
                    "format": "date-time",
                    "description": "First moment of the range.",
                },
                "end": {
                    "type": "string",
                    "format": "date-time",
                    "description": "First moment after the range.",
                },
            },
            "required": ["start", "end"],
        }
    ),
]


def _granularity(value: object) -> Granularity:
    if isinstance(value, str):
        try:
            return Granularity.parse(value)
        except ValueError:
            if value.strip().lower() == "individual":
                raise refuse(
                    f"{listing(list(Granularity))} (uploads are analysed per bucket, not one by one)"
                ) from None
    raise refuse(choices_hint(value, list(Granularity)))


GranularityField = Annotated[
    Granularity,
    PlainValidator(_granularity),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "enum": ["hourly", "daily", "weekly", "monthly", "PT15M"]}),
]


def _cron(value: object) -> object:
    if isinstance(value, str) and not value.strip():
        return ""
    if isinstance(value, str):
        try:
            check_cron(value)
        except ValueError:
            pass
        else:
            return value
    raise refuse(
        "a cron expression of five fields such as '0 0 * * 1-5' (minute, hour, day, month, weekday; UTC)"
    )


CronText = Annotated[str, BeforeValidator(_cron)]
