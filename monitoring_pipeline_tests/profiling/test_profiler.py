"""From data to profiles: every type of value, and no trace of how the rows were cut."""

from __future__ import annotations

import decimal
import math
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta

import datasketches
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring_pipeline.config.dataset import ProfileSettings
from monitoring_pipeline.errors import SourceError, UsageError
from monitoring_pipeline.profiling import ColumnProfile, Profiler, profile


def column(array: pa.Array | pa.ChunkedArray, **options: object) -> ColumnProfile:
    return profile(pa.table({"x": array}), settings=ProfileSettings.model_validate(options)).columns[""]["x"]


def counts(found: ColumnProfile) -> dict[str, int]:
    """The counts that are not zero."""
    return {
        name: value
        for name, value in found.scalars().items()
        if value and name.startswith(("n", "t_")) and isinstance(value, int)
    }


def test_numbers_that_are_not_finite_are_counted_and_kept_out_of_everything_else() -> None:
    found = column(pa.array([1.0, 2.0, 6.0, None, math.nan, math.inf, math.inf, -math.inf]))
    assert counts(found) == {
        "n": 8,
        "n_null": 1,
        "n_nan": 1,
        "n_pos_inf": 2,
        "n_neg_inf": 1,
        "t_fractional": 7,
    }
    scalars = found.scalars()
    assert (scalars["m_n"], scalars["mean"], scalars["m2"]) == (3, 3.0, 14.0)
    assert (scalars["min"], scalars["max"], scalars["quantile_50"]) == (1.0, 6.0, 2.0)
    assert scalars["unique_est"] == 6  # 1, 2, 6, NaN, ∞, −∞


@pytest.mark.parametrize(
    "array", [pa.array([], pa.float64()), pa.array([None, None], pa.float64()), pa.array([math.nan])]
)
def test_a_column_without_finite_numbers_has_no_distribution(array: pa.Array) -> None:
    scalars = column(array).scalars()
    assert scalars["m_n"] == 0
    assert [scalars[name] for name in ("mean", "m2", "min", "max", "quantile_50")] == [None] * 5


def test_negative_zero_is_zero() -> None:
    found = column(pa.array([-0.0, 0.0, -0.0]))
    assert math.copysign(1, found.min or 0.0) == 1
    assert found.distinct() == (1, 1, 1)


def test_huge_and_tiny_doubles_do_not_overflow() -> None:
    found = column(pa.array([1.7e308, 1.7e308, -1.7e308, 5e-324]))
    assert found.mean == pytest.approx(1.7e308 / 4)
    assert found.scalars()["m2"] is None
    assert found.merge(found).mean == pytest.approx(1.7e308 / 4)


def test_a_constant_column_has_exactly_that_mean_and_no_spread() -> None:
    found = column(pa.array([0.1] * 200_000))
    assert found.merge(found).scalars()["mean"] == 0.1
    assert found.scalars()["quantile_5"] == found.scalars()["quantile_99"] == 0.1
    assert found.merge(found).m2 == 0.0


def test_moments_survive_a_large_offset() -> None:
    data = 1e9 + np.random.default_rng(0).normal(size=300_000)
    assert column(pa.array(data)).m2 / (len(data) - 1) == pytest.approx(np.var(data, ddof=1), rel=1e-9)


@pytest.mark.parametrize("kind", [pa.int8(), pa.uint8(), pa.int32(), pa.uint32(), pa.int64(), pa.uint64()])
def test_integers_of_every_width(kind: pa.DataType) -> None:
    found = column(pa.array([3, 1, None, 3], kind))
    assert counts(found) == {"n": 4, "n_null": 1, "t_integral": 3}
    assert (found.min, found.max, found.mean) == (1, 3, pytest.approx(7 / 3))
    assert found.top_items(5) == [("3", 2, 2, 2), ("1", 1, 1, 1)]
    assert found.distinct() == (2, 2, 2)


