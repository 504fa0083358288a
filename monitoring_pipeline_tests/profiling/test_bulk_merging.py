"""Merging many groups at once must give what merging each on its own gives, to the last bit."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring_pipeline.errors import ProfileError
from monitoring_pipeline.profiling.bulk_merging import merge_groups
from monitoring_pipeline.profiling.profile import SCALARS, ColumnProfile, merge_profiles
from monitoring_pipeline.profiling.profiler import profile


def of(values: pa.Array) -> ColumnProfile:
    return profile(pa.table({"x": values})).columns[""]["x"]


def merged(groups: list[list[ColumnProfile]]) -> list[ColumnProfile]:
    parts = [part for group in groups for part in group]
    rows = [[part.scalars()[name] for name in SCALARS] for part in parts]
    numbers = np.array(rows, np.float64).reshape(-1, len(SCALARS))
    ends = np.cumsum([len(group) for group in groups])
    return merge_groups(ends, numbers, [part.components() for part in parts])


def check(groups: list[list[ColumnProfile]]) -> None:
    found = merged(groups)
    expected = [merge_profiles(group) for group in groups]
    assert found == expected
    assert [one.scalars() for one in found] == [one.scalars() for one in expected]


_arrays = st.one_of(
    st.lists(st.one_of(st.none(), st.floats()), max_size=15).map(lambda v: pa.array(v, pa.float64())),
    st.lists(st.one_of(st.none(), st.text(max_size=4)), max_size=15).map(lambda v: pa.array(v, pa.string())),
    st.lists(st.one_of(st.none(), st.booleans()), max_size=15).map(lambda v: pa.array(v, pa.bool_())),
    st.lists(st.one_of(st.none(), st.integers(-9, 9)), max_size=15).map(lambda v: pa.array(v, pa.int64())),
)
_profiles = st.one_of(
    _arrays.map(of), _arrays.map(of).map(ColumnProfile.marked_late), st.just(ColumnProfile())
)


@given(st.lists(st.lists(_profiles, min_size=1, max_size=4), min_size=1, max_size=5))
def test_groups_of_anything_are_merged_as_each_would_be(groups: list[list[ColumnProfile]]) -> None:
    check(groups)


def test_large_sketches_are_merged_as_each_would_be() -> None:
    generator = np.random.default_rng(5)
    hours = range(6)
    numbers = [of(pa.array(generator.normal(hour, 3, 20_000))) for hour in hours]
    texts = [of(pa.array([f"v{one}" for one in generator.zipf(1.2, 5_000) % 9_000])) for _ in hours]
    whole = [of(pa.array(generator.integers(0, 3_000, 5_000))) for _ in hours]
    check([numbers, texts, whole, numbers[:1], [numbers[0], texts[0]], numbers[2:4]])


def test_no_groups_are_no_profiles() -> None:
    assert merged([]) == []


def test_texts_of_any_length_and_alphabet_are_counted_as_texts() -> None:
    first = of(pa.array(["", "é", "日本", "a" * 300, "\x00", "é"]))
    second = of(pa.array(["日本", "", "x"]))
    [found] = merged([[first, second]])
    assert found == merge_profiles([first, second])
    assert {text: count for text, count, _, _ in found.top_items(9)}["日本"] == 2


@pytest.mark.parametrize("cut", [1, 9, 30, 60])
@pytest.mark.parametrize("kind", ["kll.v1", "hll.v1", "frequent_items.v1"])
def test_a_damaged_sketch_is_refused(kind: str, cut: int) -> None:
    values = (
        pa.array([str(one) for one in range(50)])
        if kind == "frequent_items.v1"
        else pa.array(np.arange(50.0))
    )
    part = of(values)
    rows = np.array([[part.scalars()[name] for name in SCALARS]] * 2, np.float64)
    damaged = part.components() | {kind: part.components()[kind][:-cut]}
    with pytest.raises(ProfileError):
        merge_groups(np.array([2]), rows, [part.components(), damaged])
