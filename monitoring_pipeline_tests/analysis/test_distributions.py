from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring_pipeline.analysis.baselines import Window
from monitoring_pipeline.analysis.distances import DISTANCES
from monitoring_pipeline.analysis.distributions import (
    Items,
    Quantiles,
    Side,
    frequencies,
    histograms,
    merged_quantiles,
)
from monitoring_pipeline_tests.analysis.sketching import items_image, quantiles_image

VALUES = st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=30)
WORDS = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=30)


def quantiles(values: list[float]) -> Quantiles:
    return Quantiles.open(quantiles_image(values))


def items(words: list[str]) -> Items:
    return Items.open(items_image(words))


def window(starts: list[int], length: int) -> Window:
    return Window(np.array(starts), length)


def test_thirty_equal_bins_over_both_sides_by_hand() -> None:
    buckets = [quantiles([0.0, 1.0, 30.0]), quantiles([15.0, 29.5])]
    target, baseline = histograms(Side(buckets, 0, window([1], 1)), Side(buckets, 0, window([0], 1)))
    # 0 to 30: bins of width 1 behind the empty one, so 15 is in cell 16, and 29.5 and 30 in the last
    assert target[0].nonzero()[0].tolist() == [16, 30]
    assert baseline[0].nonzero()[0].tolist() == [1, 2, 30]
    assert baseline.sum() == pytest.approx(1)


@given(st.lists(VALUES, min_size=3, max_size=6))
def test_merged_buckets_are_binned_as_if_their_values_were_one_bucket(batches: list[list[float]]) -> None:
    target, *before = batches
    everything = [value for batch in before for value in batch]
    at = len(before)
    buckets = [*map(quantiles, before), quantiles(target)]
    merged = histograms(Side(buckets, 0, window([at], 1)), Side(buckets, 0, window([0], at)))
    whole = [quantiles(everything), quantiles(target)]
    at_once = histograms(Side(whole, 0, window([1], 1)), Side(whole, 0, window([0], 1)))
    for found, expected in zip(merged, at_once, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-12)


@given(st.lists(WORDS, min_size=3, max_size=6))
def test_merged_items_are_counted_as_if_their_values_were_one_bucket(batches: list[list[str]]) -> None:
    target, *before = batches
    at = len(before)
    buckets = [*map(items, before), items(target)]
    ours, theirs = frequencies(Side(buckets, 0, window([at], 1)), Side(buckets, 0, window([0], at)))
    everything = Counter(word for batch in before for word in batch)
    seen = sorted(everything | Counter(target))
    np.testing.assert_allclose(ours[0], [target.count(word) / len(target) for word in seen])
    np.testing.assert_allclose(theirs[0], [everything[word] / everything.total() for word in seen])


@given(st.lists(WORDS | st.none(), min_size=2, max_size=9), st.integers(1, 4))
def test_every_target_of_a_sliding_window_is_compared_as_if_it_were_alone(
    batches: list[list[str] | None], length: int
) -> None:
    buckets = [None if words is None else items(words) for words in batches]
    targets = list(range(1, len(buckets)))
    together = frequencies(
        Side(buckets, 0, window(targets, 1)),
        Side(buckets, 0, window([at - length for at in targets], length)),
    )
    for row, at in enumerate(targets):
        alone = frequencies(
            Side([buckets[at]], at, window([at], 1)),
            Side(buckets[max(0, at - length) : at], max(0, at - length), window([at - length], length)),
        )
        for distance in DISTANCES.values():
            assert np.array_equal(
                distance(together[1][row], together[0][row]),
                distance(alone[1][0], alone[0][0]),
                equal_nan=True,
            )


def test_excluded_buckets_do_not_count() -> None:
    buckets = [quantiles([1.0]), quantiles([100.0]), quantiles([1.0, 2.0])]
    baseline = Side(buckets, 0, Window(np.array([0]), 2, frozenset({1})))
    _, found = histograms(Side(buckets, 0, window([2], 1)), baseline)
    assert found[0].nonzero()[0].tolist() == [1]


def test_sides_without_data_are_zero() -> None:
    nothing = Side[Quantiles]([None, None], 0, window([0], 2))
    assert not histograms(nothing, nothing)[0].any()
    no_items = Side[Items]([None], 0, window([0], 1))
    assert frequencies(no_items, no_items)[0].shape == (1, 0)


def test_present_says_which_buckets_have_a_sketch() -> None:
    side = Side([None, quantiles([1.0])], 5, window([4, 5], 2))
    assert side.present.tolist() == [[False, False], [False, True]]


@given(st.lists(VALUES, min_size=1, max_size=6), st.integers(1, 3))
def test_a_merged_quantile_is_the_item_at_its_place_in_all_values(
    batches: list[list[float]], length: int
) -> None:
    ranks, targets = [0.05, 0.5, 0.99], list(range(1 - length, len(batches)))
    sketches = {index: quantiles(batch) for index, batch in enumerate(batches)}
    found = merged_quantiles(sketches, window(targets, length), ranks)
    for column, start in enumerate(targets):
        ordered = sorted(value for batch in batches[max(start, 0) : start + length] for value in batch)
        assert found[:, column].tolist() == [ordered[int(rank * len(ordered))] for rank in ranks]


def test_the_quantile_of_nothing_is_nan() -> None:
    assert np.isnan(merged_quantiles({}, window([0], 1), [0.5])).all()
    assert np.isnan(merged_quantiles({0: quantiles([1.0])}, window([5], 1), [0.5])).all()
