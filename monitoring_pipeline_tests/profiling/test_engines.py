"""Compiled or in numpy: the same profiles, byte for byte, and no input that does worse than raise an error."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from monitoring_pipeline.config.dataset import ProfileSettings
from monitoring_pipeline.profiling import DatasetProfile, Profiler, engine, fallback

compiled = pytest.importorskip("monitoring_pipeline.profiling._kernels", reason="no C compiler was at hand")

numbers = st.one_of(
    st.none(),
    st.floats(width=64),
    st.sampled_from([0.0, -0.0, 1.0, 5e-324, 1.7e308, -1.7e308, math.nan, math.inf, -math.inf]),
)
integers = st.one_of(st.none(), st.integers(-3, 3), st.integers(-(2**63), 2**63 - 1))
texts = st.one_of(st.none(), st.sampled_from(["", "a", "b", "é"]), st.text(max_size=40), st.just("long" * 40))


def profile_with(name: str, table: pa.Table, cut: int, **options: object) -> DatasetProfile:
    source = {"compiled": compiled, "numpy": fallback}[name]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "Cells", source.Cells)
        profiler = Profiler([["g"]], settings=ProfileSettings.model_validate(options))
        for start in range(0, max(table.num_rows, 1), cut):
            profiler.update(table.slice(start, cut))
            profiler.finish()  # which also makes every cut a chunk
        return profiler.finish()


def assert_same(table: pa.Table, *, cut: int, **options: object) -> None:
    ours, theirs = (profile_with(name, table, cut, **options) for name in ("compiled", "numpy"))
    assert ours == theirs
    for segment, columns in ours.columns.items():
        for name, column in columns.items():
            other = theirs.columns[segment][name]
            assert column.components() == other.components()
            assert column.scalars() == other.scalars()
            assert column.derived == type(column)(**_fields(column)).derived  # as read from the images


def _fields(column: object) -> dict[str, object]:
    return {name: value for name, value in vars(column).items() if name != "derived"}


@given(st.lists(st.tuples(numbers, integers, texts, st.sampled_from("ab")), max_size=60), st.integers(7, 70))
@settings(max_examples=80)
def test_both_engines_give_the_same_bytes(rows: list[tuple], cut: int) -> None:
    doubles, whole, strings, groups = ([row[place] for row in rows] for place in range(4))
    table = pa.table(
        {
            "g": pa.array(groups, pa.string()),
            "f": pa.array(doubles, pa.float64()),
            "i": pa.array(whole, pa.int64()),
            "u": pa.array([None if value is None else value + 2**63 for value in whole], pa.uint64()),
            "s": pa.array(strings, pa.large_string()),
            "d": pa.array(strings, pa.string()).dictionary_encode(),
            "y": pa.array([None if text is None else text.encode() for text in strings], pa.binary()),
            "b": pa.array([None if value is None else value > 0 for value in whole], pa.bool_()),
            "t": pa.array(whole, pa.timestamp("us")),
            "o": pa.array([[value] for value in whole], pa.list_(pa.int64())),
        }
    )
    assert_same(table, cut=cut, hll_lg_k=4, kll_k=8, kll_k_segments=8)


def columns_with(n: int) -> dict[str, pa.Array]:
    rng = np.random.default_rng(3)
    zipf = rng.zipf(1.2, n) % 2**40
    return {
        "g": pa.array(rng.choice(["a", "b", "c"], n, p=[0.9, 0.09, 0.01])),
        "normal": pa.array(rng.normal(size=n), mask=rng.random(n) < 0.05),
        "offset": pa.array(1e9 + rng.random(n)),
        "huge": pa.array(rng.choice([1.7e308, -1.7e308, 1e-300], n)),
        "constant": pa.array(np.full(n, 0.1)),
        "unique": pa.array(rng.permutation(n)),
        "zipf": pa.array(zipf),
        "few": pa.array(rng.integers(0, 12, n)),
        "words": pa.array([f"sku-{value}" for value in zipf.tolist()]),
        "ids": pa.array([f"user-{value:x}" for value in rng.integers(0, 2**40, n).tolist()]),
        "moment": pa.array(rng.integers(0, 2**50, n)).cast(pa.timestamp("us")),
        "flag": pa.array(rng.random(n) < 0.3),
    }


@pytest.mark.parametrize("cut", [60_000, 7_001])
def test_both_engines_give_the_same_bytes_for_long_columns(cut: int) -> None:
    assert_same(pa.table(columns_with(60_000)), cut=cut)


def test_both_engines_sample_the_same_numbers_at_every_level() -> None:
    table = pa.table(
        {name: array for name, array in columns_with(60_000).items() if name in ("g", "normal", "zipf")}
    )
    assert_same(
        table, cut=60_000, kll_k=16, kll_k_segments=8
    )  # one of 4 from 128 on, of 16 from 2,048, of 64
    assert_same(table, cut=7_001, kll_k=16, kll_k_segments=8)


@pytest.mark.parametrize("codes", [pa.int8(), pa.uint8(), pa.int32(), pa.int64()])
@pytest.mark.parametrize("cut", [60_000, 911])
def test_dictionaries_are_counted_like_the_texts_they_stand_for(codes: pa.DataType, cut: int) -> None:
    rng = np.random.default_rng(5)
    n = 9_000 if cut < 1_000 else 60_000
    places, missing = rng.integers(0, 100, n), rng.random(n) < 0.05
    places[missing] = 120  # a code that stands for nothing, behind a null
    groups = pa.array(rng.choice(["a", "b", "c"], n, p=[0.9, 0.09, 0.01]))
    texts = pa.array([f"{place:03}" * (1 + place) for place in range(100)])
    coded = pa.DictionaryArray.from_arrays(pa.array(places, codes, mask=missing), texts, safe=False)
    plain = texts.take(pa.array(places, mask=missing))
    table = pa.table({"g": groups, "s": coded})
    assert_same(table, cut=cut)
    assert profile_with("compiled", table, cut) == profile_with(
        "compiled", pa.table({"g": groups, "s": plain}), cut
    )


def test_counters_that_overflow_do_not_depend_on_the_cut() -> None:
    table = pa.table(
        {name: array for name, array in columns_with(60_000).items() if name in ("g", "zipf", "ids")}
    )
    assert profile_with("compiled", table, 60_000) == profile_with("compiled", table, 911)


def cells(kind: str) -> compiled.Cells:
    return compiled.Cells(kind, kll_k=8, lg_k=4, room=3, block=16)


ONE = np.array([0], np.int64)
ALL = np.array([0, 2], np.int64)
TWO = np.array([1.0, 2.0])
ENDS = np.array([0, 1, 2], np.int32)
AB = np.frombuffer(b"ab", np.uint8)


@pytest.mark.parametrize(
    "arguments",
    [
        (2, TWO[:1], None, 0, None, ALL, ONE),
        (2, TWO, b"", 0, None, ALL, ONE),
        (2, TWO, b"0", 7, None, ALL, ONE),
        (2, TWO, b"0", -1, None, ALL, ONE),
        (2, TWO, b"0", 2**63 - 1, None, ALL, ONE),
        (2, TWO, None, 0, np.array([0, 2]), ALL, ONE),
        (2, TWO, None, 0, np.array([0, -1]), ALL, ONE),
        (2, TWO, None, 0, None, np.array([0, 3]), ONE),
        (2, TWO, None, 0, None, np.array([0, -1]), ONE),
        (2, TWO, None, 0, None, np.array([2, 0]), ONE),
        (2, TWO, None, 0, None, ALL[:1], ONE),
        (2, TWO, None, 0, None, ALL, np.array([-1])),
        (2, TWO, None, 0, None, ALL, np.array([2**40])),
        (-1, TWO, None, 0, None, ALL, ONE),
        (2**63 - 1, TWO, None, 0, None, ALL, ONE),
    ],
)
def test_numbers_that_do_not_fit_together_are_refused(arguments: tuple) -> None:
    with pytest.raises(ValueError, match=r"bytes|bits|row|bounds|cell"):
        cells("double").add(*arguments)


@pytest.mark.parametrize(
    ("codes", "offsets"),
    [
        (np.array([0, 2]), ENDS),
        (np.array([-1, 0]), ENDS),
        (np.array([0]), ENDS),
        (np.array([0, 0]), ENDS[:0]),
        (np.array([0, 0]), ENDS[:1]),
        (np.array([0, 0]), np.array([0, 1], np.int16)),
        (None, np.array([0, 1, 3], np.int32)),
        (None, np.array([0, 2, 1], np.int64)),
        (None, np.array([-1, 1, 2], np.int32)),
        (None, np.array([0, 1], np.int32)),
    ],
)
@pytest.mark.parametrize("kind", ["text", "hash"])
def test_texts_that_do_not_fit_together_are_refused(
    kind: str, codes: NDArray | None, offsets: NDArray
) -> None:
    with pytest.raises(ValueError, match=r"bytes|code|offset"):
        cells(kind).add_texts(2, codes, offsets, AB, None, 0, None, ALL, ONE)


def test_cells_are_unusable_after_an_error() -> None:
    found = cells("text")
    with pytest.raises(ValueError, match="code"):
        found.add_texts(2, np.array([0, 9]), ENDS, AB, None, 0, None, ALL, ONE)
    with pytest.raises(RuntimeError, match="unusable"):
        found.finish()


@pytest.mark.parametrize(
    "make",
    [
        lambda: compiled.Cells("doubles", kll_k=8, lg_k=4, room=0, block=4),
        lambda: compiled.Cells("double", kll_k=7, lg_k=4, room=0, block=4),
        lambda: compiled.Cells("double", kll_k=8, lg_k=22, room=0, block=4),
        lambda: compiled.Cells("double", kll_k=8, lg_k=4, room=-1, block=1),
        lambda: compiled.Cells("double", kll_k=8, lg_k=4, room=0, block=0),
        lambda: compiled.Cells("double", kll_k=8, lg_k=4, room=0, block=6),
        lambda: cells("double").add_texts(2, None, ENDS, AB, None, 0, None, ALL, ONE),
        lambda: cells("text").add(2, TWO, None, 0, None, ALL, ONE),
    ],
)
def test_unknown_kinds_and_settings_are_refused(make: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=r"kind|text"):
        make()


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=3_000), st.booleans())
@settings(max_examples=60)
def test_numbers_of_any_range_are_sorted(values: list[float], repeated: bool) -> None:
    data = np.array(values * (2_000 // len(values) + 1) if repeated else values)
    found = compiled.Cells("double", kll_k=65_535, lg_k=4, room=0, block=65_536)
    found.add(len(data), data, None, 0, None, np.array([0, len(data)]), ONE)
    image = found.finish()[0][1][fallback.REPORTED.index("kll")]
    assert isinstance(image, bytes)
    assert np.frombuffer(image, "<f8", offset=len(image) - 8 * len(data)).tolist() == sorted(
        (data + 0.0).tolist()
    )