def test_integers_at_the_ends_of_their_range() -> None:
    signed = column(pa.array([2**63 - 1, -(2**63)]))
    assert (signed.min, signed.max) == (-(2.0**63), 2.0**63)
    assert {text for text, *_ in signed.top_items(5)} == {str(2**63 - 1), str(-(2**63))}
    unsigned = column(pa.array([2**64 - 1, 0], pa.uint64()))
    assert unsigned.max == 2.0**64
    assert {text for text, *_ in unsigned.top_items(5)} == {str(2**64 - 1), "0"}
    mixed = unsigned.merge(column(pa.array([0], pa.uint64())))
    assert mixed.top_items(1) == [("0", 2, 2, 2)]


def test_booleans_have_only_counts() -> None:
    found = column(pa.array([True, False, True, None]))
    assert counts(found) == {"n": 4, "n_null": 1, "n_true": 2, "t_bool": 3}
    assert found.scalars()["mean"] is found.scalars()["min"] is None
    assert found.distinct() == (2, 2, 2)
    assert found.top_items(2) == [("True", 2, 2, 2), ("False", 1, 1, 1)]
    assert column(pa.array([True, True])).distinct() == (1, 1, 1)


@pytest.mark.parametrize(
    "kind",
    [
        pa.string(),
        pa.large_string(),
        pa.string_view(),
        pa.dictionary(pa.int8(), pa.string()),
        pa.dictionary(pa.int32(), pa.large_string()),
    ],
)
def test_strings_of_every_representation(kind: pa.DataType) -> None:
    found = column(pa.array(["7", "é😀", None, "", "7"]).cast(kind))
    assert counts(found) == {"n": 5, "n_null": 1, "t_string": 4}
    assert found.distinct() == (3, 3, 3)
    assert found.top_items(9) == [("7", 2, 2, 2), ("", 1, 1, 1), ("é😀", 1, 1, 1)]
    assert found.min is None


def test_strings_are_cut_for_comparison_only() -> None:
    texts = ["😀" * 128 + "a", "😀" * 128 + "b", "😀" * 127, "short"]
    found = column(pa.array(texts))
    assert found.distinct() == (4, 4, 4)
    assert found.top_items(1) == [("😀" * 128, 2, 2, 2)]


@pytest.mark.parametrize("length", [1, 40, 2_000])
def test_text_that_is_not_utf8_is_counted_and_shown_with_replacement(length: int) -> None:
    offsets = pa.py_buffer(np.array([0, length, 2 * length, 2 * length + 2], np.int32))
    broken = pa.Array.from_buffers(
        pa.string(), 3, [None, offsets, pa.py_buffer(b"\xff" * length * 2 + b"ok")]
    )
    found = column(broken)
    assert counts(found) == {"n": 3, "t_string": 3}
    assert found.distinct() == (2, 2, 2)
    assert found.top_items(1) == [("\ufffd" * min(length, 128), 2, 2, 2)]


def test_a_dictionary_may_hold_unused_repeated_and_null_values() -> None:
    indices = pa.array([0, 1, 2, None, 0], pa.int8())
    encoded = pa.DictionaryArray.from_arrays(indices, pa.array(["a", "a", None, "never"]))
    found = column(encoded)
    assert counts(found) == {"n": 5, "n_null": 2, "t_string": 3}
    assert found.distinct() == (1, 1, 1)
    assert found.top_items(3) == [("a", 3, 3, 3)]


def test_dictionaries_of_other_things_are_what_they_hold() -> None:
    assert counts(column(pa.array([1, 2, 1]).dictionary_encode()))["t_integral"] == 3
    assert column(pa.array([1.5, None, 1.5]).dictionary_encode()).mean == 1.5
    assert counts(column(pa.array([date(2026, 1, 1)]).dictionary_encode())) == {"n": 1, "t_object": 1}


