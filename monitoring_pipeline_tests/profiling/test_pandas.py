"""pandas frames: the same profiles as Arrow, and columns of mixed objects taken apart by type."""

from __future__ import annotations

import decimal
import math
from datetime import UTC, date, datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from monitoring_pipeline.profiling import ColumnProfile, Profiler, profile


def column(values: object, **options: object) -> ColumnProfile:
    frame = pd.DataFrame({"x": pd.Series(values, **options)})  # type: ignore[call-overload]
    return profile(frame).columns[""]["x"]


def counts(found: ColumnProfile) -> dict[str, int]:
    return {
        name: value
        for name, value in found.scalars().items()
        if value and name.startswith(("n", "t_")) and isinstance(value, int)
    }


def test_a_frame_is_profiled_as_its_arrow_table() -> None:
    frame = pd.DataFrame(
        {
            "f": [1.5, None, 2.5],
            "i": [1, 2, 3],
            "s": ["a", None, "b"],
            "c": pd.Categorical(["x", "y", "x"]),
            "b": [True, False, True],
            "t": pd.to_datetime(["2026-01-01", None, "2026-01-03"]),
            "z": pd.to_datetime(["2026-01-01", None, "2026-01-03"]).tz_localize("Europe/Berlin"),
            "n": pd.array([1, None, 3], "Int64"),
        }
    )
    assert profile(frame, [["s"]]) == profile(pa.Table.from_pandas(frame), [["s"]])


def test_nan_in_a_frame_is_a_missing_value() -> None:
    assert counts(column([1.0, math.nan, math.inf])) == {
        "n": 3,
        "n_null": 1,
        "n_pos_inf": 1,
        "t_fractional": 2,
    }


def test_integers_with_gaps_are_the_doubles_that_pandas_made_of_them() -> None:
    found = column([1, None, 3])
    assert counts(found) == {"n": 3, "n_null": 1, "t_fractional": 2}
    assert found.distinct() == (2, 2, 2)


def test_mixed_objects_are_counted_by_type() -> None:
    mixed = [
        1,
        2.5,
        "text",
        True,
        None,
        math.nan,
        pd.NaT,
        pd.NA,
        [1],
        {"a": 1},
        b"x",
        decimal.Decimal("0.5"),
        np.int8(4),
        np.bool_(0),
        10**30,
    ]
    found = column(mixed, dtype=object)
    assert counts(found) == {
        "n": 15,
        "n_null": 4,
        "n_true": 1,
        "t_bool": 2,
        "t_integral": 3,
        "t_fractional": 2,
        "t_string": 1,
        "t_object": 3,
    }
    assert (found.min, found.max) == (0.5, 1e30)
    assert {text for text, *_ in found.top_items(9)} == {"1", "4", "text", "True", "False"}


def test_mixed_objects_are_in_the_segments_of_their_rows() -> None:
    frame = pd.DataFrame({"g": ["a", "b", "a", 1, None], "x": [1, "one", None, 2.5, "one"]}, dtype=object)
    found = profile(frame, [["g"]])
    assert found.rows == {"": 5, "g=a": 2, "g=b": 1, "g=1": 1, "g=": 1}
    assert counts(found.columns["g=a"]["x"]) == {"n": 2, "n_null": 1, "t_integral": 1}
    assert counts(found.columns["g=b"]["x"]) == {"n": 1, "t_string": 1}
    assert counts(found.columns["g=1"]["x"]) == {"n": 1, "t_fractional": 1}


def test_objects_of_one_type_take_the_arrow_way() -> None:
    assert counts(column(["a", None, math.nan], dtype=object)) == {"n": 3, "n_null": 2, "t_string": 1}
    assert counts(column([True, None], dtype=object)) == {"n": 2, "n_null": 1, "n_true": 1, "t_bool": 1}
    assert counts(column([date(2026, 1, 1), None], dtype=object)) == {"n": 2, "n_null": 1, "t_object": 1}
    assert counts(column([None, None], dtype=object)) == {"n": 2, "n_null": 2}
    assert counts(column([2**63, 1], dtype=object)) == {"n": 2, "t_integral": 2}
    assert counts(column([-(10**400), 10**400], dtype=object)) == {
        "n": 2,
        "n_pos_inf": 1,
        "n_neg_inf": 1,
        "t_integral": 2,
    }


def test_times_among_mixed_objects_keep_their_place() -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    found = column([moment, "text", pd.Timestamp("2026-01-02"), date(2026, 1, 3)], dtype=object)
    assert counts(found) == {"n": 4, "t_string": 1, "t_object": 3}
    assert (found.min, found.max) == (
        moment.timestamp() * 1e6,
        datetime(2026, 1, 3, tzinfo=UTC).timestamp() * 1e6,
    )


def test_a_lone_surrogate_does_not_stop_the_profile() -> None:
    found = column(["ok", "\ud800"], dtype=object)
    assert counts(found) == {"n": 2, "t_string": 2}
    assert found.distinct() == (2, 2, 2)


@pytest.mark.parametrize(
    "dtype", ["category", "string", "Float64", "boolean", "complex128", "timedelta64[ns]"]
)
def test_unusual_types_are_profiled(dtype: str) -> None:
    values = {"complex128": [1j, 2j], "boolean": [True, None], "timedelta64[ns]": [1, 2]}.get(
        dtype, ["1", "2"]
    )
    assert column(values, dtype=dtype).n == 2


def test_a_frame_may_be_changed_after_it_was_handed_over() -> None:
    frame = pd.DataFrame({"x": [1.0, 2.0]})
    profiler = Profiler()
    profiler.update(frame)
    frame.loc[:, "x"] = 100.0
    assert profiler.finish().columns[""]["x"].max == 2.0


def test_names_that_are_not_text_become_text() -> None:
    assert set(profile(pd.DataFrame({0: [1], ("a", "b"): [2]})).columns[""]) == {"0", "('a', 'b')"}


def test_an_empty_frame_gives_an_empty_profile() -> None:
    assert profile(pd.DataFrame()).rows == {"": 0}
    assert profile(pd.DataFrame({"x": pd.Series([], dtype=float)})).columns[""]["x"].n == 0
