"""From Arrow values of every kind to sketches that Apache's own library reads, agrees with, and merges with its own."""

from __future__ import annotations

import datetime
import decimal
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import datasketches
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring_pipeline.config.dataset import ProfileSettings
from monitoring_pipeline.profiling import ColumnProfile, Profiler, profile

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
SIZES = [0, 1, 2, 300, 30_000]


@dataclass(frozen=True)
class Kind:
    """Values of a kind: how many of them are drawn, their Arrow array, and as what native sketches take each.

    `number` is its place among numbers, `hashed` what distinct counts tell apart, `text` the frequent item; None
    where the value is none.
    """

    draw: Callable[[np.random.Generator, int], Sequence[Any]]
    array: Callable[[Sequence[Any]], pa.Array]
    number: Callable[[Any], float | None] | None = None
    hashed: Callable[[Any], Any] | None = None
    text: Callable[[Any], str] | None = None


def floats(draw: Callable[[np.random.Generator, int], Any]) -> Kind:
    return Kind(
        lambda random, size: np.asarray(draw(random, size), np.float64).tolist(),
        lambda values: pa.array(values, pa.float64()),
        number=lambda value: value + 0.0 if math.isfinite(value) else None,
        hashed=lambda value: value + 0.0,
    )


def integers(kind: pa.DataType, low: int, high: int) -> Kind:
    return Kind(
        lambda random, size: [
            int(at) for at in random.integers(low, high, size, endpoint=True, dtype=kind.to_pandas_dtype())
        ],
        lambda values: pa.array(values, kind),
        number=float,
        hashed=lambda value: value - 2**64 if value >= 2**63 else value,
        text=str,
    )


def texts(kind: pa.DataType, words: Sequence[str]) -> Kind:
    return Kind(
        lambda random, size: [words[at] for at in random.zipf(1.3, size) % len(words)],
        lambda values: pa.array(values, pa.string()).cast(kind),
        hashed=str,
        text=lambda value: value,
    )


def times(kind: pa.DataType, micros: Callable[[Any], int], make: Callable[[int], Any]) -> Kind:
    return Kind(
        lambda random, size: [make(int(at)) for at in random.integers(0, 50_000, size)],
        lambda values: pa.array(values, kind),
        hashed=micros,
    )


def since_epoch(moment: datetime.datetime) -> int:
    return (moment - EPOCH) // datetime.timedelta(microseconds=1)


WORDS: Final = [f"word {at}" for at in range(900)]
ODD_WORDS: Final = [
    "\U0001f600",
    "\U0001f469‍\U0001f680",
    "é",
    "é",
    "ß",
    " ",
    "\x00",
    "\x7f",
    "日本",
    "a" * 127,
    "b" * 128,
]

KINDS: Final = {
    "normal": floats(lambda random, size: random.normal(size=size)),
    "lognormal": floats(lambda random, size: random.lognormal(0, 3, size)),
    "ties": floats(lambda random, size: random.integers(0, 5, size)),
    "all equal": floats(lambda _random, size: np.full(size, 0.1)),
    "ascending": floats(lambda _random, size: np.arange(size)),
    "both zeros": floats(lambda random, size: np.where(random.random(size) < 0.5, 0.0, -0.0)),
    "nan and infinities": floats(
        lambda random, size: random.choice([math.nan, math.inf, -math.inf, 1.0, 2.0, 3.5], size)
    ),
    "subnormals": floats(lambda random, size: random.integers(-50, 50, size) * 5e-324),
    "huge": floats(lambda random, size: random.normal(size=size) * 1e307),
    "small integers": integers(pa.int8(), -20, 20),
    "integers": integers(pa.int64(), -(2**62), 2**62),
    "integers beyond 2**53": integers(pa.int64(), 2**53, 2**53 + 400),
    "unsigned": integers(pa.uint64(), 2**64 - 3_000, 2**64 - 1),
    "decimals": Kind(
        lambda random, size: [decimal.Decimal(int(at)).scaleb(-2) for at in random.integers(-9_999, 9_999, size)],
        lambda values: pa.array(values, pa.decimal128(12, 2)),
        number=float,
        hashed=float,
    ),
    "dates": times(
        pa.date32(),
        lambda day: (day - EPOCH.date()).days * 86_400_000_000,
        lambda at: EPOCH.date() + datetime.timedelta(days=at),
    ),
    "times with a zone": times(
        pa.timestamp("us", "Asia/Kolkata"), since_epoch, lambda at: EPOCH + datetime.timedelta(seconds=at)
    ),
    "times in nanoseconds": times(
        pa.timestamp("ns", "UTC"), since_epoch, lambda at: EPOCH + datetime.timedelta(microseconds=at)
    ),
    "durations": times(
        pa.duration("ms"), lambda long: long // datetime.timedelta(microseconds=1), lambda at: datetime.timedelta(milliseconds=at)
    ),
    "texts": texts(pa.string(), WORDS),
    "large texts": texts(pa.large_string(), WORDS),
    "views": texts(pa.string_view(), WORDS),
    "dictionary": texts(pa.dictionary(pa.int16(), pa.string()), WORDS),
    "odd texts": texts(pa.string(), ODD_WORDS),
    "bytes": Kind(
        lambda random, size: [WORDS[at].encode() for at in random.integers(0, 900, size)],
        lambda values: pa.array(values, pa.binary()),
        hashed=lambda value: value.decode(),
    ),
}  # fmt: skip