def test_dictionaries_that_change_from_batch_to_batch() -> None:
    profiler = Profiler()
    for texts in (["a", "b"], ["b", "c"], ["c"]):
        profiler.update(pa.table({"x": pa.array(texts).dictionary_encode()}))
    assert profiler.finish().columns[""]["x"].top_items(9) == [("b", 2, 2, 2), ("c", 2, 2, 2), ("a", 1, 1, 1)]


@pytest.mark.parametrize(
    "kind", [pa.decimal32(7, 2), pa.decimal64(10, 2), pa.decimal128(20, 2), pa.decimal256(50, 2)]
)
def test_decimals_are_fractions(kind: pa.DataType) -> None:
    found = column(pa.array([decimal.Decimal("1.25"), None, decimal.Decimal("-0.75")], kind))
    assert counts(found) == {"n": 3, "n_null": 1, "t_fractional": 2}
    assert (found.min, found.max, found.mean) == (-0.75, 1.25, 0.25)


NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
NOON_MICROS = NOON.timestamp() * 1e6


@pytest.mark.parametrize(
    ("array", "micros"),
    [
        (pa.array([NOON.replace(tzinfo=None)], pa.timestamp("s")), NOON_MICROS),
        (pa.array([NOON.replace(tzinfo=None)], pa.timestamp("ms")), NOON_MICROS),
        (pa.array([NOON.replace(tzinfo=None)], pa.timestamp("ns")), NOON_MICROS),
        (pa.array([NOON], pa.timestamp("us", "Asia/Tokyo")), NOON_MICROS),
        (pa.array([date(1970, 1, 3)], pa.date32()), 2 * 86_400e6),
        (pa.array([date(1970, 1, 3)], pa.date64()), 2 * 86_400e6),
        (pa.array([time(0, 1)], pa.time32("s")), 60e6),
        (pa.array([time(0, 1)], pa.time64("ns")), 60e6),
        (pa.array([timedelta(seconds=2)], pa.duration("ms")), 2e6),
    ],
)
def test_times_are_objects_with_a_place_on_the_time_axis(array: pa.Array, micros: float) -> None:
    found = column(array)
    assert counts(found) == {"n": 1, "t_object": 1}
    scalars = found.scalars()
    assert (scalars["min"], scalars["max"], scalars["quantile_50"]) == (micros, micros, micros)
    assert scalars["mean"] is None
    assert found.distinct() == (1, 1, 1)


@pytest.mark.parametrize(
    "array",
    [
        pa.array([[1], [], None]),
        pa.array([{"a": 1}, {}, None]),
        pa.array([[("k", 1)], [], None], pa.map_(pa.string(), pa.int64())),
        pa.array([(1, 2, 3), (0, 0, 0), None], pa.month_day_nano_interval()),
    ],
)
def test_nested_values_are_only_counted(array: pa.Array) -> None:
    found = column(array)
    assert counts(found) == {"n": 3, "n_null": 1, "t_object": 2}
    assert found.components() == {}
    assert found.scalars()["unique_est"] is None


def test_bytes_are_objects_of_which_the_different_ones_are_counted() -> None:
    for kind in (
        pa.binary(),
        pa.large_binary(),
        pa.binary_view(),
        pa.binary(2),
        pa.dictionary(pa.int8(), pa.binary()),
    ):
        found = column(pa.array([b"\xff\x00", b"ab", None, b"ab"]).cast(kind))
        assert counts(found) == {"n": 4, "n_null": 1, "t_object": 3}
        assert found.distinct() == (2, 2, 2)
        assert found.top_items(3) == []
    assert column(pa.array([b"a" * 5_000, b"a" * 5_001, b"a" * 5_000])).distinct() == (2, 2, 2)


def test_a_column_of_nulls_has_no_type() -> None:
    found = column(pa.nulls(3))
    assert counts(found) == {"n": 3, "n_null": 3}
    assert found.distinct() == (0, 0, 0)


