"""Data that is not as it should be is profiled as well as possible, with a warning, or refused with one clear error."""

from __future__ import annotations

import datetime
import decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from monitoring_pipeline.config.dataset import ProfileSettings
from monitoring_pipeline.errors import ProfileError, SourceError
from monitoring_pipeline.profiling import DatasetProfile, Profiler, merge_datasets, profile, values
from monitoring_pipeline.profiling.data_warnings import DataWarning, unpack
from monitoring_pipeline.profiling.wire import Reader, chunk


class Celsius(pa.ExtensionType):
    """A type of somebody's own."""

    def __init__(self) -> None:
        super().__init__(pa.float64(), "tests.celsius")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage: pa.DataType, serialized: bytes) -> Celsius:
        return cls()


def runs(values: pa.Array) -> pa.Array:
    return pa.RunEndEncodedArray.from_arrays(pa.array([2, 5], pa.int32()), values)


DENSE = pa.UnionArray.from_dense(
    pa.array([0, 1, 0, 0], pa.int8()),
    pa.array([0, 0, 1, 2], pa.int32()),
    [pa.array([1, None, 3]), pa.array(["a"])],
)
SPARSE = pa.UnionArray.from_sparse(
    pa.array([0, 1, 0], pa.int8()), [pa.array([1, 2, 3]), pa.array(["x", "a", "y"])]
)

ODD = {
    "half": (pa.array(np.array([1, 2, np.nan], np.float16)), {"fractional": 3}, 0),
    "half with nulls": (pa.array([np.float16(1), None], pa.float16()), {"fractional": 1}, 1),
    "null": (pa.nulls(3), {}, 3),
    "interval": (pa.array([(1, 2, 3), None], pa.month_day_nano_interval()), {"object": 1}, 1),
    "map": (pa.array([[("a", 1)], None], pa.map_(pa.string(), pa.int64())), {"object": 1}, 1),
    "list view": (pa.array([[1], None], pa.list_view(pa.int64())), {"object": 1}, 1),
    "large list": (pa.array([[1], None], pa.large_list(pa.int64())), {"object": 1}, 1),
    "fixed list": (pa.array([[1], None], pa.list_(pa.int64(), 1)), {"object": 1}, 1),
    "no fields": (pa.StructArray.from_buffers(pa.struct([]), 3, [None]), {"object": 3}, 0),
    "no bytes": (pa.array([b"", None], pa.binary(0)), {"object": 1}, 1),
    "dense union": (DENSE, {"integral": 2, "string": 1}, 1),
    "sparse union": (SPARSE, {"integral": 2, "string": 1}, 0),
    "runs": (runs(pa.array([7, None])), {"integral": 2}, 3),
    "runs of texts": (runs(pa.array(["a", None])), {"string": 2}, 3),
    "runs of views": (runs(pa.array(["a", None], pa.string_view())), {"string": 2}, 3),
    "runs of a dictionary": (runs(pa.array(["a", "b"]).dictionary_encode()), {"string": 5}, 0),
    "dictionary of lists": (
        pa.DictionaryArray.from_arrays(pa.array([0, None, 0]), pa.array([[1]])),
        {"object": 2},
        1,
    ),
    "uuid": (
        pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"0" * 16, None], pa.binary(16))),
        {"object": 1},
        1,
    ),
    "own type": (pa.ExtensionArray.from_storage(Celsius(), pa.array([21.5, None])), {"fractional": 1}, 1),
    "long decimal": (pa.array([decimal.Decimal("1e60"), None], pa.decimal256(76, 0)), {"fractional": 1}, 1),
    "short decimal": (pa.array([decimal.Decimal("1.5"), None], pa.decimal32(5, 2)), {"fractional": 1}, 1),
}