def profiled(array: pa.Array) -> ColumnProfile:
    return profile(pa.table({"x": array})).columns[""].get("x", ColumnProfile())


def sample(kind: Kind, size: int) -> tuple[list[Any], ColumnProfile]:
    values = list(kind.draw(np.random.default_rng(size), size))
    return values, profiled(kind.array([*values, None]))


def numbers(kind: Kind, values: Sequence[Any]) -> np.ndarray:
    assert kind.number is not None
    return np.sort([number for value in values if (number := kind.number(value)) is not None]).astype(float)


def with_sketch(field: str) -> list[str]:
    return [name for name, kind in KINDS.items() if getattr(kind, field) is not None]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", with_sketch("number"))
def test_quantiles_are_read_natively_and_merge_with_a_native_sketch(name: str, size: int) -> None:
    values, found = sample(KINDS[name], size)
    expected = numbers(KINDS[name], values)
    native = datasketches.kll_doubles_sketch(512)
    for value in expected.tolist():
        native.update(value)
    if found.kll is None:
        assert not len(expected)
        return
    ours = datasketches.kll_doubles_sketch.deserialize(found.kll)
    assert ours.n == found.m_n == len(expected)
    if not len(expected):
        return
    assert (ours.get_min_value(), ours.get_max_value()) == (found.min, found.max)
    assert (found.min, found.max) == (expected[0], expected[-1])
    if size <= 300:
        assert not ours.is_estimation_mode()
        assert found.rank_error == 0
    points = np.unique(expected[np.linspace(0, len(expected) - 1, 30).astype(int)])
    below = np.searchsorted(expected, points) / len(expected)
    ours.merge(native)
    assert ours.n == 2 * len(expected)
    for sketch in (datasketches.kll_doubles_sketch.deserialize(found.kll), ours):
        error = sketch.normalized_rank_error(False) if sketch.is_estimation_mode() else 0
        assert np.abs(np.array([sketch.get_rank(point) for point in points]) - below).max() <= error + 1e-12


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", with_sketch("hashed"))
def test_distinct_values_are_read_natively_and_a_native_sketch_of_them_adds_nothing(
    name: str, size: int
) -> None:
    values, found = sample(KINDS[name], size)
    hashed = KINDS[name].hashed
    assert hashed is not None
    expected = {
        str(key) if isinstance(key := hashed(value), float) and math.isnan(key) else key for value in values
    }
    native = datasketches.hll_sketch(12, datasketches.HLL_8)
    for value in values:
        native.update(hashed(value))
    estimate, lower, upper = found.distinct()
    if len(expected) <= 300:
        assert (estimate, lower, upper) == (len(expected),) * 3
    else:
        assert abs(estimate - len(expected)) <= 4 * 1.04 / math.sqrt(2**12) * len(expected)
        assert lower <= estimate <= upper
    if found.hll is None:
        assert not expected
        return
    ours = datasketches.hll_sketch.deserialize(found.hll)
    union = datasketches.hll_union(12)
    union.update(ours)
    alone = union.get_estimate()
    union.update(native)
    # The same values hash alike, so that a sketch of them changes no register.
    assert union.get_estimate() == pytest.approx(alone, rel=1e-9)
    assert native.get_estimate() == pytest.approx(alone, rel=0.02)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", with_sketch("text"))
def test_frequent_items_are_read_natively_and_merge_with_a_native_sketch(name: str, size: int) -> None:
    values, found = sample(KINDS[name], size)
    text = KINDS[name].text
    assert text is not None
    expected = Counter(text(value) for value in values)
    if found.frequent_items is None:
        assert not expected
        return
    ours = datasketches.frequent_strings_sketch.deserialize(found.frequent_items)
    assert ours.total_weight == len(values)
    native = datasketches.frequent_strings_sketch(10)
    for value in values:
        native.update(text(value))
    merged = datasketches.frequent_strings_sketch.deserialize(found.frequent_items)
    merged.merge(native)
    assert merged.total_weight == 2 * len(values)
    for item, count in expected.most_common(50):
        assert ours.get_lower_bound(item) <= count <= ours.get_upper_bound(item)
        assert merged.get_lower_bound(item) <= 2 * count <= merged.get_upper_bound(item)
    if len(expected) <= 41:
        assert {item: (low, high) for item, _, low, high in found.top_items(99)} == {
            item: (count, count) for item, count in expected.items()
        }


