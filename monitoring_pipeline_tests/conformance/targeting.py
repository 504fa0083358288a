"""Cases about what analyzers look at: columns, segments, weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from monitoring_pipeline.analysis.planner import is_column_level, targeted_columns
from monitoring_pipeline.config import (
    ColumnSchema,
    WeightConfig,
    parse_target_matrix,
    selects_column,
    selects_segment,
)
from monitoring_pipeline.config.targets import DatasetMatrix, Segment
from monitoring_pipeline.profiling import profile
from monitoring_pipeline.segments import segment_tags
from monitoring_pipeline_tests.conformance.buckets import baseline_of
from monitoring_pipeline_tests.conformance.cases import Case, Json
from monitoring_pipeline_tests.conformance.comparing import Check, compare
from monitoring_pipeline_tests.conformance.vocabulary import document_of, tags_key, text_key


def column(case: Case) -> Iterator[Check]:
    """Whether a target matrix covers a column."""
    matrix = parse_target_matrix({"type": "column", **case["targetMatrix"]}, source="vector")
    schema = case.data.get("schema")
    found = selects_column(
        matrix,
        str(case["column"]),
        schema=None if schema is None else ColumnSchema.model_validate(schema),
        weight=case.get("weight"),
    )
    yield from compare(case, {"targeted": found})


def segment(case: Case) -> Iterator[Check]:
    """Whether a target matrix covers a segment."""
    level = str(case.get("level", case["targetMatrix"].get("type", "dataset")))
    matrix = parse_target_matrix({**case["targetMatrix"], "type": level}, source="vector")
    yield from compare(case, {"targeted": selects_segment(matrix, _key(case["row_segment"]))})


def analyzers(case: Case) -> Iterator[Check]:
    """The analyzers of a document that look at a column, or at the dataset, with a baseline."""
    given = case.get("monitor_config", case.data)["analyzers"]
    key = {**case.data, **case.get("key", {})}
    level = str(key.get("targetLevel", key.get("level", "column")))
    wanted = baseline_of(key["baseline"]) if key.get("baseline") else None
    document = document_of(given, granularity=case.get("granularity", "daily"))
    names = [str(key.get("column") or "")] if level == "column" else []
    found = [
        one.id
        for one in document.analyzers
        if is_column_level(one) == (level == "column")
        and not one.disabled
        and (wanted is None or one.baseline == wanted)
        and (not names or targeted_columns(one, "", names, schema=None, weights=None))
    ]
    counts = dict.fromkeys(("count", "size", "calculations", "selected_count"), len(found))
    yield from compare(case, {**counts, "ids": found, "analyzers": found, "selected": found})


def match(case: Case) -> Iterator[Check]:
    """Whether one entry of a list of segments means a segment of the data."""
    wanted = Segment.model_validate(case.first("segment_config", "config_segment", "wanted", "config"))
    key = _key(case.first("row_segment", "data_segment", "segment", "profile_tags"))
    found = wanted.matches(segment_tags(key))
    yield from compare(case, dict.fromkeys(("matches", "match", "targeted"), found))


def applicable(case: Case) -> Iterator[Check]:
    """The segments of a row with these tags that a list of segments asks for."""
    wanted = [Segment.model_validate(one) for one in case["segment_config"]]
    tags = {str(tag["key"]): str(tag["value"]) for tag in case["profile_tags"]}
    row = pa.table({"value": [1.0], **{name: [value] for name, value in tags.items()}})
    # The segments of a dataset are sets of its columns: a set with a column that the data lacks has no segments.
    sets = [tuple(one.wanted) for one in wanted if one.wanted.keys() <= tags.keys()]
    matrix = DatasetMatrix(segments=tuple(wanted))
    present = profile(row, [one for one in sets if one]).rows
    found = sorted(key for key in present if selects_segment(matrix, key))
    expected = [_key(text) for text in case.expected.get("segments", [])]
    yield from compare(case, {"segments": found}, expected={**case.expected, "segments": sorted(expected)})


def weight(case: Case) -> Iterator[Check]:
    """The weight of a column in a segment."""
    config = WeightConfig.model_validate(case["weightConfig"])
    found = config.weight(str(case["column"]), _key(case.data.get("segment") or []))
    yield from compare(case, {"weight": found})


def _key(given: Any) -> str:
    """The canonical key of a segment: text, a list of tags, or an object with one."""
    if isinstance(given, str):
        return text_key(given)
    tags: list[Json] = given.get("tags") or [] if isinstance(given, Mapping) else given or []
    return tags_key(tags)