@pytest.mark.parametrize("form", ["whole", "sliced", "chunked", "batch by batch"])
@pytest.mark.parametrize("name", ODD)
def test_every_arrow_type_is_counted_value_by_value(name: str, form: str) -> None:
    array, types, nulls = ODD[name]
    profiler = Profiler()
    times = 1
    match form:
        case "whole":
            profiler.update(pa.table({"x": array}))
        case "sliced":
            for at in range(len(array)):
                profiler.update(pa.RecordBatch.from_arrays([array.slice(at, 1)], names=["x"]))
        case "chunked":
            times = 2
            profiler.update(pa.table({"x": pa.chunked_array([array, array])}))
        case _:
            times = 2
            for _ in range(2):
                profiler.update(pa.RecordBatch.from_arrays([array], names=["x"]))
    found = profiler.finish()
    column = found.columns[""]["x"]
    assert (column.n, column.n_null) == (times * len(array), times * nulls)
    assert dict(column.types) == {kind: times * count for kind, count in types.items()}
    told = [warning.kind for warning in found.warnings]
    assert told == (["only_counted"] if name == "interval" else ["mixed_types"] if "union" in name else [])


def test_a_union_is_taken_apart() -> None:
    found = profile(pa.table({"x": DENSE, "of": ["a", "b", "a", "b"]}), [["of"]])
    column = found.columns[""]["x"]
    assert (column.mean, column.min, column.max, column.distinct()[0]) == (2.0, 1.0, 3.0, 3.0)
    assert found.columns["of=b"]["x"].types == [("integral", 1), ("string", 1)]


def test_a_type_that_nobody_knows_is_only_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_arguments: object) -> values.Values:
        raise pa.ArrowNotImplementedError("no kernel matching input types")

    monkeypatch.setattr(values, "_read", unknown)
    found = profile(pa.table({"x": pa.array([1, None, 3]), "name": ["a", "b", "c"]}))
    assert (found.columns[""]["x"].n_null, found.columns[""]["x"].types) == (1, [("object", 2)])
    assert [str(one) for one in found.warnings] == ["column 'x': values of type int64 are only counted"]
    assert found.columns[""]["name"].t_string == 3


CHANGES = [
    pa.array([1, 2]),
    pa.array(["a", "b"]),
    pa.array([1.5, None]),
    pa.array([True]),
    pa.array([datetime.datetime(2026, 1, 1)]),  # noqa: DTZ001
    pa.array([[1], [2]]),
]


def test_a_column_may_change_its_type_between_chunks() -> None:
    profiler = Profiler()
    for array in CHANGES:
        profiler.update(pa.table({"x": array}))
    found = profiler.finish()
    column = found.columns[""]["x"]
    expected = [("bool", 1), ("integral", 2), ("fractional", 1), ("string", 2), ("object", 3)]
    assert (column.n, column.n_null, column.types) == (10, 1, expected)
    assert (column.m_n, column.mean) == (3, 1.5)
    (warning,) = found.warnings
    assert str(warning) == (
        "column 'x': holds values of several types: 1 bool, 2 integral, 1 fractional, 2 string, 3 object"
    )


def test_types_that_change_in_another_order_or_merge_are_told_alike() -> None:
    backwards = Profiler()
    for array in reversed(CHANGES):
        backwards.update(pa.table({"x": array}))
    apart = [profile(pa.table({"x": array})) for array in CHANGES]
    assert all(not one.warnings for one in apart)
    assert merge_datasets(apart).warnings == backwards.finish().warnings != ()


@pytest.mark.parametrize(
    "same",
    [
        [pa.array([1], pa.int8()), pa.array([1], pa.uint64())],
        [pa.array(["a"]), pa.array(["a"], pa.large_string()), pa.array(["a"]).dictionary_encode()],
        [pa.array([1.0]), pa.nulls(3), pa.array([1.0], pa.float32())],
    ],
)
def test_types_of_one_kind_are_no_change(same: list[pa.Array]) -> None:
    profiler = Profiler()
    for array in same:
        profiler.update(pa.table({"x": array}))
    found = profiler.finish()
    assert found.warnings == ()
    assert found.columns[""]["x"].distinct()[0] == 1