ROWS = 40_000


def table_of(seed: int, *, order: np.ndarray | None = None) -> pa.Table:
    random, columns = np.random.default_rng(seed), {}
    for name, kind in KINDS.items():
        values = list(kind.draw(random, ROWS))
        columns[name] = kind.array(values if order is None else [values[at] for at in order])
    return pa.table(columns)


def test_the_order_of_rows_matters_no_more_than_the_sketches_err() -> None:
    order = np.random.default_rng(2).permutation(ROWS)
    straight, mixed = (profile(one).columns[""] for one in (table_of(1), table_of(1, order=order)))
    exact = ("n", "n_null", "n_nan", "n_pos_inf", "n_neg_inf", "m_n", "min", "max", "types", "hll")
    for name, one in straight.items():
        other = mixed[name]
        assert [getattr(one, key) for key in exact] == [getattr(other, key) for key in exact]
        assert one.mean == pytest.approx(other.mean, rel=1e-9, abs=1e-320)
        if one.m_n:
            points = np.unique(one.quantiles(np.linspace(0.02, 0.98, 25).tolist()))
            below = [np.cumsum(side.histogram(points))[:-1] for side in (one, other)]
            assert np.abs(below[0] - below[1]).max() <= one.rank_error + other.rank_error
        bounds = {text: (low, high) for text, _, low, high in other.top_items(99)}
        for text, _, low, high in one.top_items(3):
            if text in bounds:
                assert max(low, bounds[text][0]) <= min(high, bounds[text][1])
            else:
                assert low <= high - low  # only what was rare may be forgotten


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_the_same_rows_give_the_same_bytes_each_time_whoever_works_and_however_they_are_cut(
    workers: int,
) -> None:
    table = table_of(3).slice(0, 20_000)
    expected = profile(table, [["small integers"]]).to_bytes()
    profiler = Profiler([["small integers"]], workers=workers)
    for start in range(0, 20_000, 6_001):
        profiler.update(table.slice(start, 6_001))
    assert profiler.finish().to_bytes() == expected


@given(st.lists(st.one_of(st.none(), st.text(max_size=140), st.binary(max_size=6)), max_size=60))
@settings(max_examples=80)
def test_any_bytes_in_a_column_of_texts_are_counted_and_never_lost(values: list[str | bytes | None]) -> None:
    stored = [value.encode() if isinstance(value, str) else value for value in values]
    array = pa.array(stored, pa.large_binary()).view(pa.large_string())
    found = profiled(array)
    readable = [value.decode(errors="replace") for value in stored if value is not None]
    assert (found.n, found.n_null, found.t_string) == (len(values), values.count(None), len(readable))
    assert found.distinct()[0] == len(set(readable)) if readable else True
    cut = Counter(text[:128] for text in readable)
    if len(cut) <= 41:
        assert {text: count for text, count, *_ in found.top_items(99)} == cut


@given(
    st.lists(st.floats(width=64), max_size=200),
    st.lists(st.integers(-(2**63), 2**63 - 1), max_size=200),
    st.lists(st.booleans(), max_size=200),
)
@settings(max_examples=80)
def test_few_values_are_remembered_exactly(reals: list[float], whole: list[int], flags: list[bool]) -> None:
    finite = sorted(value + 0.0 for value in reals if math.isfinite(value))
    found = profiled(pa.array(reals, pa.float64()))
    assert (found.m_n, found.n_nan) == (len(finite), sum(map(math.isnan, reals)))
    if finite:
        assert found.quantiles([0.0, 0.5, 1.0]).tolist() == [
            finite[0], finite[min(len(finite) // 2, len(finite) - 1)], finite[-1],
        ]  # fmt: skip
    if whole:
        integers = profiled(pa.array(whole, pa.int64()))
        assert integers.distinct()[0] == len({*whole})
        if len({*whole}) <= 41:
            assert {text: count for text, count, *_ in integers.top_items(300)} == Counter(map(str, whole))
    if flags:
        booleans = profiled(pa.array(flags))
        assert (booleans.t_bool, booleans.n_true) == (len(flags), sum(flags))
        assert booleans.distinct()[0] == len({*flags})


def test_coarser_settings_are_read_natively_too() -> None:
    array = pa.array(np.random.default_rng(0).normal(size=50_000))
    for k, lg_k in ((64, 8), (200, 10), (1_024, 14)):
        found = profile(pa.table({"x": array}), settings=ProfileSettings(kll_k=k, hll_lg_k=lg_k)).columns[""][
            "x"
        ]
        assert found.kll is not None
        assert found.hll is not None
        assert datasketches.kll_doubles_sketch.deserialize(found.kll).k == k
        assert datasketches.hll_sketch.deserialize(found.hll).lg_config_k == lg_k
