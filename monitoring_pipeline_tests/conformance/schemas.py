"""Cases about the entity schema, weights, segments as text, and series over time."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from monitoring_pipeline.config import EntitySchema, WeightConfig
from monitoring_pipeline.config.targets import Segment
from monitoring_pipeline.metrics import metric
from monitoring_pipeline.profiling import ColumnProfile
from monitoring_pipeline.segments import reference_text, segment_key, segment_tags
from monitoring_pipeline.store.entity_schema import save_schema, schema
from monitoring_pipeline.store.profiles import batches, series
from monitoring_pipeline.timegrid import Duration, Granularity, TimeRange, parse_moment
from monitoring_pipeline_tests.conformance.cases import Case, Json
from monitoring_pipeline_tests.conformance.comparing import Check, check, compare, number
from monitoring_pipeline_tests.conformance.laboratory import Laboratory, laboratory
from monitoring_pipeline_tests.conformance.vocabulary import milliseconds, moment_of

# --- what a document says -----------------------------------------------------------------------------------------


def stated(case: Case) -> Iterator[Check]:
    """The schema and weights of a document as they are read."""
    found: dict[str, object] = {"parse": "ok"}
    if "entitySchema" in case.config:
        read = EntitySchema.model_validate(case.config["entitySchema"])
        columns = {name: _column(read, name) for name in read.columns}
        found |= {"columnCount": len(columns), "columns": columns, **columns}
    if "weightConfig" in case.config:
        weights = WeightConfig.model_validate(case.config["weightConfig"])
        default = weights.default_weights.weights
        named = {*default, *(name for one in weights.segment_weights for name in one.weights)}
        values = {name: weights.weight(name) for name in sorted(named)}
        found |= {
            "segmentWeightsCount": len(weights.segment_weights),
            "defaultWeightsCount": len(default),
            "weights": values,
            "weight": next(iter(values.values())) if len(values) == 1 else values,
        }
    yield from compare(case, found)


def _column(read: EntitySchema, name: str) -> dict[str, object]:
    column = read.columns[name]
    data_type = None if column.data_type is None else str(column.data_type)
    discreteness = None if column.discreteness is None else str(column.discreteness)
    return {
        "classifier": column.classifier,
        # The reference writes the same names in capitals, and bool as a whole word.
        "dataType": None if data_type is None else {"bool": "BOOLEAN"}.get(data_type, data_type.upper()),
        "discreteness": discreteness,
        "discreteness_notNull": discreteness is not None,
        "hidden": column.hidden,
        "tags": list(column.tags) or None,
        "tagCount": len(column.tags),
    }


# --- how a schema changes -----------------------------------------------------------------------------------------


def unchanged(case: Case) -> Iterator[Check]:
    """Whether a statement about a column says anything new."""
    old, updated = (
        EntitySchema.model_validate({"columns": {"column": case.inputs[name]}}) for name in ("old", "updated")
    )
    yield from compare(case, {"unchanged": old.overridden_by(updated).columns == old.columns})


def persistence(case: Case) -> Iterator[Check]:
    """The schema that is stored, after the steps of this case and of those of its test before it."""
    lab = laboratory()
    if "columns" in case.config:
        _save(lab, EntitySchema.model_validate({"columns": case.config["columns"]}))
    for one in case.earlier():
        if not case.config:
            _step(lab, one["input"])
    before = _stored(lab)
    _step(lab, case.inputs)
    after = _stored(lab)
    include_hidden = bool(case.inputs.get("includeHidden", False))
    columns = {
        name: _column(after, name)
        for name, column in after.columns.items()
        if include_hidden or not column.hidden
    }
    expected = dict(case.expected)
    for name, wanted in (("present", True), ("absent", False)):
        for column in expected.pop(name, []):
            yield check(case, f"{name}: {column}", wanted, column in columns)
    if expected.get("columns") == {}:
        yield check(case, "columns", [], sorted(columns))
        del expected["columns"]
    model_type = (after.model_extra or {}).get("modelType")
    found = {**columns, "columns": columns, "modelType": model_type, "versionBumped": before != after}
    yield from compare(case, found, expected=expected)


def _step(lab: Laboratory, given: Json) -> None:
    now = _stored(lab)
    if "overwrite" in given:
        whole = given["overwrite"]
        _save(lab, EntitySchema.model_validate(whole if "columns" in whole else {"columns": whole}))
    elif "append" in given:
        _save(lab, now.overridden_by(EntitySchema.model_validate({"columns": given["append"]})))
    elif "upsertColumn" in given:
        column = {key: value for key, value in given["upsertColumn"].items() if key != "name"}
        stated = EntitySchema.model_validate({"columns": {given["upsertColumn"]["name"]: column}})
        _save(lab, now.overridden_by(stated))
    elif "upsertColumnAgainUnchanged" in given:
        name = given["upsertColumnAgainUnchanged"]
        _save(lab, now.overridden_by(EntitySchema(columns={name: now.columns[name]})))
    elif "hideColumn" in given:
        hidden = EntitySchema.model_validate({"columns": {given["hideColumn"]: {"hidden": True}}})
        _save(lab, now.overridden_by(hidden))
    else:
        raise KeyError("overwrite, append, upsertColumn, upsertColumnAgainUnchanged or hideColumn")


def _save(lab: Laboratory, content: EntitySchema) -> None:
    save_schema(lab.store, lab.ref, content.model_dump(mode="json", by_alias=True, exclude_unset=True))


def _stored(lab: Laboratory) -> EntitySchema:
    return EntitySchema.model_validate(schema(lab.store, lab.ref) or {"columns": {}})


def inferred_kind(case: Case) -> Iterator[Check]:
    """The model's kind and the columns' labels as their names tell them: nothing is told by names here."""
    read = EntitySchema.model_validate({"columns": {name: {} for name in case.inputs["columns"]}})
    tags = {name: list(column.tags) or None for name, column in read.columns.items()}
    model_type = (read.model_extra or {}).get("modelType")
    yield from compare(case, {"modelType": model_type, "tags": tags, "tagsInclude": tags})


# --- what the data says -------------------------------------------------------------------------------------------

_SCALARS = {
    "n": "n",
    "object": "t_object",
    "fractional": "t_fractional",
    "integral": "t_integral",
    "boolean": "t_bool",
    "string": "t_string",
    "null": "n_null",
}
_RATIOS = {
    "STRING": "count_string_ratio",
    "BOOLEAN": "count_bool_ratio",
    "INTEGRAL": "count_integral_ratio",
    "FRACTIONAL": "count_fractional_ratio",
    "UNKNOWN": "count_object_ratio",
}


def inference(case: Case) -> Iterator[Check]:
    """Type and discreteness of a column, told from counts."""
    counts = {"null": 0, **case.inputs["counts"]}
    scalars = {_SCALARS[name]: np.array(number(value)) for name, value in counts.items()}
    scalars["unique_est"] = np.array(number(case.inputs.get("cardinality")))
    kind = str(metric("inferred_data_type").formula(scalars))
    few = float(metric("discrete").formula(scalars))
    ratio = float(metric(_RATIOS[kind]).formula(scalars)) if kind in _RATIOS else 0.0
    discrete = None if np.isnan(few) else bool(few)
    yield from compare(case, {"inferredType": kind, "ratio": ratio, "isDiscrete": discrete})


_FIRST, _LAST = "2022-12-01", "2022-12-10"
"""The days that the reference's fixture has data of."""