def test_run_end_encoded_and_extension_columns_are_what_they_hold() -> None:
    runs = pa.RunEndEncodedArray.from_arrays(pa.array([2, 3], pa.int32()), pa.array(["a", "b"]))
    assert column(runs).top_items(2) == [("a", 2, 2, 2), ("b", 1, 1, 1)]
    identifiers = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"0" * 16, b"1" * 16], pa.binary(16)))
    assert column(identifiers).distinct() == (2, 2, 2)


def test_slices_are_not_read_beyond_their_ends() -> None:
    table = pa.table(
        {
            "f": [1.0, None, 3.0, 4.0],
            "s": ["a", "b", None, "d"],
            "b": [True, None, False, True],
            "i": [9, 8, 7, None],
        }
    )
    found = profile(table.slice(1, 2)).columns[""]
    assert (found["f"].n_null, found["f"].min, found["f"].max) == (1, 3.0, 3.0)
    assert found["s"].top_items(3) == [("b", 1, 1, 1)]
    assert counts(found["b"]) == {"n": 2, "n_null": 1, "t_bool": 1}
    assert found["i"].top_items(3) == [("7", 1, 1, 1), ("8", 1, 1, 1)]


cells = st.one_of(st.none(), st.floats(width=64), st.sampled_from([0.0, 1.0, math.nan, math.inf]))


@given(st.lists(st.tuples(cells, st.sampled_from(["a", "b", None])), max_size=80), st.data())
@settings(max_examples=60)
def test_how_rows_are_cut_into_batches_leaves_no_trace(
    rows: list[tuple[float | None, str | None]], data: st.DataObject
) -> None:
    table = pa.table(
        {
            "x": pa.array([row[0] for row in rows], pa.float64()),
            "g": pa.array([row[1] for row in rows], pa.string()),
        }
    )
    cuts = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=5)))
    profiler = Profiler([["g"]])
    for start, stop in zip([0, *cuts], [*cuts, len(rows)], strict=True):
        profiler.update(table.slice(start, stop - start))
        if data.draw(st.booleans()):
            profiler.finish()  # a snapshot, after which more may follow
    assert profiler.finish().to_bytes() == profile(table, [["g"]]).to_bytes()


def test_numbers_of_many_chunks_give_the_same_bytes_however_they_are_cut() -> None:
    rng = np.random.default_rng(0)
    table = pa.table({"x": rng.normal(size=400_000), "i": rng.integers(0, 300, 400_000)})
    profiler = Profiler()
    for start in range(0, 400_000, 77_777):
        profiler.update(table.slice(start, 77_777).to_batches()[0])
    assert profiler.finish() == profile(table)


def test_sketches_of_many_rows_are_within_their_errors() -> None:
    rng = np.random.default_rng(0)
    data = rng.lognormal(size=400_000)
    found = column(pa.array(data))
    ranks = np.searchsorted(np.sort(data), found.quantiles([0.01, 0.5, 0.99])) / len(data)
    assert np.abs(ranks - [0.01, 0.5, 0.99]).max() < found.rank_error < 0.006
    assert found.distinct()[0] == pytest.approx(400_000, rel=0.05)


@pytest.mark.parametrize("shape", ["ascending", "every fourth the same", "nearly constant"])
def test_long_columns_are_sampled_without_bias(shape: str) -> None:
    places = np.arange(1_500_000)
    data = {
        "ascending": places,
        "every fourth the same": places % 4,
        "nearly constant": places % 100 == 0,
    }[shape].astype(float)
    found = column(pa.array(data))
    assert (found.min, found.max, found.mean) == (data.min(), data.max(), pytest.approx(data.mean()))
    edges = np.unique(np.quantile(data, [0.1, 0.25, 0.5, 0.75, 0.995]))
    below = np.cumsum(found.histogram(edges))[:-1]
    assert below == pytest.approx([(data < edge).mean() for edge in edges], abs=found.rank_error)
    assert datasketches.kll_doubles_sketch.deserialize(found.kll).n == len(data)


