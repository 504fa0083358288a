"""Metrics of a service, on numbers checked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from monitoring_pipeline.errors import UsageError
from monitoring_pipeline.metrics import merge_scalars, metric

NAN = np.nan


def value(name: str, **scalars: list[float]) -> list[float]:
    return metric(name).formula({key: np.array(values) for key, values in scalars.items()}).tolist()


def test_latency_is_told_by_quantiles() -> None:
    assert value("latency.p99", quantile_99=[250.0, NAN]) == pytest.approx([250.0, NAN], nan_ok=True)
    assert [metric(f"latency.p{rank}").needs for rank in (50, 95)] == [("quantile_50",), ("quantile_95",)]


def test_the_error_rate_is_the_share_of_true_values_or_the_mean_of_zeros_and_ones() -> None:
    found = value(
        "error_rate",
        n_true=[1.0, 0.0, 0.0, 0.0],
        t_bool=[4.0, 0.0, 0.0, 0.0],
        m_n=[0.0, 10.0, 10.0, 0.0],
        mean=[NAN, 0.2, 200.0, NAN],
        min=[NAN, 0.0, 200.0, NAN],
        max=[NAN, 1.0, 503.0, NAN],
    )
    assert found == pytest.approx([0.25, 0.2, NAN, NAN], nan_ok=True)


def test_throughput_over_several_buckets_is_that_of_those_with_data() -> None:
    merged = merge_scalars(
        {"n": np.array([[7200.0, NAN, 3600.0]]), "seconds": np.array([[3600.0, NAN, 3600.0]])}
    )
    assert metric("throughput").formula(merged).tolist() == [1.5]


def test_uploads_over_several_buckets() -> None:
    merged = merge_scalars(
        {
            "files": np.array([[2.0, NAN, 3.0]]),
            "first_upload": np.array([[50.0, NAN, 20.0]]),
            "last_upload": np.array([[60.0, NAN, 90.0]]),
        }
    )
    assert {name: values.tolist() for name, values in merged.items()} == {
        "files": [5],
        "first_upload": [20],
        "last_upload": [90],
    }


def test_a_list_of_columns_is_no_number() -> None:
    for name in ("column_list", "field_list"):
        with pytest.raises(UsageError, match="list of columns"):
            metric(name).formula({})


@pytest.mark.parametrize(
    "name",
    [
        "classification.f1",
        "classification.precision",
        "classification.recall",
        "classification.accuracy",
        "classification.fpr",
        "classification.auroc",
        "regression.mse",
        "regression.mae",
        "regression.rmse",
        "missingDatapoint",
        "secondsSinceLastUpload",
        "input.count",
        "output.count",
        "shape_column_count",
        "shape_row_count",
        "column_row_count_sum",
        "profile.count",
        "profile.last_ingestion_time",
        "profile.first_ingestion_time",
        "field_list",
        "column_list",
        "count",
        "median",
        "max",
        "min",
        "mean",
        "stddev",
        "variance",
        "unique_upper",
        "unique_upper_ratio",
        "unique_est",
        "unique_est_ratio",
        "unique_lower",
        "unique_lower_ratio",
        "count_bool",
        "count_bool_ratio",
        "count_integral",
        "count_integral_ratio",
        "count_fractional",
        "count_fractional_ratio",
        "count_string",
        "count_string_ratio",
        "count_null",
        "count_null_ratio",
        "inferred_data_type",
        "quantile_5",
        "quantile_75",
        "quantile_25",
        "quantile_90",
        "quantile_95",
        "quantile_99",
        "histogram",
        "frequent_items",
        "discrete",
    ],
)
def test_every_metric_of_the_reference_has_a_name_here(name: str) -> None:
    assert metric(name).description
