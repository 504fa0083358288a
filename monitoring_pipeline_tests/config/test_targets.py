"""Which columns and segments a target matrix covers."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring_pipeline.config.entity_schema import ColumnSchema, DataType, Discreteness
from monitoring_pipeline.config.targets import (
    ColumnMatrix,
    DatasetMatrix,
    parse_target_matrix,
    selects_column,
    selects_segment,
)
from monitoring_pipeline.segments import segment_key


def covers(
    include: str | list[str],
    column: str,
    *,
    exclude: str | list[str] = "never",
    schema: dict[str, Any] | None = None,
    weight: float | None = None,
) -> bool:
    matrix = parse_target_matrix({"type": "column", "include": include, "exclude": exclude}, source="")
    known = None if schema is None else ColumnSchema.model_validate(schema)
    return selects_column(matrix, column, schema=known, weight=weight)


@pytest.mark.parametrize(
    ("include", "schema", "weight", "expected"),
    [
        (["group:output"], {"classifier": "output"}, None, True),
        (["group:output"], {"classifier": "input"}, None, False),
        (["group:input"], {"classifier": "input"}, None, True),
        (["group:input"], {"classifier": "output"}, None, False),
        (["weight>.24"], {"classifier": "input"}, 0.22, False),
        (["weight>.24"], {"classifier": "input"}, 0.28, True),
        (["weight>.24"], {"classifier": "output"}, None, False),
        (["acc_now_delinq", "group:continuous"], {"discreteness": "discrete"}, None, False),
        (["acc_now_delinq", "group:continuous"], {"discreteness": "continuous"}, None, True),
    ],
)
def test_column_targeting_of_the_reference(
    include: list[str], schema: dict[str, Any], weight: float | None, expected: bool
):
    """The reference's EventJobV3Test. Its testInputGroupPredicate.null is left out: a column without a classifier is
    an input here (DECISIONS 7), there it is neither input nor output."""
    assert covers(include, "collection_recovery_fee", schema=schema, weight=weight) is expected


def test_nothing_is_included_unless_named():
    assert not covers([], "a")
    assert covers("*", "a")
    assert covers(["a"], "a")
    assert not covers(["a"], "A")


def test_exclude_wins():
    assert not covers(["a"], "a", exclude=["*"])
    assert not covers(["*"], "a", exclude=["a"])
    assert not covers(["group:discrete", "a"], "a", exclude=["group:output"], schema={"classifier": "output"})


@pytest.mark.parametrize("name", ["output", "Output_score", "my.OUTPUT"])
def test_a_column_whose_name_contains_output_is_an_output(name: str):
    assert covers("group:output", name)
    assert not covers("group:input", name)


def test_a_column_that_nothing_is_known_about_is_an_input_of_no_other_group():
    assert covers("group:input", "a")
    others = [
        "group:output",
        "group:discrete",
        "group:continuous",
        "group:bool",
        "group:int",
        "group:frac",
        "group:str",
    ]
    assert not any(covers(group, "a") for group in others)
    assert not any(covers(group, "a", schema={}) for group in others)


@pytest.mark.parametrize(
    ("group", "data_type"),
    [
        ("group:bool", DataType.BOOL),
        ("group:int", DataType.INTEGRAL),
        ("group:frac", DataType.FRACTIONAL),
        ("GROUP:Str", DataType.STRING),
    ],
)
def test_groups_of_data_types(group: str, data_type: DataType):
    assert [known for known in DataType if covers(group, "a", schema={"dataType": known})] == [data_type]


def test_groups_of_discreteness():
    assert covers("group:discrete", "a", schema={"discreteness": Discreteness.DISCRETE})
    assert not covers("group:discrete", "a", schema={"discreteness": Discreteness.UNKNOWN})


def test_weight_means_at_least():
    assert covers("weight>0.5", "a", weight=0.5)
    assert covers("weight > .5", "a", weight=0.6)
    assert not covers("weight>0.5", "a", weight=0.49)
    assert covers("weight>-1", "a", weight=0)


def test_a_column_may_be_called_like_a_group():
    assert covers(["group:odd"], "group:odd")


def test_a_dataset_matrix_covers_no_column():
    assert not selects_column(DatasetMatrix(), "a", schema=None, weight=None)


# --- segments ----------------------------------------------------------------------------------------------------

DURHAM = {"tags": [{"key": "house", "value": "blue"}, {"key": "city", "value": "durham"}]}
SEATTLE = {"tags": [{"key": "house", "value": "blue"}, {"key": "city", "value": "seattle"}]}
OVERALL = {"tags": []}


@pytest.mark.parametrize("kind", ["column", "dataset"])
@pytest.mark.parametrize(
    ("segments", "excluded", "segment", "expected"),
    [
        ([], None, "city=durham&house=blue", False),
        ([], None, "", True),
        (None, None, "city=durham&house=blue", False),
        (None, None, "", True),
        ([DURHAM], [SEATTLE], "house=blue&city=durham", True),
        ([DURHAM], [SEATTLE], "house=blue&city=seattle", False),
        ([DURHAM], [SEATTLE], "", False),
        ([DURHAM], [OVERALL], "house=blue&city=durham", True),
        ([DURHAM], [OVERALL], "house=blue&city=seattle", False),
        ([DURHAM], [OVERALL], "", False),
        ([DURHAM], None, "city=durham&house=blue", True),
        ([DURHAM], None, "city=seattle&house=blue", False),
    ],
)
def test_segment_targeting_of_the_reference(
    kind: str, segments: Any, excluded: Any, segment: str, expected: bool
):
    """The reference's EventJobV3Test. Its include_and_exclude_overall is left out: an empty excludeSegments excludes
    nothing here (DECISIONS 6), there it excludes the overall segment."""
    matrix = parse_target_matrix({"type": kind, "segments": segments, "excludeSegments": excluded}, source="")
    assert selects_segment(matrix, segment) is expected


def test_an_empty_exclude_list_excludes_nothing():
    matrix = parse_target_matrix({"type": "dataset", "segments": [], "excludeSegments": []}, source="")
    assert selects_segment(matrix, "")


def test_a_list_of_segments_drops_the_overall_segment_unless_it_is_listed():
    assert not selects_segment(parse_target_matrix({"type": "dataset", "segments": [DURHAM]}, source=""), "")
    assert selects_segment(
        parse_target_matrix({"type": "dataset", "segments": [DURHAM, OVERALL]}, source=""), ""
    )


def test_a_wildcard_stands_for_each_value_of_exactly_these_keys():
    """The reference's testSegmentWildcards and testMultiTagSegmentWildcards."""
    one = parse_target_matrix(
        {"type": "dataset", "segments": [{"tags": [{"key": "city", "value": "*"}]}]}, source=""
    )
    assert selects_segment(one, "city=durham")
    assert selects_segment(one, "city=seattle")
    assert not selects_segment(one, "house=blue")
    assert not selects_segment(one, "city=durham&house=blue")
    assert not selects_segment(one, "")
    tags = [{"key": "house", "value": "*"}, {"key": "city", "value": "*"}]
    two = parse_target_matrix({"type": "dataset", "segments": [{"tags": tags}]}, source="")
    assert selects_segment(two, "city=durham&house=blue")
    assert not selects_segment(two, "city=durham")


