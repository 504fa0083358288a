"""Frequent items against exact counts and against the native library."""

from __future__ import annotations

from collections import Counter

import datasketches
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring_pipeline.errors import ProfileError
from monitoring_pipeline.profiling import Profiler, profile
from monitoring_pipeline.profiling.sketches import FrequentItems

NO_FALSE_NEGATIVES = datasketches.frequent_items_error_type.NO_FALSE_NEGATIVES


def sketch(values: list[str]) -> FrequentItems:
    return FrequentItems.of(Counter(values).items(), total=len(values))


def zipf(n: int, *, seed: int = 0) -> list[str]:
    return [f"sku-{value}" for value in np.random.default_rng(seed).zipf(1.3, n).tolist()]


def assert_bounds_hold(items: FrequentItems, truth: Counter[str]) -> None:
    assert items.total == truth.total()
    for text, _, lower, upper in items.top(len(items.counts)):
        assert lower <= truth[text] <= upper
    named = {text for text, _ in items.counts}
    assert all(count <= items.offset for text, count in truth.items() if text not in named)


@given(st.lists(st.text(max_size=5), max_size=300))
def test_few_items_are_exact_and_read_natively(values: list[str]) -> None:
    items = sketch(values)
    assert dict(items.counts) == Counter(values)
    native = datasketches.frequent_strings_sketch.deserialize(items.to_image())
    assert native.total_weight == len(values)
    assert {text: low for text, _, low, _ in native.get_frequent_items(NO_FALSE_NEGATIVES)} == Counter(values)
    assert FrequentItems.from_image(items.to_image()) == items


def test_many_items_keep_true_bounds_in_our_own_and_in_native_hands() -> None:
    values = zipf(200_000)
    truth = Counter(values)
    items = sketch(values)
    assert len(items.counts) <= 768
    assert_bounds_hold(items, truth)
    native = datasketches.frequent_strings_sketch.deserialize(items.to_image())
    for text, count in truth.most_common(20):
        assert native.get_lower_bound(text) <= count <= native.get_upper_bound(text)


def test_merged_days_keep_true_bounds_and_the_guaranteed_error() -> None:
    days = [zipf(20_000, seed=day) for day in range(30)]
    merged = FrequentItems.merge_all(sketch(day) for day in days)
    assert merged is not None
    truth: Counter[str] = sum((Counter(day) for day in days), Counter())
    assert_bounds_hold(merged, truth)
    assert merged.offset <= merged.total / 768
    assert [text for text, *_ in merged.top(5)] == [text for text, _ in truth.most_common(5)]


def test_merging_one_by_one_does_not_let_the_error_grow_without_end() -> None:
    merged = FrequentItems()
    truth: Counter[str] = Counter()
    for day in range(100):
        values = [f"{day}-{number}" for number in range(1000)] + ["always"] * 50
        truth.update(values)
        merged = FrequentItems.merge_all([merged, sketch(values)]) or merged
    assert_bounds_hold(merged, truth)
    assert merged.offset <= merged.total / 768
    assert merged.top(1)[0][0] == "always"


def test_native_and_own_sketches_merge_in_both_directions() -> None:
    ours, theirs = zipf(5_000, seed=1), zipf(5_000, seed=2)
    truth = Counter(ours) + Counter(theirs)
    native = datasketches.frequent_strings_sketch(10)
    for text in theirs:
        native.update(text)
    merged = FrequentItems.merge_all([sketch(ours), FrequentItems.from_image(native.serialize())])
    assert merged is not None
    assert_bounds_hold(merged, truth)
    native.merge(datasketches.frequent_strings_sketch.deserialize(sketch(ours).to_image()))
    assert native.total_weight == len(ours) + len(theirs)
    for text, count in truth.most_common(10):
        assert native.get_lower_bound(text) <= count <= native.get_upper_bound(text)


def test_a_stream_of_all_different_values_never_looks_empty() -> None:
    items = sketch([f"id-{number}" for number in range(5_000)])
    assert len(items.counts) == 1
    native = datasketches.frequent_strings_sketch.deserialize(items.to_image())
    assert not native.is_empty()
    assert native.total_weight == 5_000
    assert items.top(1)[0][2:] == (1, 2)


def test_the_profiler_keeps_true_bounds_over_many_chunks() -> None:
    values = zipf(300_000) + [f"once-{number}" for number in range(200_000)]
    np.random.default_rng(0).shuffle(values)
    truth = Counter(values)
    profiler = Profiler()
    for start in range(0, len(values), 30_000):
        profiler.update(pa.table({"sku": values[start : start + 30_000]}))
    column = profiler.finish().columns[""]["sku"]
    assert column.frequent_items is not None
    items = FrequentItems.from_image(column.frequent_items)
    assert_bounds_hold(items, truth)
    assert items.offset < len(values) / 5_000
    assert [text for text, *_ in column.top_items(10)] == [text for text, _ in truth.most_common(10)]


def test_an_identifier_column_costs_few_bytes() -> None:
    ids = pa.table({"id": [f"user-{number}" for number in range(200_000)]})
    stored = profile(ids).columns[""]["id"].frequent_items
    assert stored is not None
    assert len(stored) < 100


@given(st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=30), min_size=2, max_size=5))
def test_a_merge_does_not_depend_on_order_or_grouping(days: list[list[str]]) -> None:
    parts = [sketch(day) for day in days]
    merged = FrequentItems.merge_all(parts)
    stepwise = FrequentItems()
    for part in parts[::-1]:
        stepwise = FrequentItems.merge_all([part, stepwise]) or stepwise
    assert merged == stepwise


@pytest.mark.parametrize(
    "image", [b"", bytes(8), b"\xff" * 40, b"\x04\x01\x0a\x0a\x03\x00\x00\x00" + b"\xff" * 24]
)
def test_what_is_no_sketch_is_refused(image: bytes) -> None:
    with pytest.raises(ProfileError, match="frequent-items"):
        FrequentItems.from_image(image)


@given(st.data())
def test_a_mutated_image_is_refused_or_read_but_never_worse(data: st.DataObject) -> None:
    image = bytearray(sketch(zipf(500)).to_image())
    for _ in range(data.draw(st.integers(1, 3))):
        image[data.draw(st.integers(0, len(image) - 1))] = data.draw(st.integers(0, 255))
    image = image[: data.draw(st.integers(0, len(image)))] if data.draw(st.booleans()) else image
    try:
        found = FrequentItems.from_image(bytes(image))
    except ProfileError:
        return
    FrequentItems.merge_all([found, sketch(["a"])])
