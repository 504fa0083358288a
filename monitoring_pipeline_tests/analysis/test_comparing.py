"""Two sides of several buckets each, over the same bins."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest

from monitoring_pipeline.analysis.comparing import kind_of, pair_of
from monitoring_pipeline.analysis.distances import hellinger
from monitoring_pipeline.profiling import ColumnProfile
from monitoring_pipeline.profiling.profiler import profile
from monitoring_pipeline.segments import OVERALL


def column(values: object) -> ColumnProfile:
    return profile(pa.table({"x": values})).columns[OVERALL]["x"]


def test_buckets_together_are_what_one_bucket_with_all_their_rows_would_be() -> None:
    random = np.random.default_rng(3)
    parts = [random.normal(at, 1, 30 + at) for at in range(4)]
    whole = pair_of([column(np.concatenate(parts[:2]))], [column(np.concatenate(parts[2:]))])
    found = pair_of([column(one) for one in parts[:2]], [column(one) for one in parts[2:]])
    assert whole is not None
    assert found is not None
    assert (found.baseline.n, found.target.n) == (61, 65)
    np.testing.assert_allclose(found.baseline.shares, whole.baseline.shares)
    np.testing.assert_allclose(found.target.shares, whole.target.shares)
    assert found.ends == whole.ends == (min(map(np.min, parts)), max(map(np.max, parts)))
    assert found.noise == pytest.approx(whole.noise)


def test_categories_add_up_and_carry_their_labels() -> None:
    found = pair_of([column(["a", "b"]), column(["b", "b"])], [column(["c", "a"])])
    assert found is not None
    assert found.labels == ("a", "b", "c")
    assert found.baseline.shares.tolist() == [0.25, 0.75, 0.0]
    assert found.target.shares.tolist() == [0.5, 0.0, 0.5]


def test_sides_of_different_kinds_or_without_values_are_not_compared() -> None:
    numbers, words, nothing = column([1.0, 2.0]), column(["a", "b"]), column(pa.nulls(3, pa.float64()))
    assert pair_of([numbers], [words]) is None
    assert pair_of([numbers], [nothing]) is None
    assert pair_of([], [numbers]) is None
    assert (kind_of(nothing, numbers), kind_of(words), kind_of()) == ("number", "category", None)


def test_buckets_of_another_kind_among_numbers_are_left_out() -> None:
    found = pair_of([column([1.0, 2.0]), column(["a"])], [column([1.0, 2.0])])
    assert found is not None
    assert found.baseline.n == 2
    assert float(hellinger(found.baseline.shares, found.target.shares)) == 0.0


def test_two_weeks_of_one_distribution_are_as_far_apart_as_the_noise_says() -> None:
    random = np.random.default_rng(8)
    scores, noise = [], []
    for _ in range(30):
        sides = [[column(random.normal(0, 1, 2_000)) for _ in range(7)] for _ in range(2)]
        found = pair_of(*sides)
        assert found is not None
        scores.append(float(hellinger(found.baseline.shares, found.target.shares)))
        noise.append(found.noise)
    # The mean of the score lies a little below the root of the mean of its square.
    assert 0.5 < np.mean(scores) / np.mean(noise) < 1.1
    assert all(math.isfinite(one) for one in noise)
