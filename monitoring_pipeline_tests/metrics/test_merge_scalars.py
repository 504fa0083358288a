"""Scalars of several buckets as those of one window, against the profile of all rows."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from monitoring_pipeline.metrics import merge_scalars
from monitoring_pipeline.profiling import SCALARS, ColumnProfile, profile

NAN = np.nan


def stacked(profiles: list[ColumnProfile | None]) -> dict[str, NDArray[np.float64]]:
    rows = [one.scalars() if one else dict.fromkeys(SCALARS) for one in profiles]
    return {
        name: np.array([NAN if row[name] is None else row[name] for row in rows], np.float64)
        for name in SCALARS
    }


buckets = st.lists(
    st.one_of(st.none(), st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6), st.just(NAN)), max_size=20)),
    max_size=8,
)


@given(buckets)
def test_a_window_has_the_scalars_of_all_its_rows(found: list[list[float | None] | None]) -> None:
    columns = [
        None if rows is None else profile(pa.table({"x": pa.array(rows, pa.float64())})) for rows in found
    ]
    profiles = [None if one is None else one.columns[""]["x"] for one in columns]
    merged = merge_scalars(stacked(profiles))
    whole = [value for rows in found if rows is not None for value in rows]
    truth = profile(pa.table({"x": pa.array(whole, pa.float64())})).columns[""]["x"].scalars()
    for name in SCALARS:
        assert merged[name].shape == ()
        if name.startswith(("unique_", "quantile_")):
            assert np.isnan(merged[name])
        elif any(profiles):
            known = truth[name]
            expected = NAN if known is None else known
            tolerance = 1e-6 if name != "m2" else 1e-4
            np.testing.assert_allclose(merged[name], expected, rtol=1e-9, atol=tolerance, err_msg=name)
        else:
            assert np.isnan(merged[name])


def test_the_last_axis_is_merged_and_missing_buckets_are_left_out() -> None:
    merged = merge_scalars(
        {
            "n": np.array([[1.0, 2.0, NAN], [NAN, NAN, NAN]]),
            "min": np.array([[3.0, -2.0, NAN], [NAN, NAN, NAN]]),
            "max": np.array([[3.0, 4.0, NAN], [NAN, NAN, NAN]]),
            "m_n": np.array([[1.0, 2.0, NAN], [NAN, 0.0, NAN]]),
            "mean": np.array([[3.0, 1.0, NAN], [NAN, NAN, NAN]]),
            "m2": np.array([[0.0, 18.0, NAN], [NAN, NAN, NAN]]),
            "n_columns": np.array([[3.0, 5.0, NAN], [NAN, NAN, NAN]]),
            "quantile_50": np.array([[3.0, 1.0, NAN], [NAN, NAN, NAN]]),
        }
    )
    # The values are 3, and −2 with 4.
    np.testing.assert_array_equal(merged["n"], [3, NAN])
    np.testing.assert_array_equal(merged["min"], [-2, NAN])
    np.testing.assert_array_equal(merged["max"], [4, NAN])
    np.testing.assert_array_equal(merged["m_n"], [3, 0])
    np.testing.assert_allclose(merged["mean"], [5 / 3, NAN])
    np.testing.assert_allclose(merged["m2"], [float(np.var([3, -2, 4])) * 3, NAN])
    np.testing.assert_array_equal(merged["n_columns"], [5, NAN])
    np.testing.assert_array_equal(merged["quantile_50"], [NAN, NAN])


@pytest.mark.parametrize("mean", [0.1, 1e300, -7.3])
def test_buckets_of_one_mean_keep_exactly_that_mean(mean: float) -> None:
    counts = np.array([3.0, 7.0, 11.0])
    merged = merge_scalars({"m_n": counts, "mean": np.full(3, mean), "m2": np.zeros(3)})
    assert merged["mean"] == mean
    assert merged["m2"] == 0


def test_only_what_was_given_comes_back() -> None:
    assert set(merge_scalars({"n": np.ones((2, 3))})) == {"n"}
    assert np.isnan(merge_scalars({"mean": np.ones((2, 3))})["mean"]).all()
    assert merge_scalars({"n": np.ones((4, 0)), "m_n": np.ones((4, 0))})["n"].shape == (4,)