@pytest.mark.parametrize("rows", [0, 5])
@pytest.mark.parametrize("segments", [(), [["x"]]])
def test_no_columns_or_no_rows_give_an_empty_profile(rows: int, segments: list[list[str]]) -> None:
    nothing = pa.RecordBatch.from_struct_array(pa.StructArray.from_buffers(pa.struct([]), rows, [None]))
    found = profile(nothing, segments)
    assert found.rows[""] == rows
    assert found.columns[""] == {}
    assert profile(pd.DataFrame(index=range(rows)), segments).rows == found.rows
    assert DatasetProfile.from_bytes(found.to_bytes()) == found


def test_columns_of_one_name_are_refused_with_that_name() -> None:
    twice = pa.table([pa.array([1]), pa.array([2]), pa.array([3])], names=["a", "b", "a"])
    with pytest.raises(SourceError, match="several columns have the same name: 'a'; rename or drop them"):
        profile(twice)


@pytest.mark.parametrize("chunks", [1, 2])
def test_a_table_that_is_too_wide_is_profiled_up_to_the_limit(chunks: int) -> None:
    wide = pa.table({f"c{at}": [1.0, 2.0] for at in range(7)})
    profiler = Profiler([["c6"]], settings=ProfileSettings(max_columns=3))
    for at in range(chunks):
        profiler.update(wide.slice(at * 2 // chunks, 2 // chunks))
    found = profiler.finish()
    assert list(found.columns[""]) == ["c0", "c1", "c2"]
    assert found.rows == {"": 2, "c6=1": 1, "c6=2": 1}  # columns beyond the limit may still name segments
    (warning,) = found.warnings
    assert str(warning) == ("4 columns beyond the 3 of max_columns are not profiled: 'c3', 'c4', 'c5', …")


def test_segments_beyond_the_limit_are_warned_about() -> None:
    table = pa.table({"x": list("aabbcd")})
    found = profile(table, [["x"]], settings=ProfileSettings(max_segments=2))
    assert [warning.kind for warning in found.warnings] == ["too_many_segments"]
    assert sum(rows for key, rows in found.rows.items() if key) == 6


def test_what_cannot_be_profiled_is_an_error_with_column_and_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_arguments: object, **_options: object) -> values.Values:
        raise pa.ArrowIndexError("offset out of bounds")

    profiler = Profiler()
    profiler.update(pd.DataFrame({"x": [1]}))
    monkeypatch.setattr("monitoring_pipeline.profiling.profiler.read_values", broken)
    expected = "column 'y' of type int64, chunk 2 of 2 rows: cannot be profiled: offset out of bounds"
    with pytest.raises(SourceError, match=expected):
        profiler.update(pd.DataFrame({"y": [1, 2]}))


def test_warnings_survive_bytes_and_merges() -> None:
    interval = ODD["interval"][0]
    one = profile(pa.table({"x": interval, "y": [1, 2]}), settings=ProfileSettings(max_columns=1))
    other = profile(pa.table({"x": interval}))
    assert {warning.kind for warning in one.warnings} == {"only_counted", "too_many_columns"}
    assert DatasetProfile.from_bytes(one.to_bytes()) == one
    assert one.merge(other).warnings == other.merge(one).warnings == one.warnings
    assert one.merge(one).warnings == one.warnings


def test_a_warning_of_another_release_is_refused_by_name() -> None:
    record = b"\x01\x00\x00\x00" + b"".join(chunk(text) for text in (b"moon_phase", b"", b"full"))
    with pytest.raises(ProfileError, match="a warning of the unknown kind 'moon_phase'"):
        unpack(Reader(record, what="dataset profile"))


def test_a_warning_about_the_whole_names_no_column() -> None:
    assert str(DataWarning("unreadable", "", "2 lines")) == "2 lines"