def test_excluded_segments_win_and_take_wildcards():
    matrix = parse_target_matrix(
        {
            "type": "dataset",
            "segments": [{"tags": [{"key": "city", "value": "*"}]}],
            "excludeSegments": [{"tags": [{"key": "city", "value": "durham"}]}],
        },
        source="",
    )
    assert selects_segment(matrix, "city=seattle")
    assert not selects_segment(matrix, "city=durham")


@pytest.mark.parametrize(
    "segments",
    [
        [{"tags": [{"key": "region", "value": "EU"}]}],
        {"tags": {"key": "region", "value": "EU"}},
        [[{"key": "region", "value": "EU"}]],
        [{"key": "region", "value": "EU"}],
    ],
)
def test_every_way_to_write_a_segment(segments: Any):
    matrix = parse_target_matrix({"type": "dataset", "segments": segments}, source="")
    assert [segment.key for segment in matrix.segments] == ["region=EU"]


@pytest.mark.parametrize("tags", [[], None, [{"key": "", "value": ""}]])
def test_a_segment_without_conditions_is_the_overall_one(tags: Any):
    matrix = parse_target_matrix({"type": "dataset", "segments": [{"tags": tags}]}, source="")
    assert selects_segment(matrix, "")
    assert not selects_segment(matrix, "a=b")


@given(st.dictionaries(st.text(min_size=1), st.text(min_size=1), min_size=1, max_size=3))
def test_a_segment_covers_itself_whatever_its_characters(tags: dict[str, str]):
    listed = [{"key": key, "value": value} for key, value in tags.items()]
    matrix = parse_target_matrix({"type": "dataset", "segments": [{"tags": listed}]}, source="")
    assert selects_segment(matrix, segment_key(tags))


def test_a_matrix_without_a_type_is_a_dataset_matrix_unless_it_names_columns():
    assert isinstance(parse_target_matrix({"segments": []}, source=""), DatasetMatrix)
    assert isinstance(parse_target_matrix({"type": "COLUMN", "include": "*"}, source=""), ColumnMatrix)
