"""Segments: every row is in exactly one of each set, and none is lost."""

from __future__ import annotations

import decimal
from collections import Counter
from datetime import date

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring_pipeline.config.dataset import ProfileSettings
from monitoring_pipeline.errors import UsageError
from monitoring_pipeline.profiling import Profiler, profile
from monitoring_pipeline.segments import segment_key

texts = st.one_of(st.none(), st.sampled_from(["", "EU", "US", "a=b&c%"]), st.text(max_size=3))


@given(st.lists(st.tuples(texts, st.one_of(st.none(), st.booleans()), st.integers(0, 5)), max_size=60))
def test_segments_are_the_combinations_that_occur(rows: list[tuple[str | None, bool | None, int]]) -> None:
    regions, flags, numbers = ([row[place] for row in rows] for place in range(3))
    table = pa.table(
        {
            "region": pa.array(regions, pa.string()),
            "flag": pa.array(flags, pa.bool_()),
            "x": pa.array(numbers, pa.int64()),
        }
    )
    found = profile(table, [["region"], ["flag", "region"]])
    expected = Counter({"": len(rows)})
    for region, flag, _ in rows:
        expected[segment_key({"region": region or ""})] += 1
        expected[segment_key({"region": region or "", "flag": "" if flag is None else str(flag)})] += 1
    assert found.rows == expected
    for key, columns in found.columns.items():
        assert all(column.n == found.rows[key] for column in columns.values())


def test_a_segment_is_the_profile_of_its_rows_alone() -> None:
    rng = np.random.default_rng(0)
    n = 20_000
    table = pa.table(
        {
            "region": rng.choice(["EU", "US", "APAC"], n),
            "x": pa.array(rng.normal(size=n), mask=rng.random(n) < 0.1),
            "i": rng.integers(0, 2_000, n),
            "s": pa.array([f"user-{value}" for value in rng.integers(0, 3_000, n)]),
            "b": rng.random(n) < 0.3,
            "t": pa.array(rng.integers(0, 10**15, n)).cast(pa.timestamp("us")),
        }
    )
    found = profile(table, [["region"]])
    for region in ("EU", "US", "APAC"):
        rows = table.filter(pa.compute.equal(table["region"], region))
        # The same accuracy as inside a segment.
        alone = profile(rows, [["region"]]).columns[f"region={region}"]
        assert found.columns[f"region={region}"] == alone


def test_segments_do_not_depend_on_the_cut() -> None:
    rng = np.random.default_rng(1)
    table = pa.table(
        {"g": rng.integers(0, 40, 30_000), "x": rng.normal(size=30_000), "s": rng.choice(list("abc"), 30_000)}
    )
    profiler = Profiler([["g"], ["s", "g"]])
    for start in range(0, 30_000, 7_001):
        profiler.update(table.slice(start, 7_001))
        profiler.finish()
    assert profiler.finish() == profile(table, [["g"], ["g", "s"]])


@pytest.mark.parametrize(
    ("array", "names"),
    [
        (pa.array([1, None, -5], pa.int8()), ["1", "", "-5"]),
        (pa.array([1.0, None, 2.5]), ["1", "", "2.5"]),
        (pa.array([True, None, False]), ["True", "", "False"]),
        (pa.array([date(2026, 1, 2), None, None]), ["2026-01-02", "", ""]),
        (pa.array([decimal.Decimal("1.50"), None, None]), ["1.50", "", ""]),
        (pa.array(["a", None, "é"]).dictionary_encode(), ["a", "", "é"]),
        (pa.array([b"a", None, b"\xff"]), ["a", "", "\ufffd"]),
        (pa.nulls(3), ["", "", ""]),
    ],
)
def test_values_of_any_plain_type_name_segments(array: pa.Array, names: list[str]) -> None:
    found = profile(pa.table({"g": array}), [["g"]])
    assert found.rows == {"": 3, **Counter(segment_key({"g": name}) for name in names)}


def test_lists_name_no_segments() -> None:
    with pytest.raises(UsageError, match="'g' holds list"):
        profile(pa.table({"g": [[1]]}), [["g"]])


def test_a_missing_segment_column_is_null() -> None:
    assert profile(pa.table({"x": [1, 2]}), [["region"]]).rows == {"": 2, "region=": 2}


def test_the_smallest_segments_beyond_the_limit_are_counted_together() -> None:
    names = ["big"] * 5 + ["middle"] * 3 + ["small"] * 2 + ["tiny"]
    table = pa.table({"g": names, "h": ["x"] * len(names), "v": range(len(names))})
    found = profile(table, [["g", "h"]], settings=ProfileSettings(max_segments=2))
    assert found.rows == {"": 11, "g=big&h=x": 5, "g=middle&h=x": 3, "g=(other)&h=(other)": 3}
    assert found.folded_segments == 2
    assert found.columns["g=(other)&h=(other)"]["v"].min == 8
    assert found.merge(found).folded_segments == 2


def test_folding_goes_on_over_batches_and_loses_no_row() -> None:
    profiler = Profiler([["g"]], settings=ProfileSettings(max_segments=3))
    for start in range(0, 50, 5):
        profiler.update(pa.table({"g": list(range(start, start + 10))}))
        profiler.finish()
    found = profiler.finish()
    assert sum(rows for key, rows in found.rows.items() if key) == found.rows[""] == 100
    assert len(found.rows) == 1 + 3 + 1
    assert found.folded_segments == 55 - 3


def test_many_high_cardinality_keys_stay_within_their_means() -> None:
    rng = np.random.default_rng(0)
    table = pa.table({f"k{place}": rng.integers(0, 10**6, 5_000) for place in range(5)})
    found = profile(table, [list(table.column_names)], settings=ProfileSettings(max_segments=10))
    assert found.rows[""] == 5_000
    assert len(found.rows) == 12
    assert found.folded_segments == pytest.approx(4_990, rel=0.05)


def test_the_same_segments_in_another_order_are_profiled_once() -> None:
    table = pa.table({"a": ["1"], "b": ["2"]})
    assert profile(table, [["a", "b"], ["b", "a"], ["a", "b", "a"], []]).rows == {"": 1, "a=1&b=2": 1}


def test_segment_columns_of_outcomes_are_not_counted_twice() -> None:
    profiler = Profiler([["region"]])
    profiler.update(pa.table({"region": ["EU", "US"], "amount": [1.0, 2.0]}))
    profiler.update(pa.table({"region": ["EU", "US"], "paid": [True, False]}), adds_rows=False)
    found = profiler.finish()

    counts = {name: column.scalars()["n"] for name, column in found.columns[""].items()}
    assert counts == {"region": 2, "amount": 2, "paid": 2}
    assert set(found.columns["region=EU"]) == {"region", "amount", "paid"}