_UPLOADED = ("doubles", "ints")
"""The columns of the profile that the reference's fixture uploads."""


def timeseries(case: Case) -> Iterator[Check]:
    """How many buckets a range of time has, and where they begin."""
    name = str(case.config.get("granularity", "daily"))
    window = _interval(str(case.inputs["interval"]))
    lab = laboratory()
    for day in TimeRange(parse_moment(_FIRST), parse_moment(_LAST)).buckets(Granularity.DAILY):
        lab.batch(day, {"date": ColumnProfile(n=1, t_string=1)})
    stored = batches(lab.store, lab.ref, window)
    if name == "all":
        starts = [window.start] if stored else []
    else:
        grid = Granularity.parse(name)
        starts = sorted({grid.floor(one.bucket) for one in stored})
    hours = {start.hour for start in starts}
    yield from compare(
        case,
        {
            "buckets": len(starts),
            "timestamps_ms": [milliseconds(start) for start in starts],
            "allAtHour": hours.pop() if len(hours) == 1 else sorted(hours),
        },
    )


def active_columns(case: Case) -> Iterator[Check]:
    """The columns that have data in a range of time, before and after an upload."""
    lab = laboratory()
    for text in case.inputs:
        if text.startswith("after ingest of "):
            day = text.removeprefix("after ingest of ").removesuffix(" profile")
            lab.batch(parse_moment(day), {name: ColumnProfile(n=1) for name in _UPLOADED})
    window = _interval(str(case.inputs["interval"]))
    found = series(lab.store, lab.ref, ["n"], window, granularity=Granularity.DAILY)
    columns = sorted({column for _, column in found.keys})
    yield from compare(case, {"activeColumns": columns})


def _interval(text: str) -> TimeRange:
    start, _, end = text.partition("/")
    first = parse_moment(start)
    return TimeRange(first, Duration.parse(end).after(first) if end.startswith("P") else parse_moment(end))


def moment(case: Case) -> Iterator[Check]:
    """A moment, cut to its bucket or in parts."""
    given = case.inputs
    if "timestamp_ms" in given:
        start = Granularity.parse(case.config["granularity"]).floor(moment_of(given["timestamp_ms"]))
        yield from compare(case, {"truncated_ms": milliseconds(start)})
        return
    found = parse_moment(given["timestamp"])
    yield from compare(case, {"date": found.date().isoformat(), "hour": found.hour, "minute": found.minute})


# --- segments as text ---------------------------------------------------------------------------------------------


def segment_text(case: Case) -> Iterator[Check]:
    """A segment as text, in order, and read back."""
    given = case.inputs
    if "json" in given:
        tags = Segment.model_validate(_loose(str(given["json"]))).tags
        yield from compare(case, {"tags": [[tag.key, tag.value] for tag in tags]})
        return
    tags = _tags(given["tags"] if "tags" in given else [given["tag"]])
    key = segment_key(tags)
    parsed = [{"key": name, "value": value} for name, value in segment_tags(key).items()]
    found: Mapping[str, object] = {
        "segmentText": reference_text(key),
        "parsed": parsed,
        "compact": [{one["key"]: one["value"]} for one in parsed],
    }
    yield from compare(case, found)


def _tags(given: list[Any]) -> dict[str, str]:
    if all(isinstance(one, str) for one in given):
        pairs = [one.partition("=")[::2] for one in given]
        tags = [{"key": key, "value": value} for key, value in pairs]
        return dict(Segment.model_validate({"tags": tags}).wanted)
    return dict((one["key"], one["value"]) if isinstance(one, Mapping) else one for one in given)


def _loose(text: str) -> Any:
    """JSON, or the same in single quotes."""
    try:
        return json.loads(text)
    except ValueError:
        return ast.literal_eval(text)
