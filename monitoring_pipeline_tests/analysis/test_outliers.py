"""Outliers by quartiles (Tukey's fences) and by z-score, from sketches, against numpy on the very values."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from monitoring_pipeline.analysis.baselines import Window
from monitoring_pipeline.analysis.judgements import component_scalars
from monitoring_pipeline.metrics import metric
from monitoring_pipeline.profile_file import describe_columns
from monitoring_pipeline.profiling import ColumnProfile, merge_profiles, profile

SHAPES = ("normal", "lognormal", "two humps", "heavy tails", "whole numbers", "mostly one value")


def values_of(shape: str, rows: int, seed: int) -> NDArray[np.float64]:
    random = np.random.default_rng(seed)
    match shape:
        case "normal":
            return random.normal(100, 15, rows)
        case "lognormal":
            return random.lognormal(3, 1, rows)
        case "two humps":
            return np.concatenate([random.normal(0, 1, rows - rows // 50), random.normal(30, 1, rows // 50)])
        case "heavy tails":
            return random.standard_t(2, rows)
        case "whole numbers":
            return random.poisson(4, rows).astype(np.float64)
        case _:
            return np.where(random.random(rows) < 0.98, 7.0, random.normal(7, 3, rows))


def column(values: NDArray[np.float64]) -> ColumnProfile:
    return profile(pa.table({"x": values})).columns[""]["x"]


def fences(values: NDArray[np.float64], *, off: float) -> tuple[float, float]:
    """How many lie outside the fences at least and at most, when each quartile may be off by that share of ranks."""
    sizes = []
    for lower_rank in (0.25 - off, 0.25 + off):
        for upper_rank in (0.75 - off, 0.75 + off):
            low, high = np.quantile(values, [lower_rank, upper_rank], method="inverted_cdf")
            reach = 1.5 * (high - low)
            sizes.append(np.count_nonzero((values < low - reach) | (values > high + reach)))
    return min(sizes), max(sizes)


@pytest.mark.parametrize("shape", SHAPES)
def test_few_values_are_counted_exactly(shape: str) -> None:
    values = values_of(shape, 199, 3)
    told = describe_columns({"x": column(values)})["x"]
    # The quartiles of a profile are the values at the places ⌊n / 4⌋ and ⌊3n / 4⌋.
    low, high = np.sort(values)[[199 // 4, 3 * 199 // 4]]
    reach = 1.5 * (high - low)
    assert told["outlier_count"] == np.count_nonzero((values < low - reach) | (values > high + reach))
    score = (values - values.mean()) / values.std(ddof=1)
    assert told["outlier_sigma_count"] == np.count_nonzero(np.abs(score) > 3)
    assert told["outlier_ratio"] == pytest.approx(told["outlier_count"] / 199)
    assert told["outlier_sigma_ratio"] == pytest.approx(told["outlier_sigma_count"] / 199)


@pytest.mark.parametrize("parts", [1, 24])
@pytest.mark.parametrize("shape", SHAPES)
def test_many_values_are_counted_within_the_error_of_the_sketch(shape: str, parts: int) -> None:
    values = values_of(shape, 48_000, 5)
    found = merge_profiles(map(column, np.array_split(values, parts)))
    told, error = describe_columns({"x": found})["x"], found.rank_error
    least, most = fences(values, off=error)
    slack = 2 * error * len(values)
    assert least - slack <= told["outlier_count"] <= most + slack
    score = (values - values.mean()) / values.std(ddof=1)
    assert abs(told["outlier_sigma_count"] - np.count_nonzero(np.abs(score) > 3)) <= slack


def test_a_window_of_buckets_is_judged_by_its_own_fences() -> None:
    # Each day alone has no outlier; the second day is one big outlier among all three.
    days = {at: np.full(100, 500.0) if at == 1 else np.arange(500.0) for at in range(3)}
    history = {at: column(values) for at, values in days.items()}
    window = Window(np.array([0]), 3)
    told = component_scalars(["outliers_iqr", "outliers_sigma"], history, window)
    everything = np.sort(np.concatenate(list(days.values())))
    low, high = everything[[len(everything) // 4, 3 * len(everything) // 4]]
    outside = np.count_nonzero(
        (everything < low - 1.5 * (high - low)) | (everything > high + 1.5 * (high - low))
    )
    assert told["outliers_iqr"][0] == pytest.approx(outside / len(everything))
    merged = describe_columns({"x": merge_profiles(history.values())})["x"]
    assert merged["outlier_ratio"] == pytest.approx(told["outliers_iqr"][0])


def test_only_finite_numbers_are_counted() -> None:
    values = np.append(np.arange(99.0), [1e6, np.inf, -np.inf, np.nan])
    told = describe_columns({"x": column(values)})["x"]
    assert told["outlier_count"] == told["outlier_sigma_count"] == 1
    assert told["outlier_ratio"] == pytest.approx(0.01)


@pytest.mark.parametrize(
    "values", [pa.array(["a"]), pa.array([True]), pa.nulls(2), pa.array([], pa.float64())]
)
def test_without_numbers_there_is_no_count(values: pa.Array) -> None:
    found = profile(pa.table({"x": values})).columns[""].get("x", ColumnProfile())
    told = describe_columns({"x": found})["x"]
    assert told["outlier_count"] is told["outlier_sigma_count"] is told["outlier_ratio"] is None


def test_a_constant_column_has_no_outliers() -> None:
    told = describe_columns({"x": column(np.full(1_000, 0.1))})["x"]
    assert told["outlier_count"] == told["outlier_sigma_count"] == 0


@pytest.mark.parametrize("name", ["outlier_count", "outlier_sigma_count"])
def test_a_monitor_may_ask_for_counts(name: str) -> None:
    found = metric(name)
    assert (found.level, found.unit, found.additive) == ("column", "values", False)
    share = "outliers_sigma" if "sigma" in name else "outliers_iqr"
    told = found.formula({share: np.array([0.25, np.nan]), "m_n": np.array([8.0, 8.0])})
    np.testing.assert_array_equal(told, [2.0, np.nan])