def test_how_many_work_on_it_leaves_no_trace() -> None:
    table = pa.table(dict(zip("abcdefg", columns_of_every_kind(60_000), strict=True)))
    assert profile(table, [["e"]], workers=1) == profile(table, [["e"]], workers=4)


def test_settings_decide_how_much_is_kept() -> None:
    data = pa.array(np.random.default_rng(0).integers(0, 10**9, 50_000))
    fine, coarse = column(data, kll_k=1024), column(data, kll_k=64)
    assert fine.rank_error < coarse.rank_error
    assert len(column(data, hll_lg_k=10).hll or b"") < len(column(data).hll or b"") / 3
    assert column(data, frequent_items=False).frequent_items is None
    assert column(pa.array(["secret"]), frequent_items=False).top_items(3) == []


def test_batches_that_add_no_rows_add_columns() -> None:
    profiler = Profiler([["region"]])
    profiler.update(pa.table({"region": ["EU", "US", "EU"], "score": [0.1, 0.2, 0.3]}))
    profiler.update(pa.table({"region": ["EU"], "converted": [True]}), adds_rows=False)
    profiler.update(pa.table({"refunded": [True, False]}), adds_rows=False)
    found = profiler.finish()
    assert found.rows == {"": 3, "region=EU": 2, "region=US": 1}
    assert found.columns["region=EU"]["converted"].n == 1
    assert found.columns[""]["refunded"].n == 2
    assert "refunded" not in found.columns["region=US"]


def test_a_column_counts_where_it_is_present() -> None:
    profiler = Profiler()
    profiler.update(pa.table({"a": [1, 2], "b": ["x", "y"]}))
    profiler.update(pa.table({"a": [3]}))
    profiler.update(pa.table({"a": ["now a text"]}))
    found = profiler.finish()
    assert found.rows[""] == 4
    assert found.columns[""]["b"].n == 2
    assert counts(found.columns[""]["a"]) == {"n": 4, "t_integral": 3, "t_string": 1}


def test_excluded_columns_are_not_profiled() -> None:
    found = profile(pa.table({"id": ["a"], "x": [1]}), [["id"]], exclude=["id"])
    assert set(found.columns[""]) == {"x"}
    assert "id=a" in found.rows


@pytest.mark.parametrize(
    "data", [pa.table({}), pa.table({"x": pa.array([], pa.int64())}), pa.record_batch({"x": []})]
)
def test_no_rows_give_an_empty_profile(data: pa.Table) -> None:
    found = profile(data, [["x"]])
    assert found.rows == {"": 0}
    assert [part.n for part in found.columns[""].values()] == [0] * data.num_columns


def test_columns_of_one_name_are_refused_and_an_empty_name_is_spelled_out() -> None:
    twice = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["x", "x"])
    with pytest.raises(SourceError, match="'x'"):
        profile(twice)
    assert set(profile(pa.table({"": [1]})).columns[""]) == {"(unnamed)"}


def test_other_data_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match="found list"):
        profile([1, 2])  # type: ignore[arg-type]


def columns_of_every_kind(n: int) -> Sequence[pa.Array]:
    rng = np.random.default_rng(0)
    return [
        pa.array(rng.normal(size=n)),
        pa.array(rng.integers(0, 1000, n)),
        pa.array(rng.integers(0, 1000, n)).cast(pa.string()),
        pa.array(rng.integers(0, 1000, n)).cast(pa.string_view()),
        pa.array(rng.integers(0, 50, n)).cast(pa.string()).dictionary_encode(),
        pa.array(rng.random(n) < 0.5),
        pa.array([[1]] * n),
    ]


def test_small_batches_of_every_kind_are_gathered() -> None:
    table = pa.table({str(place): array for place, array in enumerate(columns_of_every_kind(3_000))})
    profiler = Profiler()
    for start in range(0, 3_000, 100):
        profiler.update(table.slice(start, 100))
    assert profiler.finish() == profile(table)
