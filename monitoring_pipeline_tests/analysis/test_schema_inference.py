from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from monitoring_pipeline.analysis.schema_inference import SCALARS, infer_schema
from monitoring_pipeline.config.entity_schema import ColumnSchema
from monitoring_pipeline.store.profiles import Series

NAN = float("nan")


def infer(column: str, *buckets: Mapping[str, float] | None) -> ColumnSchema:
    """What is inferred of a column with these counts, bucket by bucket; None is a bucket without it."""
    values = {
        name: np.array([[NAN if counts is None else counts.get(name, 0.0) for counts in buckets]])
        for name in SCALARS
    }
    return infer_schema(Series((("", column),), np.arange(len(buckets)), values)).columns[column]


@pytest.mark.parametrize(
    ("counts", "data_type", "discreteness"),
    [
        ({"t_integral": 100, "unique_est": 14}, "integral", "discrete"),
        ({"t_integral": 100, "unique_est": 15}, "integral", "continuous"),
        ({"t_integral": 40, "t_fractional": 35, "t_string": 25}, "fractional", "continuous"),
        ({"t_string": 100, "unique_est": 100}, "string", "discrete"),
        ({"t_string": 45, "t_integral": 30, "t_bool": 25}, "string", "discrete"),
        ({"t_bool": 3, "unique_est": 2}, "bool", "discrete"),
        ({"t_bool": 100, "unique_est": NAN}, "bool", "discrete"),
        ({"t_integral": 100, "unique_est": NAN}, "integral", None),
    ],
)
def test_type_and_discreteness_follow_the_counts(
    counts: dict[str, float], data_type: str, discreteness: str | None
) -> None:
    total = sum(value for name, value in counts.items() if name.startswith("t_"))
    found = infer("age", {"n": total, **counts})
    assert (found.data_type, found.discreteness) == (data_type, discreteness)


def test_a_column_without_values_is_null() -> None:
    assert infer("age", {"n": 5, "n_null": 5}).data_type == "null"


def test_an_output_is_known_by_its_name_in_any_case() -> None:
    assert infer("Model_OUTPUT", {"n": 1, "t_bool": 1}).classifier == "output"
    assert infer("put_out", {"n": 1, "t_bool": 1}).classifier == "input"


def test_the_newest_bucket_with_the_column_decides() -> None:
    words, numbers = {"n": 9, "t_string": 9}, {"n": 9, "t_fractional": 9}
    assert infer("age", words, numbers, None).data_type == "fractional"
    assert infer("age", numbers, None, words).data_type == "string"


def test_only_columns_of_the_overall_segment_are_inferred() -> None:
    values = {name: np.ones((3, 1)) for name in SCALARS}
    keys = (("", "age"), ("", ""), ("region=EU", "age"))
    assert set(infer_schema(Series(keys, np.arange(1), values)).columns) == {"age"}


def test_nothing_is_inferred_from_nothing() -> None:
    nothing = Series((), np.arange(2), {name: np.empty((0, 2)) for name in SCALARS})
    assert infer_schema(nothing).columns == {}
